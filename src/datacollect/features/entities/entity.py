"""One entity: its fields, who wrote each last, and what a write or a delete makes of it. Pure values and rules.

Each top-level field of `data` has the stamp of its last write. A write with a smaller stamp loses that field, and only
that; a delete takes all fields with smaller stamps. So the data that a set of writes and deletes gives does not depend
on the order in which they arrive.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from datacollect.eventstore.event import Event, Origin
from datacollect.eventstore.projection import Context
from datacollect.kernel.canonical import is_same_json
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import has_guids_length

UNKNOWN_FORM = "Unknown"
"""What entities without a form are counted under."""


class Kind(StrEnum):
    GROUP = "group"
    INDIVIDUAL = "individual"
    RECORD = "record"


_DEFAULT_NAMES = {
    Kind.GROUP: "Unnamed Group",
    Kind.INDIVIDUAL: "Unnamed Individual",
    Kind.RECORD: "Unnamed Record",
}


class Place(NamedTuple):
    """What decides whether a limited reader holds an entity."""

    kind: Kind
    area: str | None


class Stamp(NamedTuple):
    """When a write counts as made: its effective time, then, between equal times, its place in the log."""

    time: int
    position: int


FLOOR = Stamp(-100_000_000_000_000, 0)
"""Below every write there can be (no event is older than the year 1): the stamp of names filled in by default."""


def stamp_of(event: Event, context: Context) -> Stamp:
    """The device's clock counts, but not for the future: a clock that is ahead wins nothing by it.

    Seeds count as made before everything else, so that any device's edit wins over them; what the hub derives counts
    as made when it is stored, whatever became of the clock.
    """
    if context.origin is Origin.DERIVED:
        return Stamp(context.recorded_at, context.position)
    if context.origin is Origin.SEED:
        return Stamp(FLOOR.time, context.position)
    return Stamp(min(event.occurred_at, context.recorded_at), context.position)


class FormerName(NamedTuple):
    """The last name that was not empty, kept while `data.name` is empty: an entity is still called that."""

    name: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Entity:
    """The state of one entity, or its tombstone: then `latest` is None, and `data` is empty."""

    guid: str
    kind: Kind | None
    version: int
    data: Mapping[str, Any]
    base: Stamp
    """The stamp of every field that `exceptions` does not name."""
    exceptions: Mapping[str, Stamp]
    latest: Stamp | None
    """The latest write of any of its data."""
    deleted: Stamp | None
    former_name: FormerName | None
    changed_position: int
    last_updated: Millis

    @property
    def is_live(self) -> bool:
        return self.latest is not None

    @property
    def name(self) -> str | None:
        """What people call it. Source: the contract's model, 3.3, and entities, 2.3."""
        if self.kind is None or self.latest is None:
            return None
        data = self.data
        name = text_in(data, "_displayName") or text_in(data, "name")
        if name:
            return name
        return self.former_name.name if self.former_name else default_name(self.kind, data)

    @property
    def entity_name(self) -> str | None:
        """The form it came from."""
        return text_in(self.data, "entityName")

    @property
    def area_id(self) -> str | None:
        return _id_in(self.data, "area_id")

    @property
    def parent_guid(self) -> str | None:
        """Records say `parentId`; `parentGuid` is what older clients send."""
        return parent_in(self.data)

    def stamp_of_field(self, field: str) -> Stamp:
        return self.exceptions.get(field, self.base)


@dataclass(frozen=True, slots=True)
class LostWrite:
    """A value that did not become part of an entity, because a later write, or a delete, had been applied before it."""

    entity_guid: str
    field: str
    kept: Any
    """The value that stays; None when the entity is deleted, see `kept_stamp`."""
    kept_stamp: Stamp
    """Of the write, or of the delete; its position leads to the event."""
    lost: Any
    lost_stamp: Stamp


