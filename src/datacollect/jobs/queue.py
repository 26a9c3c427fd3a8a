"""What slices do with jobs: put one in line, look at it. Always in their own transaction. `Worker` does the rest."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from datacollect.db import EveryTenant, Reading, Tx
from datacollect.jobs import queries
from datacollect.jobs.errors import InvalidJobCursor
from datacollect.jobs.model import Job, JobId, JobPage, JobState
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid

JOBS = "jobs"
"""What a transaction announces that has put a job in line."""

CALLED_OFF = "jobs called off"
"""What a transaction announces that has called a running job off."""


async def enqueue(
    tx: Tx,
    scope: TenantScope,
    kind: str,
    args: Mapping[str, Any],
    *,
    key: str = "",
    deadline: Millis | None = None,
    now: Millis,
) -> JobId:
    """Put a job in line, from the commit of `tx` on. `args` are small: ids and numbers, never what people have told.

    There is one active job of a tenant, kind and key: if there is one already, its id is given and `args` are not
    used. It may have begun, and have read what `tx` changes as it was before; a handler for which that matters looks
    again before it answers `Done`.

    A job that is not done at its `deadline` is discarded with `JOB_DEADLINE_PASSED`, whatever it is doing then.
    """
    while True:
        job_id = JobId(new_guid())
        if await queries.insert_job(tx, scope, job_id, kind, key, args, deadline=deadline, now=now):
            tx.announce(JOBS)
            return job_id
        active = await queries.find_active(tx, scope, kind, key)
        if active is not None:
            return active.id
        # It ended between the two statements.


async def find_active(view: Reading, scope: TenantScope, kind: str, *, key: str = "") -> Job | None:
    """The job of that kind and key that waits or runs."""
    return await queries.find_active(view, scope, kind, key)


async def find_latest(view: Reading, scope: TenantScope, kind: str, *, key: str = "") -> Job | None:
    """The active job of that kind and key, or the one that ended last, as long as it is kept."""
    return await queries.find_latest(view, scope, kind, key)


async def find_job(view: Reading, within: TenantScope | EveryTenant, job_id: str) -> Job | None:
    """The job with that id, as long as it is kept."""
    return await queries.find_job(view, within, JobId(job_id))


async def list_jobs(
    view: Reading,
    within: TenantScope | EveryTenant,
    *,
    kinds: Collection[str] | None = None,
    states: Collection[JobState] | None = None,
    before: str | None = None,
    limit: int,
) -> JobPage:
    """Jobs, the youngest first; `before` is the `following` of another page. Raises `InvalidJobCursor`."""
    place = None if before is None else read_cursor(before)
    found = await queries.list_jobs(view, within, kinds=kinds, states=states, before=place, limit=limit + 1)
    page, rest = found[:limit], found[limit:]
    return JobPage(page, f"{page[-1].created_at}.{page[-1].id}" if rest else None)


async def stop_all(tx: Tx, scope: TenantScope, *, but: JobId | None = None, now: Millis) -> None:
    """End all jobs of the tenant at once, but for one: what a step that is under way does is undone when it wants to commit.

    Handlers are not told: it is for programs that go away with all they have.
    """
    await queries.stop_all(tx, scope, but=but, now=now)
    tx.announce(CALLED_OFF)


async def forget_ended(tx: Tx, scope: TenantScope) -> None:
    """Forget the tenant's jobs that have ended, as if they had never been."""
    await queries.delete_ended(tx, scope)


def read_cursor(cursor: str) -> tuple[Millis, JobId]:
    """The place that a page's `following` names. Raises `InvalidJobCursor`."""
    created, dot, job_id = cursor.partition(".")
    # As many digits as a time has: larger numbers are none that a database could compare.
    if not dot or not job_id.isascii() or not job_id.isprintable() or not re.fullmatch("[0-9]{1,15}", created):
        raise InvalidJobCursor()
    return Millis(int(created)), JobId(job_id)
