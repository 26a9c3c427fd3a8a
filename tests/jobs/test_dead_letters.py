"""Jobs that were given up: they are listed, and one call puts one in line again."""

import asyncio
from typing import Any

import pytest

from datacollect.db import EVERY_TENANT, Database
from datacollect.jobs import (
    CallFailed,
    GiveUp,
    Job,
    JobId,
    JobNotFound,
    JobNotRetryable,
    JobReplaced,
    JobState,
    Lease,
    Worker,
    enqueue,
    find_job,
    list_jobs,
)
from datacollect.jobs.errors import InvalidJobCursor
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import new_id
from tests.jobs.elsewhere import Elsewhere, Place, forget_later_clocks

pytestmark = pytest.mark.anyio


@pytest.fixture
async def place(database: Database) -> Place:
    place = Place(database)
    await forget_later_clocks(database, place.clock)
    return place


async def retry(place: Place, worker: Worker, job_id: str, *, scope: TenantScope | None = None) -> Job:
    scope = scope or place.scope
    async with place.database.transaction(scope) as tx:
        return await worker.retry(tx, scope, JobId(job_id))


async def discarded(place: Place, elsewhere: Elsewhere, **options: Any) -> JobId:
    """A job that was given up after its first step."""
    job_id = await place.enqueue(elsewhere.kind, to=3, **options)
    elsewhere.answered = lambda _job, number: GiveUp("TEST_OVER") if number == 2 else None
    await place.worker(elsewhere).drain()
    elsewhere.answered = lambda _job, _number: None
    assert (await place.job(job_id)).state is JobState.DISCARDED
    return job_id


async def test_a_job_that_was_given_up_goes_on_from_its_checkpoint(place: Place) -> None:
    elsewhere = Elsewhere()
    job_id = await discarded(place, elsewhere)
    worker = place.worker(elsewhere)
    job = await retry(place, worker, job_id)
    assert (job.id, job.state, job.failures, job.error_code) == (job_id, JobState.AVAILABLE, 0, None)
    assert (job.finished_at, job.checkpoint) == (None, {"number": 1})
    assert len(await place.left(elsewhere, "reopened")) == 1
    await worker.drain()
    assert (await place.job(job_id)).state is JobState.COMPLETED
    assert [end[0] for end in elsewhere.ends] == ["discarded", "completed"]


async def test_putting_a_job_in_line_again_wakes_the_workers(place: Place) -> None:
    class Silent(Elsewhere):
        async def reopened(self, tx: Any, scope: Any, job: Job) -> None:
            """Enqueues nothing, which would wake them too."""

    elsewhere = Silent()
    job_id = await discarded(place, elsewhere)
    worker = place.worker(elsewhere, poll_seconds=3600)
    async with asyncio.timeout(30), worker.running():
        await worker.drain()
        await retry(place, worker, job_id)
        await place.until_ended(job_id)


async def test_only_what_was_given_up_can_be_put_in_line_again(place: Place) -> None:
    elsewhere = Elsewhere()
    job_id = await place.enqueue(elsewhere.kind)
    worker = place.worker(elsewhere)
    with pytest.raises(JobNotRetryable):
        await retry(place, worker, job_id)
    await worker.drain()
    with pytest.raises(JobNotRetryable):
        await retry(place, worker, job_id)
    with pytest.raises(JobNotFound):
        await retry(place, worker, "nobody's")
    given_up = await discarded(place, elsewhere)
    with pytest.raises(JobNotFound):
        await retry(place, worker, given_up, scope=system_scope(TenantId(new_id("another"))))


async def test_a_handler_may_refuse_and_then_nothing_is_changed(place: Place) -> None:
    class Final(Elsewhere):
        async def reopened(self, tx: Any, scope: Any, job: Job) -> None:
            await super().reopened(tx, scope, job)
            raise JobNotRetryable("Start a new one.")

    elsewhere = Final()
    job_id = await discarded(place, elsewhere)
    with pytest.raises(JobNotRetryable, match="Start a new one"):
        await retry(place, place.worker(elsewhere), job_id)
    assert (await place.job(job_id)).state is JobState.DISCARDED
    assert await place.left(elsewhere, "reopened") == []


async def test_a_job_that_was_replaced_meanwhile_stays_given_up(place: Place) -> None:
    elsewhere = Elsewhere()
    job_id = await discarded(place, elsewhere)
    await place.enqueue(elsewhere.kind)
    with pytest.raises(JobReplaced):
        await retry(place, place.worker(elsewhere), job_id)
    assert (await place.job(job_id)).state is JobState.DISCARDED