def text_in(data: Mapping[str, Any], key: str) -> str | None:
    """A text that is not empty; everything else counts as absent."""
    value = data.get(key)
    return value if value and isinstance(value, str) else None


def parent_in(data: Mapping[str, Any]) -> str | None:
    """The guid of the parent that data names."""
    return _id_in(data, "parentId") or _id_in(data, "parentGuid")


def parents_in(data: Mapping[str, Any]) -> Iterator[str]:
    """The guids that may be the parent's: the second is, once the first is taken away."""
    return filter(None, (_id_in(data, "parentId"), _id_in(data, "parentGuid")))


def _id_in(data: Mapping[str, Any], key: str) -> str | None:
    """A text that can be an id: longer ones cannot be looked up."""
    value = text_in(data, key)
    return value if value is None or has_guids_length(value) else None


def items_in(data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The objects in a list; everything else counts as absent."""
    value = data.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def once_each(items: Iterable[Mapping[str, Any]], *keys: str) -> list[Mapping[str, Any]]:
    """The first of those that agree in these keys, and all that have none of them."""
    found: dict[str, Mapping[str, Any]] = {}
    for index, item in enumerate(items):
        named = [item.get(key) for key in keys]
        found.setdefault(repr(named) if any(value is not None for value in named) else str(index), item)
    return list(found.values())


def default_name(kind: Kind, data: Mapping[str, Any]) -> str:
    return (text_in(data, "entityName") if kind is Kind.RECORD else None) or _DEFAULT_NAMES[kind]


# -- writing


def write(
    held: Entity | None,
    guid: str,
    kind: Kind,
    fields: Mapping[str, Any],
    *,
    stamp: Stamp,
    context: Context,
    lost: list[LostWrite],
) -> Entity | None:
    """The entity after a write of some of its fields; None if nothing changes. Losing values are added to `lost`.

    A write creates what is not there. The kind of what is there stays.
    """
    if held is None:
        return _create(guid, kind, fields, stamp, context, version=1, deleted=None)
    if held.deleted is not None and stamp < held.deleted:
        lost += [LostWrite(guid, field, None, held.deleted, value, stamp) for field, value in fields.items()]
        return None
    if not held.is_live:
        return _create(guid, kind, fields, stamp, context, version=held.version + 1, deleted=held.deleted)
    return _merge(held, fields, stamp, context, lost)


def set_fields(held: Entity, fields: Mapping[str, Any], *, stamp: Stamp, context: Context) -> Entity:
    """The entity with fields that were computed from what it held, so that nothing is lost by writing them.

    They do not keep an entity alive: a delete takes them along, however late it arrives.
    """
    exceptions = {**held.exceptions, **{name: max(stamp, held.stamp_of_field(name)) for name in fields}}
    data = {**held.data, **fields}
    base, exceptions = _compact(data, held.base, exceptions)
    return replace(
        held,
        version=held.version + 1,
        data=data,
        base=base,
        exceptions=exceptions,
        changed_position=context.position,
        last_updated=context.recorded_at,
    )


def _create(
    guid: str,
    kind: Kind,
    fields: Mapping[str, Any],
    stamp: Stamp,
    context: Context,
    *,
    version: int,
    deleted: Stamp | None,
) -> Entity:
    data = dict(fields)
    exceptions: dict[str, Stamp] = {}
    if "name" not in data:
        _fill_in_name(kind, data, exceptions)
    return Entity(
        guid, kind, version, data, stamp, exceptions, stamp, deleted, None, context.position, context.recorded_at
    )


def _merge(
    held: Entity, fields: Mapping[str, Any], stamp: Stamp, context: Context, lost: list[LostWrite]
) -> Entity | None:
    assert held.kind is not None
    assert held.latest is not None
    data, exceptions = dict(held.data), dict(held.exceptions)
    won = False
    for field, value in fields.items():
        if field in data and stamp < (other := held.stamp_of_field(field)):
            if not is_same_json(data[field], value):
                lost.append(LostWrite(held.guid, field, data[field], other, value, stamp))
            continue
        data[field] = value
        exceptions[field] = stamp
        won = True
    former_name = _former_name(held, fields["name"], stamp) if "name" in fields else held.former_name
    if not won and stamp < held.latest and former_name is held.former_name:
        return None
    _fill_in_name(held.kind, data, exceptions)
    base, exceptions = _compact(data, held.base, exceptions)
    return Entity(
        held.guid,
        held.kind,
        held.version + 1,
        data,
        base,
        exceptions,
        max(held.latest, stamp),
        held.deleted,
        former_name,
        context.position,
        context.recorded_at,
    )


def _fill_in_name(kind: Kind, data: dict[str, Any], exceptions: dict[str, Stamp]) -> None:
    """Give data without a written name the default one; that of a record follows its form's name."""
    if "name" not in data or exceptions.get("name") == FLOOR:
        data["name"] = default_name(kind, data)
        exceptions["name"] = FLOOR


def _former_name(held: Entity, written: Any, stamp: Stamp) -> FormerName | None:
    """The former name after a write of `name`, however late that write arrives."""
    current, current_stamp = text_in(held.data, "name"), held.stamp_of_field("name")
    name = written if written and isinstance(written, str) else None
    if name is None:
        empties = current is not None and current_stamp != FLOOR and stamp > current_stamp
        return FormerName(current, current_stamp) if current is not None and empties else held.former_name
    if stamp > current_stamp:
        return None
    if current is not None or (held.former_name is not None and held.former_name.stamp > stamp):
        return held.former_name
    return FormerName(name, stamp)


def _compact(data: Mapping[str, Any], base: Stamp, exceptions: dict[str, Stamp]) -> tuple[Stamp, dict[str, Stamp]]:
    """Let the stamp that most fields share be the base, once the exceptions outweigh it."""
    if len(exceptions) * 2 <= len(data):
        return base, exceptions
    counts = Counter(exceptions.get(field, base) for field in data)
    del counts[FLOOR]
    if not counts:
        return base, exceptions
    # Ties go to the later stamp: the choice must not depend on the order of the fields, which a database may change.
    new = max(counts, key=lambda stamp: (counts[stamp], stamp))
    return new, {field: stamp for field in data if (stamp := exceptions.get(field, base)) != new}


# -- deleting


def delete(held: Entity | None, guid: str, *, stamp: Stamp, context: Context) -> Entity | None:
    """What a delete leaves: a tombstone, or the fields that were written later. None if nothing changes.

    An entity that is not known leaves a tombstone too: its creation may arrive after its end.
    """
    if held is None:
        return Entity(guid, None, 0, {}, FLOOR, {}, None, stamp, None, context.position, context.recorded_at)
    if held.deleted is not None and stamp < held.deleted:
        return None
    version = held.version + 1 if held.is_live else held.version
    if held.latest is None or held.latest < stamp:
        return Entity(guid, held.kind, version, {}, FLOOR, {}, None, stamp, None, context.position, context.recorded_at)
    assert held.kind is not None
    data = {field: value for field, value in held.data.items() if held.stamp_of_field(field) > stamp}
    exceptions = {field: other for field, other in held.exceptions.items() if field in data}
    former = held.former_name
    _fill_in_name(held.kind, data, exceptions)
    base, exceptions = _compact(data, held.base, exceptions)
    return replace(
        held,
        version=version,
        data=data,
        base=base,
        exceptions=exceptions,
        deleted=stamp,
        former_name=former if former and former.stamp > stamp else None,
        changed_position=context.position,
        last_updated=context.recorded_at,
    )


# -- membership


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether one entity is a member of one group, by the last word on it."""

    group_guid: str
    member_guid: str
    ordinal: int
    """Members are listed by it: in the order in which they joined."""
    present: bool
    stamp: Stamp
