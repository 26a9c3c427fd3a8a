"""Jobs that call other systems, on both engines: what a call has answered is stored once, and no call is in another's way."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog
from sqlalchemy import update

from datacollect.db import Database
from datacollect.jobs import CallFailed, Done, GiveUp, Job, JobState, Lease, Retries, Retry, calls
from datacollect.jobs.errors import LeaseLost
from datacollect.jobs.tables import jobs
from datacollect.kernel.errors import Unavailable
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import new_id
from tests.jobs.elsewhere import Elsewhere, Place, for_ever, forget_later_clocks, leave, until
from tests.logs import told

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 30
SAID = "Ana Lopez is not known here"
"""What another system might say."""


@pytest.fixture
async def place(database: Database) -> Place:
    place = Place(database)
    await forget_later_clocks(database, place.clock)
    return place


@pytest.fixture(autouse=True)
async def patience() -> Any:
    async with asyncio.timeout(PATIENCE_SECONDS):
        yield


def once(action: Callable[[Job, Lease], Awaitable[Any]], *, at: int = 1) -> Callable[[Job, Lease], Awaitable[Any]]:
    """Do this in the `at`th call only."""
    calls = 0

    async def maybe(job: Job, lease: Lease) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            await action(job, lease)

    return maybe


class Hanging:
    """Another system that does not answer until it is told to."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.answers = asyncio.Event()

    async def __call__(self, _job: Job, _lease: Lease) -> None:
        self.is_asked.set()
        await self.answers.wait()


# -- calls and steps


async def test_each_call_is_followed_by_a_step_with_its_result(place: Place) -> None:
    elsewhere = Elsewhere()
    job_id = await place.enqueue(elsewhere.kind, to=3)
    await place.worker(elsewhere).drain()
    job = await place.job(job_id)
    assert (job.state, job.result, job.attempt) == (JobState.COMPLETED, {"counted": 3}, 1)
    assert await place.left(elsewhere) == [1, 2, 3]
    assert (len(elsewhere.called), elsewhere.ends) == (3, [("completed", None, 3)])
    assert await place.left(elsewhere, "end") == [1]


async def test_what_a_call_marks_in_a_transaction_of_its_own_is_there_before_it_answers(place: Place) -> None:
    elsewhere = Elsewhere()

    async def mark(job: Job, lease: Lease) -> None:
        async with lease.transaction() as tx:
            await leave(tx, place.scope, f"{elsewhere.kind}-mark", int(job.checkpoint.get("number", 0)))
        raise CallFailed("TEST_AWAY")

    elsewhere.during = once(mark)
    await place.enqueue(elsewhere.kind)
    await place.worker(elsewhere).drain()
    assert (await place.left(elsewhere, "mark"), await place.left(elsewhere)) == ([0], [])


async def test_many_workers_at_once_store_every_answer_once(place: Place) -> None:
    elsewhere = Elsewhere(during=lambda _job, _lease: asyncio.sleep(0.001))
    for number in range(4):
        await place.enqueue(elsewhere.kind, to=4, key=str(number))
    workers = [place.worker(elsewhere, slice_steps=2) for _ in range(3)]
    await asyncio.gather(*(worker.drain() for worker in workers))
    assert await place.left(elsewhere) == sorted([1, 2, 3, 4] * 4)
    assert elsewhere.ends == [("completed", None, 4)] * 4


# -- failures


