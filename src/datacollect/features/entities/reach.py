"""Whether an event is within what its sender may touch. Pure. Source: the contract's sync area, 3.3.1 and 3.3.2.

Stricter than the reference, as its weak points ask: an event that creates is also judged by what it would overwrite.
"""

from collections.abc import Callable, Iterable
from typing import Any

from datacollect.eventstore.event import Event
from datacollect.features.entities.entity import Entity, Kind, Place, parent_in
from datacollect.features.entities.errors import EntityUnknownInReach, OutOfReach, UnauthorizedMember
from datacollect.kernel.sync_scope import Reach

_CREATED_KINDS = {"create-individual": Kind.INDIVIDUAL, "create-group": Kind.GROUP}
LONGEST_ANCESTRY = 32
"""Records of records of …: further up nobody looks."""

Find = Callable[[str], Entity | None]


def require_reach(find: Find, event: Event, reach: Reach) -> None:
    """Raises `OutOfReach` if the event's entity is not, or would not be, within reach."""
    held = find(event.entity_guid)
    live = held if held is not None and held.is_live else None
    if live is not None and not is_within(reach, live, find):
        raise OutOfReach(path=["entityGuid"])
    if live is None and event.type in _CREATED_KINDS:
        if not reach.includes(_CREATED_KINDS[event.type], _area_named_by(event, find)):
            raise OutOfReach(path=["data", "area_id"])
    elif live is None and event.type == "create-record":
        _require_parent(find, event, reach)
    elif live is None:
        raise EntityUnknownInReach(path=["entityGuid"])
    else:
        _require_named_place(find, live, event, reach)


def require_to_stay(event: Event, changed: Iterable[str], find_before: Find, find: Find, reach: Reach) -> None:
    """Raises `OutOfReach` or `UnauthorizedMember` if a write takes something along that was within reach and is not now.

    Asked after the event has been applied: what gives an entity its place, its area or one of its parents, is whatever
    stands when all its fields have been written.
    """
    if not event.type.startswith(("create-", "update-", "add-")):
        return
    for guid in changed:
        before, after = find_before(guid), find(guid)
        if before is None or after is None or not (before.is_live and after.is_live):
            continue
        if is_within(reach, before, find_before) and not is_within(reach, after, find):
            if guid == event.entity_guid:
                raise OutOfReach(path=["data"])
            raise UnauthorizedMember(path=["data", "members"])


def is_within(reach: Reach, entity: Entity, find: Find) -> bool:
    """Whether a stored entity is within reach."""
    place = place_of(entity, find)
    return place is not None and reach.includes(place.kind, place.area)


def place_of(entity: Entity | None, find: Find) -> Place | None:
    """Where an entity is. A record is where and what its parent is; who has no area of their own is where theirs is.

    None for what does not exist, and for a record of nobody known.
    """
    kind: Kind | None = None
    for _ in range(LONGEST_ANCESTRY):
        if entity is None or not entity.is_live:
            break
        if entity.kind is not Kind.RECORD:
            kind = kind or entity.kind
            if entity.area_id is not None:
                assert kind is not None
                return Place(kind, entity.area_id)
        entity = find(entity.parent_guid) if entity.parent_guid else None
    return Place(kind, None) if kind is not None else None


def _require_parent(find: Find, event: Event, reach: Reach) -> None:
    guid = parent_in(event.data)
    parent = find(guid) if guid else None
    if parent is None or not parent.is_live:
        raise EntityUnknownInReach("The record's parent is not known.", path=["data", "parentId"])
    if not is_within(reach, parent, find):
        raise OutOfReach(path=["data", "parentId"])


def _require_named_place(find: Find, entity: Entity, event: Event, reach: Reach) -> None:
    """A place that an event names must be within reach, whether or not it comes to hold."""
    if not event.type.startswith(("create-", "update-")):
        return
    if entity.kind is Kind.RECORD:
        if parent_in(event.data) is not None:
            _require_parent(find, event, reach)
    elif "area_id" in event.data and not reach.includes(entity.kind, event.data["area_id"]):
        raise OutOfReach(path=["data", "area_id"])


def _area_named_by(event: Event, find: Find) -> Any:
    if "area_id" in event.data:
        return event.data["area_id"]
    parent = parent_in(event.data)
    place = place_of(find(parent), find) if parent else None
    return place.area if place else None
