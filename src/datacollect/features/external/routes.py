"""`/api/sync/status`, `…/events`, `…/external…`, `…/failures`, `…/connection` and `/api/adapters`.

Source: the contract's area of external synchronisation, 2. Whose job an id names is what decides who may do something
with it, never what the request says.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from datacollect.features.external import schemas, service
from datacollect.features.external.errors import (
    ConfigIdRequired,
    InstanceNotFound,
    InvalidStart,
    InvalidSyncList,
    NoActiveJob,
    OriginalJobNotFound,
    SyncJobNotFound,
    TooManyConnectionTests,
)
from datacollect.features.external.model import Run
from datacollect.features.external.service import Lost
from datacollect.http.body import ProgramBody
from datacollect.http.current import CurrentHub
from datacollect.http.hub import Hub
from datacollect.http.openapi import errors
from datacollect.http.policy import AboutProgram, ByObject, CurrentUser, Entered, InProgram
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.identity import Action, TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.rates import Rate, Windows

router = APIRouter(prefix="/api", tags=["External Sync Jobs"])

EVENTS = 20
MOST_EVENTS = 100
RECORDS = 100
MOST_RECORDS = 200

_TESTS = Windows(Rate("connection-tests", 6, 60))
"""Per program."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_CURSOR = re.compile(r"(push|pull)\.(.{0,1024})", re.DOTALL)

JobIdInPath = Annotated[str, Path(alias="jobId", description="A run's `jobId`.")]
Limit = Annotated[str, Query(description="At most this many.")]
Cursor = Annotated[str | None, Query(description="`nextCursor` of the page before.")]


def _instance_missing(_: TenantId) -> DataCollectError:
    return InstanceNotFound()


async def _owner(hub: Hub, job_id: str) -> TenantId | None:
    if "\0" in job_id:
        return None
    async with hub.db.reading() as view:
        return await service.owner_of(view, job_id)


def _of_job(action: Action, missing: type[DataCollectError], *, whole: bool = True) -> Any:
    return Depends(ByObject(action, parameter="jobId", owner=_owner, missing=missing, whole=whole))


_start_body = ProgramBody(schemas.StartSync, refused=InvalidStart, required=False)

Watcher = Annotated[TenantScope, Depends(AboutProgram(Action.READ, unnamed=ConfigIdRequired))]
Starter = Annotated[
    Entered, Depends(InProgram(Action.SYNCHRONISE, whole=True, body=_start_body, missing=_instance_missing))
]
Operator = Annotated[Entered, Depends(InProgram(Action.SYNCHRONISE, whole=True, missing=_instance_missing))]
Follower = Annotated[TenantScope, _of_job(Action.READ, SyncJobNotFound, whole=False)]
Reviewer = Annotated[TenantScope, _of_job(Action.READ, SyncJobNotFound)]
Canceller = Annotated[TenantScope, _of_job(Action.SYNCHRONISE, NoActiveJob)]
Repeater = Annotated[TenantScope, _of_job(Action.SYNCHRONISE, OriginalJobNotFound)]

_BUSY = {409: "A run of the program has not ended yet."}
_NO_INSTANCE = {404: "There is no such program, or it is archived."}
_NO_JOB = {404: "There is no such run."}


# -- looking


@router.get(
    "/sync/status",
    summary="How a program's exchange with its other system stands",
    response_model=schemas.SyncStatus,
    response_model_exclude_unset=True,
    responses=errors(400),
)
async def get_external_sync_status(hub: CurrentHub, scope: Watcher) -> dict[str, Any]:
    """The run that waits or is under way, and the latest one. Of a program that is unknown there is neither."""
    async with hub.db.reading(scope) as view:
        found = await service.situation(view, scope)
    is_known = await hub.tenants.find(scope.tenant_id) is not None
    return {
        "isSyncing": is_known and found.active is not None,
        "lastEvent": None if found.latest is None else schemas.job_of(found.latest, scope),
        "activeJob": None if found.active is None else schemas.job_of(found.active, scope),
    }


