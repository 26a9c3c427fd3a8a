"""Events of the hub's own that tell devices with a limited scope what it holds of an entity.

An event reaches the devices whose scope its entity is in. That is not enough for everybody: who gets an entity because
it has moved has none of its earlier events; members that came into being inside a group's event have none of their own;
what a group's delete took along may be on devices that do not hold the group, and what it left, because of another
group, on devices that do not hold that one; and a record comes and moves with its parent. Who is told of as a member, and is
somewhere else than their group, would be taken for somebody who is there: of them it is told where they are, and no more.
For these the hub appends the whole state, or the delete, in the transaction of the event that made it necessary. Such
events change nothing here (`Origin.SNAPSHOT`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

from datacollect.db import Tx
from datacollect.eventstore.event import Event
from datacollect.eventstore.projection import Context
from datacollect.eventstore.store import Scoping
from datacollect.features.entities.around import live_groups_with
from datacollect.features.entities.entity import FLOOR, Entity, Kind, Membership, Place, Stamp, items_in, text_in
from datacollect.features.entities.reach import LONGEST_ANCESTRY, PLACING, Find, place_of
from datacollect.features.entities.relatives import ListedMember, dependents_of, load_parents, members_of_groups
from datacollect.features.entities.rows import load
from datacollect.features.entities.states import Changes, States
from datacollect.features.entities.touched import DEEPEST_NESTING, Touched
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import SYSTEM, TenantScope
from datacollect.kernel.ids import derived_guid

_MILLISECOND = timedelta(milliseconds=1)
_AHEAD = timedelta(hours=1)
"""How much later it may be for a reader than for an event that is not committed yet: the push may take long, and another
machine's clock may be slow."""


@dataclass(slots=True)
class _Due:
    """A snapshot to make of one entity."""

    source: str
    """Guid of the event that makes it necessary."""
    places: dict[Place, None] = field(default_factory=dict)
    """Where else than at the entity's own place it must be known."""
    has_ended: bool = False
    """Whether it was deleted with another one; it may have been made anew since."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What an event says of a member to devices that hold the group, and maybe not them."""

    event: Event
    placing: Mapping[str, Any]
    """What would put them somewhere."""
    areas: Mapping[str, None]
    """Where it is told."""


