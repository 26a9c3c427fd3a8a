"""The events by which one entity takes another one's place. Pure.

They are of types that every client knows, in an order in which every client comes to the same: what is in the one that goes
is moved first, so that nothing goes with it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.eventstore.event import Event, without_server_managed
from datacollect.features.duplicates.errors import CannotMerge
from datacollect.features.duplicates.model import Pair
from datacollect.features.entities import attendance, enrolment, entitlements
from datacollect.features.entities.entity import FLOOR, Entity, Kind, Membership
from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import new_guid

_NEVER_MERGED = frozenset({"entityName", "members", "memberIds", "_displayName"})
_PARENT_KEYS = ("parentId", "parentGuid")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What hangs on the two."""

    groups_of_survivor: Sequence[str]
    groups_of_merged: Sequence[str]
    members_of_survivor: Sequence[str]
    members_of_merged: Sequence[tuple[str, Kind]]
    children_of_merged: Sequence[Entity]
    """Those whose parent it is."""


def merge(
    survivor: Entity, merged: Entity, around: Surroundings, fields: Mapping[str, Any], *, user_id: str, now: Millis
) -> list[Event]:
    """Let `survivor` have `fields`, and all that hangs on `merged`, which is then deleted. Raises `CannotMerge`."""
    if survivor.kind is not merged.kind or survivor.kind not in (Kind.INDIVIDUAL, Kind.GROUP):
        raise CannotMerge("The two are not both people or both groups.")
    if any(kind is Kind.GROUP for _, kind in around.members_of_merged):
        raise CannotMerge("There are groups in the group that would go; move them first.")
    if merged.guid in around.groups_of_survivor or survivor.guid in around.groups_of_merged:
        raise CannotMerge("One of the two is a member of the other.")
    events: list[Event] = []

    def say(entity_guid: str, event_type: str, data: Mapping[str, Any]) -> None:
        events.append(Event(new_guid(), entity_guid, event_type, dict(data), now, user_id))

    changed = _with_parents(changed_fields(survivor, fields), survivor, merged)
    if changed:
        say(survivor.guid, f"update-{survivor.kind.value}", changed)
    for member, _ in around.members_of_merged:
        if member not in around.members_of_survivor:
            say(survivor.guid, "add-member", {"members": [{"guid": member}]})
        say(merged.guid, "remove-member", {"memberId": member})
    for child in around.children_of_merged:
        if child.guid != survivor.guid and child.kind is not None:
            moved = {key: survivor.guid for key in _PARENT_KEYS if child.data.get(key) == merged.guid}
            say(child.guid, f"update-{child.kind.value}", moved)
    # Last: a group that leaves the last one it is in is deleted, with all who are in it still.
    for group in around.groups_of_merged:
        if group not in around.groups_of_survivor:
            say(group, "add-member", {"members": [_member(survivor)]})
        say(group, "remove-member", {"memberId": merged.guid})
    say(merged.guid, "resolve-duplicate", resolution(Pair.of(survivor.guid, merged.guid), merged.guid, survivor.guid))
    return events


def renamed(
    entities: Sequence[Entity],
    members: Mapping[str, Sequence[str]],
    into: Mapping[str, str],
    *,
    user_id: str,
    now: Millis,
) -> Iterator[list[Event]]:
    """For each entity the events by which what names one that went, as its parent or as a member of it, names the one that stays.

    `members` are by group; `into` tells who has taken whose place.
    """
    for entity in entities:
        if entity.guid in into:
            continue
        events: list[Event] = []
        named = {key: guid for key in _PARENT_KEYS if isinstance(guid := entity.data.get(key), str)}
        parents = {key: into[guid] for key, guid in named.items() if guid in into and into[guid] != entity.guid}
        if parents and entity.kind is not None:
            events.append(Event(new_guid(), entity.guid, f"update-{entity.kind.value}", parents, now, user_id))
        own = members.get(entity.guid, ())
        for guid in own:
            if guid not in into or into[guid] == entity.guid:
                continue
            if into[guid] not in own:
                joining = {"members": [{"guid": into[guid]}]}
                events.append(Event(new_guid(), entity.guid, "add-member", joining, now, user_id))
            events.append(Event(new_guid(), entity.guid, "remove-member", {"memberId": guid}, now, user_id))
        if events:
            yield events


def rehoused(
    entities: Sequence[Entity],
    words: Sequence[Membership],
    into: Mapping[str, str],
    lines: Mapping[str, Sequence[str]],
    *,
    user_id: str,
    now: Millis,
) -> Iterator[list[Event]]:
    """The events by which those who were put into a group that had been merged into another one are in the one that stays.

    Not if anybody has said of them since, of one in the line of those who took the group's place, whether they are in it:
    who was taken out there on purpose stays out. `words` are the last ones on the entities' memberships; `lines` tells who
    took the place of each group, one after the other.
    """
    kinds = {entity.guid: entity.kind for entity in entities}
    said = {(word.group_guid, word.member_guid): word for word in words}
    people: dict[str, list[tuple[str, bool]]] = {}
    for (group, member), word in sorted(said.items(), key=lambda each: (each[0][0], each[1].ordinal, each[0][1])):
        survivor = into.get(group)
        if survivor is None or not word.present:
            continue
        later = [one for above in lines[group] if (one := said.get((above, member))) is not None]
        is_in = any(one.present and one.group_guid == survivor for one in later)
        joins = member != survivor and not is_in and all(one.stamp < word.stamp for one in later)
        if kinds[member] is not Kind.GROUP:
            people.setdefault(group, []).append((member, joins))
        elif joins or is_in:
            # On its own: it may be refused. A group that is in no other one would go when it leaves.
            yield _moved(group, survivor, [(member, joins)], user_id=user_id, now=now)
    for group, moving in people.items():
        yield _moved(group, into[group], moving, user_id=user_id, now=now)


