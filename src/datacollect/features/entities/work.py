"""One event at work on the states it found: the steps that the event types are made of. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from datacollect.eventstore.event import Event
from datacollect.eventstore.projection import Context
from datacollect.features.entities.entity import Entity, Kind, Membership, Stamp, delete, write
from datacollect.features.entities.errors import InvalidGroup, MemberCycle, UnauthorizedMember
from datacollect.features.entities.reach import Find, is_within, place_of
from datacollect.features.entities.states import Changes, States
from datacollect.kernel.sync_scope import EVERYWHERE, Reach

_ORDINALS_PER_EVENT = 1 << 22
"""More members than an event of the largest size can name."""

Path = list[str | int]


@dataclass(frozen=True, slots=True)
class Rules:
    """What an event has to meet when the hub takes it, beyond what any event has to.

    A rebuild has none: the log holds what was taken, and rules change.
    """

    custom_types: frozenset[str] = frozenset()
    """The custom event types that the program has switched on."""
    reach: Reach = EVERYWHERE
    """The entities that the caller may touch."""
    supervised: Reach = EVERYWHERE
    """The part of them of which the caller is a supervisor, or more."""

    def is_by_supervisor(self, event: Event, find: Find) -> bool:
        """Whether the caller is that, or more, where the event's entity is before the event."""
        if not self.supervised.is_bounded:
            return True
        held = find(event.entity_guid)
        return held is not None and is_within(self.supervised, held, find)


