"""A device in the field, as the public sync client behaves on the wire and in its own store.

Faithful to what was recorded of the real client: what it sends, in which order, what it keeps between syncs, and what
it gets wrong (`applies_older=False`). Two generations differ only in what they keep as their place in the log:

- `V1` keeps the largest timestamp of the last page that had events, and writes cursors into the URL unescaped;
- `V2` keeps `timestamp|guid` of that page's last event after a stable sort by timestamp, escapes cursors, gives a
  device id, and looks at `scope.hash`.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any
from urllib.parse import quote

import msgspec

from datacollect.kernel.clock import Clock, Millis, format_timestamp
from datacollect.testing.wire import Answer, Wire

CHUNK = 10
TRIES = 3
MOST_PAGES = 2000
"""The real client follows `nextCursor` for ever; a simulation that does so has found a bug."""

_WAITS = (1.0, 2.0)
_CREATES = ("create-individual", "create-group", "create-record")
_UPDATES = ("update-individual", "update-group", "update-record")

Sleep = Callable[[float], Awaitable[None]]


class Generation(Enum):
    V1 = "timestamp"
    V2 = "timestamp|guid"


class SyncFailed(Exception):
    """The client library throws: the sync is over and what it has stored so far stays."""


class DeviceClock:
    """A phone's clock: it goes on by itself with each look, by `tick_ms`, and can be set wrong."""

    def __init__(self, start: Clock | Millis, *, skew_ms: int = 0, tick_ms: int = 1) -> None:
        self._now = int(start if isinstance(start, int) else start.now())
        self._tick_ms = tick_ms
        self.skew_ms = skew_ms

    def now(self) -> Millis:
        self._now += self._tick_ms
        return Millis(self._now + self.skew_ms)

    def go_on(self, milliseconds: int) -> None:
        """Let time pass without a look."""
        self._now += milliseconds


@dataclass(slots=True)
class SyncReport:
    """What one sync did."""

    uploaded: int = 0
    echoes: int = 0
    """Of the uploaded ones, those the device had downloaded before."""
    push_requests: int = 0
    pages: int = 0
    new: int = 0
    redelivered: int = 0
    """Downloaded events the device knew already, its own among them."""
    purged: int = 0


@dataclass(slots=True)
class _Entity:
    data: dict[str, Any]
    changed_at: str | None = None
    """When this device last changed it itself, once it was there."""


