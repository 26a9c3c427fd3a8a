"""Workers in processes of their own, killed in the middle or taken over: each step is there once."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from datacollect.db import Database
from datacollect.jobs import JobId, JobState, Worker, enqueue, find_latest
from datacollect.jobs.tables import jobs
from datacollect.kernel.clock import SystemClock
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import new_id
from tests.jobs.counting_process import Calling
from tests.jobs.elsewhere import until
from tests.warm import Warm

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 60


@dataclass
class Apart:
    """A kind of job that processes of their own work on."""

    database: Database
    url: str | None
    folder: Path
    kind: str
    scope: TenantScope
    warm: Warm

    @contextlib.contextmanager
    def process(self, handler: str) -> Iterator[None]:
        """Killed at the end of the block."""
        arguments = (handler, self.kind, str(self.folder / "engine-tests"), *([self.url] if self.url else []))
        log = self.folder / f"{self.kind}.log"
        process = self.warm.start(self.folder, {}, arguments, log, of="tests.jobs.counting_process")
        try:
            yield
            assert process.poll() is None, log.read_text()
        finally:
            process.kill()
            process.wait()

    async def enqueue(self, to: int) -> JobId:
        async with self.database.transaction() as tx:
            return await enqueue(tx, self.scope, self.kind, {"to": to}, now=SystemClock().now())

    async def left(self, what: str) -> list[tuple[str, int]]:
        """What was left of that, and how often."""
        async with self.database.reading() as view:
            found = select(jobs.c.args, func.count()).where(jobs.c.kind == f"{self.kind}-{what}").group_by(jobs.c.args)
            return [(row[0], row[1]) for row in await view.execute(found)]

    async def until_left(self, what: str, count: int) -> None:
        async def holds() -> bool:
            return len(await self.left(what)) >= count

        async with asyncio.timeout(PATIENCE_SECONDS):
            await until(holds)

    async def until_over(self) -> JobState:
        state = JobState.RUNNING

        async def holds() -> bool:
            nonlocal state
            async with self.database.reading() as view:
                job = await find_latest(view, self.scope, self.kind)
            assert job is not None
            state = job.state
            return not job.is_active

        async with asyncio.timeout(PATIENCE_SECONDS):
            await until(holds)
        return state


@pytest.fixture
def apart(database: Database, engine_url: tuple[str | None, Path], warm: Warm) -> Apart:
    url, folder = engine_url
    return Apart(database, url, folder, new_id("killed"), system_scope(TenantId(new_id("jobs"))), warm)


def each_once(count: int) -> list[tuple[str, int]]:
    return sorted((f'{{"number":{number}}}', 1) for number in range(1, count + 1))


@pytest.mark.parametrize(("handler", "kills"), [("counting", (5, 40, 120)), ("calling", (5, 50))])
async def test_workers_that_are_killed_again_and_again_do_each_step_once(
    apart: Apart, handler: str, kills: tuple[int, ...]
) -> None:
    steps = kills[-1]
    await apart.enqueue(steps)
    for enough in kills:
        with apart.process(handler):
            await apart.until_left("effect", enough)
            before = len(await apart.left("effect"))
            assert before < steps or enough == steps, "killed too late to tell anything"
    assert sorted(await apart.left("effect")) == each_once(steps)
    assert await apart.until_over() is JobState.COMPLETED
    async with apart.database.reading() as view:
        job = await find_latest(view, apart.scope, apart.kind)
    assert job is not None and job.attempt >= len(kills)
    if handler == "calling":
        # Whatever was asked and not stored is asked again: by the mark of before, the next one could have known.
        asked = await apart.left("asked")
        assert len(asked) == steps and sum(count for _, count in asked) < steps + len(kills)
        assert await apart.left("completed") == [(f'{{"number":{steps}}}', 1)]


async def test_a_call_in_another_process_ends_when_its_job_is_taken_over_or_called_off(apart: Apart) -> None:
    ours = Worker(apart.database, SystemClock(), [Calling(apart.kind, apart.database, 0)], slots=1)
    with apart.process("hanging"):
        job_id = await apart.enqueue(2)
        await apart.until_left("asked", 1)
        async with apart.database.transaction() as tx:
            # Its lease is over, as if it had stood still.
            await tx.execute(update(jobs).where(jobs.c.id == job_id).values(due_ms=0))
        await ours.drain()
        await apart.until_left("cut-off", 1)
        assert sorted(await apart.left("effect")) == each_once(2)
        assert await apart.left("completed") == [('{"number":2}', 1)]

        job_id = await apart.enqueue(1)

        async def asks_again() -> bool:
            return sum(count for _, count in await apart.left("asked")) == 4

        async with asyncio.timeout(PATIENCE_SECONDS):
            await until(asks_again)
        async with apart.database.transaction(apart.scope) as tx:
            job = await ours.cancel(tx, apart.scope, job_id)
        assert job is not None and job.is_called_off
        assert await apart.until_over() is JobState.CANCELLED
        assert await apart.left("cancelled") == [('{"number":0}', 1)]
    assert sorted(await apart.left("effect")) == each_once(2)