async def test_of_many_who_put_jobs_of_one_key_in_line_again_one_succeeds(place: Place) -> None:
    elsewhere = Elsewhere()
    first = await discarded(place, elsewhere)
    second = await discarded(place, elsewhere)
    worker = place.worker(elsewhere)
    found = await asyncio.gather(
        *(retry(place, worker, job_id) for job_id in (first, second, first, second)), return_exceptions=True
    )
    assert len([one for one in found if isinstance(one, Job)]) == 1
    assert all(isinstance(one, Job | JobReplaced | JobNotRetryable) for one in found)


async def test_it_has_the_time_again_that_it_had(place: Place) -> None:
    async def busy(_job: Job, _lease: Lease) -> None:
        raise CallFailed("TEST_BUSY", retry_after_seconds=1_000)

    elsewhere = Elsewhere(during=busy)
    job_id = await place.enqueue(elsewhere.kind, deadline=place.clock.now() + 60_000)
    worker = place.worker(elsewhere)
    await worker.drain()
    for _ in range(2):
        place.clock.turn(60_000)
        await worker.drain()
        assert (await place.job(job_id)).error_code == "JOB_DEADLINE_PASSED"
        place.clock.turn(7_000)
        job = await retry(place, worker, job_id)
        assert job.deadline == place.clock.now() + 60_000
    elsewhere.during = None
    await worker.drain()
    assert (await place.job(job_id)).state is JobState.COMPLETED


# -- lists


async def test_jobs_are_listed_page_by_page_the_youngest_first(place: Place) -> None:
    kind, made = new_id("listed"), []
    for number in range(7):
        # Two each are made in the same millisecond.
        place.clock.turn(number % 2)
        made.append(await place.enqueue(kind, key=str(number)))
    seen: list[JobId] = []
    before, pages = None, 0
    async with place.database.reading() as view:
        while pages == 0 or before is not None:
            page = await list_jobs(view, place.scope, before=before, limit=3)
            seen += [job.id for job in page.jobs]
            before, pages = page.following, pages + 1
    assert (len(seen), pages) == (7, 3)
    assert set(seen) == set(made)
    created = [(await place.job(job_id)).created_at for job_id in seen]
    assert created == sorted(created, reverse=True)


async def test_lists_are_of_one_tenant_or_all_and_of_some_kinds_and_states(place: Place) -> None:
    elsewhere = Elsewhere()
    given_up = await discarded(place, elsewhere)
    waiting = await place.enqueue(elsewhere.kind)
    foreign = await place.enqueue(elsewhere.kind, scope=system_scope(TenantId(new_id("other"))))

    async def listed(within: Any = EVERY_TENANT, **asked: Any) -> set[JobId]:
        async with place.database.reading() as view:
            found = await list_jobs(view, within, limit=100, **({"kinds": [elsewhere.kind]} | asked))
        return {job.id for job in found.jobs}

    assert await listed() == {given_up, waiting, foreign}
    assert await listed(place.scope) == {given_up, waiting}
    assert await listed(states=[JobState.DISCARDED]) == {given_up}
    assert await listed(states=[JobState.DISCARDED, JobState.AVAILABLE]) == {given_up, waiting, foreign}
    assert await listed(place.scope, kinds=[new_id("kind")]) == set()
    async with place.database.reading() as view:
        assert await find_job(view, place.scope, foreign) is None
        assert await find_job(view, EVERY_TENANT, foreign) is not None


@pytest.mark.parametrize("cursor", ["", "x", "1", "1.\0", "-1.a", "9999999999999999.a", "1.ä"])
async def test_a_cursor_that_nobody_was_given_is_refused(place: Place, cursor: str) -> None:
    async with place.database.reading() as view:
        with pytest.raises(InvalidJobCursor):
            await list_jobs(view, place.scope, before=cursor, limit=1)


async def test_putting_back_meets_one_that_is_just_being_enqueued(place: Place) -> None:
    """Both look before the other is committed: the index lets one of them in."""
    if place.database.dialect == "sqlite":
        pytest.skip("one writer: they come one after the other")
    elsewhere = Elsewhere()
    job_id = await discarded(place, elsewhere)
    worker = place.worker(elsewhere)
    async with place.database.transaction() as tx:
        await enqueue(tx, place.scope, elsewhere.kind, {"to": 1}, now=place.clock.now())
        meanwhile = asyncio.create_task(retry(place, worker, job_id))
        await asyncio.sleep(0.05)
    with pytest.raises(JobReplaced):
        await meanwhile
