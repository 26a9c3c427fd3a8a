"""`datacollect jobs …` as somebody at a terminal uses it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import update

from datacollect.db import Tx, open_database
from datacollect.db.database import closing
from datacollect.jobs import enqueue
from datacollect.jobs.tables import jobs
from datacollect.kernel.clock import SystemClock
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.e2e.conftest import Run
from tests.e2e.installation import refused, told

pytestmark = [pytest.mark.usefixtures("migrated"), pytest.mark.anyio]


@asynccontextmanager
async def writing(environment: dict[str, str]) -> AsyncIterator[Tx]:
    database = open_database(environment.get("DATABASE_URL"), data_dir=Path(environment["DATA_DIR"]), pool_size=1)
    async with closing(database), database.transaction() as tx:
        yield tx


async def seeding_of(environment: dict[str, str], program: str) -> str:
    """A job that waits for a hub, which will find that there is nothing to be seeded."""
    async with writing(environment) as tx:
        return await enqueue(tx, system_scope(TenantId(program)), "seeding", {}, now=SystemClock().now())


async def give_up(environment: dict[str, str], job_id: str) -> None:
    """As if it had failed too often."""
    async with writing(environment) as tx:
        given_up = update(jobs).where(jobs.c.id == job_id)
        await tx.execute(
            given_up.values(state="discarded", error_code="JOB_FAILED", failures=10, finished_ms=jobs.c.created_ms)
        )


async def test_jobs_are_listed_called_off_and_put_in_line_again(run: Run, environment: dict[str, str]) -> None:
    north, south = await seeding_of(environment, "north"), await seeding_of(environment, "south")
    page = told(run, "jobs", "list", "--limit", "1")
    assert [job["id"] for job in page["jobs"]] == [south]
    rest = told(run, "jobs", "list", "--limit", "1", "--before", page["following"])
    assert ([job["configId"] for job in rest["jobs"]], rest["following"]) == (["north"], None)
    table = run("jobs", "list", "--limit", "1")
    assert table.stdout.splitlines()[1].split()[:4] == [south, "south", "seeding", "available"]
    assert table.stderr == f"There are more: --before {page['following']}\n"

    assert told(run, "jobs", "cancel", south)["state"] == "cancelled"
    assert refused(run, "jobs", "cancel", south)["code"] == "JOB_NOT_ACTIVE"
    assert refused(run, "jobs", "retry", south)["code"] == "JOB_NOT_RETRYABLE"
    assert refused(run, "jobs", "show", "nobody")["code"] == "JOB_NOT_FOUND"

    await give_up(environment, north)
    [dead] = told(run, "jobs", "list", "--state", "discarded", "--kind", "seeding")["jobs"]
    assert (dead["id"], dead["error"]) == (north, "JOB_FAILED")
    assert "JOB_FAILED" in run("jobs", "show", north).stdout
    again = told(run, "jobs", "retry", north)
    assert (again["state"], again["failures"], again["error"]) == ("available", 0, None)
    assert again == told(run, "jobs", "show", north)
