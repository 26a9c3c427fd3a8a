"""Work that can wait gives way to whoever asks this process for something."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from datacollect.db import Database, Tx
from datacollect.jobs import Continue, Done, Job, Rest, Step, Visitors, Worker, enqueue, find_latest
from datacollect.jobs.giving_way import GivingWay, Metered
from datacollect.kernel.clock import SystemClock
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import new_id

pytestmark = pytest.mark.anyio


def test_a_tenth_is_taken_while_somebody_is_answered_or_has_come_and_soon_all_of_it_else() -> None:
    visitors = Visitors()
    giving_way = GivingWay(visitors)
    assert not giving_way.knows_visitors
    assert giving_way.rest_seconds(2, 3, alone=1) == 3
    visitors.enter()
    assert giving_way.knows_visitors
    assert [giving_way.rest_seconds(2, 3, alone=0) for _ in range(2)] == [18, 18]
    visitors.enter()
    visitors.leave()
    visitors.leave()
    assert giving_way.rest_seconds(2, 3, alone=0) == 18, "the second one had come meanwhile"
    assert [giving_way.rest_seconds(2, 3, alone=0) for _ in range(6)] == [9, 4.5, 2.25, 1.125, 0, 0]


def test_it_rests_no_less_than_it_took_with_what_it_waited_for() -> None:
    visitors = Visitors(come=1, at_work=1)
    assert GivingWay(visitors).rest_seconds(2, 30, alone=0) == 30


async def test_only_what_keeps_the_loop_counts_also_as_seen_from_within() -> None:
    now, seen = 0.0, list[float]()

    async def pass_time(seconds: float) -> None:
        nonlocal now
        await asyncio.sleep(0)
        now += seconds

    async def work() -> str:
        nonlocal now
        now += 2
        seen.append(metered.seconds)
        await others
        seen.append(metered.seconds)
        now += 3
        return "done"

    others = asyncio.ensure_future(pass_time(100))
    metered = Metered(work(), monotonic=lambda: now)
    assert await metered == "done"
    assert (seen, metered.seconds) == ([2, 2], 5)


async def test_what_is_raised_at_metered_work_is_raised_in_it_and_by_it() -> None:
    heard = list[str]()

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise ValueError("its own") from None

    async def await_it() -> None:
        await Metered(work())

    task = asyncio.ensure_future(await_it())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(ValueError, match="its own"):
        await task
    assert heard == ["cancelled"]


@dataclass
class Thinking:
    """Rests twice before each of its three steps; `before` says who is there."""

    before: Callable[[int], None]
    kind: str = field(default_factory=lambda: new_id("thinking"))
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[object] | None" = None

    async def prepare(self, scope: TenantScope, job: Job, rest: Rest) -> int:
        self.task = asyncio.current_task()
        number = int(job.checkpoint.get("number", 0)) + 1
        self.before(number)
        await rest()
        await rest()
        return number

    async def step(self, tx: Tx, scope: TenantScope, job: Job, result: int) -> Step:
        if result < 3:
            return Continue({"number": result}, result, 3)
        self.ended.set()
        return Done()


async def test_a_job_that_thinks_rests_while_there_are_requests_and_goes_on_at_once_when_there_are_none(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitors, rests = Visitors(come=1), dict[int, list[float]]()
    now = 0

    def come_and_go(number: int) -> None:
        nonlocal now
        now = number
        visitors.at_work = int(number == 2)

    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        # Not the worker's own rounds, nor what else goes on in this process.
        if seconds < 1 and asyncio.current_task() is thinking.task:
            rests.setdefault(now, []).append(seconds)
        await sleep(0)

    thinking, scope, clock = Thinking(come_and_go), system_scope(TenantId(new_id("jobs"))), SystemClock()
    worker = Worker(database, clock, [thinking], visitors=visitors, slots=1, slice_steps=1)
    async with database.transaction() as tx:
        await enqueue(tx, scope, thinking.kind, {}, now=clock.now())
    monkeypatch.setattr(asyncio, "sleep", noted)
    async with asyncio.timeout(30), worker.running():
        await thinking.ended.wait()
    assert rests[1][:2] == [0, 0] and min(rests[2][:2]) > 0
    async with database.reading() as view:
        job = await find_latest(view, scope, thinking.kind)
    assert job is not None and job.attempt == 1, "nobody waited for its place"
