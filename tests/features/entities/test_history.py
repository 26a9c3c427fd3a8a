"""A replay of one entity, with nothing else at hand, tells what the projection made of it. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from msgspec import UNSET

from datacollect.eventstore.event import Event, EventRejected, Origin
from datacollect.eventstore.projection import Context
from datacollect.features.audit.model import CASCADE, AuditEntry, buried_by, entries_of, is_write
from datacollect.features.entities.entity import LostWrite
from datacollect.features.entities.history import Change, Replay, Step, Touch, names_often
from datacollect.features.entities.model import EVENT_TYPES
from datacollect.features.entities.projection import EntityRun
from datacollect.features.entities.states import States
from datacollect.features.entities.work import Rules
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.histories import GUIDS, ChanceOfAll, event, guids_in

RULES = Rules(custom_types=EVENT_TYPES)


@dataclass
class Reality:
    """All entities in memory, and what the log and the audit trail keep of the events."""

    states: States = field(default_factory=States)
    log: list[tuple[Event, Context, list[AuditEntry]]] = field(default_factory=list)
    lost: list[LostWrite] = field(default_factory=list)

    def take(self, taken: Event, origin: Origin = Origin.CLIENT) -> bool:
        """Apply an event as a push does; False if it is refused, or one of those that a replay may misread."""
        if self._is_told_wrongly(taken):
            return False
        run = EntityRun(system_scope(TenantId("t")), self.states, RULES, ())
        context = Context(len(self.log) + 1, Millis(250 + len(self.log)), origin)
        try:
            run.apply(taken, context)
        except EventRejected:
            return False
        self.log.append((taken, context, [entry for applied in run._applied for entry in entries_of(applied)]))
        self.lost += [lost for applied in run._applied for lost in applied.changes.lost]
        return True

    def _is_told_wrongly(self, taken: Event) -> bool:
        """The case that `names_often` leaves open."""
        if taken.type != "add-member":
            return False
        members = taken.data["members"]
        held = [self.states.entities.get(member["guid"]) for member in members]
        named = Counter(guids_in(members))
        return any(one is not None and one.is_live and named[one.guid] > 1 for one in held)

    def touches(self, guid: str) -> Iterator[Touch]:
        """What the statements of the audit slice find."""
        for taken, context, entries in self.log:
            made = [entry for entry in entries if entry.entity_guid == guid]
            if taken.entity_guid == guid:
                yield Touch(taken, context, touched=touched(entries))
            elif made:
                ends = [entry for entry in made if entry.action == CASCADE]
                buried = buried_by(ends[0].changes or {}) if ends else None
                yield Touch(taken, context, bool(ends) and buried is None, buried, touched(entries))

    def members_of(self, guid: str) -> list[str]:
        held = [one for one in self.states.members_of(guid).values() if one.present]
        return [one.member_guid for one in sorted(held, key=lambda one: (one.ordinal, one.member_guid))]


def touched(entries: Sequence[AuditEntry]) -> dict[str, bool]:
    guids = {entry.entity_guid for entry in entries}
    return {guid: any(is_write(entry.action) for entry in entries if entry.entity_guid == guid) for guid in guids}


@dataclass
class Told:
    """What a reader makes of the steps, from nothing on."""

    data: dict[str, Any] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
    is_live: bool = False
    version: int = 0

    def follow(self, step: Step) -> None:
        for change in step.fields:
            assert self.data.get(change.field, UNSET) == change.before
            self.data.pop(change.field, None)
            if change.after is not UNSET:
                self.data[change.field] = change.after
        assert set(step.removed) <= set(self.members)
        self.members = [guid for guid in self.members if guid not in step.removed] + list(step.added)
        if step.change in (Change.CREATED, Change.RECREATED):
            assert not self.is_live
            self.is_live = True
        elif step.change is Change.DELETED:
            assert self.is_live
            self.is_live = False
        if step.change is Change.NONE:
            assert not step.fields and not step.added and not step.removed
        self.version = step.version


def history_of(reality: Reality, guid: str) -> tuple[Replay, list[Step]]:
    replay = Replay(guid)
    return replay, [replay.apply(touch) for touch in reality.touches(guid)]


def random_reality(seed: int, events: int) -> Reality:
    chance, reality = ChanceOfAll(seed), Reality()
    for _ in range(events):
        reality.take(chance.event(), chance.origin())
    return reality


@pytest.mark.parametrize("start", range(0, 800, 100))
def test_following_the_steps_gives_the_entity(start: int) -> None:
    """7,200 histories of an entity each, of forty random events and more."""
    for seed in range(start, start + 100):
        reality = random_reality(seed, 60)
        lost: list[LostWrite] = []
        for guid in GUIDS:
            replay, steps = history_of(reality, guid)
            told = Told()
            for step in steps:
                told.follow(step)
                lost += step.lost
            entity = reality.states.entities.get(guid)
            replayed = replay.entity
            if replayed is not None and entity is not None:
                # That somebody was put into a group which does not exist is only for those who follow changes.
                changed = {"changed_position": entity.changed_position, "last_updated": entity.last_updated}
                replayed = replace(replayed, **changed)
            assert replayed == entity, (seed, guid)
            assert told.members == reality.members_of(guid), (seed, guid)
            if entity is not None:
                assert (told.data, told.is_live, told.version) == (entity.data, entity.is_live, entity.version)
        assert by_place(lost) == by_place(reality.lost), seed


def by_place(lost: Iterable[LostWrite]) -> Mapping[tuple[str, int, str], LostWrite]:
    """The last of each field that an event lost."""
    return {(one.entity_guid, one.lost_stamp.position, one.field): one for one in lost}


def test_random_histories_reach_every_corner() -> None:
    """Guards the test above."""
    seen: Counter[str] = Counter()
    for seed in range(60):
        reality = random_reality(seed, 60)
        for guid in GUIDS:
            for touch in reality.touches(guid):
                along = touch.event.entity_guid != guid
                seen["along"] += along
                seen["deleted along"] += touch.is_deleted
                seen["buried"] += touch.buried_by is not None
                seen["named often"] += names_often(touch.event, guid)
                seen[touch.event.type] += 1
            for step in history_of(reality, guid)[1]:
                seen[step.change] += 1
                seen["lost"] += bool(step.lost)
    corners = [*EVENT_TYPES, *Change, "along", "deleted along", "buried", "named often", "lost"]
    assert min(seen[corner] for corner in corners) > 0, sorted((seen[corner], corner) for corner in corners)


def test_a_group_that_was_only_told_its_members_again_keeps_them() -> None:
    """The one touch that changes neither values nor members, and still decides what a removal does that comes later."""
    reality = Reality()
    sub = {"type": "group", "members": [{"guid": "leaf", "name": "L"}]}
    for made in (
        event("create-group", "g", {"name": "G"}, 1),
        event("create-group", "sub", sub, 2),
        event("update-group", "sub", {"type": "group"}, 9),
        event("update-group", "g", {"name": "G", "members": [{"guid": "sub", **sub}]}, 5),
        event("remove-member", "sub", {"memberId": "leaf"}, 4),
    ):
        assert reality.take(made)
    _, steps = history_of(reality, "sub")
    assert [(step.added, step.removed) for step in steps] == [(["leaf"], [])] + [([], [])] * 3
    assert reality.members_of("sub") == ["leaf"]
