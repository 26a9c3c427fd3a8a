"""Whether an event is within what its sender may touch. Pure. Source: the contract's sync area, 3.3.1 and 3.3.2.

Stricter than the reference, as its weak points ask: an event that creates is also judged by what it would overwrite.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from datacollect.eventstore.event import Event
from datacollect.features.entities.entity import Entity, Kind, Place, parent_in, text_in
from datacollect.features.entities.errors import EntityUnknownInReach, OutOfReach, UnauthorizedMember
from datacollect.kernel.sync_scope import Reach

_CREATED_KINDS = {"create-individual": Kind.INDIVIDUAL, "create-group": Kind.GROUP}
_REVIVED_KINDS = {"update-individual": Kind.INDIVIDUAL, "update-group": Kind.GROUP}
PLACING = ("area_id", "parentId", "parentGuid")
"""The fields that say where an entity is."""
LONGEST_ANCESTRY = 32
"""Records of records of …: further up nobody looks."""

Find = Callable[[str], Entity | None]


def require_reach(find: Find, event: Event, reach: Reach, ended: Collection[str] = ()) -> None:
    """Raises `OutOfReach` if the event's entity is not, or would not be, within reach.

    Those who have `ended` within it still are: a device that did not know of it says so in good faith.
    """
    held = find(event.entity_guid)
    live = held if held is not None and held.is_live else None
    if live is not None and not is_within(reach, live, find, ended):
        raise OutOfReach(path=["entityGuid"])
    if live is None and event.type in _CREATED_KINDS:
        if not reach.includes(_CREATED_KINDS[event.type], _area_named_by(event, find)):
            raise OutOfReach(path=["data", "area_id"])
    elif live is None and event.type == "create-record":
        _require_parent(find, event, reach, ended)
    elif live is not None:
        _require_named_place(find, live.kind, event, reach, ended)
    elif held is not None and is_within(reach, held, find, ended):
        _require_named_place(find, _REVIVED_KINDS.get(event.type, Kind.RECORD), event, reach, ended)
    else:
        raise EntityUnknownInReach(path=["entityGuid"])


def require_to_stay(
    event: Event,
    changed: Iterable[str],
    find_before: Find,
    find: Find,
    reach: Reach,
    ended: Collection[str] = (),
) -> None:
    """Raises `OutOfReach` or `UnauthorizedMember` if a write takes something along that was within reach and is not now,
    or puts somebody new, or who was nowhere, into an area beyond it.

    Asked after the event has been applied: what gives an entity its place, its area or one of its parents, is whatever
    stands when all its fields have been written.
    """
    if not event.type.startswith(("create-", "update-", "add-")):
        return
    for guid in changed:
        before, after = find_before(guid), find(guid)
        if after is None or not after.is_live:
            continue
        if before is not None and before.is_live and is_within(reach, before, find_before, ended):
            stays = is_within(reach, after, find, ended)
        else:
            place = place_of(after, find)
            stays = (
                place is None
                or place == place_of(before, find_before)
                or _may_put(reach, place, find(event.entity_guid))
            )
        if not stays:
            if guid == event.entity_guid:
                raise OutOfReach(path=["data"])
            raise UnauthorizedMember(path=["data", "members"])


def is_within(reach: Reach, entity: Entity, find: Find, ended: Collection[str] = ()) -> bool:
    """Whether a stored entity is within reach. Who has no place is, and what is below them, if they `ended` within it."""
    place = place_of(entity, find)
    if place is not None and place.area is not None:
        return reach.includes(place.kind, place.area)
    return (place is not None and reach.includes(place.kind, None)) or _uppermost(entity, find).guid in ended


def as_told(event: Event, position: int, reach: Reach, find: Find) -> Event:
    """The event as who has that reach is told of it: of members beyond it who and where they are, as in snapshots."""
    members = event.data.get("members")
    if not isinstance(members, list):
        return event
    place = place_of(find(event.entity_guid), find)
    told = _members_told(members, position, reach, find, area=None if place is None else place.area)
    return event if told == members else replace(event, data=event.data | {"members": told})


def _members_told(members: list[Any], position: int, reach: Reach, find: Find, *, area: str | None) -> list[Any]:
    """`area` is where their group is."""
    told: list[Any] = []
    for member in members:
        if not isinstance(member, dict):
            told.append(member)
            continue
        guid = text_in(member, "guid")
        held = find(guid) if guid is not None else None
        place = place_of(held, find)
        # What was said in a life that has ended was maybe said elsewhere.
        has_ended = held is None or (held.deleted is not None and position <= held.deleted.position)
        if has_ended or place is None or not _is_told(place, reach, area):
            told.append({key: member[key] for key in ("guid", *PLACING) if key in member})
        elif isinstance(below := member.get("members"), list):
            there = _members_told(below, position, reach, find, area=place.area or area)
            told.append(member | {"members": there})
        else:
            told.append(member)
    return told


def _is_told(place: Place, reach: Reach, area: str | None) -> bool:
    if place.area is None:
        return reach.includes_member(place.kind, area_id=area)
    return reach.includes(place.kind, place.area)


def _may_put(reach: Reach, place: Place, by: Entity | None) -> bool:
    """Whether somebody may be put into a place that is new to them: where their own kind is reached, or else the kind of
    the entity `by` whose event they come, as its members."""
    kinds = {place.kind, by.kind if by is not None else None}
    return any(reach.includes_area(place.area, of=kind) for kind in kinds)


def end_of_place(entity: Entity) -> int | None:
    """The position of the delete since which an entity has been nowhere: it does not exist, or says of no place."""
    if entity.deleted is None or (entity.is_live and not entity.data.keys().isdisjoint(PLACING)):
        return None
    return entity.deleted.position


def _uppermost(entity: Entity, find: Find) -> Entity:
    """Where looking for the place of somebody who has none comes to an end."""
    for _ in range(LONGEST_ANCESTRY):
        parent = find(entity.parent_guid) if entity.is_live and entity.parent_guid else None
        if parent is None:
            break
        entity = parent
    return entity


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


def _require_parent(find: Find, event: Event, reach: Reach, ended: Collection[str]) -> None:
    guid = parent_in(event.data)
    parent = find(guid) if guid else None
    is_there = parent is not None and (parent.is_live or parent.guid in ended)
    if parent is None or not is_there:
        raise EntityUnknownInReach("The record's parent is not known.", path=["data", "parentId"])
    if not is_within(reach, parent, find, ended):
        raise OutOfReach(path=["data", "parentId"])


def _require_named_place(find: Find, kind: Kind | None, event: Event, reach: Reach, ended: Collection[str]) -> None:
    """A place that an event names must be within reach, whether or not it comes to hold."""
    if not event.type.startswith(("create-", "update-")):
        return
    if kind is Kind.RECORD:
        if parent_in(event.data) is not None:
            _require_parent(find, event, reach, ended)
    elif "area_id" in event.data and not reach.includes(kind, event.data["area_id"]):
        raise OutOfReach(path=["data", "area_id"])


def _area_named_by(event: Event, find: Find) -> Any:
    if "area_id" in event.data:
        return event.data["area_id"]
    parent = parent_in(event.data)
    place = place_of(find(parent), find) if parent else None
    return place.area if place else None
