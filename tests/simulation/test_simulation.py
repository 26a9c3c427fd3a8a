"""The hub's core under seeded schedules, and what proves that they would show a fault."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable

import pytest
from typer.testing import CliRunner

from datacollect.cli.commands import command_line
from datacollect.db import EVERY_TENANT, Database
from datacollect.testing.devices import Generation
from datacollect.testing.simulation.rules import Rule
from datacollect.testing.simulation.runner import (
    Arena,
    Figures,
    Verdict,
    counter_example,
    open_arena,
    run_schedule,
    simulate,
)
from datacollect.testing.simulation.schedule import DeviceSpec, Do, Schedule, Step, make_schedule
from tests.conftest import ENGINES

pytestmark = [pytest.mark.anyio, pytest.mark.long]

SCHEDULES = {"sqlite": 500, "postgresql": 150}
"""What happens is the same on both: see `test_one_seed_gives_one_schedule_and_one_history_whatever_the_engine`."""
if "HUB_SIMULATION_SCHEDULES" in os.environ:
    SCHEDULES = dict.fromkeys(SCHEDULES, int(os.environ["HUB_SIMULATION_SCHEDULES"]) // 2)

Measured = Callable[[str, object], None]
V1, V2 = Generation.V1, Generation.V2


class Arenas:
    """One for each engine, opened for who asks first: each schedule has a tenant of its own."""

    def __init__(self, request: pytest.FixtureRequest, kept: contextlib.AsyncExitStack) -> None:
        self._request, self._kept = request, kept
        self._opened: dict[str, Arena] = {}

    async def of(self, engine: str) -> Arena:
        if engine not in self._opened:
            server = self._request.getfixturevalue("postgres_server") if engine == "postgres" else None
            self._opened[engine] = await self._kept.enter_async_context(open_arena(engine, server=server))
        return self._opened[engine]


@pytest.fixture(scope="module")
async def arenas(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Arenas]:
    async with contextlib.AsyncExitStack() as kept:
        yield Arenas(request, kept)


@pytest.fixture(params=ENGINES, scope="module")
async def arena(request: pytest.FixtureRequest, arenas: Arenas) -> Arena:
    return await arenas.of(request.param)


Caught = dict[tuple[str, Rule], Figures]


@pytest.fixture(scope="module")
def caught() -> Caught:
    """What wrong rules were caught with, on each engine: looked for once, and looked at by several tests."""
    return {}


async def catch(caught: Caught, arena: Arena, rule: Rule) -> Verdict:
    key = arena.databases[0].dialect, rule
    if key not in caught:
        caught[key] = await simulate(arena, rule, range(1, 1001))
    found = caught[key].found
    assert found is not None
    return found


async def run(arena: Arena, schedule: Schedule, rule: Rule = Rule.HUB) -> Verdict:
    database: Database = arena.databases[0]
    async with database.reading(EVERY_TENANT) as view:
        return await run_schedule(database, view, rule, schedule)


def laws(verdict: Verdict) -> set[str]:
    return {breach.law for breach in verdict.breaches}


async def test_every_law_holds_in_every_schedule(arena: Arena, measured: Measured) -> None:
    wanted = SCHEDULES[arena.databases[0].dialect]
    figures = await simulate(arena, Rule.HUB, range(1, 1 + wanted))
    assert figures.found is None, "\n".join(counter_example(figures.found, Rule.HUB))
    assert figures.schedules == wanted
    for line in figures.lines():
        measured("simulated", line)


async def test_the_references_timestamp_rule_is_caught_within_100_schedules(
    arena: Arena, caught: Caught, measured: Measured
) -> None:
    found = await catch(caught, arena, Rule.REFERENCE_TIMESTAMPS)
    assert found.schedule.seed <= 100
    assert "no skip" in laws(found)
    measured("found at seed", found.schedule.seed)
    measured("steps left after shrinking", len(found.schedule.steps))
    assert len(found.schedule.steps) <= 6


async def test_a_store_that_loads_before_it_locks_is_caught(arena: Arena, caught: Caught, measured: Measured) -> None:
    found = await catch(caught, arena, Rule.LOAD_BEFORE_LOCK)
    assert laws(found) & {"rebuild", "last writer", "convergence"}
    measured("found at seed", found.schedule.seed)
    measured("steps left after shrinking", len(found.schedule.steps))
    assert len(found.schedule.steps) <= 12
    again = await run(arena, found.schedule)
    assert again.breaches == [], "the same schedule does no harm to the hub"


async def test_one_seed_gives_one_schedule_and_one_history_whatever_the_engine(arenas: Arenas) -> None:
    histories = []
    for engine in ENGINES:
        arena = await arenas.of(engine)
        histories.append([await run(arena, make_schedule(seed)) for seed in range(500, 540)])
        histories.append([await run(arena, make_schedule(seed)) for seed in range(500, 540)])
    first = histories[0]
    assert sum(len(verdict.trace) for verdict in first) > 1000
    for other in histories[1:]:
        for one, two in zip(first, other, strict=True):
            assert one.trace == two.trace
            assert (one.schedule, one.breaches, one.syncs, one.events) == (
                two.schedule,
                two.breaches,
                two.syncs,
                two.events,
            )


@pytest.mark.parametrize("rule", [Rule.REFERENCE_TIMESTAMPS, Rule.LOAD_BEFORE_LOCK])
async def test_the_counter_example_is_the_same_on_both_engines(arenas: Arenas, caught: Caught, rule: Rule) -> None:
    found = []
    for engine in ENGINES:
        one = await catch(caught, await arenas.of(engine), rule)
        found.append((one.schedule, one.trace, laws(one)))
    assert found[0] == found[1]


def test_schedules_reach_every_corner() -> None:
    """Guards the tests above: every kind of step, device and page size is there, in calm and in other schedules."""
    schedules = [make_schedule(seed) for seed in range(300)]
    assert {step.do for schedule in schedules for step in schedule.steps} == set(Do)
    assert {len(schedule.devices) for schedule in schedules} == {2, 3, 4, 5}
    specs = [spec for schedule in schedules for spec in schedule.devices]
    assert {spec.generation for spec in specs} == {V1, V2}
    assert {1, 1000, None} <= {spec.page_size for spec in specs}
    assert {spec.hub for spec in specs} == {0, 1}
    assert 30 < sum(schedule.calm for schedule in schedules) < 100
    assert max(len(schedule.steps) for schedule in schedules) > 30


async def test_a_push_waits_for_the_one_that_holds_the_lock_and_both_are_stored(arena: Arena) -> None:
    """Two processes of the hub, one row lock or one writer: the simulation does not stand in for it."""
    devices = (DeviceSpec(V2), DeviceSpec(V2, hub=1))
    steps = (
        Step(Do.CREATE, 0, 1),
        Step(Do.CREATE, 1, 1),
        Step(Do.ADVANCE, 0, 3),
        Step(Do.SYNC, 1),
        Step(Do.ADVANCE, 0, 1),
    )
    verdict = await run(arena, Schedule(0, devices, steps))
    assert verdict.breaches == []
    assert verdict.events == 2
    told = [text for who, text in verdict.trace if who == "B"]
    assert told[:3] == ["push arrived", "waiting for the lock", "committed"]


@pytest.mark.parametrize(
    ("points", "stored"), [(1, 0), (2, 0), (3, 0), (4, 1)], ids=["arrived", "locked", "written", "committed"]
)
async def test_what_breaks_off_before_the_commit_leaves_nothing_and_after_it_everything(
    arena: Arena, points: int, stored: int
) -> None:
    steps = (Step(Do.CREATE, 0, 1), Step(Do.CUT, 0, points), Step(Do.RESTART), Step(Do.SYNC, 1))
    verdict = await run(arena, Schedule(0, (DeviceSpec(V1), DeviceSpec(V2)), steps))
    assert verdict.breaches == []
    first_of_b = next(text for who, text in verdict.trace if who == "B" and text.startswith("done"))
    assert f"got {stored} new" in first_of_b


def test_the_command_prints_a_counter_example_and_ends_with_1() -> None:
    answer = CliRunner().invoke(
        command_line(["simulate"]), ["simulate", "--seed", "1", "--rule", "reference-timestamps"]
    )
    assert answer.exit_code == 1, answer.output
    for text in ("Seed 1 breaks a law (rule: reference-timestamps)", "A: v1 client", "1. ", "BROKEN no skip: B was"):
        assert text in answer.output


def test_the_command_ends_with_0_when_every_law_holds() -> None:
    answer = CliRunner().invoke(command_line(["simulate"]), ["simulate", "--seed", "7", "--schedules", "5"])
    assert answer.exit_code == 0, answer.output
    assert "sqlite: every law held." in answer.output