class SnapshotsDue:
    """Collects during a batch whose snapshots it makes necessary."""

    def __init__(self, scoping: Scoping) -> None:
        self._scoping = scoping
        self._due: dict[str, _Due] = {}
        self._arrived: dict[str, str] = {}
        """Who is in a place where they were not before, by the event that put them there."""
        self._created: dict[str, Place] = {}
        """Where those came into being who are where somebody else is; their own events say all of them there."""
        self._returned: dict[str, str] = {}
        """Who was gone and is there again, by the event that brought them back."""
        self._rooted: set[str] = set()
        """Who came into being with an area of their own."""
        self._told: dict[str, _Told] = {}
        self.places: dict[str, Sequence[Place]] = {}
        """Of the snapshots made, by their events' guids."""

    def note(
        self,
        event: Event,
        context: Context,
        changes: Changes,
        find_before: Find,
        find: Find,
        members_of: Callable[[str], Mapping[str, Membership]],
    ) -> tuple[Place, ...]:
        """Note what one event did; the places its entity was in before or is in after it."""
        own = event.entity_guid
        place_before, place = place_of(find_before(own), find_before), place_of(find(own), find)
        self._note_place(event, own, find_before, find, place_before, place)
        for guid, entity in changes.entities.items():
            if entity.is_live and _is_gone(find_before(guid)):
                self._returned.setdefault(guid, event.guid)
        has_come = place not in (None, place_before) and _is_live(find_before(own))
        # Who has joined a group while it was gone was told of nowhere.
        is_group_anew = own in self._returned and _is_live_group(find(own))
        if has_come or is_group_anew or self._is_long_unchanged(find_before(own), context.recorded_at):
            self._require(own, event)
        for guid, entity in changes.entities.items():
            if guid == own:
                continue
            # Written with what they hold already, they have changed all the same for whoever has a time window.
            if not (
                _has_changed(find_before(guid), entity)
                or self._is_long_unchanged(find_before(guid), context.recorded_at)
            ):
                continue
            due = self._require(guid, event)
            due.has_ended |= _is_live(find_before(guid)) and not entity.is_live
            was, now = place_of(find_before(guid), find_before), place_of(entity, find)
            if was is not None and now != was:
                due.places[was] = None
            if now is not None and now.area is None and place is not None:
                # Who came with the group, and has no place of their own, is where the group is.
                due.places[Place(now.kind, place.area)] = None
            self._note_place(event, guid, find_before, find, was, now)
        self._note_members(event, changes, find, place_before, place)
        # They stay because of another group, which a device that holds only this one does not know: with them it takes away
        # all who are in them, and what is below.
        for guid in _with_members(_staying(changes, find), members_of, find):
            self._require(guid, event)
            self._arrived.setdefault(guid, event.guid)
            self._created.clear()
        return tuple(dict.fromkeys(filter(None, (place_before, place))))

    async def make(self, tx: Tx, scope: TenantScope, states: States, recorded_at: Millis) -> list[Event]:
        """The snapshots, each told at a millisecond of its own, the last at `recorded_at`. The states have been saved."""
        find = states.entities.get
        anew = {guid: due for guid, due in self._due.items() if due.has_ended and _is_live(find(guid))}
        for guid, due in anew.items():
            # Who is told of its end takes away what is in it, and what is below it, however new.
            self._created.clear()
            for other in _with_members([guid], states.members_of, find):
                self._due.setdefault(other, _Due(due.source))
        if self._returned:
            await self._add_groups(tx, scope, states)
        if self._arrived:
            await self._add_dependents(tx, scope, states)
        groups = [guid for guid in self._due if _is_live_group(find(guid))]
        members = await members_of_groups(tx, scope, groups) if groups else {}
        times = map(Millis, count(recorded_at - len(anew) - len(self._due) + 1))
        secret = self._scoping.id
        told = [
            (end_of(states.entities[guid], source=due.source, secret=secret, told_at=next(times)), due)
            for guid, due in anew.items()
        ]
        # Parents first: where somebody is follows from theirs.
        for guid, due in sorted(self._due.items(), key=lambda one: _height(one[0], find)):
            entity, at = states.entities[guid], next(times)
            told.append((snapshot_of(entity, members.get(guid, ()), source=due.source, secret=secret, told_at=at), due))
        for event, due in told:
            own = place_of(find(event.entity_guid), find)
            self.places[event.guid] = tuple(dict.fromkeys([*([own] if own else []), *due.places]))
        return [*(event for event, _ in told), *self._whereabouts(find, recorded_at)]

    async def _add_groups(self, tx: Tx, scope: TenantScope, states: States) -> None:
        """What was told of a group while one of its members was gone does not name them."""
        found = await live_groups_with(tx, scope, self._returned)
        await _load_also(tx, scope, states, {group for group, _ in found})
        for group, member in found:
            self._due.setdefault(group, _Due(self._returned[member]))

    async def _add_dependents(self, tx: Tx, scope: TenantScope, states: States) -> None:
        source, find = next(iter(self._arrived.values())), states.entities.get
        guids = [guid for guid in await dependents_of(tx, scope, self._arrived) if guid not in self._due]
        await _load_also(tx, scope, states, guids)
        for guid in sorted(guids, key=lambda guid: _height(guid, find)):
            place, above = place_of(find(guid), find), _above(find(guid), find)
            is_told = place == self._created.get(guid) and self._due.keys().isdisjoint(above)
            if guid not in self._rooted and not is_told:
                self._due[guid] = _Due(source)

    def _note_place(
        self,
        event: Event,
        guid: str,
        find_before: Find,
        find: Find,
        place_before: Place | None,
        place: Place | None,
    ) -> None:
        before, after = find_before(guid), find(guid)
        if _is_live(after) and any(parent in self._arrived for parent in _above(before, find_before)):
            # It is told of below whoever arrived, and need not be there any more when that is looked up.
            self._arrived.setdefault(guid, event.guid)
        if after is None or place == place_before:
            return
        if place is not None:
            self._arrived.setdefault(after.guid, event.guid)
        if _is_live(before):
            # Devices there may have dropped, with whom it was, what had been created below.
            self._created.clear()
        elif place is not None and (after.kind is Kind.RECORD or after.area_id is None):
            self._created[after.guid] = place
        else:
            self._rooted.add(after.guid)

    def _note_members(
        self, event: Event, changes: Changes, find: Find, place_before: Place | None, place: Place | None
    ) -> None:
        areas = {one.area: None for one in (place_before, place) if one is not None and one.area is not None}
        for joined in changes.joined if areas else ():
            now = place_of(find(joined), find)
            if now is not None and now.area is None and place is not None:
                self._require(joined, event).places[Place(now.kind, place.area)] = None
        for member in _members_in(event.data) if areas else ():
            guid = text_in(member, "guid")
            if guid is not None and member.keys() != {"guid"}:
                also = self._told[guid].areas if guid in self._told else {}
                self._told[guid] = _Told(
                    event, {key: member[key] for key in PLACING if key in member}, {**also, **areas}
                )

    def _whereabouts(self, find: Find, recorded_at: Millis) -> Iterator[Event]:
        """For those who do not hold them, where the members are of whom they were told."""
        for guid, told in self._told.items():
            held = find(guid)
            if held is None or held.kind in (None, Kind.RECORD):
                continue
            place = place_of(held, find)
            areas = [area for area in told.areas if place is None or area != place.area]
            # As for snapshots: another guid each time.
            secret = f"{self._scoping.id}:{told.event.guid}:{recorded_at}"
            event = _whereabouts_of(held, place, told, secret=secret) if areas else None
            if event is not None:
                self.places[event.guid] = [Place(held.kind, area) for area in areas]
                yield event

    def _require(self, guid: str, event: Event) -> _Due:
        return self._due.setdefault(guid, _Due(event.guid))

    def _is_long_unchanged(self, held: Entity | None, now: Millis) -> bool:
        """Whether somebody's time window did not hold the entity until now, or is about to let go of it."""
        if held is None or not held.is_live:
            return False
        begins = [self._scoping.window_floor] if self._scoping.window_floor is not None else []
        if self._scoping.window_days is not None:
            begins.append(Millis(now - (timedelta(days=self._scoping.window_days) - _AHEAD) // _MILLISECOND))
        return any(held.last_updated < begin for begin in begins)


async def _load_also(tx: Tx, scope: TenantScope, states: States, guids: Iterable[str]) -> None:
    missing = {guid for guid in guids if guid not in states.entities}
    if missing:
        loaded = await load(tx, scope, Touched(guids=missing))
        for entity in loaded.entities.values():
            states.put(entity)
        await load_parents(tx, scope, states, ())


def snapshot_of(entity: Entity, members: Sequence[ListedMember], *, source: str, secret: str, told_at: Millis) -> Event:
    """The event that brings a device to what the hub holds of an entity: all its data, or its end.

    It has the time of the last write of these, not that of its telling: what somebody recorded in between and brings
    later wins here, and has to win on the device too.
    """
    if entity.latest is None:
        return end_of(entity, source=source, secret=secret, told_at=told_at)
    # Nobody has written a name that was filled in: told as written, it would hide the one that somebody brings later.
    data = {name: value for name, value in entity.data.items() if entity.stamp_of_field(name) != FLOOR} or dict(
        entity.data
    )
    if entity.kind is Kind.GROUP:
        # An event that takes the group for a person may have written such a field, which makes nobody a member.
        data.pop("members", None)
        if members:
            data["members"] = [_shown(member) for member in members]
    guid = _guid_of(entity.guid, source, secret, told_at)
    return Event(guid, entity.guid, f"create-{entity.kind}", data, _time_of(entity.latest), SYSTEM.label)


def end_of(entity: Entity, *, source: str, secret: str, told_at: Millis) -> Event:
    """The event that tells a device of an entity's end, also of one that is there again. It has the time of the delete:
    a write that is later than that brings the entity back here, and has to on the device too."""
    assert entity.deleted is not None
    guid, data = _guid_of(entity.guid, source, secret, told_at), {"deletedWith": source}
    return Event(guid, entity.guid, "delete-entity", data, _time_of(entity.deleted), SYSTEM.label)


def _whereabouts_of(held: Entity, place: Place | None, told: _Told, *, secret: str) -> Event | None:
    """The event that tells devices which may know no more of somebody than what they were `told` where they are, or that
    they are gone; None if they know. For all others it says what they have, at the time at which they have it."""
    data: dict[str, Any]
    if not held.is_live:
        assert held.deleted is not None
        type, data, at = "delete-entity", {"deletedWith": told.event.guid}, held.deleted.time
    elif place is None or place.area is None:
        return None
    else:
        keys = [key for key in PLACING if key in held.data or key in told.placing]
        data = {key: held.data.get(key) for key in keys}
        if data == told.placing:
            return None
        type, at = f"update-{held.kind}", max(held.stamp_of_field(key).time for key in keys if key in held.data)
        if told.placing:
            at = max(at, told.event.occurred_at)
    guid = derived_guid(secret, "whereabouts", held.guid)
    return Event(guid, held.guid, type, data, Millis(max(at, 0)), SYSTEM.label)


def _time_of(stamp: Stamp) -> Millis:
    """As events can tell it: a seed's is before all that there are."""
    return Millis(max(stamp.time, 0))


def _guid_of(guid: str, source: str, secret: str, told_at: Millis) -> str:
    """Nobody can tell it beforehand who does not know the `secret`, and take it for an event of their own. It is another
    one each time: when the database was put back and the source comes again, who has the former is told anew."""
    return derived_guid(f"{secret}:{source}:{told_at}", "snapshot", guid)


def _shown(member: ListedMember) -> dict[str, str]:
    """A member in a snapshot of its group. Devices take no member of whom nothing is said, and keep what is: so it is
    the least that the hub holds too, and nothing about the person."""
    if member.kind == Kind.GROUP:
        return {"guid": member.guid, "type": member.kind}
    if member.entity_name:
        return {"guid": member.guid, "entityName": member.entity_name}
    if member.area_id:
        return {"guid": member.guid, "area_id": member.area_id}
    return {"guid": member.guid, "type": member.kind}


def _members_in(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The objects of members, down to the last level."""
    level = items_in(data, "members")
    for _ in range(DEEPEST_NESTING):
        yield from level
        level = [member for above in level for member in items_in(above, "members")]


def _has_changed(before: Entity | None, after: Entity) -> bool:
    if before is None:
        return after.is_live
    return before.is_live != after.is_live or before.data != after.data


def _staying(changes: Changes, find: Find) -> list[str]:
    """The members of a group that is deleted, even if it lives on by later writes, who are not deleted with it."""
    gone = {guid for guid in changes.groups() if guid in changes.deleted or not _is_live_group(find(guid))}
    return [
        ended.member_guid
        for ended in changes.memberships()
        if not ended.present and ended.group_guid in gone and _is_live(find(ended.member_guid))
    ]


def _with_members(
    guids: Iterable[str], members_of: Callable[[str], Mapping[str, Membership]], find: Find
) -> Iterable[str]:
    """Those entities and who is in them, down to the last level."""
    found = dict.fromkeys(guids)
    level = list(found)
    while level:
        below = (held for group in level if _is_live_group(find(group)) for held in members_of(group).values())
        level = [
            held.member_guid
            for held in below
            if held.present and held.member_guid not in found and _is_live(find(held.member_guid))
        ]
        found.update(dict.fromkeys(level))
    return found


def _above(entity: Entity | None, find: Find) -> Iterator[str]:
    """The parents that the place of an entity follows from."""
    for _ in range(LONGEST_ANCESTRY):
        if entity is None or entity.parent_guid is None or (entity.kind is not Kind.RECORD and entity.area_id):
            return
        yield entity.parent_guid
        entity = find(entity.parent_guid)


def _height(guid: str, find: Find) -> int:
    return sum(1 for _ in _above(find(guid), find))


def _is_live(entity: Entity | None) -> bool:
    return entity is not None and entity.is_live


def _is_gone(entity: Entity | None) -> bool:
    return entity is not None and not entity.is_live


def _is_live_group(entity: Entity | None) -> bool:
    return entity is not None and entity.is_live and entity.kind is Kind.GROUP
