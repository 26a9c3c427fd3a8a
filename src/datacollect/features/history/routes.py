"""`/api/entities/{guid}/events` and `/api/entities/{guid}/history`: what happened to an entity, and who did it."""

import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Response

from datacollect.features.entities.entity import LostWrite
from datacollect.features.entities.history import FieldChange
from datacollect.features.history import service
from datacollect.features.history.errors import InvalidHistoryQuery
from datacollect.features.history.schemas import EntityHistory, EventView
from datacollect.http.current import CurrentHub
from datacollect.http.entity_paths import any_text
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InProgram
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.identity import Action

router = APIRouter(prefix="/api/entities", tags=["Entities"])

Reader = Annotated[Entered, Depends(InProgram(Action.READ))]
Guid = Annotated[str, Path(description="The entity's guid.")]

DEFAULT_PAGE = 100
LARGEST_PAGE = 1000
_LIMIT = re.compile(r"[0-9]{1,4}")
_CURSOR = re.compile(r"[0-9]{1,18}")


@router.get(
    f"/{any_text('guid')}/events",
    summary="Events of an entity",
    response_model=list[EventView],
    responses=errors(400, texts={404: "There is no such program."}),
)
async def list_entity_events(guid: Guid, hub: CurrentHub, reader: Reader) -> Response:
    """The events that touched the entity, each once, oldest first by the device's clock; none if it is unknown. Of more
    than 10,000, or 64 MiB, the latest; its history has pages.

    These are the events about the entity, those that wrote it as a member inside a group's event, and those that
    deleted it along with its group; also when it is deleted. Who is limited to areas or kinds is told of members beyond
    them who and where they are, and no more. Events that the hub made to tell devices of a limited
    scope what it holds are left out: they change nothing.
    """
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        bodies = await service.events_of_entity(view, scope, guid)
    await hub.reads.note(scope, reader.tenant, "read-events", guid, count=len(bodies))
    return Response(f"[{','.join(bodies)}]", media_type="application/json")


@router.get(
    f"/{any_text('guid')}/history",
    summary="What each event did to an entity",
    response_model=EntityHistory,
    responses=errors(400, texts={404: "There is no such program, or no event has touched such an entity in it."}),
)
async def get_entity_history(
    guid: Guid,
    hub: CurrentHub,
    reader: Reader,
    limit: Annotated[str, Query(description="Events per page, 1-1000.")] = str(DEFAULT_PAGE),
    cursor: Annotated[str, Query(description="`nextCursor` of the page before.")] = "",
) -> Response:
    """The same events in the order in which the hub took them, newest last, each with what it changed.

    Applied one after another from nothing, `changes` give the entity's data and `members` its members in their order.
    An event that came late shows in `lost` which of its values did not count, and against which event. Also of an
    entity that is deleted.
    """
    scope = reader.scope
    if not _LIMIT.fullmatch(limit) or not 1 <= int(limit) <= LARGEST_PAGE or (cursor and not _CURSOR.fullmatch(cursor)):
        raise InvalidHistoryQuery()
    async with hub.replays.begun(), hub.db.reading(scope) as view:
        page = await service.history_of_entity(
            view, hub.log, hub.replays, scope, guid, after=int(cursor or 0), limit=int(limit)
        )
    await hub.reads.note(scope, reader.tenant, "read-events", guid, count=len(page.told))
    answer = {
        "history": [_view(told, page) for told in page.told],
        "nextCursor": None if page.next_after is None else str(page.next_after),
    }
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _view(told: service.Told, page: service.HistoryPage) -> dict[str, Any]:
    event, step = told.event, told.step
    return {
        "eventGuid": event.guid,
        "type": event.type,
        "entityGuid": event.entity_guid,
        "position": told.position,
        "claimedAt": format_timestamp(event.occurred_at),
        "receivedAt": format_timestamp(told.recorded_at),
        "claimedUserId": event.user_id,
        "actor": told.actor,
        "deviceId": told.device_id,
        "origin": told.origin,
        "change": step.change,
        "version": step.version,
        "changes": [_field(change) for change in step.fields],
        "members": {"added": step.added, "removed": step.removed},
        "lost": [_lost(lost, page) for lost in step.lost],
    }


def _field(change: FieldChange) -> dict[str, Any]:
    sides = {"before": change.before, "after": change.after}
    return {"field": change.field} | {side: value for side, value in sides.items() if value is not msgspec.UNSET}


def _lost(lost: LostWrite, page: service.HistoryPage) -> dict[str, Any]:
    view = {"field": lost.field, "value": lost.lost}
    kept = page.kept_guids.get(lost.kept_stamp.position)
    return view if kept is None else view | {"keptEventGuid": kept}
