"""Reads what a workflow gives: items that are events, records as we push them, or plain objects.

Nothing of an item is believed but what it says about a record: not who did it, not a level, not a type that the program has
not allowed. Whoever can answer under the webhook's address can therefore change records, and nothing else.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from datacollect.adapters.leniently import digest_of, is_sound
from datacollect.adapters.port import Incoming, RecordType
from datacollect.adapters.times import instant
from datacollect.kernel.canonical import MAXIMUM_DEPTH, canonical_json, is_deeper
from datacollect.kernel.clock import Millis, format_timestamp

DELETION = "delete-entity"
PLAIN = "external-pull"
"""What an item without a type is called in the reference. No event of that type does anything: it becomes an update."""

_TYPES = {f"{verb}-{kind}": kind for verb in ("create", "update") for kind in RecordType}
ALLOWED = (*_TYPES,)
KNOWN = (*_TYPES, DELETION)

_ENVELOPE = frozenset({"type", "guid", "entityGuid", "id", "timestamp", "userId", "syncLevel", "version", "deleted"})


class Unreadable(Exception):
    """An item that cannot become a change of a record; says why, and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Item:
    """What came, and where it stands among the others."""

    raw: Any
    time: Millis | None
    """None where it has none, or one that cannot be read."""
    digest: str
    is_sound: bool = True
    """Whether all its values can be read."""

    @property
    def place(self) -> tuple[int, str]:
        """By time, those without one first; the same item has the same place in every answer."""
        return (0 if self.time is None else self.time, self.digest)


def as_item(raw: Any) -> Item:
    if is_deeper(raw, MAXIMUM_DEPTH):
        return Item(None, None, "0" * 32)
    if not is_sound(raw):
        return Item(None, None, digest_of(raw)[:32], is_sound=False)
    digest = hashlib.sha256(canonical_json(raw)).hexdigest()[:32]
    try:
        time = _time_of(raw) if isinstance(raw, dict) else None
    except Unreadable:
        time = None
    return Item(raw, time, digest)


def named(item: Item) -> str:
    """Names it to who has it, and tells nothing to who has not."""
    if not item.is_sound:
        return f"known as {item.digest[:16]}…"
    return f"SHA-256 of its canonical JSON: {item.digest[:16]}…"


def read_item(item: Item, *, form_types: Mapping[str, str], allowed: Collection[str]) -> Incoming:
    """The record an item tells of. Raises `Unreadable`."""
    raw = item.raw
    if not item.is_sound:
        raise Unreadable("it holds half a character, or a number beyond all bounds")
    if not isinstance(raw, dict):
        raise Unreadable("it is not an object, or nested too deeply")
    identity, name = _identity_of(raw), raw.get("type")
    occurred_at, data = _time_of(raw), _data_of(raw)
    is_deleted = name == DELETION or raw.get("deleted") is True
    if (isinstance(name, str) and name in KNOWN and name not in allowed) or (is_deleted and DELETION not in allowed):
        raise Unreadable("events of its type are not allowed")
    return Incoming(
        external_id=identity,
        guid=identity,
        type=_record_type(name, raw, data, form_types),
        data=data,
        occurred_at=occurred_at,
        version=None if occurred_at is None else format_timestamp(occurred_at),
        is_deleted=is_deleted,
        event_type=name if isinstance(name, str) and name in _TYPES else None,
        event_guid=_event_of(item),
    )


def _identity_of(raw: Mapping[str, Any]) -> str:
    # `guid` last: in an event it names the event, in a record as we push it the record.
    for name in ("entityGuid", "id", "guid"):
        if identity := _text(raw.get(name)):
            return identity
    raise Unreadable("it has neither entityGuid nor id")


def _event_of(item: Item) -> str | None:
    """What tells that an item is the same one again. Without a time a record may well be as it was once before."""
    guid = _text(item.raw.get("guid")) if item.raw.get("type") in KNOWN else None
    return guid or (None if item.time is None else item.digest)


def _text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def _time_of(raw: Mapping[str, Any]) -> Millis | None:
    value = raw.get("timestamp")
    time = instant(value)
    if time is None and value is not None:
        raise Unreadable("its timestamp cannot be read")
    return time


def _data_of(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of the record: `data` if there is one, else the item without what is around it."""
    data = raw.get("data")
    if data is None:
        data = {name: value for name, value in raw.items() if name not in _ENVELOPE and name != "data"}
    if not isinstance(data, dict):
        raise Unreadable("its data is not an object")
    return {name: value for name, value in data.items() if not name.startswith("_")}


def _record_type(
    name: Any, raw: Mapping[str, Any], data: Mapping[str, Any], form_types: Mapping[str, str]
) -> RecordType | None:
    if name == DELETION:
        return None
    if name is None or name == PLAIN:
        form = data.get("entityName", raw.get("entityName"))
        return RecordType(form_types[form]) if isinstance(form, str) and form in form_types else None
    if not isinstance(name, str):
        raise Unreadable("its type is not a text")
    try:
        return RecordType(_TYPES.get(name, name))
    except ValueError:
        raise Unreadable("its type is none that records have") from None
