"""Jobs on both engines: what is committed happens once, whoever works on it and however that ends."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from sqlalchemy import func, select, update

from datacollect.db import Database, Tx
from datacollect.jobs import Continue, Done, Job, JobId, JobState, Retries, Step, Worker, enqueue, find_active, queries
from datacollect.jobs.clocks import SetBack
from datacollect.jobs.errors import JobReplaced, Unrecoverable
from datacollect.jobs.queue import find_latest
from datacollect.jobs.tables import jobs
from datacollect.kernel.clock import Millis, SystemClock
from datacollect.kernel.errors import Unavailable
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.clock import SetClock
from tests.factories import new_id
from tests.jobs.elsewhere import forget_later_clocks
from tests.logs import told

pytestmark = pytest.mark.anyio

_WEEK = 7 * 24 * 3600 * 1000
_EFFECT = "effect"
"""The kind of rows in which a step leaves its effect: jobs that nobody has a handler for."""


@dataclass
class Counting:
    """Counts to `args["to"]`; each step leaves one row of effect in its transaction, with the number it counted."""

    kind: str = field(default_factory=lambda: new_id("kind"))
    before: Callable[[Tx, Job], Any] | None = None
    """Called in each step, when its effect is written."""
    ahead: Callable[[Tx, Job], Any] | None = None
    """Called in each step, before its effect is written."""
    served: list[TenantId] = field(default_factory=list)

    async def step(self, tx: Tx, scope: TenantScope, job: Job) -> Step:
        assert scope.tenant_id == job.tenant_id and scope.actor.kind == "system"
        self.served.append(scope.tenant_id)
        if self.ahead is not None:
            await self.ahead(tx, job)
        number = int(job.checkpoint.get("number", 0)) + 1
        await enqueue(tx, scope, f"{self.kind}-{_EFFECT}", {"number": number}, key=f"{job.id} {number}", now=Millis(0))
        if self.before is not None:
            await self.before(tx, job)
        to = int(job.args["to"])
        return Continue({"number": number}, number, to) if number < to else Done({"counted": number})


@dataclass
class Place:
    """A tenant of a test's own, a clock that stands still, and the engine's database."""

    database: Database
    clock: SetClock = field(default_factory=lambda: SetClock(SystemClock().now()))
    scope: TenantScope = field(default_factory=lambda: system_scope(TenantId(new_id("jobs"))))

    def worker(self, *handlers: Counting, **options: Any) -> Worker:
        # Slices end by their steps, not by the time that a busy machine takes for them.
        return Worker(self.database, self.clock, handlers, **({"slice_seconds": 3600} | options))

    async def enqueue(self, kind: str, to: int = 3, *, key: str = "", scope: TenantScope | None = None) -> JobId:
        async with self.database.transaction() as tx:
            return await enqueue(tx, scope or self.scope, kind, {"to": to}, key=key, now=self.clock.now())

    async def latest(self, kind: str, *, key: str = "") -> Job:
        async with self.database.reading() as view:
            found = await find_latest(view, self.scope, kind, key=key)
        assert found is not None
        return found

    async def effects(self, counting: Counting) -> list[int]:
        """The numbers that were counted, in order; one that was counted twice stands there twice."""
        kind = f"{counting.kind}-{_EFFECT}"
        async with self.database.reading() as view:
            rows = await view.execute(select(jobs.c.args, jobs.c.tenant_id).where(jobs.c.kind == kind))
            return sorted(int(row.args.partition(":")[2].rstrip("}")) for row in rows)

    async def change(self, job_id: JobId, **values: Any) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


@pytest.fixture
async def place(database: Database) -> Place:
    place = Place(database)
    await forget_later_clocks(database, place.clock)
    return place


def once(action: Callable[[Tx, Job], Any], *, at: int = 1) -> Callable[[Tx, Job], Any]:
    """Do this in the `at`th step only."""
    calls = 0

    async def maybe(tx: Tx, job: Job) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            await action(tx, job)

    return maybe


async def crash(_tx: Tx, _job: Job) -> None:
    """The process is gone: nothing of what it would do next happens."""
    raise asyncio.CancelledError


# -- one job


async def test_a_job_runs_to_its_end_and_tells_how_far_it_is(place: Place) -> None:
    counting = Counting()
    seen: list[tuple[int, int | None]] = []

    async def note(tx: Tx, job: Job) -> None:
        seen.append((job.progress.done, job.progress.total))

    counting.before = note
    job_id = await place.enqueue(counting.kind, to=3)
    assert (await place.latest(counting.kind)).state is JobState.AVAILABLE
    await place.worker(counting).drain()
    job = await place.latest(counting.kind)
    assert (job.id, job.state, job.result) == (job_id, JobState.COMPLETED, {"counted": 3})
    assert (job.attempt, job.failures, job.error_code) == (1, 0, None)
    assert job.finished_at == place.clock.now()
    assert await place.effects(counting) == [1, 2, 3]
    assert seen == [(0, None), (1, 3), (2, 3)]


async def test_a_job_exists_if_and_only_if_the_transaction_that_enqueues_it_is_committed(place: Place) -> None:
    counting = Counting()
    with pytest.raises(ZeroDivisionError):
        async with place.database.transaction() as tx:
            await enqueue(tx, place.scope, counting.kind, {"to": 1}, now=place.clock.now())
            raise ZeroDivisionError
    await place.worker(counting).drain()
    assert await place.effects(counting) == []


async def test_enqueuing_again_gives_the_job_that_is_active(place: Place) -> None:
    counting = Counting()
    first = await place.enqueue(counting.kind)
    assert await place.enqueue(counting.kind) == first
    assert await place.enqueue(counting.kind, key="other") != first
    assert await place.enqueue(counting.kind, scope=system_scope(TenantId(new_id("else")))) != first
    await place.worker(counting).drain()
    assert await place.enqueue(counting.kind) != first


async def test_many_that_enqueue_at_once_get_one_job(place: Place) -> None:
    counting = Counting()
    found = await asyncio.gather(*(place.enqueue(counting.kind) for _ in range(8)))
    assert len(set(found)) == 1
    async with place.database.reading() as view:
        count = select(func.count()).select_from(jobs).where(jobs.c.kind == counting.kind)
        assert (await view.execute(count)).scalar_one() == 1


async def test_an_active_job_is_found_and_an_ended_one_is_the_latest(place: Place) -> None:
    counting = Counting()
    job_id = await place.enqueue(counting.kind)
    async with place.database.reading() as view:
        active = await find_active(view, place.scope, counting.kind)
    assert active is not None and active.id == job_id and active.is_active
    await place.worker(counting).drain()
    async with place.database.reading() as view:
        assert await find_active(view, place.scope, counting.kind) is None
    assert (await place.latest(counting.kind)).id == job_id
    place.clock.turn(1)
    second = await place.enqueue(counting.kind)
    assert (await place.latest(counting.kind)).id == second


async def test_jobs_of_a_kind_nobody_here_knows_wait_for_a_worker_that_does(place: Place) -> None:
    counting = Counting()
    await place.enqueue(counting.kind)
    await place.worker(Counting()).drain()
    assert (await place.latest(counting.kind)).state is JobState.AVAILABLE


def test_two_handlers_of_one_kind_stop_the_start(place: Place) -> None:
    with pytest.raises(ValueError, match="two handlers"):
        place.worker(Counting("same"), Counting("same"))


# -- crashes and leases


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_after_a_crash_in_any_step_the_next_worker_goes_on_from_the_checkpoint(place: Place, at: int) -> None:
    counting = Counting(before=once(crash, at=at))
    await place.enqueue(counting.kind, to=3)
    with pytest.raises(asyncio.CancelledError):
        await place.worker(counting).drain()
    assert await place.effects(counting) == list(range(1, at))
    assert (await place.latest(counting.kind)).state is JobState.RUNNING
    other = place.worker(counting)
    await other.drain()
    assert await place.effects(counting) == list(range(1, at)), "the lease of the dead still counts"
    place.clock.turn(30_000)
    await other.drain()
    assert await place.effects(counting) == [1, 2, 3]
    job = await place.latest(counting.kind)
    assert (job.state, job.attempt) == (JobState.COMPLETED, 2)


async def test_who_is_taken_over_while_still_at_work_commits_nothing_more(place: Place) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    slow = Counting()

    async def hang(_tx: Tx, _job: Job) -> None:
        reached.set()
        await go_on.wait()

    slow.ahead = once(hang, at=2)
    await place.enqueue(slow.kind, to=3)
    first = asyncio.create_task(place.worker(slow).drain())
    await reached.wait()
    place.clock.turn(30_000)
    quick = Counting(slow.kind)
    if place.database.dialect == "sqlite":
        # One writer: whoever takes over waits for the step to end, and then finds that it has been prolonged.
        second = asyncio.create_task(place.worker(quick).drain())
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(first, second)
    else:
        await place.worker(quick).drain()
        assert (await place.latest(slow.kind)).state is JobState.COMPLETED
        with structlog.testing.capture_logs() as lines:
            go_on.set()
            await first
        assert [line["event"] for line in told(lines, "job")] == ["job.lost"]
    assert await place.effects(slow) == [1, 2, 3]
    assert (await place.latest(slow.kind)).state is JobState.COMPLETED


async def test_a_step_whose_lease_was_taken_over_meanwhile_leaves_nothing(place: Place) -> None:
    counting = Counting()

    async def taken_over(tx: Tx, job: Job) -> None:
        # As if it had happened on another machine, between the two last statements.
        await tx.execute(update(jobs).where(jobs.c.id == job.id).values(attempt=job.attempt + 1, owner="another"))

    counting.before = once(taken_over, at=2)
    await place.enqueue(counting.kind, to=3)
    with structlog.testing.capture_logs() as lines:
        await place.worker(counting).drain()
    assert await place.effects(counting) == [1]
    assert [line["event"] for line in told(lines, "job")] == ["job.lost"]


@pytest.mark.parametrize("changed", [{"owner": "another"}, {"attempt": 7}, {"state": "available"}])
async def test_owner_attempt_and_state_each_are_part_of_the_fence(place: Place, changed: Mapping[str, Any]) -> None:
    counting = Counting()

    async def meddle(tx: Tx, job: Job) -> None:
        await tx.execute(update(jobs).where(jobs.c.id == job.id).values(**changed))

    counting.before = once(meddle)
    await place.enqueue(counting.kind, to=1)
    with structlog.testing.capture_logs() as lines:
        async with asyncio.timeout(30):
            await place.worker(counting).drain()
    assert [line["event"] for line in told(lines, "job")] == ["job.lost"]
    assert await place.effects(counting) == []


async def test_a_committed_step_prolongs_the_lease(place: Place) -> None:
    counting = Counting()

    async def take_long(_tx: Tx, _job: Job) -> None:
        place.clock.turn(20_000)

    counting.before = take_long
    await place.enqueue(counting.kind, to=5)
    await place.worker(counting).drain()
    job = await place.latest(counting.kind)
    assert (job.state, job.attempt) == (JobState.COMPLETED, 1)


async def test_many_workers_at_once_do_every_step_once(place: Place) -> None:
    counting = Counting()
    for number in range(6):
        await place.enqueue(counting.kind, to=5, key=str(number))
    workers = [place.worker(counting, slice_steps=2) for _ in range(3)]
    await asyncio.gather(*(worker.drain() for worker in workers))
    assert await place.effects(counting) == sorted(list(range(1, 6)) * 6)


# -- failures


async def test_a_step_that_fails_leaves_nothing_and_is_tried_again_later(place: Place) -> None:
    async def fail(_tx: Tx, _job: Job) -> None:
        raise ZeroDivisionError("Ana Lopez")

    counting = Counting(before=once(fail, at=2))
    await place.enqueue(counting.kind, to=3)
    worker = place.worker(counting)
    with structlog.testing.capture_logs() as lines:
        await worker.drain()
    job = await place.latest(counting.kind)
    assert (job.state, job.failures, job.error_code) == (JobState.RETRYABLE, 1, "JOB_FAILED")
    assert await place.effects(counting) == [1]
    [line] = lines
    assert (line["event"], line["code"]) == ("job.step_failed", "JOB_FAILED")
    place.clock.turn(2_000)
    await worker.drain()
    job = await place.latest(counting.kind)
    assert (job.state, job.failures, job.error_code) == (JobState.COMPLETED, 0, None)
    assert await place.effects(counting) == [1, 2, 3]


async def test_a_job_that_fails_too_often_is_discarded_with_the_code_of_its_error(place: Place) -> None:
    async def fail(_tx: Tx, _job: Job) -> None:
        raise JobReplaced()

    counting = Counting(before=fail)
    await place.enqueue(counting.kind)
    worker = place.worker(counting, retries=Retries(attempts=3))
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            await worker.drain()
            place.clock.turn(1_000_000)
    job = await place.latest(counting.kind)
    assert (job.state, job.attempt, job.error_code) == (JobState.DISCARDED, 3, JobReplaced.code)
    assert job.finished_at is not None
    assert len(counting.served) == 3
    assert [line["event"] for line in lines].count("job.discarded") == 1
    assert await place.enqueue(counting.kind) != job.id, "a discarded job is in nobody's way"


async def test_no_job_is_given_up_because_the_database_is_away_or_its_disk_full(place: Place) -> None:
    async def fail(_tx: Tx, _job: Job) -> None:
        raise Unavailable()

    counting = Counting(before=fail)
    await place.enqueue(counting.kind)
    worker = place.worker(counting, retries=Retries(attempts=3))
    for _ in range(7):
        await worker.drain()
        place.clock.turn(1_000_000)
    job = await place.latest(counting.kind)
    assert (job.state, job.attempt, job.error_code) == (JobState.RETRYABLE, 7, Unavailable.code)
    counting.before = None
    await worker.drain()
    assert (await place.latest(counting.kind)).state is JobState.COMPLETED


async def test_failures_are_counted_since_the_last_step_that_went_well(place: Place) -> None:
    calls = 0

    async def fail_every_second_time(_tx: Tx, _job: Job) -> None:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise ZeroDivisionError

    counting = Counting(before=fail_every_second_time)
    await place.enqueue(counting.kind, to=4)
    worker = place.worker(counting, retries=Retries(attempts=2))
    for _ in range(5):
        await worker.drain()
        place.clock.turn(1_000_000)
    assert (await place.latest(counting.kind)).state is JobState.COMPLETED


async def test_a_job_that_cannot_succeed_is_discarded_at_once(place: Place) -> None:
    class NotConfigured(Unrecoverable):
        """There is nothing to speak to."""

        code = "TEST_NOT_CONFIGURED"

    async def refuse(_tx: Tx, _job: Job) -> None:
        raise NotConfigured()

    counting = Counting(before=refuse)
    await place.enqueue(counting.kind)
    await place.worker(counting).drain()
    job = await place.latest(counting.kind)
    assert (job.state, job.error_code, len(counting.served)) == (JobState.DISCARDED, "TEST_NOT_CONFIGURED", 1)


async def test_a_job_that_ends_every_process_is_discarded(place: Place) -> None:
    counting = Counting(before=crash)
    await place.enqueue(counting.kind)
    for _ in range(3):
        with pytest.raises(asyncio.CancelledError):
            await place.worker(counting, retries=Retries(attempts=3)).drain()
        place.clock.turn(30_000)
    await place.worker(counting, retries=Retries(attempts=3)).drain()
    job = await place.latest(counting.kind)
    assert (job.state, job.error_code) == (JobState.DISCARDED, "JOB_ABANDONED")
    assert len(counting.served) == 3


async def test_a_step_that_takes_longer_than_a_lease_is_cut_off(place: Place) -> None:
    async def hang(_tx: Tx, _job: Job) -> None:
        await asyncio.Event().wait()

    counting = Counting(before=hang)
    await place.enqueue(counting.kind)
    async with asyncio.timeout(30):
        await place.worker(counting, lease_seconds=0.05).drain()
    job = await place.latest(counting.kind)
    assert (job.state, job.error_code) == (JobState.RETRYABLE, "JOB_TIMED_OUT")
    assert await place.effects(counting) == []


def test_pauses_grow_to_a_limit_and_differ() -> None:
    retries = Retries(first_seconds=2, most_seconds=100)
    assert [retries.pause_millis(failures, lambda: 1) for failures in (1, 2, 3, 7, 500)] == [
        2_000,
        4_000,
        8_000,
        100_000,
        100_000,
    ]
    chance = random.Random(7)
    pauses = {retries.pause_millis(3, chance.random) for _ in range(100)}
    assert len(pauses) > 90
    assert min(pauses) >= 4_000 and max(pauses) <= 8_000


# -- calling off


async def test_a_job_that_waits_is_called_off_at_once(place: Place) -> None:
    counting = Counting()
    job_id = await place.enqueue(counting.kind)
    worker = place.worker(counting)
    async with place.database.transaction(place.scope) as tx:
        assert await worker.cancel(tx, system_scope(TenantId("another")), job_id) is None
        cancelled = await worker.cancel(tx, place.scope, job_id)
        assert cancelled is not None and cancelled.state is JobState.CANCELLED
        assert await worker.cancel(tx, place.scope, job_id) is None
    assert (await place.latest(counting.kind)).state is JobState.CANCELLED
    await worker.drain()
    assert counting.served == []


async def test_a_job_that_runs_is_called_off_at_its_next_checkpoint(place: Place) -> None:
    counting = Counting()
    worker = place.worker(counting)

    async def call_off(tx: Tx, job: Job) -> None:
        assert await worker.cancel(tx, place.scope, job.id)

    counting.before = once(call_off, at=2)
    await place.enqueue(counting.kind, to=5)
    await worker.drain()
    job = await place.latest(counting.kind)
    assert (job.state, job.checkpoint, job.finished_at) == (JobState.CANCELLED, {"number": 2}, place.clock.now())
    assert await place.effects(counting) == [1, 2]


async def test_a_job_called_off_when_its_worker_was_gone_ends_with_the_next_claim(place: Place) -> None:
    counting = Counting(before=once(crash))
    job_id = await place.enqueue(counting.kind)
    with pytest.raises(asyncio.CancelledError):
        await place.worker(counting).drain()
    async with place.database.transaction() as tx:
        assert await place.worker(counting).cancel(tx, place.scope, job_id)
    place.clock.turn(30_000)
    await place.worker(counting).drain()
    assert (await place.latest(counting.kind)).state is JobState.CANCELLED
    assert len(counting.served) == 1


async def test_a_job_that_fails_and_was_called_off_is_cancelled(place: Place) -> None:
    counting = Counting()

    async def fail(_tx: Tx, job: Job) -> None:
        raise ZeroDivisionError

    counting.before = fail
    job_id = await place.enqueue(counting.kind)
    await place.change(job_id, cancel_requested=False)
    worker = place.worker(counting)
    await worker.drain()
    await place.change(job_id, state="running", cancel_requested=True, owner="gone", due_ms=0)
    await worker.drain()
    assert (await place.latest(counting.kind)).state is JobState.CANCELLED


async def test_a_job_that_is_called_off_in_the_step_that_fails_has_ended(place: Place) -> None:
    counting = Counting()
    job_id = await place.enqueue(counting.kind)
    await place.change(job_id, state="running", owner="somebody", attempt=1, failures=1, cancel_requested=True)
    job = await place.latest(counting.kind)
    async with place.database.transaction() as tx:
        await queries.store_failure(tx, job, "somebody", retry_at=Millis(place.clock.now() + 1), now=place.clock.now())
    ended = await place.latest(counting.kind)
    assert (ended.state, ended.finished_at) == (JobState.CANCELLED, place.clock.now())


# -- fairness


async def test_a_tenant_with_a_long_job_does_not_keep_others_waiting(place: Place) -> None:
    counting = Counting()
    small = system_scope(TenantId(new_id("small")))
    await place.enqueue(counting.kind, to=100)
    place.clock.turn(1)
    await place.enqueue(counting.kind, to=1, scope=small)
    await place.worker(counting, slice_steps=5).drain()
    assert counting.served.index(small.tenant_id) <= 5
    assert len(counting.served) == 101


async def test_a_tenant_with_many_jobs_does_not_keep_others_waiting(place: Place) -> None:
    counting = Counting()
    for number in range(20):
        await place.enqueue(counting.kind, to=1, key=str(number))
    place.clock.turn(1)
    others = [system_scope(TenantId(new_id("other"))) for _ in range(3)]
    for other in others:
        await place.enqueue(counting.kind, to=3, scope=other)
    await place.worker(counting, slice_steps=1).drain()
    # While all four have something to do, each has every fourth turn.
    for scope in (place.scope, *others):
        assert counting.served[:12].count(scope.tenant_id) == 3


# -- forgetting


async def test_ended_jobs_are_forgotten_after_two_weeks(place: Place) -> None:
    counting = Counting()
    await place.enqueue(counting.kind, key="ended")
    await place.worker(counting).drain()
    await place.enqueue(counting.kind, key="waits")
    place.clock.turn(13 * 24 * 3600 * 1000)
    await place.worker()._forget_old_ones()
    assert (await place.latest(counting.kind, key="ended")).state is JobState.COMPLETED
    place.clock.turn(2 * 24 * 3600 * 1000)
    for _ in range(20):  # some at a time, and other tests have left theirs
        await place.worker()._forget_old_ones()
    async with place.database.reading() as view:
        assert await find_latest(view, place.scope, counting.kind, key="ended") is None
    assert (await place.latest(counting.kind, key="waits")).state is JobState.AVAILABLE


# -- a clock that is set back


async def test_a_clock_that_was_set_back_keeps_no_job_waiting(place: Place) -> None:
    """Who waits for a turn has one, who failed rests as long as it was to, and what a process left is taken over."""

    async def fail(_tx: Tx, _job: Job) -> None:
        raise ZeroDivisionError

    waiting, failing, left = Counting(), Counting(before=once(fail)), Counting(before=once(crash))
    handlers, seconds = (waiting, failing, left), 0.0
    for counting in handlers:
        await place.enqueue(counting.kind)
    await place.worker(failing).drain()
    with pytest.raises(asyncio.CancelledError):
        await place.worker(left).drain()
    place.clock.turn(-_WEEK)
    worker = place.worker(*handlers)
    set_back = SetBack(place.database, place.clock, lease_seconds=30, monotonic=lambda: seconds)

    async def states() -> list[JobState]:
        await set_back.look()
        await worker.drain()
        return [(await place.latest(counting.kind)).state for counting in handlers]

    assert await states() == [JobState.COMPLETED, JobState.RETRYABLE, JobState.RUNNING]
    assert 1000 <= (await place.latest(failing.kind)).due_at - place.clock.now() <= 2000
    place.clock.turn(2000)
    seconds = 59
    assert await states() == [JobState.COMPLETED, JobState.COMPLETED, JobState.RUNNING]
    seconds = 60
    with structlog.testing.capture_logs() as lines:
        assert await states() == [JobState.COMPLETED] * 3
    # Other tests leave jobs too.
    assert [line["left"] >= 1 for line in lines if line["event"] == "jobs.clock_set_back"] == [True]
    assert [await place.effects(counting) for counting in handlers] == [[1, 2, 3]] * 3


async def test_who_lives_keeps_a_job_when_the_clock_was_set_back(place: Place) -> None:
    counting = Counting()
    job_id = await place.enqueue(counting.kind)
    await place.change(job_id, state="running", owner="somebody", attempt=1, due_ms=place.clock.now() + _WEEK)
    seconds = 0.0
    set_back = SetBack(place.database, place.clock, lease_seconds=30, monotonic=lambda: seconds)
    for step in range(9):
        seconds = step * 30
        await place.change(job_id, due_ms=place.clock.now() + _WEEK + step)  # a clock that is ahead, beside this one
        await set_back.look()
    await place.worker(counting).drain()
    assert ((await place.latest(counting.kind)).state, counting.served) == (JobState.RUNNING, [])


async def test_a_lease_that_was_changed_since_it_was_looked_at_is_not_ended(place: Place) -> None:
    until = Millis(place.clock.now() + _WEEK)
    job_id = await place.enqueue(Counting().kind)
    await place.change(job_id, state="running", owner="somebody", attempt=1, due_ms=until)
    held = queries.Held(job_id, 1, until)

    async def is_ended() -> bool:
        async with place.database.transaction() as tx:
            return await queries.end_lease(tx, held, now=place.clock.now())

    for prolonged, attempt in ((until + 1, 1), (until, 2)):
        await place.change(job_id, due_ms=prolonged, attempt=attempt)
        assert not await is_ended()
    await place.change(job_id, due_ms=until, attempt=1)
    assert await is_ended()


async def test_a_running_worker_looks_for_what_a_clock_left_that_was_set_back(place: Place) -> None:
    counting = Counting()
    job_id = await place.enqueue(counting.kind)
    place.clock.turn(-_WEEK)
    worker = place.worker(counting, lease_seconds=1)
    async with worker.running():
        job = await worker.wait_for(place.scope, job_id, seconds=30)
    assert job is not None and job.state is JobState.COMPLETED


# -- in the background


async def test_a_running_worker_is_woken_by_the_commit_and_ends_with_its_block(place: Place) -> None:
    counting = Counting()
    ended = asyncio.Event()

    async def note(_tx: Tx, job: Job) -> None:
        if job.checkpoint.get("number") == 2:
            ended.set()

    counting.before = note
    worker = place.worker(counting, poll_seconds=3600)
    async with worker.running():
        await worker.drain()
        async with asyncio.timeout(30):  # less than it would sleep
            await place.enqueue(counting.kind, to=3)
            await ended.wait()
        await worker.drain()
        assert (await place.latest(counting.kind)).state is JobState.COMPLETED
    await place.enqueue(counting.kind, to=3, key="later")
    assert (await place.latest(counting.kind, key="later")).state is JobState.AVAILABLE


async def test_draining_waits_for_what_the_process_has_just_claimed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    worker = place.worker(counting, poll_seconds=3600)
    transaction = place.database.transaction

    @contextlib.asynccontextmanager
    async def slow_to_tell(within: Any = None) -> AsyncIterator[Tx]:
        async with transaction(within) as tx:
            yield tx
        await asyncio.sleep(0.05)

    monkeypatch.setattr(place.database, "transaction", slow_to_tell)
    async with worker.running():
        await place.enqueue(counting.kind, to=1)
        await worker.drain()
        assert (await place.latest(counting.kind)).state is JobState.COMPLETED


async def test_a_worker_that_is_stopped_ends_its_step_and_leaves_the_rest_to_the_next(place: Place) -> None:
    counting = Counting()
    stopping = asyncio.Event()

    async def slow(_tx: Tx, job: Job) -> None:
        stopping.set()
        for _ in range(20):
            await asyncio.sleep(0)

    counting.before = slow
    worker = place.worker(counting, slots=1, slice_steps=10**6, slice_seconds=10**6)
    await place.enqueue(counting.kind, to=10**6)
    async with asyncio.timeout(30):
        async with worker.running():
            worker.wake()
            await stopping.wait()
    job = await place.latest(counting.kind)
    assert job.state is JobState.AVAILABLE, "the next worker need not wait for the lease to end"
    assert job.progress.done == len(counting.served) == max(await place.effects(counting))
    assert job.progress.done < 10**6


async def test_a_worker_outlives_a_database_that_is_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    done = asyncio.Event()

    async def note(_tx: Tx, _job: Job) -> None:
        done.set()

    counting = Counting(before=note)
    worker = place.worker(counting, slots=1, poll_seconds=3600)
    reading = place.database.reading
    refused = asyncio.Event()

    def away(within: Any = None) -> Any:
        refused.set()
        raise Unavailable()

    monkeypatch.setattr(place.database, "reading", away)
    async with worker.running():
        await refused.wait()
        monkeypatch.setattr(place.database, "reading", reading)
        await place.enqueue(counting.kind, to=1)
        async with asyncio.timeout(30):
            await done.wait()
