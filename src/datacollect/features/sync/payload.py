"""The body of a push: from decoded JSON to events, with every fault named."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from datacollect.db.turns import AT_ONCE, in_turns, others_turn
from datacollect.eventstore.event import Event, without_server_managed
from datacollect.features.entities.reserved import Path, without_reserved
from datacollect.features.sync.errors import InvalidPush
from datacollect.http.decoding import faults_of_items, items_of, strict_json, without_mark
from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.errors import InvalidJson, Issue, IssueCode
from datacollect.kernel.ids import LONGEST_GUID_BYTES, derived_guid, has_guids_length, is_uuid_text

_LONGEST_NAME = 512
"""Characters of an id, type or user id: far more than any producer uses."""

_TEXTS = ("guid", "entityGuid", "type", "timestamp", "userId")
_TELLING = (*_TEXTS, "data", "schemaVersion")
"""What a device sends alike each time: not so the level, nor a running `id` of its own."""

AS_SENT = "asSent"
"""The member of `data` under which an event that has not the shape of one is kept, whatever it is."""

MOST_ISSUES = 1000
"""Told of one push: a push of fifty million zeros has as many, and what tells of one takes more room than it."""

_MOST_LOOKED_AT = 100_000
"""Events of a body that cannot be decoded: half a second's work, and more than any device sends."""

MOST_KEPT_BYTES = 1024 * 1024
"""Of events of one push that cannot be decoded. As a text within a text, each may take six times its room."""

_WITH_VERDICTS = re.compile(rb'"atomic"[ \t\n\r]*:[ \t\n\r]*false')
"""Somewhere in a push that asks for them."""

_LARGEST_WHOLE = 2**53 - 1
"""The largest integer that every client reads back as it was."""


@dataclass(frozen=True, slots=True)
class Push:
    """A push as understood. `events` are in the order they were sent."""

    events: Sequence[Event]
    atomic: bool
    ignored: Mapping[int, Sequence[Path]]
    """Where an event, by its index, held keys that are reserved; it is taken without them."""
    as_sent: Mapping[int, Event]
    """Those events with the keys, by their index."""
    malformed: Mapping[int, Sequence[Issue]]
    """What is wrong with those that do not have the shape of an event, by their index. What stands for them among the
    events cannot be applied, and holds them under `AS_SENT`."""
    guids_sent: Mapping[int, str]
    """The guids by which their devices know those of them that came with one, by their index."""

    def refused(self) -> InvalidPush:
        """What a push is told of which nothing is taken because of these."""
        issues = [issue for some in self.malformed.values() for issue in some]
        return InvalidPush(issues, errors=issues)


def read_push(document: Any, *, reserved: frozenset[str] = frozenset()) -> Push:
    """Check a push body's shape. Raises `InvalidPush` with all issues, not only the first; of very many with the first.

    Unknown members are dropped (clients add their own running `id` to each event); `configId` is read by the route.
    `reserved` are the keys that no form may write in this program.
    """
    reading = _Reading(document, reserved)
    reading.take(reading.wire)
    pushed = reading.end()
    if pushed.malformed:
        raise pushed.refused()
    return pushed


async def read_push_in_turns(document: Any, *, reserved: frozenset[str] = frozenset()) -> Push:
    """As `read_push`, but for events without the shape of one, which are told in `malformed`; only very many are refused.
    Others have their turns while a large one is read."""
    reading = _Reading(document, reserved)
    async for some in in_turns(reading.wire):
        reading.take(some)
    return reading.end()


