"""What each event did to one entity: its own value replayed with the functions that made it. Pure.

Nothing else is held. What an event type asks about others is answered from what is known of how the event ended: it
was taken, so there was no cycle and every group was one; and the audit trail says whom it wrote and deleted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from msgspec import UNSET

from datacollect.eventstore.event import Event, EventRejected
from datacollect.eventstore.projection import Context
from datacollect.features.entities.entity import Entity, Kind, LostWrite, Membership, Stamp, stamp_of
from datacollect.features.entities.model import delete_with_members, do
from datacollect.features.entities.states import Changes, States
from datacollect.features.entities.work import Path, Rules, Work
from datacollect.kernel.canonical import canonical_json


class Change(StrEnum):
    """What became of the entity."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    RECREATED = "recreated"
    MEMBERS = "members"
    """Only who its members are."""
    NONE = "none"
    """Nothing that anybody can see; the version may rise all the same."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """`UNSET` stands for a field that is not there: None is a value."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Step:
    """What one event did. Applied one after another, steps give the entity's data and its members in their order."""

    change: Change
    version: int
    fields: Sequence[FieldChange]
    added: Sequence[str]
    removed: Sequence[str]
    lost: Sequence[LostWrite]
    """The last of each field."""


@dataclass(frozen=True, slots=True)
class Touch:
    """An event that touched an entity, in its current layout, and what it does not tell by itself."""

    event: Event
    context: Context
    is_deleted: bool = False
    """Whether the entity went along with another one."""
    buried_by: Stamp | None = None
    """The delete of its group, an earlier one, that took the entity along as soon as it was made."""
    touched: Mapping[str, bool] = field(default_factory=dict)
    """The other entities it wrote, and whether they were there then; needed where `names_often` says so."""


def names_often(event: Event, guid: str) -> bool:
    """Whether it takes more than the event to tell which of its words on an entity count.

    A member that is known already is added without a look at the rest of its object, and what that says of others.
    One case stays open: an event that adds a known group with others inside, and names that group once more inside
    another. It is told as if the group had been new. No device has a reason to make such an event.
    """
    if event.type != "add-member":
        return False
    members = [member for member in event.data["members"] if isinstance(member, dict)]
    inside = sum(_is_named_in(member, guid) for member in members)
    by_itself = event.entity_guid == guid or any(member.get("guid") == guid for member in members)
    return inside + by_itself > 1 and inside > 0


class Replay:
    """One entity, from nothing on."""

    def __init__(self, guid: str) -> None:
        self._guid = guid
        self._states = States()

    @property
    def entity(self) -> Entity | None:
        return self._states.entities.get(self._guid)

    def fork(self) -> "Replay":
        """Another one that has come as far."""
        other = Replay(self._guid)
        other._states = self._states.copy()
        return other

    def apply(self, touch: Touch) -> Step:
        """What the next event that touched the entity did to it."""
        before = self.entity
        work = self._work(touch)
        joined, left = self._members(work.changes)
        self._states.accept(work.changes)
        lost = {write.field: write for write in work.changes.lost}
        return _step(before, self.entity, joined, left, list(lost.values()))

    def _work(self, touch: Touch) -> "_Focus":
        work = _Focus(self._states, self._guid, touch)
        try:
            do(work, touch.event)
        except EventRejected:
            # It was taken, so it was read wrongly: the case that `names_often` leaves open.
            if not names_often(touch.event, self._guid):
                raise
        if touch.is_deleted:
            delete_with_members(work, self._guid)
        return work

    def _members(self, changes: Changes) -> tuple[list[str], list[str]]:
        """Who joined, in that order, and who left."""
        held = self._states.members_of(self._guid)
        changed = [
            now
            for now in changes.members_of(self._guid).values()
            if now.present != _is_present(held.get(now.member_guid))
        ]
        changed.sort(key=lambda now: (now.ordinal, now.member_guid))
        joined = [now.member_guid for now in changed if now.present]
        return joined, [now.member_guid for now in changed if not now.present]


class _Focus(Work):
    """An event being applied to one entity, and to nothing else."""

    def __init__(self, states: States, guid: str, touch: Touch) -> None:
        super().__init__(states, stamp_of(touch.event, touch.context), touch.context, Rules())
        self._guid = guid
        self._touch = touch
        self._named: set[str] = set()

    def knows(self, guid: str, rest: Mapping[str, Any]) -> bool:
        if guid == self._guid:
            return super().knows(guid, rest)
        was_named = guid in self._named
        self._named.add(guid)
        if not rest:
            return True
        if not names_often(self._touch.event, self._guid):
            # The entity was touched: what stands around it was looked into.
            return not _is_named_in(rest, self._guid)
        is_there = self._touch.touched.get(guid)
        return is_there is None or (is_there and was_named)

    def require_group(self, guid: str) -> None:
        """The event was taken: there was one."""

    def write(self, guid: str, kind: Kind, fields: Mapping[str, Any]) -> None:
        if guid == self._guid:
            super().write(guid, kind, fields)
        else:
            self._named.add(guid)

    def delete(self, guid: str, *, stamp: Stamp | None = None) -> None:
        if guid == self._guid:
            super().delete(guid, stamp=stamp)

    def bury_if_outlived(self, group: str, member: str) -> None:
        if member == self._guid and self._touch.buried_by is not None and self.find(member) is None:
            self.delete(member, stamp=self._touch.buried_by)

    def join(self, group: str, member: str, path: Path) -> bool:
        return group == self._guid and super().join(group, member, path)

    def leave(self, group: str, member: str) -> Membership | None:
        return super().leave(group, member) if group == self._guid else None

    def is_above(self, group: str, member: str) -> bool:
        """The event was taken: nobody was."""
        return False


def _is_named_in(member: Mapping[str, Any], guid: str) -> bool:
    """Whether an entity stands anywhere below a member's object."""
    below = member.get("members")
    return isinstance(below, list) and any(
        isinstance(one, dict) and (one.get("guid") == guid or _is_named_in(one, guid)) for one in below
    )


def _is_present(held: Membership | None) -> bool:
    return held is not None and held.present


def _step(
    before: Entity | None,
    after: Entity | None,
    joined: Sequence[str],
    left: Sequence[str],
    lost: Sequence[LostWrite],
) -> Step:
    # The same value: the event left the entity alone.
    fields = [] if before is after else _differences(_data(before), _data(after))
    change = _change(before, after)
    if change is Change.NONE and fields:
        change = Change.UPDATED
    elif change is Change.NONE and (joined or left):
        change = Change.MEMBERS
    return Step(change, after.version if after is not None else 0, fields, joined, left, lost)


def _change(before: Entity | None, after: Entity | None) -> Change:
    was_live, is_live = before is not None and before.is_live, after is not None and after.is_live
    if was_live == is_live:
        return Change.NONE
    if was_live:
        return Change.DELETED
    return Change.RECREATED if before is not None and before.version else Change.CREATED


def _data(entity: Entity | None) -> Mapping[str, Any]:
    return entity.data if entity is not None else {}


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FieldChange]:
    gone = [FieldChange(field, value, UNSET) for field, value in before.items() if field not in after]
    return gone + [
        FieldChange(field, before.get(field, UNSET), value)
        for field, value in after.items()
        if field not in before or not _is_same(before[field], value)
    ]


def _is_same(one: Any, other: Any) -> bool:
    # Fields that an event did not write are the very same objects.
    return one is other or canonical_json(one) == canonical_json(other)