@router.get(
    "/sync/events",
    summary="Runs of a program's exchange",
    response_model=schemas.SyncEvents,
    response_model_exclude_unset=True,
    responses=errors(400),
)
async def list_external_syncs(
    hub: CurrentHub, scope: Watcher, limit: Limit = str(EVENTS), cursor: Cursor = None
) -> dict[str, Any]:
    """The latest first."""
    wanted = _limit(limit, MOST_EVENTS)
    if cursor is not None and not _NUMBER.fullmatch(cursor):
        raise InvalidSyncList()
    async with hub.db.reading(scope) as view:
        found = await service.list_runs(view, scope, before=None if cursor is None else int(cursor), limit=wanted + 1)
    page: Sequence[Run] = found[:wanted]
    return {
        "events": [schemas.job_of(run, scope) for run in page],
        "nextCursor": str(page[-1].id) if len(found) > wanted else None,
    }


@router.get(
    "/sync/external/{jobId}",
    summary="One run",
    response_model=schemas.SyncJob,
    response_model_exclude_unset=True,
    responses=errors(texts=_NO_JOB),
)
async def get_external_sync(job_id: JobIdInPath, hub: CurrentHub, scope: Follower) -> dict[str, Any]:
    """How far it is, or how it ended."""
    async with hub.db.reading(scope) as view:
        run = await service.find_run(view, scope, job_id)
    if run is None:
        raise SyncJobNotFound()
    return schemas.job_of(run, scope)


@router.get(
    "/sync/external/{jobId}/errors",
    summary="What a run could not bring to its place",
    response_model=schemas.LostRecords,
    responses=errors(400, texts=_NO_JOB),
)
async def list_external_sync_errors(
    job_id: JobIdInPath,
    hub: CurrentHub,
    scope: Reviewer,
    limit: Limit = str(RECORDS),
    cursor: Cursor = None,
) -> dict[str, Any]:
    """The records that this run met last and that have not arrived since: of an older run there are fewer and fewer."""
    async with hub.db.reading(scope) as view:
        run = await service.find_run(view, scope, job_id)
    if run is None:
        raise SyncJobNotFound()
    return await _lost_page(hub, scope, run_id=run.id, limit=limit, cursor=cursor)


# -- doing


@router.post(
    "/sync/external",
    summary="Start an exchange with the other system",
    status_code=202,
    response_model=schemas.Started,
    responses=errors(400, texts=_NO_INSTANCE | _BUSY),
)
async def start_external_sync(hub: CurrentHub, starter: Starter) -> dict[str, Any]:
    """Put a run in line: what changed here goes there, then what changed there comes here. Needs a program-admin.

    The answer waits for nothing; `GET /api/sync/external/{jobId}` tells how far it is. A program without another system
    gets a run that ends at once with `NOT_CONFIGURED`.
    """
    scope = starter.scope
    async with hub.db.transaction(scope) as tx:
        job_id = await service.start(
            tx,
            scope,
            triggered_by=scope.actor.label or service.UNKNOWN_STARTER,
            seconds=hub.settings.external_sync_limit,
            now=hub.clock.now(),
        )
    return {"jobId": job_id, "status": "pending"}


@router.post(
    "/sync/external/{jobId}/cancel",
    summary="Cancel a run",
    response_model=schemas.Cancelling,
    responses=errors(texts={404: "There is no such run, or it has ended."}),
)
async def cancel_external_sync(job_id: JobIdInPath, hub: CurrentHub, scope: Canceller) -> dict[str, Any]:
    """The run ends with the batch that is under way; what has been done stays. Needs a program-admin."""
    async with hub.db.transaction(scope) as tx:
        await service.cancel(tx, hub.jobs, scope, job_id)
    return {"status": "cancelling"}