class Work:
    """One event being applied: its changes so far, over the states it found.

    All that event types ask about entities and do to them goes through here: `history.py` replays one entity by
    answering for the others.
    """

    def __init__(self, states: States, stamp: Stamp, context: Context, rules: Rules) -> None:
        self.states = states
        self.stamp = stamp
        self.context = context
        self.rules = rules
        self.changes = Changes()
        self._joined = 0

    def find(self, guid: str) -> Entity | None:
        return self.changes.entities.get(guid) or self.states.entities.get(guid)

    def membership(self, group: str, member: str) -> Membership | None:
        return self.changes.members_of(group).get(member) or self.states.members_of(group).get(member)

    def outlived(self, group: str) -> Stamp | None:
        """The stamp of the group's delete if that is later than this event: to the group the event never happened."""
        held = self.find(group)
        return held.deleted if held is not None and held.deleted is not None and held.deleted > self.stamp else None

    def was_merged(self, group: str) -> bool:
        """Whether it was a merge into another one that has ended the group: that takes whoever comes late."""
        held = self.find(group)
        return held is not None and held.deleted is not None and held.deleted.position in self.states.merges

    def knows(self, guid: str, rest: Mapping[str, Any]) -> bool:
        """Whether a member that is added needs no `rest` of its object to be there."""
        held = self.find(guid)
        return held is not None and (held.is_live or not rest)

    def require_group(self, guid: str) -> None:
        """Raises `InvalidGroup` unless there is such a group, or was.

        One that is deleted will do: refusing the event would hold up the device that made it in good faith.
        """
        held = self.find(guid)
        if held is None or held.kind not in (Kind.GROUP, None):
            raise InvalidGroup(path=["entityGuid"])

    def require_member(self, guid: str, path: Path, *, of: str | None = None) -> None:
        """Raises `UnauthorizedMember` for an entity beyond the caller's reach; one that is new is in everybody's.

        Who is in no area is within reach as a member of the group `of`, which is: with their household they can be
        saved again, and leave it.
        """
        if not self.rules.reach.is_bounded:
            return
        held = self.find(guid)
        if held is None or not held.is_live or is_within(self.rules.reach, held, self.find, self.states.ended):
            return
        joined = self.membership(of, guid) if of is not None else None
        place = place_of(held, self.find)
        if joined is None or not joined.present or place is None or place.area is not None:
            raise UnauthorizedMember(path=path)
        group = place_of(self.find(joined.group_guid), self.find)
        if not self.rules.reach.includes_member(place.kind, area_id=group.area if group is not None else None):
            raise UnauthorizedMember(path=path)

    def write(self, guid: str, kind: Kind, fields: Mapping[str, Any]) -> None:
        changed = write(
            self.find(guid),
            guid,
            kind,
            fields,
            stamp=self.stamp,
            context=self.context,
            lost=self.changes.lost,
        )
        if changed is not None:
            self.changes.put(changed)

    def delete(self, guid: str, *, stamp: Stamp | None = None) -> None:
        gone = delete(self.find(guid), guid, stamp=stamp or self.stamp, context=self.context)
        if gone is not None:
            self.changes.put(gone)
            self.changes.deleted.append(guid)

    def bury_if_outlived(self, group: str, member: str) -> None:
        """A new member of a group that has been deleted since would have gone with it, and into the other one with a merge."""
        deleted = self.outlived(group)
        if deleted is not None and self.find(member) is None and not self.was_merged(group):
            self.delete(member, stamp=deleted)

    def note_change(self, guid: str) -> None:
        """Count a change of an entity's members as a change of the entity, unless this event has counted already."""
        held = self.find(guid)
        if held is not None and held.is_live and guid not in self.changes.entities:
            position, recorded_at = self.context.position, self.context.recorded_at
            self.changes.put(
                replace(held, version=held.version + 1, changed_position=position, last_updated=recorded_at)
            )

    def join(self, group: str, member: str, path: Path) -> bool:
        """Make `member` a member; True if it was none. A removal with a later stamp stays. Raises `MemberCycle`.

        Also of a group that was deleted before: it counts when the group comes back. And people of one that was merged
        into another one since: whoever follows changes puts them into that. Groups are left where they are: there might be
        a circle.
        """
        held = self.membership(group, member)
        if held is not None and self.stamp < held.stamp:
            return False
        if self.outlived(group) and (not self.was_merged(group) or self._is_group(member)):
            return False
        if self.is_above(group, member):
            raise MemberCycle(path=[*path, "guid"])
        joins = held is None or not held.present
        ordinal = held.ordinal if held is not None and held.present else self._next_ordinal()
        self.changes.put_membership(Membership(group, member, ordinal, True, self.stamp))
        if joins:
            self.changes.joined.append(member)
            self._note_homeless(group, member)
        return joins

    def _is_group(self, guid: str) -> bool:
        held = self.find(guid)
        return held is not None and held.kind is Kind.GROUP

    def _note_homeless(self, group: str, member: str) -> None:
        """Let who follows changes look at somebody whose new group does not exist: it may have been merged into another."""
        held, above = self.find(member), self.find(group)
        if held is not None and held.is_live and not (above is not None and above.is_live):
            position, recorded_at = self.context.position, self.context.recorded_at
            self.changes.put(replace(held, changed_position=position, last_updated=recorded_at))

    def leave(self, group: str, member: str) -> Membership | None:
        """End a membership, and give what it was. An addition with a later stamp stays."""
        held = self.membership(group, member)
        if held is None or held.stamp <= self.stamp:
            ordinal = held.ordinal if held is not None else self._next_ordinal()
            self.changes.put_membership(Membership(group, member, ordinal, False, self.stamp))
        return held

    def members_before(self, group: str) -> list[str]:
        """Who is a member by a word not later than this event's, in the order of joining."""
        now = {**self.states.members_of(group), **self.changes.members_of(group)}
        found = [held for held in now.values() if held.present and held.stamp <= self.stamp]
        return [held.member_guid for held in sorted(found, key=lambda held: (held.ordinal, held.member_guid))]

    def live_groups_of(self, member: str) -> Iterator[str]:
        for group in self._groups_of(member):
            held = self.find(group)
            if held is not None and held.is_live:
                yield group

    def is_above(self, group: str, member: str) -> bool:
        """Whether `member` is `group` itself or one of the groups it is in."""
        seen, level = {group}, [group]
        while level and member not in seen:
            level = [above for guid in level for above in self._groups_of(guid) if above not in seen]
            seen.update(level)
        return member in seen

    def _groups_of(self, member: str) -> Iterator[str]:
        now = {**self.states.groups_of(member), **self.changes.groups_of(member)}
        return (group for group, held in now.items() if held.present)

    def _next_ordinal(self) -> int:
        self._joined += 1
        return self.context.position * _ORDINALS_PER_EVENT + self._joined
