"""`/api/entities/…`: the current state of a program's entities. Nothing here writes. Lists are in `finding/`."""

from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Depends, Path, Response

from datacollect.features.entities import service
from datacollect.features.entities.schemas import CountByForm, EntityCount, EntityView, MemberView
from datacollect.features.entities.views import view_of, view_with_members
from datacollect.http.current import CurrentHub
from datacollect.http.entity_paths import any_text
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InProgram
from datacollect.kernel.identity import Action

router = APIRouter(prefix="/api/entities", tags=["Entities"])

Reader = Annotated[Entered, Depends(InProgram(Action.READ))]
Guid = Annotated[str, Path(description="The entity's guid.")]

_NO_PROGRAM = errors(400, texts={404: "There is no such program."})
_NO_ENTITY = errors(400, texts={404: "There is no such program, or no such entity in it."})


@router.get("/count", summary="Number of entities", response_model=EntityCount, responses=_NO_PROGRAM)
async def count_entities(hub: CurrentHub, reader: Reader) -> Response:
    """How many entities the program has, deleted ones left out."""
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        forms = await service.count_by_form(view, hub.log, scope)
    return _json({"count": sum(forms.values())})


@router.get("/count-by-form", summary="Number of entities per form", response_model=CountByForm, responses=_NO_PROGRAM)
async def count_entities_by_form(hub: CurrentHub, reader: Reader) -> Response:
    """How many entities came from each form, deleted ones left out; `Unknown` counts those without a form."""
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        forms = await service.count_by_form(view, hub.log, scope)
    return _json(forms)


@router.get(f"/{any_text('guid')}", summary="One entity", response_model=EntityView, responses=_NO_ENTITY)
async def get_entity(guid: Guid, hub: CurrentHub, reader: Reader) -> Response:
    """The entity as it is now, a group with its members."""
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        shown = await service.get_entity(view, scope, guid)
    await hub.reads.note(scope, reader.tenant, "read-entity", guid)
    return _json(view_with_members(shown))


_MEMBERS: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "X-Total-Count": {
                "description": "How many there are; only where these are all.",
                "schema": {"type": "integer", "minimum": 0},
            },
            "Link": {
                "description": 'Where these are not all, the list that has them in pages, `rel="alternate"`.',
                "schema": {"type": "string"},
            },
        }
    }
}


@router.get(
    f"/{any_text('guid')}/members",
    summary="Members of a group",
    response_model=list[MemberView],
    responses=_NO_ENTITY | _MEMBERS,
)
async def list_members(guid: Guid, hub: CurrentHub, reader: Reader) -> Response:
    """The group's members in the order in which they joined, at most 10,000, or 64 MiB.

    Of more than that `Link` names the list of entities with this `parent`, which has pages.
    """
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        found, is_cut = await service.members_of_group(view, scope, guid)
    await hub.reads.note_members(scope, reader.tenant, guid, [entity.guid for entity in found])
    answer = _json([view_of(entity) for entity in found])
    if is_cut:
        whole = urlencode({"configId": scope.tenant_id, "parent": guid})
        answer.headers["Link"] = f'</api/entities?{whole}>; rel="alternate"'
    else:
        answer.headers["X-Total-Count"] = str(len(found))
    return answer


def _json(answer: Any) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")
