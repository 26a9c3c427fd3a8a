"""Each law can break: evidence of a sound run, falsified in one place."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from datacollect.db import EVERY_TENANT
from datacollect.testing.devices import Generation, SyncReport
from datacollect.testing.simulation.laws import LAWS, Evidence, broken_laws, gather_evidence
from datacollect.testing.simulation.rules import Rule
from datacollect.testing.simulation.runner import Arena, open_arena
from datacollect.testing.simulation.schedule import DeviceSpec, Do, Schedule, Step
from datacollect.testing.simulation.world import Sync, World
from tests.factories import new_id

pytestmark = pytest.mark.anyio

SCHEDULE = Schedule(
    0,
    (DeviceSpec(Generation.V1), DeviceSpec(Generation.V2)),
    (Step(Do.CREATE, 0, 3), Step(Do.SYNC, 0), Step(Do.SYNC, 1), Step(Do.EDIT, 1, 1), Step(Do.GROUP, 1, 1)),
    calm=True,
)


@pytest.fixture(scope="module")
async def arena(anyio_backend: str) -> AsyncIterator[Arena]:
    async with open_arena("sqlite") as arena:
        yield arena


@pytest.fixture
async def evidence(arena: Arena) -> AsyncIterator[Evidence]:
    """Of a run in a tenant of its own: what falsifies it changes it."""
    async with arena.databases[0].reading(EVERY_TENANT) as view:
        world = World(arena.databases[0], view, Rule.HUB, SCHEDULE, new_id("s"))
        await world.run()
        yield await gather_evidence(world)


def keep_an_event_from_b(evidence: Evidence) -> None:
    del evidence.world.participants[1].received[evidence.log[2].body]


def deliver_backwards_to_b(evidence: Evidence) -> None:
    b = evidence.world.participants[1]
    b.received = dict(reversed(b.received.items()))


def deliver_a_strangers_event_to_b(evidence: Evidence) -> None:
    body = evidence.log[0].body.replace(evidence.world.tenant.id, "another")
    evidence.world.participants[1].received[body] = None


def store_a_strangers_event(evidence: Evidence) -> Evidence:
    body = evidence.log[0].body.replace(evidence.world.tenant.id, "another")
    return replace(evidence, log=[replace(evidence.log[0], body=body), *evidence.log[1:]])


def store_an_event_twice(evidence: Evidence) -> Evidence:
    return replace(evidence, log=[*evidence.log, replace(evidence.log[0], position=len(evidence.log) + 1)])


def move_the_head(evidence: Evidence) -> Evidence:
    return replace(evidence, head=replace(evidence.head, position=1))


def miss_a_version(evidence: Evidence) -> None:
    guid, entity = next(iter(evidence.stored.entities.items()))
    evidence.stored.entities[guid] = replace(entity, version=entity.version + 1)


def miscount(evidence: Evidence) -> Evidence:
    return replace(evidence, head=replace(evidence.head, figures={"individual": 77}))


def lose_a_field_everywhere(evidence: Evidence) -> None:
    for states in (evidence.stored, evidence.rebuilt):
        for guid, entity in states.entities.items():
            states.entities[guid] = replace(entity, data={**entity.data, "name": "Somebody"})


def lose_a_member(evidence: Evidence) -> None:
    held = next(evidence.stored.memberships())
    evidence.stored.put_membership(replace(held, present=False))


def lose_an_acknowledged_event(evidence: Evidence) -> None:
    evidence.world.acknowledged["lost"] = None


def keep_what_was_not_committed(evidence: Evidence) -> None:
    evidence.world.committed.clear()


def deliver_much_again(evidence: Evidence) -> None:
    evidence.world.syncs.append(Sync(0, 2, SyncReport(redelivered=13)))


FALSIFIED: list[tuple[Callable[[Evidence], Evidence | None], set[str]]] = [
    (keep_an_event_from_b, {"no skip", "convergence"}),
    (deliver_backwards_to_b, {"one order"}),
    (deliver_a_strangers_event_to_b, {"isolation"}),
    (store_a_strangers_event, {"isolation"}),
    (store_an_event_twice, {"once"}),
    (move_the_head, {"once"}),
    (miss_a_version, {"rebuild"}),
    (miscount, {"rebuild"}),
    (lose_a_field_everywhere, {"last writer"}),
    (lose_a_member, {"rebuild", "convergence"}),
    (lose_an_acknowledged_event, {"durable"}),
    (keep_what_was_not_committed, {"durable"}),
    (deliver_much_again, {"bounded re-delivery"}),
]


def test_every_law_is_falsified_below() -> None:
    assert set().union(*(laws for _, laws in FALSIFIED)) == set(LAWS)


async def test_a_sound_run_breaks_none(evidence: Evidence) -> None:
    assert broken_laws(evidence) == []
    assert len(evidence.log) == 5


@pytest.mark.parametrize(("falsify", "laws"), FALSIFIED, ids=[falsify.__name__ for falsify, _ in FALSIFIED])
async def test_a_falsified_run_breaks_the_law(
    evidence: Evidence, falsify: Callable[[Evidence], Evidence | None], laws: set[str]
) -> None:
    falsified = falsify(evidence) or evidence
    assert laws <= {breach.law for breach in broken_laws(falsified)}


async def test_what_contradicts_a_law_is_told_by_name_and_place(evidence: Evidence) -> None:
    keep_an_event_from_b(evidence)
    told = [breach.text for breach in broken_laws(evidence) if breach.law == "no skip"]
    assert told == [
        "B was never delivered 1 of 5 events: position 3, create-individual made at 2025-03-01T08:00:00.032Z on A"
    ]
