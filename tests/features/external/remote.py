"""Another system, small and whole: a registry that keeps records by keys of its own, and its adapter.

It is what the hub is tested against, so it can be away, refuse records, and break off in the middle of anything.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from datacollect.adapters.errors import AdapterError, Failure
from datacollect.adapters.kinds import AdapterKind, Capability, Context
from datacollect.adapters.options import AdapterOptions
from datacollect.adapters.port import (
    Delivery,
    Failed,
    Followed,
    FollowUp,
    Health,
    Incoming,
    Link,
    Outcome,
    Outgoing,
    Page,
    Pushed,
    RecordType,
    Skipped,
)

TYPE = "double"
SECRET = "the-secret-of-the-double"


class Broken(Exception):
    """The line is cut, in a way that no adapter foresees."""


@dataclass
class Twin:
    key: str
    type: str
    data: dict[str, Any]
    members: list[str] | None
    guid: str | None
    version: int
    changed: int
    at: int | None = None
    is_gone: bool = False


@dataclass
class Remote:
    """The other system. `calls` counts what it was asked; the rest makes it misbehave."""

    twins: dict[str, Twin] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    refusals: dict[str, Failure] = field(default_factory=dict)
    """By guid: records it does not take."""
    is_away: bool = False
    retry_after: float | None = None
    breaks_after: int | None = None
    """So many more records are stored; then the line is cut before anything is answered."""
    page_size: int = 3
    keys: str = "r"
    skips: set[str] = field(default_factory=set)
    """Types it does not know."""
    keeps_guids: bool = True
    tells_versions: bool = True
    follow_ups: dict[str, FollowUp] = field(default_factory=dict)
    opens: bool = False
    extra: list[Incoming] = field(default_factory=list)
    """What the next pull tells besides."""
    unreadable: list[Failure] = field(default_factory=list)
    """Records that the adapter cannot read, pull after pull."""
    delivery: Delivery = Delivery.DONE
    """What it has of what is pushed; of what waits it stores nothing."""
    on_push: Callable[[], Any] | None = None
    on_follow: Callable[[], Any] | None = None
    states: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)

    @property
    def now(self) -> int:
        return max((twin.changed for twin in self.twins.values()), default=0)

    @property
    def live(self) -> dict[str, Twin]:
        return {key: twin for key, twin in self.twins.items() if not twin.is_gone}

    def make(
        self,
        data: Mapping[str, Any],
        *,
        type: str = "individual",
        guid: str | None = None,
        members: Sequence[str] | None = None,
        at: int | None = None,
    ) -> Twin:
        """Somebody there, or the hub, enters a record."""
        number = next(self._numbers)
        listed = None if members is None else list(members)
        twin = Twin(f"{self.keys}-{number}", type, dict(data), listed, guid, 1, self.now + 1, at)
        self.twins[twin.key] = twin
        return twin

    def change(self, key: str, *, at: int | None = None, **data: Any) -> Twin:
        twin = self.twins[key]
        twin.data.update(data)
        self.touch(twin, at=at)
        return twin

    def touch(self, twin: Twin, *, at: int | None = None) -> None:
        twin.version += 1
        twin.changed = self.now + 1
        twin.at = at

    def find(self, guid: str) -> Twin | None:
        return next((twin for twin in self.twins.values() if twin.guid == guid), None)


REMOTES: dict[str, Remote] = {}
"""By address."""


class DoubleOptions(AdapterOptions):
    secret: SecretStr
    batch_size: int = 4
    database: str = ""


class DoubleAdapter:
    def __init__(self, options: DoubleOptions, context: Context) -> None:
        self.remote = REMOTES[options.base_url]
        self.is_closed = False

    async def check(self) -> Health:
        self._called("check")
        return Health(is_healthy=not self.remote.is_away, latency_ms=1.0, message=None)

    async def push(self, records: Sequence[Outgoing]) -> Sequence[Outcome]:
        if not records:
            return []
        self._called("push")
        self._require_up()
        if self.remote.on_push is not None:
            await self.remote.on_push()
        if self.remote.delivery is Delivery.WAITING:
            return [Pushed(link=one.link, is_open=self.remote.opens, delivery=Delivery.WAITING) for one in records]
        return [self._push(record) for record in records]

    def _push(self, record: Outgoing) -> Outcome:
        remote = self.remote
        if remote.breaks_after is not None:
            if remote.breaks_after <= 0:
                raise Broken
            remote.breaks_after -= 1
        if record.guid in remote.refusals:
            return Failed(failure=remote.refusals[record.guid])
        if record.type in remote.skips:
            return Skipped(reason="TYPE_UNKNOWN")
        remote.calls.append(f"record {record.guid}")
        twin = remote.twins.get(record.link.external_id) if record.link else None
        if twin is None and (record.is_uncertain or record.link) and remote.keeps_guids:
            twin = remote.find(record.guid)
        if record.is_deleted:
            if twin is not None and not twin.is_gone:
                twin.is_gone = True
                remote.touch(twin)
            return Pushed(link=self._link(twin) if twin else None)
        members = None
        if record.members is not None:
            listed = {member.link.external_id for member in record.members if member.link}
            members = sorted(listed | (record.strange_members & set(twin.members or () if twin else ())))
        if twin is None:
            guid = record.guid if remote.keeps_guids else None
            twin = remote.make(record.data, type=record.type, guid=guid, members=members)
        else:
            version = record.link.version if record.link else None
            if version is not None and version != str(twin.version) and remote.tells_versions:
                return Failed(failure=Failure(code="CONFLICT", message="It has changed there.", retryable=True))
            if twin.data != dict(record.data) or twin.members != members or twin.is_gone:
                twin.data, twin.members, twin.is_gone = dict(record.data), members, False
                remote.touch(twin)
        state = remote.states.get(record.guid)
        return Pushed(link=self._link(twin), is_open=remote.opens, state=state)

    def _link(self, twin: Twin) -> Link:
        return Link(external_id=twin.key, version=str(twin.version) if self.remote.tells_versions else None)

    async def pull(self, mark: str | None) -> Page:
        self._called("pull")
        self._require_up()
        after = int(mark or 0)
        changed = sorted(
            (twin for twin in self.remote.twins.values() if twin.changed > after), key=lambda twin: twin.changed
        )
        page = changed[: self.remote.page_size]
        told, self.remote.extra = self.remote.extra, []
        return Page(
            records=[*map(self._incoming, page), *told],
            mark=str(page[-1].changed if page else after),
            is_last=len(changed) <= self.remote.page_size,
            failures=self.remote.unreadable,
        )

    def _incoming(self, twin: Twin) -> Incoming:
        return Incoming(
            external_id=twin.key,
            type=RecordType(twin.type),
            data=dict(twin.data),
            occurred_at=twin.at,  # type: ignore[arg-type]
            version=str(twin.version) if self.remote.tells_versions else None,
            guid=twin.guid,
            members=twin.members,
            is_deleted=twin.is_gone,
        )

    async def follow_up(self, followed: Sequence[Followed]) -> Sequence[FollowUp]:
        self._called("follow_up")
        if self.remote.on_follow is not None:
            await self.remote.on_follow()
        return [self.remote.follow_ups[one.guid] for one in followed if one.guid in self.remote.follow_ups]

    async def close(self) -> None:
        self.is_closed = True

    def _called(self, what: str) -> None:
        self.remote.calls.append(what)

    def _require_up(self) -> None:
        if self.remote.is_away:
            failure = Failure(code="SYSTEM_AWAY", message="It cannot be reached.", retryable=True)
            raise AdapterError(failure, retry_after_seconds=self.remote.retry_after)


KIND = AdapterKind(
    name=TYPE,
    label="Test double",
    version="1.0.0",
    capabilities=frozenset({Capability.PUSH, Capability.PULL}),
    options=DoubleOptions,
    create=DoubleAdapter,
    identity=("url", "database"),
    event_user="double-sync",
)
