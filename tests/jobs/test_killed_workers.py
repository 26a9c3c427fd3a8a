"""Workers in processes of their own, killed in the middle: each step is there once."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from datacollect.db import Database
from datacollect.jobs import JobState, enqueue
from datacollect.jobs.queue import find_latest
from datacollect.jobs.tables import jobs
from datacollect.kernel.clock import SystemClock
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import new_id

pytestmark = pytest.mark.anyio

STEPS = 120
PATIENCE_SECONDS = 60


def start(kind: str, engine_url: tuple[str | None, Path]) -> "subprocess.Popen[bytes]":
    url, folder = engine_url
    arguments = [kind, str(folder / "engine-tests"), *([url] if url else [])]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.counting_process", *arguments],
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"]},
    )


async def test_workers_that_are_killed_again_and_again_do_each_step_once(
    database: Database, engine_url: tuple[str | None, Path]
) -> None:
    kind, scope = new_id("killed"), system_scope(TenantId(new_id("jobs")))
    async with database.transaction() as tx:
        await enqueue(tx, scope, kind, {"to": STEPS}, now=SystemClock().now())

    async def counted() -> list[tuple[str, int]]:
        async with database.reading() as view:
            effects = select(jobs.c.args, func.count()).where(jobs.c.kind == f"{kind}-effect").group_by(jobs.c.args)
            return [(row[0], row[1]) for row in await view.execute(effects)]

    async def until_counted(number: int, process: "subprocess.Popen[bytes]") -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(await counted()) < number:
                assert process.poll() is None
                await asyncio.sleep(0.02)

    for enough in (5, 40, STEPS):
        process = start(kind, engine_url)
        try:
            await until_counted(enough, process)
            before = len(await counted())
            assert before < STEPS or enough == STEPS, "killed too late to tell anything"
        finally:
            process.kill()
            process.wait()
    assert sorted(await counted()) == sorted((f'{{"number":{number}}}', 1) for number in range(1, STEPS + 1))
    async with database.reading() as view:
        job = await find_latest(view, scope, kind)
    assert job is not None and job.state is JobState.COMPLETED
    assert job.attempt >= 3
