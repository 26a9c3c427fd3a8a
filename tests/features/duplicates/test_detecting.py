"""Duplicates are compared in no transaction while others write: what is told in the end is what is there."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db import Database
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.features.duplicates import queries
from datacollect.features.duplicates.comparing import RULES
from datacollect.features.duplicates.detecting import DetectingHandler, Watcher
from datacollect.features.duplicates.model import Pair, Status
from datacollect.features.entities.entity import Entity
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.entities.service import entities_by_guid
from datacollect.features.tenants.asked import find_running
from datacollect.features.tenants.service import take_up
from datacollect.jobs import Continue, Job, enqueue, find_active
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.testing.clock import TurnableClock
from tests.factories import make_config
from tests.memory import MemoryDatabase

PEOPLE = [f"p{number}" for number in range(7)]
DOCUMENTS = ["AB-310-77", "QX-992-05", "MV-468-21"]
"""Whoever has the same is told, whatever else they say; nobody takes one for another."""


async def no_rest() -> None:
    """Nobody else is there."""


class Register:
    """People who have documents, and change them; the job looks, and others write between its look and its step."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clock = TurnableClock()
        self._log = EventLog(event_store(database), [EntityProjection(FOLLOWERS)], self._clock)
        self._handler = DetectingHandler(database, self._log, self._clock, batch=3)
        self._names = (f"register-{number}" for number in itertools.count())
        self.seen: Counter[str] = Counter()

    async def live(self, seed: int) -> None:
        dice, scope = random.Random(seed), system_scope(TenantId(next(self._names)))
        async with self._database.transaction(scope) as tx:
            await take_up(tx, self._log, scope, make_config(scope.tenant_id), now=self._clock.now())
        for _ in range(8):
            await self._write(scope, dice)
            await self._look(scope, dice, chance_of_others=0.7)
        while await self._look(scope, dice, chance_of_others=0):
            pass
        expected = await self._same_document(scope)
        assert await self._told(scope) == expected
        self.seen["pairs"] += len(expected)

    async def _same_document(self, scope: TenantScope) -> set[Pair]:
        async with self._database.reading(scope) as view:
            there = sorted(await entities_by_guid(view, scope, PEOPLE), key=_document)
        same = itertools.groupby(there, key=_document)
        return {Pair.of(one.guid, other.guid) for _, group in same for one, other in itertools.combinations(group, 2)}

    async def _told(self, scope: TenantScope) -> set[Pair]:
        async with self._database.reading(scope) as view:
            told = await queries.list_pairs(view, scope, status=Status.OPEN, after=None, limit=100)
        return {each.pair for each in told}

    async def _write(self, scope: TenantScope, dice: random.Random) -> None:
        kind = dice.choice(("create-individual", "update-individual", "delete-entity"))
        await self._append(scope, dice.choice(PEOPLE), kind, dice.choice(DOCUMENTS))

    async def _append(self, scope: TenantScope, guid: str, kind: str, document: str) -> None:
        self._clock.turn(seconds=1)
        data = {"entityName": "individual", "nationalId": document} if kind != "delete-entity" else {}
        event = Event(new_guid(), guid, kind, data, self._clock.now(), "agent")
        async with self._database.transaction(scope) as tx:
            tenant = await find_running(tx, scope.tenant_id)
            assert tenant is not None
            await self._log.append(tx, scope, tenant, [event], on_rejection=lambda _: None)

    async def _look(self, scope: TenantScope, dice: random.Random, *, chance_of_others: float) -> bool:
        """One step of the job; whether there is more to look at."""
        job = await self._job(scope)
        looked = await self._handler.prepare(scope, job, no_rest)
        while dice.random() < chance_of_others:
            await self._write(scope, dice)
            self.seen["written meanwhile"] += looked is not None
        before = await self._told(scope)
        async with self._database.transaction(scope) as tx:
            step = await self._handler.step(tx, scope, job, looked)
        assert await self._told(scope) - before <= await self._same_document(scope)
        return isinstance(step, Continue)

    async def _job(self, scope: TenantScope) -> Job:
        async with self._database.transaction(scope) as tx:
            await enqueue(tx, scope, DetectingHandler.kind, {}, now=self._clock.now())
            job = await find_active(tx, scope, DetectingHandler.kind)
        assert isinstance(job, Job)
        return job

    async def looks_to_the_end(self) -> int:
        """How many looks it takes to be done with all of them."""
        scope, dice = await self._with_everybody(), random.Random(1)
        looks = 1
        while await self._look(scope, dice, chance_of_others=0):
            looks += 1
        async with self._database.reading(scope) as view:
            head = await self._log.head(view, scope)
            assert head is not None and await queries.find_mark(view, scope, RULES) == head.position
        return looks

    async def is_put_in_line(self) -> bool:
        """Whether somebody is to look at a program that is pushed to without a pause."""
        scope = await self._with_everybody()
        watcher = Watcher(self._database, self._clock, wait_seconds=0)
        async with self._database.reading(scope) as view:
            head = await self._log.head(view, scope)
            assert head is not None
            for _ in range(1000):
                watcher.committed(scope.tenant_id, head, head)
                await asyncio.sleep(0)
                if await find_active(view, scope, DetectingHandler.kind) is not None:
                    watcher.stop()
                    return True
        return False

    async def _with_everybody(self) -> TenantScope:
        scope = system_scope(TenantId(next(self._names)))
        async with self._database.transaction(scope) as tx:
            await take_up(tx, self._log, scope, make_config(scope.tenant_id), now=self._clock.now())
        for guid in PEOPLE:
            await self._append(scope, guid, "create-individual", DOCUMENTS[0])
        return scope

    async def is_put_back(self) -> bool:
        """Whether a sweep that is asked for between a look and its step begins at the beginning."""
        scope, dice = await self._with_everybody(), random.Random(1)
        await self._look(scope, dice, chance_of_others=0)
        job = await self._job(scope)
        looked = await self._handler.prepare(scope, job, no_rest)
        async with self._database.transaction(scope) as tx:
            await queries.put_back_mark(tx, scope, now=self._clock.now())
        async with self._database.transaction(scope) as tx:
            await self._handler.step(tx, scope, job, looked)
            return await queries.find_mark(tx, scope, RULES) == 0


def _document(entity: Entity) -> str:
    return str(entity.data["nationalId"])


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_what_is_written_between_a_look_and_its_step_is_neither_missed_nor_told_as_it_was(
    runner: asyncio.Runner, measured: Callable[[str, object], None]
) -> None:
    register = Register(MemoryDatabase())

    @settings(max_examples=60, database=None)
    @given(seed=st.integers(0, 2**48))
    def each(seed: int) -> None:
        runner.run(register.live(seed))

    each()
    measured("seen", dict(register.seen))
    assert register.seen["pairs"] > 60 and register.seen["written meanwhile"] > 60


def test_a_sweep_that_is_asked_for_between_a_look_and_its_step_begins_at_the_beginning(runner: asyncio.Runner) -> None:
    assert runner.run(Register(MemoryDatabase()).is_put_back())


def test_the_look_that_comes_to_the_end_of_the_log_is_the_last_one(runner: asyncio.Runner) -> None:
    assert runner.run(Register(MemoryDatabase()).looks_to_the_end()) == 3, "seven people, three at a time"


def test_a_program_that_is_pushed_to_without_a_pause_is_put_in_line_all_the_same(runner: asyncio.Runner) -> None:
    assert runner.run(Register(MemoryDatabase()).is_put_in_line())
