"""Which states a batch of events needs, found before any of them has been checked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datacollect.eventstore.event import Event
from datacollect.features.entities.entity import items_in, parents_in, text_in

DEEPEST_NESTING = 16
"""Levels of groups inside one event's `members`."""

_MEMBER_EVENTS = frozenset({"create-group", "update-group", "add-member"})


@dataclass(slots=True)
class Touched:
    """What a batch must have loaded before it is applied."""

    guids: set[str] = field(default_factory=set)
    pairs: set[tuple[str, str]] = field(default_factory=set)
    """Group and member whose membership is read or written."""
    receiving: set[str] = field(default_factory=set)
    """Groups that get members: all groups above them are needed, to refuse cycles."""
    cascading: set[str] = field(default_factory=set)
    """Entities that may be deleted: all below them is needed, and the other groups those are in."""

    @property
    def memberships(self) -> bool:
        return bool(self.pairs or self.cascading)


def touched(events: Sequence[Event]) -> Touched:
    found = Touched()
    guids = found.guids
    for event in events:
        guids.add(event.entity_guid)
        if event.type in _MEMBER_EVENTS:
            _touch_members(found, event.entity_guid, event.data.get("members"), 1)
        elif event.type == "remove-member":
            member = text_in(event.data, "memberId")
            if member:
                found.pairs.add((event.entity_guid, member))
                found.cascading.add(member)
        elif event.type == "delete-entity" or (event.type == "resolve-duplicate" and event.data.get("shouldDelete")):
            found.cascading.add(event.entity_guid)
    guids |= found.cascading
    if found.cascading:
        # What is attached in this batch may hang below what is deleted in it.
        found.cascading.update(member for _, member in found.pairs)
    return found


def guids_of_members(event: Event) -> Iterator[str]:
    """Of all that its `members` tell of, down to the last level."""
    level = items_in(event.data, "members")
    for _ in range(DEEPEST_NESTING):
        yield from (guid for member in level if (guid := text_in(member, "guid")) is not None)
        level = [member for above in level for member in items_in(above, "members")]


def _touch_members(found: Touched, group: str, members: Any, depth: int) -> None:
    if not isinstance(members, list) or depth > DEEPEST_NESTING:
        return
    found.receiving.add(group)
    for member in members:
        guid = text_in(member, "guid") if isinstance(member, dict) else None
        if guid:
            found.guids.add(guid)
            found.pairs.add((group, guid))
            _touch_members(found, guid, member.get("members"), depth + 1)


def parents_named(events: Sequence[Event]) -> Iterator[str]:
    """The guids of parents that a batch may give to the entities it writes, members among them."""
    level: list[Mapping[str, Any]] = [event.data for event in events]
    for _ in range(DEEPEST_NESTING + 1):
        for data in level:
            yield from parents_in(data)
        level = [member for data in level for member in items_in(data, "members")]
