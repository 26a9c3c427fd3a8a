"""`/api/sync/form-findings`: stored events whose data does not match the program's forms."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from datacollect.features.forms import service
from datacollect.features.forms.errors import InvalidFindingsQuery
from datacollect.features.forms.queries import Finding
from datacollect.features.forms.schemas import FindingList
from datacollect.http.current import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InSync
from datacollect.http.wire import EMPTY_IS_ABSENT
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.identity import Action

router = APIRouter(prefix="/api/sync", tags=["Synchronization"])

MOST_LISTED = 1000
_WHOLE_NUMBER = re.compile(r"[0-9]{1,4}")

Reader = Annotated[Entered, Depends(InSync(Action.APPROVE, whole=True))]


@router.get(
    "/form-findings",
    summary="List events that do not match their forms",
    response_model=FindingList,
    responses=errors(400),
)
async def list_form_findings(
    hub: CurrentHub,
    reader: Reader,
    entity_guid: Annotated[
        str | None, Query(alias="entityGuid", description="Only those of this entity."), EMPTY_IS_ABSENT
    ] = None,
    limit: Annotated[str, Query(description="At most this many, 1-1000.")] = "100",
    cursor: Annotated[str | None, Query(description="`nextCursor` of the page before.")] = None,
) -> dict[str, Any]:
    """What was found in stored events of a program with `formValidation`, the newest first. Needs a supervisor."""
    scope = reader.scope
    if not _WHOLE_NUMBER.fullmatch(limit) or not 1 <= int(limit) <= MOST_LISTED:
        raise InvalidFindingsQuery()
    async with hub.db.reading(scope) as view:
        found, next_cursor = await service.list_findings(
            view, scope, entity_guid=entity_guid, cursor=cursor, limit=int(limit)
        )
    return {"findings": [_view(finding) for finding in found], "nextCursor": next_cursor}


def _view(finding: Finding) -> dict[str, Any]:
    return {
        "eventGuid": finding.place.event_guid,
        "entityGuid": finding.entity_guid,
        "form": finding.form,
        "path": list(finding.path),
        "code": finding.code,
        "message": finding.message,
        "recordedAt": format_timestamp(finding.place.recorded_at),
    }
