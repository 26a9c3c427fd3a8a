"""`DELETE /api/apps/{id}/purge`."""

from typing import Annotated

from fastapi import APIRouter, Depends

from datacollect.features.purging import service
from datacollect.features.purging.schemas import GONE, UNDER_WAY, Purged
from datacollect.http.current import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import ByPath, ProgramId
from datacollect.http.source import CurrentSource
from datacollect.jobs import JobState
from datacollect.kernel.identity import Action, TenantScope
from datacollect.kernel.permission import Callers

router = APIRouter(prefix="/api/apps", tags=["App Configuration"])

Owner = Annotated[TenantScope, Depends(ByPath(Action.MANAGE_CONFIG, callers=Callers.ADMIN))]

_WAIT_SECONDS = 1.5
_NOT_ARCHIVED = "The program is not archived."


@router.delete(
    "/{id}/purge",
    summary="Delete a program for good",
    response_model=Purged,
    responses=errors(404, texts={409: _NOT_ARCHIVED}),
)
async def purge_app(hub: CurrentHub, owner: Owner, source: CurrentSource, program_id: ProgramId) -> Purged:
    """Delete an archived program with all its data and memberships. It cannot be undone.

    The program is gone at once. A small one is deleted when this answers; of a large one the data goes in the background
    (`finished: false`), and until that is done its id cannot be used. Sent again, it tells how far that is. Where purging
    is switched off (`PURGE`) there is no such path.
    """
    del program_id
    async with hub.db.transaction(owner) as tx:
        job_id = await service.begin(tx, owner, source=source, now=hub.clock.now())
    hub.tenants.forget([owner.tenant_id])
    hub.devices.forget(owner.tenant_id)
    job = await hub.jobs.wait_for(owner, job_id, seconds=_WAIT_SECONDS)
    # Not kept any more: it has ended.
    is_finished = job is None or job.state is JobState.COMPLETED
    rows = sum(job.result["rows"].values()) if job and job.result else job.progress.done if job else 0
    return Purged(warning=GONE if is_finished else UNDER_WAY, finished=is_finished, deletedRows=rows)
