"""Purging a program. Source: the contract's programs, 8, and its weak points C21 and C24."""

from datacollect.db import Tx
from datacollect.features.purging import queries
from datacollect.features.purging.purge_job import KIND
from datacollect.features.security_log.service import SecurityAction, record
from datacollect.features.tenants import service as tenants
from datacollect.jobs import JobId, enqueue, stop_all
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.source import Source

__all__ = ["begin"]


async def begin(tx: Tx, scope: TenantScope, *, source: Source | None, now: Millis) -> JobId:
    """Take an archived program away for good, and put the deletion of its data in line.

    From the commit on nobody finds the program, appends to its log or uses its id. Of a purge that is under way it gives
    the job; one that was given up is taken up again. Raises `ProgramNotFound`, `ProgramNotArchived`.
    """
    if await tenants.begin_purge(tx, scope, now=now):
        await queries.delete_head(tx, scope)
        await stop_all(tx, scope, now=now)
        await record(
            tx,
            SecurityAction.PROGRAM_PURGE_BEGUN,
            source=source,
            now=now,
            actor=scope.actor.user_id,
            tenant_id=scope.tenant_id,
        )
    return await enqueue(tx, scope, KIND, {"by": scope.actor.user_id}, now=now)
