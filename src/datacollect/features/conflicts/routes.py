"""`/api/conflicts`: what lost against something later, and deciding about it."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request

from datacollect.features.conflicts import service
from datacollect.features.conflicts.errors import InvalidConflictQuery, InvalidResolution
from datacollect.features.conflicts.model import ConflictPlace, ConflictRecord, Resolution
from datacollect.features.conflicts.schemas import ConflictDecision, ConflictList, ConflictReply, ConflictResolved
from datacollect.http.body import ProgramBody
from datacollect.http.current import CurrentHub
from datacollect.http.log_turn import log_turn, still
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InSync
from datacollect.http.wire import EMPTY_IS_ABSENT
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.cursor import read_place, write_place
from datacollect.kernel.identity import Action
from datacollect.kernel.ids import TenantId

router = APIRouter(prefix="/api/conflicts", tags=["Synchronization"])

MOST_LISTED = 1000
_STATUSES = {"unresolved": False, "resolved": True, "all": None}
_WHOLE_NUMBER = re.compile(r"[0-9]{1,4}")
_READ = "read-conflicts"


Reader = Annotated[Entered, Depends(InSync(Action.READ, whole=True))]
Judge = Annotated[
    Entered, Depends(InSync(Action.APPROVE, whole=True, body=ProgramBody(ConflictDecision, refused=InvalidResolution)))
]
Guid = Annotated[str, Path(description="The conflict's guid.")]


@router.get("", summary="List conflicts", response_model=ConflictList, responses=errors(400))
async def list_conflicts(
    hub: CurrentHub,
    reader: Reader,
    status: Annotated[str, Query(description="`unresolved`, `resolved` or `all`.")] = "unresolved",
    entity_guid: Annotated[
        str | None, Query(alias="entityGuid", description="Only those of this entity."), EMPTY_IS_ABSENT
    ] = None,
    limit: Annotated[str, Query(description="At most this many, 1-1000.")] = str(MOST_LISTED),
    cursor: Annotated[str | None, Query(description="The `nextCursor` of the page before.")] = None,
) -> dict[str, Any]:
    """The program's conflicts, the latest first; without `status` those that nobody has decided yet.

    What is found while you go through the pages is before the first of them; what is decided meanwhile leaves the list,
    and the page behind it begins where it would have begun.
    """
    scope, status = reader.scope, status or "unresolved"
    if status not in _STATUSES or not _WHOLE_NUMBER.fullmatch(limit) or not 1 <= int(limit) <= MOST_LISTED:
        raise InvalidConflictQuery()
    after = None if cursor is None else _place(cursor)
    async with hub.db.reading(scope) as view:
        page = await service.list_conflicts(
            view, scope, resolved=_STATUSES[status], entity_guid=entity_guid, after=after, limit=int(limit)
        )
    if page.conflicts:
        await hub.reads.note(scope, reader.tenant, _READ, entity_guid or "*", count=len(page.conflicts))
    return {
        "conflicts": [_view(scope.tenant_id, conflict) for conflict in page.conflicts],
        "unresolvedCount": page.unresolved,
        "nextCursor": None if page.ends_at is None else write_place(page.ends_at),
    }


@router.get(
    "/{guid}",
    summary="One conflict",
    response_model=ConflictReply,
    responses=errors(400, texts={404: "There is no such conflict in this program."}),
)
async def get_conflict(guid: Guid, hub: CurrentHub, reader: Reader) -> dict[str, Any]:
    """A conflict, decided or not."""
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        conflict = await service.get_conflict(view, scope, guid)
    await hub.reads.note(scope, reader.tenant, _READ, conflict.entity_guid, conflictGuid=guid)
    return {"conflict": _view(scope.tenant_id, conflict)}


@router.post(
    "/{guid}/resolve",
    summary="Decide a conflict",
    response_model=ConflictResolved,
    responses=errors(
        400,
        texts={
            404: "There is no such conflict in this program.",
            409: "Somebody has decided it already, or what the event counts is about somebody who is deleted.",
        },
    ),
)
async def resolve_conflict(
    request: Request,
    guid: Guid,
    hub: CurrentHub,
    judge: Judge,
) -> dict[str, Any]:
    """Decide which values hold: those the hub kept, those that lost, or merged ones.

    The outcome is appended as an event, so that every device reaches it with its next pull. Needs a supervisor.
    """
    scope, wanted = judge.scope, judge.body
    async with log_turn(hub, scope, still(request)) as tx:
        conflict = await service.resolve(
            tx,
            hub.log,
            scope,
            judge.tenant,
            guid,
            Resolution(wanted.resolution),
            wanted.merged_data,
            now=hub.clock.now(),
        )
    return {"status": "success", "conflict": _view(scope.tenant_id, conflict)}


def _place(cursor: str) -> ConflictPlace:
    try:
        at, guid = read_place(cursor)
    except ValueError:
        raise InvalidConflictQuery() from None
    if type(at) is not int or not 0 <= at < 10**15 or not isinstance(guid, str) or "\0" in guid:
        raise InvalidConflictQuery()
    return Millis(at), guid


def _view(tenant_id: TenantId, conflict: ConflictRecord) -> dict[str, Any]:
    resolved_at = conflict.resolved_at
    return {
        "guid": conflict.guid,
        "entityGuid": conflict.entity_guid,
        "tenantId": tenant_id,
        "localEventGuid": conflict.local_event_guid,
        "remoteEventGuid": conflict.remote_event_guid,
        "localVersion": conflict.local_version,
        "remoteVersion": conflict.remote_version,
        "fields": list(conflict.lost),
        "detectedAt": format_timestamp(conflict.detected_at),
        "resolvedAt": None if resolved_at is None else format_timestamp(resolved_at),
        "resolution": conflict.resolution,
        "resolvedBy": conflict.resolved_by,
        "mergedData": conflict.merged_data,
    }
