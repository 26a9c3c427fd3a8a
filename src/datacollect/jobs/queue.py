"""What slices do with jobs: put one in line, look at it, call it off. Always in their own transaction."""

from collections.abc import Mapping
from typing import Any

from datacollect.db import Reading, Tx
from datacollect.jobs import queries
from datacollect.jobs.model import Job, JobId
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid

JOBS = "jobs"
"""What a transaction announces that has put a job in line."""


async def enqueue(
    tx: Tx, scope: TenantScope, kind: str, args: Mapping[str, Any], *, key: str = "", now: Millis
) -> JobId:
    """Put a job in line, from the commit of `tx` on. `args` are small: ids and numbers, never what people have told.

    There is one active job of a tenant, kind and key: if there is one already, its id is given and `args` are not
    used. It may have begun, and have read what `tx` changes as it was before; a handler for which that matters looks
    again before it answers `Done`.
    """
    while True:
        job_id = JobId(new_guid())
        if await queries.insert_job(tx, scope, job_id, kind, key, args, now=now):
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


async def cancel(tx: Tx, scope: TenantScope, job_id: JobId, *, now: Millis) -> bool:
    """Call a job off. One that runs ends with the step it is in. Whether there was anything to call off."""
    return await queries.cancel(tx, scope, job_id, now=now)