def taken_out(
    gone: Sequence[Membership],
    words: Sequence[Membership],
    into: Mapping[str, str],
    merged_at: Mapping[str, Collection[int]],
    *,
    user_id: str,
    now: Millis,
) -> Iterator[list[Event]]:
    """The events by which the one that stays leaves a household that the one that went was taken out of since.

    Only if it is there by the merge, in place of the other one: who was in it already, or was put into it since, is not
    who was meant. `gone` are the memberships that were ended; `words` the last ones on those who stay.
    """
    said = {(word.group_guid, word.member_guid): word for word in words}
    for word in gone:
        survivor = into.get(word.member_guid)
        held = said.get((word.group_guid, survivor)) if survivor is not None else None
        if held is None or not held.present or not held.stamp < word.stamp:
            continue
        if held.stamp.time in merged_at[word.member_guid]:
            yield [Event(new_guid(), word.group_guid, "remove-member", {"memberId": survivor}, now, user_id)]


def _moved(group: str, survivor: str, members: Sequence[tuple[str, bool]], *, user_id: str, now: Millis) -> list[Event]:
    """The events by which members leave a group, and those who are to join the other one do before."""
    joining = {"members": [{"guid": guid} for guid, joins in members if joins]}
    events = [Event(new_guid(), survivor, "add-member", joining, now, user_id)] if joining["members"] else []
    leaving = (Event(new_guid(), group, "remove-member", {"memberId": guid}, now, user_id) for guid, _ in members)
    return [*events, *leaving]


def resolution(pair: Pair, named: str, survivor: str | None = None, *, should_delete: bool = True) -> dict[str, Any]:
    """The data of a `resolve-duplicate`. Clients keep pairs with a direction: both are named."""
    other = pair.other(named)
    data: dict[str, Any] = {
        "duplicates": [
            {"entityGuid": named, "duplicateGuid": other},
            {"entityGuid": other, "duplicateGuid": named},
        ],
        "shouldDelete": should_delete,
    }
    return data | ({"mergedInto": survivor} if survivor is not None else {})


def wanted_fields(
    survivor: Entity, merged: Entity, chosen: Mapping[str, Any] | None, counted: Collection[str]
) -> dict[str, Any]:
    """What the survivor is to hold: what was `chosen`, else what it lacks and the other one tells.

    What events of their own count (`counted`) nobody chooses: what has been counted for either is counted for both.
    """
    lacking = united_fields(survivor, merged)
    told = lacking if chosen is None else chosen
    both = dict(lacking)
    for one in (attendance, enrolment, entitlements):
        both |= one.united(survivor.data, merged.data)
    taken = {field: value for field, value in both.items() if field in counted}
    return {field: value for field, value in told.items() if field not in counted} | taken


def united_fields(survivor: Entity, merged: Entity) -> dict[str, Any]:
    """What the survivor lacks and the other one tells. Nothing that it tells itself is overwritten."""
    own = told_by(survivor)
    return {
        field: value
        for field, value in told_by(merged).items()
        if field not in _PARENT_KEYS and _is_empty(own.get(field)) and not _is_empty(value)
    }


def told_by(entity: Entity) -> dict[str, Any]:
    """What people have said of it: no name that was filled in, nothing that the hub manages."""
    told = {field: value for field, value in entity.data.items() if entity.stamp_of_field(field) != FLOOR}
    return {field: value for field, value in without_server_managed(told).items() if field not in _NEVER_MERGED}


def told_since(merged: Entity, survivor: Entity) -> dict[str, Any]:
    """What people have said of the one that went, unless somebody has said otherwise of the one that stays later."""
    own = told_by(survivor)
    return {
        field: value
        for field, value in told_by(merged).items()
        if field not in own or survivor.stamp_of_field(field) < merged.stamp_of_field(field)
    }


def changed_fields(entity: Entity, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are other than what it holds."""
    wanted = {f: v for f, v in without_server_managed(dict(fields)).items() if f not in _NEVER_MERGED}
    return {
        field: value
        for field, value in wanted.items()
        if field not in entity.data or canonical_json(entity.data[field]) != canonical_json(value)
    }


def _with_parents(changed: Mapping[str, Any], survivor: Entity, merged: Entity) -> dict[str, Any]:
    """What changes of the survivor, whose parent is neither of the two: it would have no place."""
    both = (survivor.guid, merged.guid)
    found = {field: value for field, value in changed.items() if field not in _PARENT_KEYS or value not in both}
    for key in _PARENT_KEYS:
        if key not in found and survivor.data.get(key) == merged.guid:
            above = merged.data.get(key)
            found[key] = None if above in both else above
    return found


def _member(entity: Entity) -> dict[str, Any]:
    kind = entity.kind or Kind.INDIVIDUAL
    return {"guid": entity.guid, "type": kind.value} | ({"name": entity.name} if entity.name else {})


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})
