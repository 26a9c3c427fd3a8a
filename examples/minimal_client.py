"""A complete offline-first client: standard library only. docs/explanation/sync-protocol.md says why it does what.

What the hub delivers is folded into `entities`; what is recorded here is laid over that on reading, from the `outbox`,
until it comes back in a pull. So a refused event leaves nothing behind but its row there."""

import json
import sqlite3
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

SCHEMA = """CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value);
CREATE TABLE IF NOT EXISTS entities (guid TEXT PRIMARY KEY, state TEXT);
CREATE TABLE IF NOT EXISTS seen (guid TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY, guid TEXT UNIQUE, event TEXT, state TEXT, said TEXT)"""


class Offline(Exception):
    """No answer, or the hub cannot just now. Everything is kept: sync again later."""


class Stopped(Exception):
    """The hub says no, and repeating will not help: somebody has to sign in, be given access, or update this."""


class Client:
    def __init__(self, path: str, hub: str, program: str, device: str, clock: Callable[[], float] = time.time) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript(SCHEMA)
        self.hub, self.program, self.device, self.clock = hub, program, device, clock

    def sign_in(self, email: str, password: str) -> None:
        self._renew("/api/users/login", {"email": email, "password": password})

    def record(self, kind: str, entity: str, data: dict[str, Any]) -> str:
        """Note what happened, connected or not."""
        guid, made = str(uuid.uuid4()), {"timestamp": self._now(), "userId": self.device, "syncLevel": 0}
        event = json.dumps({"guid": guid, "entityGuid": entity, "type": kind, "data": data, **made})
        self.db.execute("INSERT INTO outbox VALUES (NULL, ?, ?, 'new', NULL)", (guid, event))
        return guid

    def entities(self) -> dict[str, dict[str, Any]]:
        """The data as it will be when the hub takes what waits in the outbox."""
        state = {guid: json.loads(text) for guid, text in self.db.execute("SELECT guid, state FROM entities")}
        for (text,) in self.db.execute("SELECT event FROM outbox WHERE state <> 'refused' ORDER BY number"):
            fold(state, json.loads(text))
        return {g: {k: value for k, (_, value) in e["fields"].items()} for g, e in state.items() if e["fields"]}

    def refused(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """What the hub did not take, and why: to be shown to somebody, corrected and recorded anew."""
        rows = self.db.execute("SELECT event, said FROM outbox WHERE state = 'refused' ORDER BY number")
        return [(json.loads(event), json.loads(said)) for event, said in rows]

    def push(self) -> None:
        # Before an event is sent for the first time, a clock that was ahead is set right; from then on it never changes.
        corrected = "json_set(event, '$.timestamp', min(event ->> 'timestamp', ?))"
        self.db.execute(f"UPDATE outbox SET state = 'sent', event = {corrected} WHERE state = 'new'", (self._now(),))
        while rows := self.db.execute(
            "SELECT event FROM outbox WHERE state = 'sent' ORDER BY number LIMIT 50"
        ).fetchall():
            events = [json.loads(text) for (text,) in rows]
            body = {"configId": self.program, "events": events, "atomic": False}
            status, said = self._call("POST", "/api/sync/push", body, expected=(200, 207, 400))
            refused = {verdict["index"]: verdict for verdict in said.get("failed", ())}
            if status == 400:  # some events cannot even be read: the others are sent again without them
                refused = {i["path"][1]: i for i in said.get("errors", ()) if i["path"][:1] == ["events"]}
            if status == 400 and not refused:
                raise Stopped(f"{status} {said.get('code')}: {said['message']}")
            judged = [i for i in range(len(events)) if status != 400 or i in refused]
            marks = [
                ("refused" if i in refused else "taken", json.dumps(refused.get(i)), events[i]["guid"]) for i in judged
            ]
            self.db.executemany("UPDATE outbox SET state = ?, said = ? WHERE guid = ?", marks)

    def pull(self) -> None:
        more = True
        while more:
            query = urlencode({"configId": self.program, "since": self._kept("cursor") or "", "limit": 1000})
            page = self._call("GET", f"/api/sync/pull?{query}")[1]
            with self.db:  # a page and the cursor behind it: both or neither
                self.db.execute("BEGIN IMMEDIATE")
                if self._kept("scope") not in (None, page["scope"]["hash"]):
                    # Another part of the program from now on: begin anew. What waits stays.
                    for rows in ("entities", "seen", "outbox WHERE state = 'taken'"):
                        self.db.execute(f"DELETE FROM {rows}")
                    page = {"events": [], "nextCursor": "", "scope": page["scope"]}
                for event in page["events"]:
                    self._take(event)
                    self._keep(cursor=f"{event['timestamp']}|{event['guid']}")
                if more := page["nextCursor"] is not None:
                    self._keep(cursor=page["nextCursor"])
                self._keep(scope=page["scope"]["hash"])

    def _take(self, event: dict[str, Any]) -> None:
        if self.db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (event["guid"],)).rowcount:
            touched = [event["entityGuid"], *(member["guid"] for member in event["data"].get("members", ()))]
            some = "SELECT guid, state FROM entities WHERE guid IN (SELECT value FROM json_each(?))"
            state = {guid: json.loads(text) for guid, text in self.db.execute(some, (json.dumps(touched),))}
            fold(state, event)
            changed = [(guid, json.dumps(entity)) for guid, entity in state.items()]
            self.db.executemany("INSERT OR REPLACE INTO entities VALUES (?, ?)", changed)
        self.db.execute("DELETE FROM outbox WHERE guid = ? AND state <> 'refused'", (event["guid"],))

    def _call(self, method: str, path: str, body: Any = None, expected: tuple[int, ...] = (200,)) -> tuple[int, Any]:
        """An exchange; when the access token has run out, once more with a new one."""
        status, said = self._ask(method, path, body, (*expected, 401))
        if status != 401:
            return status, said
        self._renew("/api/users/refresh", {"refreshToken": self._kept("refresh")})
        return self._ask(method, path, body, expected)

    def _renew(self, path: str, body: dict[str, Any]) -> None:
        said = self._ask("POST", path, body)[1]
        self._keep(token=said["token"], refresh=said["refreshToken"])

    def _ask(self, method: str, path: str, body: Any, expected: tuple[int, ...] = (200,)) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", "X-Device-Id": self.device}
        headers["Authorization"] = f"Bearer {self._kept('token')}"
        request = Request(self.hub + path, body and json.dumps(body).encode(), headers, method=method)
        for _ in range(5):
            try:
                try:
                    answer = urlopen(request, timeout=60)
                except HTTPError as error:
                    answer = error
                with answer:
                    said = json.loads(answer.read())
            except (OSError, HTTPException, ValueError) as error:
                raise Offline(str(error)) from error
            off = parsedate_to_datetime(answer.headers["Date"]).timestamp() - self.clock()
            self._keep(offset=off if abs(off) > 5 else 0)  # the header is a second coarse
            if answer.status in expected:
                return answer.status, said
            if answer.status not in (429, 503):
                raise Stopped(f"{answer.status} {said.get('code')}: {said['message']}")
            time.sleep(min(float(answer.headers.get("Retry-After", 1)), 60))
        raise Offline(said["message"])

    def _now(self) -> str:
        """The hub's time as far as known: our clock, corrected by what it was off when the hub last answered."""
        moment = datetime.fromtimestamp(self.clock() + (self._kept("offset") or 0), UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _kept(self, name: str) -> Any:
        return next((value for (value,) in self.db.execute("SELECT value FROM kept WHERE name = ?", (name,))), None)

    def _keep(self, **values: Any) -> None:
        self.db.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", values.items())


def fold(state: dict[str, Any], event: dict[str, Any]) -> None:
    """Bring entities up to an event. Of each field the write with the latest time holds, of equal ones the later."""
    at, kind, data = event["timestamp"], event["type"], dict(event["data"])
    entity = state.setdefault(event["entityGuid"], {"fields": {}, "gone": ""})
    if kind == "delete-entity" or (kind == "resolve-duplicate" and data.get("shouldDelete")):
        entity["gone"] = max(entity["gone"], at)
        entity["fields"] = {name: held for name, held in entity["fields"].items() if held[0] > at}
    elif kind.startswith(("create-", "update-", "add-member")):
        joins, is_snapshot = kind == "add-member", event["userId"] == "system" and kind.startswith("create-")
        if is_snapshot and not entity["fields"]:
            entity["gone"] = ""  # the hub holds it, whatever ended here
        is_late, members = at < entity["gone"], data.pop("members", ())
        for member in () if is_snapshot else members:  # a snapshot's have snapshots of their own
            is_known = bool(state.get(member["guid"], {}).get("fields"))
            if (joins and is_known) or (is_late and not is_known):
                continue  # whoever is new and late would have gone with the group
            told = {name: value for name, value in member.items() if name != "guid"}
            fold(state, {**event, "entityGuid": member["guid"], "type": "update-individual", "data": told})
        for name, value in () if joins or is_late else data.items():
            held = entity["fields"].get(name, ["", None])
            if at >= held[0] and not (is_snapshot and value == held[1]):
                entity["fields"][name] = [at, value]