async def test_a_call_that_fails_stores_nothing_but_its_code_and_is_made_again_later(place: Place) -> None:
    async def fail(_job: Job, _lease: Lease) -> None:
        raise ConnectionError(SAID)

    elsewhere = Elsewhere(during=once(fail, at=2))
    job_id = await place.enqueue(elsewhere.kind, to=3)
    worker = place.worker(elsewhere)
    with structlog.testing.capture_logs() as lines:
        await worker.drain()
    job = await place.job(job_id)
    assert (job.state, job.failures, job.error_code) == (JobState.RETRYABLE, 1, "JOB_FAILED")
    assert (await place.left(elsewhere), elsewhere.ends) == ([1], [])
    [line] = lines
    assert line["event"] == "job.step_failed" and "ConnectionError" in line["exception"]
    assert "Ana" not in str(lines)
    place.clock.turn(2_000)
    await worker.drain()
    assert (await place.job(job_id)).state is JobState.COMPLETED
    assert (await place.left(elsewhere), elsewhere.ends) == ([1, 2, 3], [("completed", None, 3)])


@pytest.mark.parametrize(("asked", "waits"), [(90.0, 90_000), (0.001, 1_000), (10.0**9, 3_600_000), (-5.0, 1_000)])
async def test_the_other_system_says_when_it_wants_us_back(place: Place, asked: float, waits: int) -> None:
    async def busy(_job: Job, _lease: Lease) -> None:
        raise CallFailed("TEST_BUSY", retry_after_seconds=asked)

    elsewhere = Elsewhere(during=busy)
    job_id = await place.enqueue(elsewhere.kind)
    worker = place.worker(elsewhere)
    await worker.drain()
    job = await place.job(job_id)
    assert (job.state, job.error_code) == (JobState.RETRYABLE, "TEST_BUSY")
    place.clock.turn(waits - 1)
    await worker.drain()
    assert len(elsewhere.called) == 1
    place.clock.turn(max(waits // 10, 1_000) + 2)
    await worker.drain()
    assert len(elsewhere.called) == 2


async def test_a_step_that_says_retry_keeps_what_it_has_written_and_counts_as_a_failure(place: Place) -> None:
    elsewhere = Elsewhere(answered=lambda _job, _number: Retry("TEST_AWAY", after_seconds=60), retries=Retries(2))
    job_id = await place.enqueue(elsewhere.kind)
    worker = place.worker(elsewhere)
    with structlog.testing.capture_logs() as lines:
        await worker.drain()
    job = await place.job(job_id)
    assert (job.state, job.error_code, job.checkpoint) == (JobState.RETRYABLE, "TEST_AWAY", {})
    assert (await place.left(elsewhere), elsewhere.ends) == ([1], [])
    assert [line["event"] for line in told(lines, "job")] == ["job.step_failed"]
    place.clock.turn(66_000)
    await worker.drain()
    assert (await place.job(job_id)).state is JobState.DISCARDED
    assert (await place.left(elsewhere), elsewhere.ends) == ([1, 1], [("discarded", "TEST_AWAY", 0)])


async def test_a_step_that_gives_up_keeps_what_it_has_written_and_ends_the_job(place: Place) -> None:
    elsewhere = Elsewhere(answered=lambda _job, _number: GiveUp("TEST_NOT_CONFIGURED"))
    job_id = await place.enqueue(elsewhere.kind)
    await place.worker(elsewhere).drain()
    job = await place.job(job_id)
    assert (job.state, job.error_code) == (JobState.DISCARDED, "TEST_NOT_CONFIGURED")
    assert (await place.left(elsewhere), elsewhere.ends) == ([1], [("discarded", "TEST_NOT_CONFIGURED", 0)])


async def test_a_call_that_cannot_succeed_ends_the_job_at_once(place: Place) -> None:
    async def refuse(_job: Job, _lease: Lease) -> None:
        raise CallFailed("TEST_REFUSED", is_final=True)

    elsewhere = Elsewhere(during=refuse)
    job_id = await place.enqueue(elsewhere.kind)
    await place.worker(elsewhere).drain()
    assert (await place.job(job_id)).state is JobState.DISCARDED
    assert elsewhere.ends == [("discarded", "TEST_REFUSED", 0)]


async def test_a_text_is_not_kept_as_a_code(place: Place) -> None:
    async def fail(_job: Job, _lease: Lease) -> None:
        raise CallFailed(SAID)

    elsewhere = Elsewhere(during=fail)
    job_id = await place.enqueue(elsewhere.kind)
    with structlog.testing.capture_logs() as lines:
        await place.worker(elsewhere).drain()
    assert (await place.job(job_id)).error_code == "JOB_FAILED"
    assert "Ana" not in str(lines)


@pytest.mark.parametrize("how", ["hangs", "gives up itself"])
async def test_a_call_that_takes_too_long_is_cut_off_and_made_again_later(place: Place, how: str) -> None:
    async def give_up(_job: Job, _lease: Lease) -> None:
        raise TimeoutError

    elsewhere = Elsewhere(call_seconds=0.05, during=for_ever if how == "hangs" else give_up)
    job_id = await place.enqueue(elsewhere.kind)
    await place.worker(elsewhere).drain()
    job = await place.job(job_id)
    assert (job.state, job.error_code) == (JobState.RETRYABLE, "JOB_CALL_TIMED_OUT")
    assert elsewhere.cut_off == (how == "hangs")


async def test_a_call_that_does_not_end_when_it_is_cut_off_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "_LAST_WORDS_SECONDS", 0.01)
    let_go = asyncio.Event()

    async def deaf(_job: Job, _lease: Lease) -> None:
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()

    elsewhere = Elsewhere(call_seconds=0.05, during=once(deaf))
    job_id = await place.enqueue(elsewhere.kind)
    with structlog.testing.capture_logs() as lines:
        await place.worker(elsewhere).drain()
    assert (await place.job(job_id)).state is JobState.RETRYABLE
    assert [line["event"] for line in told(lines, "job")] == ["job.call_does_not_end", "job.step_failed"]
    let_go.set()


# -- leases


async def test_the_lease_is_prolonged_for_as_long_as_a_call_lasts(place: Place) -> None:
    hanging = Hanging()
    elsewhere = Elsewhere(during=once(hanging))
    job_id = await place.enqueue(elsewhere.kind)
    work = asyncio.create_task(place.worker(elsewhere).drain())
    await hanging.is_asked.wait()
    another = place.worker(Elsewhere(elsewhere.kind, during=for_ever))
    for _ in range(5):
        place.clock.turn(15_000)
        await place.until_leased(job_id, place.clock.now() + 30_000)
        await another.drain()
    # Otherwise it would look like one that nobody holds any more.
    place.clock.turn(-7 * 24 * 3600 * 1000)
    await place.until_leased(job_id, place.clock.now() + 30_000, at_most=True)
    hanging.answers.set()
    await work
    job = await place.job(job_id)
    assert (job.state, job.attempt) == (JobState.COMPLETED, 1)
    assert await place.left(elsewhere) == [1, 2, 3]


async def test_a_call_whose_lease_is_lost_is_cut_off_and_what_it_did_is_not_stored(place: Place) -> None:
    hanging = Hanging()
    slow = Elsewhere(during=once(hanging, at=2))
    job_id = await place.enqueue(slow.kind)
    # It stands still for longer than a lease: it does not look.
    first = asyncio.create_task(place.worker(slow, look_seconds=10, grace_seconds=0).drain())
    await hanging.is_asked.wait()
    place.clock.turn(30_000)
    quick = Elsewhere(slow.kind)
    await place.worker(quick).drain()
    assert (await place.job(job_id)).state is JobState.COMPLETED
    with structlog.testing.capture_logs() as lines:
        hanging.answers.set()
        await first
    assert [line["event"] for line in told(lines, "job")] == ["job.lost"]
    assert (await place.left(slow), await place.left(slow, "end"), slow.ends) == ([1, 2, 3], [1], [])


@pytest.mark.parametrize("change", [{"owner": "another"}, {"attempt": 7}, {"state": "cancelled"}])
async def test_owner_attempt_and_state_each_tell_a_call_that_its_lease_is_lost(
    place: Place, change: dict[str, Any]
) -> None:
    async def taken_over(job: Job, lease: Lease) -> None:
        await place.change(job.id, **change)
        await for_ever(job, lease)

    elsewhere = Elsewhere(during=once(taken_over))
    await place.enqueue(elsewhere.kind)
    with structlog.testing.capture_logs() as lines:
        await place.worker(elsewhere).drain()
    assert [line["event"] for line in told(lines, "job")] == ["job.lost"]
    assert (elsewhere.cut_off, await place.left(elsewhere)) == (1, [])


async def test_a_call_without_its_lease_cannot_store_anything_of_its_own(place: Place) -> None:
    refused = 0

    async def taken_over(job: Job, lease: Lease) -> None:
        nonlocal refused
        await place.change(job.id, owner="another")
        try:
            async with lease.transaction() as tx:
                await leave(tx, place.scope, f"{elsewhere.kind}-mark", 1)
        except LeaseLost:
            refused += 1

    elsewhere = Elsewhere(during=once(taken_over))
    await place.enqueue(elsewhere.kind)
    # It does not look before it answers: that the transaction failed is enough.
    await place.worker(elsewhere, look_seconds=10).drain()
    assert (refused, await place.left(elsewhere, "mark"), await place.left(elsewhere)) == (1, [], [])


async def test_a_call_is_cut_off_when_the_database_was_away_for_as_long_as_a_lease(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(within: Any = None) -> Any:
        raise Unavailable()

    async def lose_the_database(job: Job, lease: Lease) -> None:
        monkeypatch.setattr(place.database, "reading", away)
        monkeypatch.setattr(place.database, "transaction", away)
        place.clock.turn(29_000)
        await asyncio.sleep(0.05)
        assert elsewhere.cut_off == 0
        place.clock.turn(1_000)
        try:
            await for_ever(job, lease)
        finally:
            monkeypatch.undo()

    elsewhere = Elsewhere(during=once(lose_the_database))
    job_id = await place.enqueue(elsewhere.kind)
    await place.worker(elsewhere, look_seconds=0.005).drain()
    job = await place.job(job_id)
    assert (elsewhere.cut_off, job.state, job.attempt) == (1, JobState.COMPLETED, 2)


# -- calling off


async def test_a_call_that_hangs_is_cut_off_when_another_process_calls_the_job_off(place: Place) -> None:
    hanging = Hanging()
    elsewhere = Elsewhere(during=once(hanging, at=3))
    job_id = await place.enqueue(elsewhere.kind, to=5)
    work = asyncio.create_task(place.worker(elsewhere).drain())
    await hanging.is_asked.wait()
    async with place.database.transaction() as tx:
        # As another process does it: nothing wakes this one.
        await tx.execute(update(jobs).where(jobs.c.id == job_id).values(cancel_requested=True))
    await work
    job = await place.job(job_id)
    assert (job.state, job.progress.done, job.finished_at) == (JobState.CANCELLED, 2, place.clock.now())
    assert (await place.left(elsewhere), elsewhere.ends) == ([1, 2], [("cancelled", None, 2)])
    assert elsewhere.cut_off == 1


async def test_calling_off_is_noticed_at_once_in_the_same_process(place: Place) -> None:
    hanging = Hanging()
    elsewhere = Elsewhere(during=hanging)
    job_id = await place.enqueue(elsewhere.kind)
    worker = place.worker(elsewhere, look_seconds=3600, lease_seconds=10_800)
    work = asyncio.create_task(worker.drain())
    await hanging.is_asked.wait()
    async with place.database.transaction(place.scope) as tx:
        job = await worker.cancel(tx, place.scope, job_id)
        assert job is not None and job.state is JobState.RUNNING
    await work
    assert (await place.job(job_id)).state is JobState.CANCELLED


async def test_what_a_call_answers_soon_after_it_was_called_off_is_kept(place: Place) -> None:
    async def finish(job: Job, lease: Lease) -> None:
        await place.change(job.id, cancel_requested=True)
        await until(lambda: lease.is_ending)

    elsewhere = Elsewhere(during=once(finish, at=2))
    job_id = await place.enqueue(elsewhere.kind, to=5)
    await place.worker(elsewhere, grace_seconds=20).drain()
    job = await place.job(job_id)
    assert (job.state, job.progress.done, elsewhere.cut_off) == (JobState.CANCELLED, 2, 0)
    assert (await place.left(elsewhere), elsewhere.ends) == ([1, 2], [("cancelled", None, 2)])


async def test_what_a_call_answers_when_it_is_cut_off_is_kept(place: Place) -> None:
    async def sum_up(job: Job, lease: Lease) -> None:
        await place.change(job.id, cancel_requested=True)
        with contextlib.suppress(asyncio.CancelledError):
            await for_ever(job, lease)

    elsewhere = Elsewhere(during=once(sum_up))
    await place.enqueue(elsewhere.kind)
    await place.worker(elsewhere).drain()
    assert (await place.left(elsewhere), elsewhere.ends) == ([1], [("cancelled", None, 1)])


async def test_a_job_that_waits_is_closed_in_the_transaction_that_calls_it_off(place: Place) -> None:
    elsewhere = Elsewhere()
    job_id = await place.enqueue(elsewhere.kind)
    worker = place.worker(elsewhere)
    with pytest.raises(ZeroDivisionError):
        async with place.database.transaction(place.scope) as tx:
            await worker.cancel(tx, place.scope, job_id)
            raise ZeroDivisionError
    assert (await place.job(job_id)).state is JobState.AVAILABLE
    assert await place.left(elsewhere, "end") == []
    async with place.database.transaction(place.scope) as tx:
        await worker.cancel(tx, place.scope, job_id)
    await worker.drain()
    assert (await place.job(job_id)).state is JobState.CANCELLED
    assert len(await place.left(elsewhere, "end")) == 1 and elsewhere.called == []


async def test_a_job_is_called_off_by_a_process_that_does_not_know_its_kind(place: Place) -> None:
    elsewhere = Elsewhere()
    job_id = await place.enqueue(elsewhere.kind)
    await place.change(job_id, state="retryable", failures=1, due_ms=place.clock.now() + 600_000)
    async with place.database.transaction(place.scope) as tx:
        job = await place.worker().cancel(tx, place.scope, job_id)
    assert job is not None and job.is_active and job.is_called_off
    await place.worker(elsewhere).drain()
    assert (await place.job(job_id)).state is JobState.CANCELLED
    assert (elsewhere.called, elsewhere.ends) == ([], [("cancelled", None, 0)])


# -- deadlines


async def test_a_call_is_cut_off_at_the_deadline_of_its_job(place: Place) -> None:
    async def time_goes_by(job: Job, lease: Lease) -> None:
        place.clock.turn(60_000)
        await for_ever(job, lease)

    elsewhere = Elsewhere(during=once(time_goes_by, at=2))
    job_id = await place.enqueue(elsewhere.kind, deadline=place.clock.now() + 60_000)
    await place.worker(elsewhere).drain()
    job = await place.job(job_id)
    assert (job.state, job.error_code) == (JobState.DISCARDED, "JOB_DEADLINE_PASSED")
    assert (await place.left(elsewhere), elsewhere.ends) == ([1], [("discarded", "JOB_DEADLINE_PASSED", 1)])


async def test_a_job_ends_at_its_deadline_between_two_steps_too(place: Place) -> None:
    elsewhere = Elsewhere()

    def time_goes_by(_job: Job, number: int) -> None:
        place.clock.turn(30_000 * (number == 2))

    elsewhere.answered = time_goes_by
    job_id = await place.enqueue(elsewhere.kind, deadline=place.clock.now() + 30_000)
    await place.worker(elsewhere).drain()
    assert (await place.job(job_id)).error_code == "JOB_DEADLINE_PASSED"
    assert elsewhere.ends == [("discarded", "JOB_DEADLINE_PASSED", 2)]


async def test_a_job_that_waits_to_be_tried_again_ends_at_its_deadline(place: Place) -> None:
    async def busy(_job: Job, _lease: Lease) -> None:
        raise CallFailed("TEST_BUSY", retry_after_seconds=1_000)

    elsewhere = Elsewhere(during=busy)
    job_id = await place.enqueue(elsewhere.kind, deadline=place.clock.now() + 30_000)
    worker = place.worker(elsewhere)
    await worker.drain()
    place.clock.turn(29_999)
    await worker.drain()
    assert (await place.job(job_id)).state is JobState.RETRYABLE
    place.clock.turn(1)
    await worker.drain()
    assert (await place.job(job_id)).error_code == "JOB_DEADLINE_PASSED"
    assert len(elsewhere.called) == 1


async def test_a_job_that_is_done_at_its_deadline_is_done(place: Place) -> None:
    elsewhere = Elsewhere()

    def time_goes_by(_job: Job, _number: int) -> Done:
        place.clock.turn(30_000)
        return Done()

    elsewhere.answered = time_goes_by
    job_id = await place.enqueue(elsewhere.kind, deadline=place.clock.now() + 30_000)
    await place.worker(elsewhere).drain()
    assert (await place.job(job_id)).state is JobState.COMPLETED


# -- being told of the end


async def test_the_end_of_a_job_that_ends_every_process_is_told(place: Place) -> None:
    async def crash(_job: Job, _lease: Lease) -> None:
        work.cancel()
        await asyncio.Event().wait()

    elsewhere = Elsewhere(during=crash, retries=Retries(2))
    job_id = await place.enqueue(elsewhere.kind)
    for _ in range(2):
        work = asyncio.create_task(place.worker(elsewhere).drain())
        with pytest.raises(asyncio.CancelledError):
            await work
        place.clock.turn(30_000)
    await place.worker(elsewhere).drain()
    assert (await place.job(job_id)).error_code == "JOB_ABANDONED"
    assert elsewhere.ends == [("discarded", "JOB_ABANDONED", 0)]


async def test_an_end_that_cannot_be_told_is_undone_and_told_later(place: Place) -> None:
    class Forgetful(Elsewhere):
        times = 1

        async def ended(self, tx: Any, scope: Any, job: Job) -> None:
            await super().ended(tx, scope, job)
            if self.times:
                self.times -= 1
                raise ZeroDivisionError

    elsewhere = Forgetful(answered=lambda _job, _number: GiveUp("TEST_OVER"))
    job_id = await place.enqueue(elsewhere.kind)
    worker = place.worker(elsewhere)
    await worker.drain()
    assert (await place.job(job_id)).is_active and await place.left(elsewhere, "end") == []
    for _ in range(3):
        place.clock.turn(30_000)
        await worker.drain()
    assert (await place.job(job_id)).state is JobState.DISCARDED
    assert len(await place.left(elsewhere, "end")) == 1


async def test_a_job_whose_end_can_never_be_told_ends_nevertheless(place: Place) -> None:
    class Broken(Elsewhere):
        async def ended(self, tx: Any, scope: Any, job: Job) -> None:
            raise ZeroDivisionError

    elsewhere = Broken(retries=Retries(2))
    job_id = await place.enqueue(elsewhere.kind, to=1)
    worker = place.worker(elsewhere)
    with structlog.testing.capture_logs() as lines:
        for _ in range(10):
            await worker.drain()
            place.clock.turn(1_000_000)
    assert (await place.job(job_id)).state is JobState.DISCARDED
    assert [line["event"] for line in lines].count("job.ended_untold") == 1


# -- fairness


async def test_calls_that_hang_leave_room_for_other_tenants_and_for_work_in_the_database(place: Place) -> None:
    dead, alive = Hanging(), Elsewhere()
    hanging = Elsewhere(during=dead)
    others = [system_scope(TenantId(new_id("other"))) for _ in range(3)]
    worker = place.worker(hanging, alive, Stepping(alive.kind), call_slots=2, slots=1, poll_seconds=3600)
    async with worker.running():
        await place.enqueue(hanging.kind, to=100_000)
        await dead.is_asked.wait()
        for scope in others:
            await place.enqueue(alive.kind, scope=scope)
            await place.enqueue(f"{alive.kind}-stepping", scope=scope)
        await place.until_left(alive, 9)
        await place.until_left(alive, 3, what="stepping-effect")
        assert len(hanging.called) == 1


async def test_jobs_that_have_failed_take_half_of_the_places_at_most(place: Place) -> None:
    dead, alive = Hanging(), Elsewhere()
    down = Elsewhere(during=dead)
    scopes = [system_scope(TenantId(new_id("down"))) for _ in range(6)]
    for scope in scopes:
        job_id = await place.enqueue(down.kind, scope=scope)
        await place.change(job_id, failures=3)
    worker = place.worker(down, alive, call_slots=4, poll_seconds=3600)
    async with worker.running():
        job_id = await place.enqueue(alive.kind)
        await place.until_ended(job_id)
        assert len(down.called) == 2
        dead.answers.set()
        await place.until_left(down, 18)


async def test_a_job_goes_on_calling_as_long_as_nobody_waits_for_its_place(place: Place) -> None:
    elsewhere = Elsewhere()
    small = system_scope(TenantId(new_id("small")))
    first = await place.enqueue(elsewhere.kind, to=10)
    place.clock.turn(1)

    async def somebody_comes(_job: Job, _lease: Lease) -> None:
        await place.enqueue(elsewhere.kind, to=1, scope=small)

    elsewhere.during = once(somebody_comes, at=5)
    await place.worker(elsewhere, slice_steps=1).drain()
    assert elsewhere.called.index(small.tenant_id) == 5
    assert (await place.job(first)).attempt == 2


# -- stopping


async def test_a_hub_that_stops_waits_a_moment_for_an_answer(place: Place) -> None:
    is_asked = asyncio.Event()

    async def finish(_job: Job, lease: Lease) -> None:
        is_asked.set()
        await until(lambda: lease.is_ending)

    elsewhere = Elsewhere(during=finish)
    job_id = await place.enqueue(elsewhere.kind)
    async with place.worker(elsewhere, grace_seconds=20).running():
        await is_asked.wait()
    job = await place.job(job_id)
    assert (job.state, job.progress.done, await place.left(elsewhere)) == (JobState.AVAILABLE, 1, [1])


async def test_a_hub_that_stops_cuts_calls_off_and_puts_their_jobs_back(place: Place) -> None:
    hanging = Hanging()
    elsewhere = Elsewhere(during=hanging)
    job_id = await place.enqueue(elsewhere.kind)
    await place.change(job_id, failures=2, error_code="TEST_AWAY")
    async with place.worker(elsewhere).running():
        await hanging.is_asked.wait()
    job = await place.job(job_id)
    assert (job.state, job.failures, job.error_code) == (JobState.AVAILABLE, 2, "TEST_AWAY")
    assert (elsewhere.cut_off, elsewhere.ends) == (1, [])
    hanging.answers.set()
    await place.worker(elsewhere).drain()
    assert (await place.job(job_id)).state is JobState.COMPLETED


class Stepping:
    """Works in the database alone; leaves one row."""

    def __init__(self, kind: str) -> None:
        self.kind = f"{kind}-stepping"

    async def step(self, tx: Any, scope: Any, job: Job) -> Done:
        await leave(tx, scope, f"{self.kind}-effect", 1)
        return Done()