@router.post(
    "/sync/external/{jobId}/retry",
    summary="Start a run again",
    status_code=202,
    response_model=schemas.Started,
    responses=errors(texts={404: "There is no such run, or its program does not run any more."} | _BUSY),
)
async def retry_external_sync(job_id: JobIdInPath, hub: CurrentHub, scope: Repeater) -> dict[str, Any]:
    """A new run of the same program, however the old one ended. Needs a program-admin."""
    if await hub.tenants.find(scope.tenant_id) is None:
        raise InstanceNotFound()
    async with hub.db.transaction(scope) as tx:
        started = await service.start(
            tx,
            scope,
            triggered_by=scope.actor.label or service.UNKNOWN_STARTER,
            retry_of=job_id,
            seconds=hub.settings.external_sync_limit,
            now=hub.clock.now(),
        )
    return {"jobId": started, "status": "pending"}


# -- records that did not arrive


@router.get(
    "/sync/failures",
    summary="Records that are not where they should be",
    response_model=schemas.LostRecords,
    responses=errors(400, texts=_NO_INSTANCE),
)
async def list_lost_records(
    hub: CurrentHub, operator: Operator, limit: Limit = str(RECORDS), cursor: Cursor = None
) -> dict[str, Any]:
    """All records that have not arrived in the other system, then those that have not arrived here. Needs a program-admin.

    Told are codes, and names of fields at most; never what the records hold.
    """
    return await _lost_page(hub, operator.scope, run_id=None, limit=limit, cursor=cursor)


@router.post(
    "/sync/failures/retry",
    summary="Try all records again that did not arrive",
    response_model=schemas.Retried,
    responses=errors(400, texts=_NO_INSTANCE),
)
async def retry_lost_records(hub: CurrentHub, operator: Operator) -> dict[str, Any]:
    """The next run offers them once more, also those that it had given up. Needs a program-admin."""
    scope = operator.scope
    system = await hub.others.system_of(scope)
    if system is None:
        return {"status": "success", "records": 0}
    async with hub.db.transaction(scope) as tx:
        records = await service.retry_lost(tx, scope, system)
    return {"status": "success", "records": records}


# -- the other system


@router.post(
    "/sync/connection",
    summary="Test the connection to the other system",
    response_model=schemas.ConnectionTest,
    responses=errors(400, 429, texts=_NO_INSTANCE),
)
async def try_external_connection(hub: CurrentHub, operator: Operator, response: Response) -> dict[str, Any]:
    """Sign in to the other system with the program's settings, and ask whether it would take and give. Nothing is
    exchanged. Needs a program-admin; a program may be tested six times a minute."""
    allowance = _TESTS.count(operator.scope.tenant_id, now=hub.clock.now())
    if allowance.exceeded:
        raise TooManyConnectionTests(headers=allowance.headers())
    tested = await hub.others.check(operator.scope, operator.tenant)
    response.headers.update(allowance.headers())
    return schemas.test_of(tested)


@router.get("/adapters", summary="Kinds of adapters", response_model=schemas.AdapterKinds)
async def list_adapters(hub: CurrentHub, _: CurrentUser) -> dict[str, Any]:
    """What `externalSync.type` of a program may be, and the settings that each kind asks for."""
    return {"adapters": list(hub.others.kinds())}


# -- pages


async def _lost_page(
    hub: Hub, scope: TenantScope, *, run_id: int | None, limit: str, cursor: str | None
) -> dict[str, Any]:
    wanted, after = _limit(limit, MOST_RECORDS), _after(cursor)
    system = await hub.others.system_of(scope)
    found: Sequence[Lost] = ()
    if system is not None:
        async with hub.db.reading(scope) as view:
            found = await service.list_lost(view, scope, system, run_id=run_id, after=after, limit=wanted + 1)
    page = found[:wanted]
    return {
        "records": [schemas.lost_of(lost) for lost in page],
        "nextCursor": f"{page[-1].direction}.{page[-1].key}" if len(found) > wanted else None,
    }


def _limit(text: str, most: int) -> int:
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= most:
        raise InvalidSyncList()
    return int(text)


def _after(cursor: str | None) -> tuple[str, str] | None:
    if cursor is None:
        return None
    parts = _CURSOR.fullmatch(cursor)
    if parts is None:
        raise InvalidSyncList()
    return parts[1], parts[2]