@dataclass(slots=True)
class Device:
    """One client library with its storage. `token` is what `login` got, or given."""

    name: str
    wire: Wire
    config_id: str
    generation: Generation
    clock: DeviceClock
    token: str = ""
    scheme: str = "Bearer"
    page_size: int | None = None
    """What it asks for as `limit`; the real clients ask for nothing."""
    applies_older: bool = False
    """The real library keeps, but does not apply, a pulled event that is older than its own last change of an entity;
    True is a library without that defect."""
    sleep: Sleep = asyncio.sleep
    random: Random = field(default_factory=Random)

    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By guid, in the order they were stored; each with the device's own running `id`."""
    entities: dict[str, _Entity] = field(default_factory=dict)
    local_mark: str = ""
    remote_mark: str = ""
    scope_hash: str | None = None
    uploaded: set[str] = field(default_factory=set)
    """Guids a server has answered 2xx for. The library does not keep this; tests do."""
    delivered: list[str] = field(default_factory=list)
    """Guids in the order they were downloaded, repeats included."""
    ignored_errors: list[str] = field(default_factory=list)
    """`error` members of 200 answers: the client does not look at them."""
    redelivered_by_sync: list[int] = field(default_factory=list)

    # -- offline

    def create(self, entity_guid: str | None = None, *, timestamp: str | None = None, **values: Any) -> str:
        """Fill in a new form; gives the entity's guid."""
        entity_guid = entity_guid or self._uuid()
        data = {"name": f"Person of {self.name}", **values, "entityName": "individual"}
        self.record("create-individual", entity_guid, data, timestamp=timestamp)
        return entity_guid

    def edit(self, entity_guid: str, values: Mapping[str, Any], *, timestamp: str | None = None) -> None:
        self.record("update-individual", entity_guid, {**values, "entityName": "individual"}, timestamp=timestamp)

    def record(self, type: str, entity_guid: str, data: dict[str, Any], *, timestamp: str | None = None) -> str:
        """Store an own event and apply it; gives its guid."""
        event: dict[str, Any] = {
            "guid": self._uuid(),
            "entityGuid": entity_guid,
            "type": type,
            "data": data,
            "timestamp": timestamp or format_timestamp(self.clock.now()),
            "userId": "admin",
            "syncLevel": 0,
        }
        existed = entity_guid in self.entities
        self._store(event)
        self._apply(event)
        if existed and entity_guid in self.entities:
            self.entities[entity_guid].changed_at = event["timestamp"]
        guid: str = event["guid"]
        return guid

    @property
    def held_back(self) -> set[str]:
        """Own events that this device will never upload: its clock was behind its local mark when it made them."""
        return {
            guid
            for guid, event in self.events.items()
            if event["syncLevel"] == 0 and event["timestamp"] <= self.local_mark and guid not in self.uploaded
        }

    def data(self) -> dict[str, dict[str, Any]]:
        return {guid: entity.data for guid, entity in self.entities.items()}

    # -- online

    async def login(self, email: str, password: str) -> None:
        body = msgspec.json.encode({"email": email, "password": password})
        answer = await self.wire("POST", "/api/users/login", headers=_headers(), body=body)
        if answer.status != 200:
            raise SyncFailed(f"login answered {answer.status}")
        self.token = answer.json()["token"]

    async def sync(self) -> SyncReport:
        """Upload, then download. Raises `SyncFailed`."""
        if not self.token:
            raise SyncFailed("Unauthorized")
        report = SyncReport()
        await self._upload(report)
        await self._download(report)
        self.redelivered_by_sync.append(report.redelivered)
        return report

    async def _upload(self, report: SyncReport) -> None:
        waiting = sorted(
            (event for event in self.events.values() if event["timestamp"] > self.local_mark),
            key=lambda event: str(event["timestamp"]),
        )
        for start in range(0, len(waiting), CHUNK):
            chunk = waiting[start : start + CHUNK]
            await self._upload_chunk(chunk, report)
            report.uploaded += len(chunk)
            report.echoes += sum(event["syncLevel"] for event in chunk)
            self.uploaded |= {event["guid"] for event in chunk}
        if waiting:
            self.local_mark = format_timestamp(self.clock.now())

    async def _upload_chunk(self, chunk: list[dict[str, Any]], report: SyncReport) -> None:
        body = msgspec.json.encode({"events": chunk, "configId": self.config_id})
        fault = ""
        for attempt in range(TRIES):
            if attempt:
                await self.sleep(_WAITS[attempt - 1])
            report.push_requests += 1
            try:
                answer = await self.wire("POST", "/api/sync/push", headers=self._headers(), body=body)
            except ConnectionError as error:
                fault = str(error)
                continue
            if 200 <= answer.status < 300:
                return
            fault = f"push answered {answer.status}: {answer.body[:300]!r}"
            if answer.status == 401 and self.generation is Generation.V2:
                break
        raise SyncFailed(fault)

    async def _download(self, report: SyncReport) -> None:
        since: str | None = self.remote_mark
        restarted = False
        seen: set[str] = set()
        scope_hash = self.scope_hash
        while since is not None:
            if report.pages >= MOST_PAGES:
                raise SyncFailed("nextCursor never turns null")
            page = await self._pull(since)
            report.pages += 1
            if self.generation is Generation.V2 and report.pages == 1:
                scope_hash = page.get("scope", {}).get("hash")
                if self.scope_hash is not None and scope_hash not in (None, self.scope_hash):
                    # Another scope than before: this page is thrown away, and everything is pulled anew.
                    since, restarted = "", True
                    continue
            seen |= {event["entityGuid"] for event in page["events"]}
            self._take(page["events"], report)
            since = page["nextCursor"]
        if restarted and seen:
            report.purged = self._purge(seen)
        self.scope_hash = scope_hash

    async def _pull(self, since: str) -> dict[str, Any]:
        written = quote(since, safe="") if self.generation is Generation.V2 else since
        target = f"/api/sync/pull?since={written}&configId={self.config_id}"
        if self.page_size is not None:
            target += f"&limit={self.page_size}"
        try:
            answer = await self.wire("GET", target, headers=self._headers())
        except ConnectionError as error:
            raise SyncFailed(str(error)) from error
        if answer.status != 200:
            raise SyncFailed(f"pull answered {answer.status}: {answer.body[:300]!r}")
        page: dict[str, Any] = answer.json()
        if "nextCursor" not in page:
            raise SyncFailed("nextCursor is missing")
        if "error" in page:
            self.ignored_errors.append(page["error"])
        return page

    def _take(self, page: list[dict[str, Any]], report: SyncReport) -> None:
        if not page:
            return
        ordered = sorted(page, key=lambda event: str(event["timestamp"]))
        for event in ordered:
            self.delivered.append(event["guid"])
            if event["guid"] in self.events:
                report.redelivered += 1
                continue
            report.new += 1
            self._store({**event, "syncLevel": 1})
            self._apply_remote(event)
        last = ordered[-1]
        self.remote_mark = last["timestamp"]
        if self.generation is Generation.V2:
            self.remote_mark += f"|{last['guid']}"

    def _purge(self, kept: Iterable[str]) -> int:
        gone = set(self.entities) - set(kept)
        for guid in gone:
            del self.entities[guid]
        return len(gone)

    # -- the library's store

    def _store(self, event: Mapping[str, Any]) -> None:
        # Members in the order the client sends them; the running number comes last.
        members = ("guid", "entityGuid", "type", "data", "timestamp", "userId", "syncLevel")
        row = {name: event[name] for name in members}
        self.events[event["guid"]] = row | {"id": len(self.events) + 1}

    def _apply_remote(self, event: Mapping[str, Any]) -> None:
        held = self.entities.get(event["entityGuid"])
        own = held.changed_at if held else None
        if own is not None and event["timestamp"] < own and not self.applies_older:
            return
        self._apply(event)

    def _apply(self, event: Mapping[str, Any]) -> None:
        guid, type = event["entityGuid"], event["type"]
        if type in _CREATES or type in _UPDATES:
            held = self.entities.setdefault(guid, _Entity({"name": "Unnamed Individual"}))
            held.data = {**held.data, **event["data"]}
        elif type == "delete-entity":
            self.entities.pop(guid, None)

    def _headers(self) -> dict[str, str]:
        headers = _headers() | {"authorization": f"{self.scheme} {self.token}"}
        if self.generation is Generation.V2:
            headers["x-device-id"] = self.name
        return headers

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))


def _headers() -> dict[str, str]:
    """What the client's HTTP library sends with everything, a GET without a body included."""
    return {
        "accept": "application/json, text/plain, */*",
        "accept-encoding": "gzip, compress, deflate, br",
        "content-type": "application/json",
        "connection": "keep-alive",
    }


async def every_event(wire: Wire, config_id: str, token: str, *, limit: int = 1000) -> list[dict[str, Any]]:
    """The hub's log as a reader gets it that follows the cursor from the beginning to the end."""
    events: list[dict[str, Any]] = []
    since: str | None = ""
    while since is not None:
        target = f"/api/sync/pull?since={quote(since)}&configId={config_id}&limit={limit}"
        answer: Answer = await wire("GET", target, headers={"authorization": f"Bearer {token}"})
        if answer.status != 200:
            raise SyncFailed(f"pull answered {answer.status}: {answer.body[:300]!r}")
        page = answer.json()
        events += page["events"]
        since = page["nextCursor"]
    return events
