"""`/api/entities`: the current state of a program's entities. Nothing here writes."""

import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Response

from datacollect.features.entities import service
from datacollect.features.entities.queries import StoredEntity
from datacollect.features.entities.schemas import CountByForm, EntityCount, EntityView, MemberView
from datacollect.http.hub import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InProgram
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.identity import Action

router = APIRouter(prefix="/api/entities", tags=["Entities"])

Reader = Annotated[Entered, Depends(InProgram(Action.READ))]

DEFAULT_LIMIT = 100
HIGHEST_LIMIT = 1000
_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,18})")

_NO_PROGRAM = errors(400, texts={404: "There is no such program."})
_NO_ENTITY = errors(400, texts={404: "There is no such program, or no such entity in it."})


@router.get("/count", summary="Number of entities", response_model=EntityCount, responses=_NO_PROGRAM)
async def count(hub: CurrentHub, reader: Reader) -> Response:
    """How many entities the program has, deleted ones left out."""
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        forms = await service.count_by_form(view, hub.log, scope)
    return _json({"count": sum(forms.values())})


@router.get("/count-by-form", summary="Number of entities per form", response_model=CountByForm, responses=_NO_PROGRAM)
async def count_by_form(hub: CurrentHub, reader: Reader) -> Response:
    """How many entities came from each form, deleted ones left out; `Unknown` counts those without a form."""
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        forms = await service.count_by_form(view, hub.log, scope)
    return _json(forms)


@router.get(
    "",
    summary="The newest entities",
    response_model=list[EntityView],
    responses=_NO_PROGRAM,
)
async def list_entities(
    hub: CurrentHub,
    reader: Reader,
    limit: Annotated[str, Query(description="At most 1000; 100 when left out, zero, negative or no number.")] = "",
) -> Response:
    """The entities that changed last, the latest first."""
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        found = await service.newest_entities(view, scope, limit=_limit(limit))
    await hub.reads.note(scope, reader.tenant, "read-all-entities", "*", count=len(found))
    return _json([_view_with_members(shown) for shown in found])


@router.get("/{guid}", summary="One entity", response_model=EntityView, responses=_NO_ENTITY)
async def get_entity(guid: str, hub: CurrentHub, reader: Reader) -> Response:
    """The entity as it is now, a group with its members."""
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        shown = await service.get_entity(view, scope, guid)
    await hub.reads.note(scope, reader.tenant, "read-entity", guid)
    return _json(_view_with_members(shown))


@router.get("/{guid}/members", summary="Members of a group", response_model=list[MemberView], responses=_NO_ENTITY)
async def list_members(guid: str, hub: CurrentHub, reader: Reader) -> Response:
    """The group's members in the order in which they joined, at most 10,000."""
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        found = await service.members_of_group(view, scope, guid)
    await hub.reads.note(scope, reader.tenant, "read-entity", guid, members=len(found))
    return _json([_view(entity) for entity in found])


def _limit(text: str) -> int:
    """As lenient as the contract is: what is not a positive number is the default."""
    number = _NUMBER.match(text)
    wanted = int(number[1]) if number else 0
    return min(wanted, HIGHEST_LIMIT) if wanted > 0 else DEFAULT_LIMIT


def _view(entity: StoredEntity) -> dict[str, Any]:
    view: dict[str, Any] = {"guid": entity.guid, "id": entity.guid}
    if entity.name is not None:
        view["name"] = entity.name
    if entity.entity_name is not None:
        view["entityName"] = entity.entity_name
    view["type"] = entity.type
    view["data"] = msgspec.Raw(entity.data.encode())
    view["lastUpdated"] = format_timestamp(entity.last_updated)
    return view


def _view_with_members(shown: service.Shown) -> dict[str, Any]:
    view = _view(shown.entity)
    if shown.member_ids is not None:
        view["memberIds"] = shown.member_ids
    return view


def _json(answer: Any) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")