async def unreadable_events(body: bytes) -> Sequence[Issue]:
    """Which events it is because of whom a body cannot be decoded; none if it is something else. Others have their turns."""
    issues: list[Issue] = []
    try:
        for index, refused in enumerate(islice(faults_of_items(body, "events"), _MOST_LOOKED_AT)):
            if refused is not None:
                issues.append(_unreadable(refused, index))
            if len(issues) >= MOST_ISSUES:
                break
            if index % AT_ONCE == AT_ONCE - 1:
                await others_turn()
    except InvalidJson:
        return ()
    return issues


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An item of a push that cannot be decoded: its text, with U+FFFD for what is no text, and why."""

    text: str
    members: Mapping[str, Any]
    """Its guids, as far as they can be told."""
    fault: Issue


async def readable_part(body: bytes) -> dict[str, Any] | None:
    """A body that cannot be decoded, with `Unreadable` in the place of each event that cannot; None if it is something else,
    there are very many, they are long, or the push does not ask for verdicts. Others have their turns."""
    body = without_mark(body)
    if not _WITH_VERDICTS.search(body):
        return None
    found: list[Any] = []
    begin = end = faults = kept = 0
    try:
        for at, refused in islice(items_of(body, "events"), _MOST_LOOKED_AT + 1):
            index, text = len(found), body[at]
            begin, end = begin or at.start, at.stop
            if refused is None:
                found.append(strict_json(text))
            else:
                kept += len(text)
                if kept > MOST_KEPT_BYTES:
                    return None
                found.append(Unreadable(_kept_text(text), _guids_in(text), _unreadable(refused, index)))
                faults += 1
            if faults >= MOST_ISSUES or len(found) > _MOST_LOOKED_AT:
                return None
            if index % AT_ONCE == AT_ONCE - 1:
                await others_turn()
        envelope = strict_json(body[:begin] + body[end:])
    except InvalidJson:
        return None
    return {**envelope, "events": found} if faults and envelope.get("atomic") is False else None


def _guids_in(item: bytes) -> Mapping[str, Any]:
    """Read by a decoder that takes nearly anything: a device knows its events by their guids."""
    try:
        found = json.loads(item.decode(errors="replace"), strict=False)
    except (ValueError, RecursionError):
        return {}
    members = found if isinstance(found, dict) else {}
    texts = {name: members.get(name) for name in ("guid", "entityGuid")}
    return {name: text for name, text in texts.items() if isinstance(text, str) and text.isascii() and "\0" not in text}


def _kept_text(item: bytes) -> str:
    return item.decode(errors="replace").replace("\0", "\ufffd")


def _unreadable(refused: InvalidJson, index: int) -> Issue:
    text = refused.message.replace("The body", "The event").replace("the body", "the event")
    return _issue(IssueCode.UNREADABLE, ["events", index], text)


class _Reading:
    """One push as far as it has been read."""

    def __init__(self, document: Any, reserved: frozenset[str]) -> None:
        if not isinstance(document, dict):
            raise InvalidPush([_issue(IssueCode.INVALID_TYPE, [], "Expected object")], errors=[])
        self._reserved = reserved
        self._issues: list[Issue] = []
        self._events: list[Event] = []
        self._ignored: dict[int, Sequence[Path]] = {}
        self._as_sent: dict[int, Event] = {}
        self._malformed: dict[int, Sequence[Issue]] = {}
        self._guids_sent: dict[int, str] = {}
        self._faults = 0
        self._taken = 0
        self._atomic = document.get("atomic", True)
        if not isinstance(self._atomic, bool):
            self._issues.append(_issue(IssueCode.INVALID_TYPE, ["atomic"], "Expected boolean"))
        config_id = document.get("configId")
        if config_id is not None and not isinstance(config_id, str):
            self._issues.append(_issue(IssueCode.INVALID_TYPE, ["configId"], "Expected string"))
        wire = document.get("events")
        self.wire: Sequence[Any] = wire if isinstance(wire, list) else ()
        if not isinstance(wire, list):
            text = "Required" if wire is None else "Expected array"
            self._issues.append(_issue(IssueCode.INVALID_TYPE, ["events"], text))

    def take(self, some: Sequence[Any]) -> None:
        """The next items of `wire`."""
        for index, item in enumerate(some, self._taken):
            if self._faults >= MOST_ISSUES:
                break
            issues: list[Issue] = []
            event = _read_event(item, index, issues)
            if event is None:
                self._malformed[index] = issues
                self._faults += len(issues)
                self._events.append(_stand_in(item))
                if isinstance(guid := _members_of(item).get("guid"), str):
                    self._guids_sent[index] = guid
            else:
                data, paths = without_reserved(event.type, event.data, self._reserved)
                if paths:
                    self._as_sent[index], self._ignored[index] = event, paths
                    event = replace(event, data=data)
                self._events.append(event)
        self._taken += len(some)

    def end(self) -> Push:
        pushed = Push(self._events, self._atomic, self._ignored, self._as_sent, self._malformed, self._guids_sent)
        if self._issues or self._faults >= MOST_ISSUES:
            refused = pushed.refused()
            raise InvalidPush([*self._issues, *refused.issues], errors=[*self._issues, *refused.issues])
        return pushed


def _stand_in(item: Any) -> Event:
    """An event in the place of something that is none. It has no type, so that it can be kept and never be applied."""
    sent = _members_of(item)
    if isinstance(item, Unreadable):
        item = item.text
    guid, entity_guid = sent.get("guid"), sent.get("entityGuid")
    if not isinstance(guid, str) or not is_uuid_text(guid):
        guid = derived_guid("", "malformed", canonical_json(essence_of(item)).decode())
    if not isinstance(entity_guid, str) or not has_guids_length(entity_guid):
        entity_guid = ""
    return Event(guid, entity_guid, type="", data={AS_SENT: item}, occurred_at=Millis(0), user_id="")


def _members_of(item: Any) -> Mapping[str, Any]:
    if isinstance(item, Unreadable):
        return item.members
    return item if isinstance(item, dict) else {}


def essence_of(sent: Any) -> Any:
    """Of what has not the shape of an event, that by which it is known when it comes again."""
    told = {name: sent[name] for name in _TELLING if name in sent} if isinstance(sent, dict) else {}
    return told or sent


def _read_event(item: Any, index: int, issues: list[Issue]) -> Event | None:
    if isinstance(item, Unreadable):
        issues.append(item.fault)
        return None
    if not isinstance(item, dict):
        issues.append(_issue(IssueCode.INVALID_TYPE, ["events", index], "Expected object"))
        return None
    schema_version = item.get("schemaVersion")
    if not _is_of_right_types(item, schema_version):
        _name_wrong_types(item, index, schema_version, issues)
        return None
    occurred_at = _check_forms(item, index, issues)
    if occurred_at is None:
        return None
    return Event(
        guid=item["guid"],
        entity_guid=item["entityGuid"],
        type=item["type"],
        data=without_server_managed(item["data"]),
        occurred_at=occurred_at,
        user_id=item["userId"],
        schema_version=None if schema_version is None else int(schema_version),
    )


def _is_of_right_types(item: Mapping[str, Any], schema_version: Any) -> bool:
    for name in _TEXTS:
        text = item.get(name)
        if type(text) is not str or len(text) > _LONGEST_NAME:
            return False
    has_version = schema_version is None or _is_whole(schema_version)
    return isinstance(item.get("data"), dict) and _is_number(item.get("syncLevel")) and has_version


def _name_wrong_types(item: Mapping[str, Any], index: int, schema_version: Any, issues: list[Issue]) -> None:
    for name in _TEXTS:
        _check_text(item, name, index, issues)
    if not isinstance(item.get("data"), dict):
        issues.append(_wrong_type(item, "data", "object", index))
    if not _is_number(item.get("syncLevel")):
        issues.append(_wrong_type(item, "syncLevel", "number", index))
    if schema_version is not None and not _is_whole(schema_version):
        issues.append(_wrong_type(item, "schemaVersion", "whole number", index))


def _check_forms(item: Mapping[str, Any], index: int, issues: list[Issue]) -> Millis | None:
    """The rules beyond types; the event's time if all hold."""
    known = len(issues)
    if not is_uuid_text(item["guid"]):
        issues.append(_issue(IssueCode.INVALID_STRING, ["events", index, "guid"], "Expected a UUID"))
    if not item["entityGuid"]:
        issues.append(_issue(IssueCode.TOO_SMALL, ["events", index, "entityGuid"], "Expected at least 1 character"))
    elif not has_guids_length(item["entityGuid"]):
        text = f"Expected at most {LONGEST_GUID_BYTES} bytes"
        issues.append(_issue(IssueCode.TOO_BIG, ["events", index, "entityGuid"], text))
    occurred_at = None
    try:
        occurred_at = parse_timestamp(item["timestamp"])
    except ValueError:
        text = "Expected an ISO-8601 UTC timestamp ending in Z"
        issues.append(_issue(IssueCode.INVALID_STRING, ["events", index, "timestamp"], text))
    return occurred_at if len(issues) == known else None


def _check_text(item: Mapping[str, Any], name: str, index: int, issues: list[Issue]) -> None:
    value = item.get(name)
    if not isinstance(value, str):
        issues.append(_wrong_type(item, name, "string", index))
    elif len(value) > _LONGEST_NAME:
        text = f"Expected at most {_LONGEST_NAME} characters"
        issues.append(_issue(IssueCode.TOO_BIG, ["events", index, name], text))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and abs(value) <= _LARGEST_WHOLE and value == int(value)


def _wrong_type(item: Mapping[str, Any], name: str, expected: str, index: int) -> Issue:
    return _issue(
        IssueCode.INVALID_TYPE, ["events", index, name], f"Expected {expected}" if name in item else "Required"
    )


def _issue(code: IssueCode, path: list[str | int], message: str) -> Issue:
    return {"code": code, "path": path, "message": message}
