"""`GET /api/entities` with its filters, pages and orders, and `POST /api/entities/search`."""

import re
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from datacollect.features.entities.finding import service
from datacollect.features.entities.finding.criteria import read_criteria
from datacollect.features.entities.finding.errors import InvalidSearch, InvalidSearchParameter
from datacollect.features.entities.finding.filters import read_filters
from datacollect.features.entities.finding.pages import (
    NEWEST,
    PageWanted,
    read_cursor,
    read_fields,
    read_page,
    write_cursor,
)
from datacollect.features.entities.finding.schemas import SearchRequest
from datacollect.features.entities.schemas import ListedEntity
from datacollect.features.entities.views import view_of_fields, view_with_members
from datacollect.http.body import ProgramBody
from datacollect.http.current import CurrentHub
from datacollect.http.hub import Hub
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InProgram
from datacollect.kernel.identity import Action

router = APIRouter(prefix="/api/entities", tags=["Entities"])

Reader = Annotated[Entered, Depends(InProgram(Action.READ))]
Searcher = Annotated[Entered, Depends(InProgram(Action.READ, body=ProgramBody(SearchRequest, refused=InvalidSearch)))]

DEFAULT_MATCHES = 50
MOST_MATCHES = 500
_WHOLE_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,18})")

_SEVERAL = "May be given several times: any of them."
_NEXT_CURSOR = {"description": "The `cursor` of the next page; not on the last one.", "schema": {"type": "string"}}
_PAGED: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Link": {
                "description": 'The address of the next page, `rel="next"`; not on the last one.',
                "schema": {"type": "string"},
            },
            "X-Next-Cursor": _NEXT_CURSOR,
            "X-Total-Count": {
                "description": "How many entities the filters leave, where the hub knows or `count=exact` asks.",
                "schema": {"type": "integer", "minimum": 0},
            },
        }
    }
}
_ERRORS = errors(
    400,
    texts={404: "There is no such program.", 504: "This took longer than it may; ask for less at once."},
)


@router.get(
    "",
    summary="Entities, with filters and pages",
    response_model=list[ListedEntity],
    responses=_ERRORS | _PAGED,
)
async def list_entities(
    request: Request,
    hub: CurrentHub,
    reader: Reader,
    limit: Annotated[str, Query(description="At most 1000; 100 when left out, zero, negative or no number.")] = "",
    type: Annotated[list[str], Query(description=f"`group`, `individual` or `record`. {_SEVERAL}")] = [],
    entityName: Annotated[list[str], Query(description=f"The form they came from. {_SEVERAL}")] = [],
    area: Annotated[list[str], Query(description=f"Their own `area_id`. {_SEVERAL}")] = [],
    parent: Annotated[str, Query(description="A guid: members of that group, children of that entity.")] = "",
    externalId: Annotated[
        str, Query(description="The one with this key in the other system that the program exchanges with.")
    ] = "",
    updatedSince: Annotated[str, Query(description="An ISO-8601 UTC time: changed then or later.")] = "",
    hasConflict: Annotated[str, Query(description="`true`: with an unresolved conflict; `false`: without.")] = "",
    hasDuplicate: Annotated[
        str,
        Query(description="`true`: in a pair of potential duplicates that nobody has decided about; `false`: in none."),
    ] = "",
    q: Annotated[
        str, Query(description="Words, or how they begin, of names and searchable fields; without case and accents.")
    ] = "",
    sort: Annotated[
        str, Query(description="`lastUpdated`, `name`, `entityName` or `guid`; with `-` in front, falling.")
    ] = "-lastUpdated",
    cursor: Annotated[str, Query(description="`X-Next-Cursor` of the page before.")] = "",
    offset: Annotated[str, Query(description="Entities to leave out first, at most 100,000; not with a cursor.")] = "",
    count: Annotated[str, Query(description="`exact` or `none`: whether to count for `X-Total-Count`.")] = "",
    fields: Annotated[str, Query(description="Only these members: `guid,name,data.age`.")] = "",
) -> Response:
    """The entities that changed last, the latest first; filters and another order are the caller's choice.

    Pages follow each other by `Link`, or by `cursor`: an entity that does not change meanwhile is on exactly one of
    them, whatever is pushed.
    """
    del (
        limit,
        type,
        entityName,
        area,
        parent,
        externalId,
        updatedSince,
        hasConflict,
        hasDuplicate,
        q,
        sort,
        cursor,
        offset,
        count,
        fields,
    )
    scope = reader.scope
    query = {name: request.query_params.getlist(name) for name in request.query_params}
    filters, page = read_filters(query, hub.marks), read_page(query)
    listed = await service.list_page(_finder(hub), scope, reader.tenant, filters, page)
    await hub.reads.note(scope, reader.tenant, "read-all-entities", "*", count=len(listed.shown))
    return _answer(listed, page, request)


@router.post(
    "/search",
    summary="Entities that meet criteria",
    response_model=list[ListedEntity],
    responses=_ERRORS | {200: {"headers": {"X-Next-Cursor": _NEXT_CURSOR}}},
)
async def search_entities(hub: CurrentHub, searcher: Searcher) -> Response:
    """The entities whose current state meets all criteria, those that changed last first.

    A key is a field of the data, also written as `data.age`; dots lead into objects. `type`, `guid` and `lastUpdated`
    are the entity's own. A field that is missing or null meets nothing but `{"$exists": false}`.
    """
    scope, body = searcher.scope, searcher.body
    criteria = read_criteria(body.criteria)
    page = _read_search_page(body)
    listed = await service.search(_finder(hub), scope, criteria, limit=page.limit, after=page.after)
    await hub.reads.note(
        scope,
        searcher.tenant,
        "search-entities",
        "*",
        criteria=[one.path for one in criteria],
        count=len(listed.shown),
    )
    return _answer(listed, page, None)


def _finder(hub: Hub) -> service.Finder:
    return service.Finder(hub.db, hub.log, hub.settings.search_seconds, hub.turns, on_behind=hub.indexes.want)


def _read_search_page(body: SearchRequest) -> PageWanted:
    for name, value in (("cursor", body.cursor), ("fields", body.fields)):
        if value is not None and not isinstance(value, str):
            raise InvalidSearchParameter(name, "must be a text")
    return PageWanted(
        _matches(body.limit),
        after=read_cursor(body.cursor, NEWEST) if body.cursor else None,
        fields=read_fields(body.fields or ""),
    )


def _matches(limit: Any) -> int:
    """As lenient as the contract is: what is no number is the default."""
    if isinstance(limit, str):
        number = _WHOLE_NUMBER.match(limit)
        limit = int(number[1]) if number else None
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        return DEFAULT_MATCHES
    return int(min(max(limit, 1), MOST_MATCHES))


def _answer(listed: service.Listed, page: PageWanted, request: Request | None) -> Response:
    shown = listed.shown
    if page.fields is None:
        view = [view_with_members(one) for one in shown]
    else:
        view = [view_of_fields(one, page.fields) for one in shown]
    headers: dict[str, str] = {}
    if listed.next_after is not None:
        headers["X-Next-Cursor"] = write_cursor(page.order, listed.next_after)
        if request is not None:
            headers["Link"] = f'<{_address_of_next(request, headers["X-Next-Cursor"])}>; rel="next"'
    if listed.total is not None:
        headers["X-Total-Count"] = str(listed.total)
    return Response(msgspec.json.encode(view), media_type="application/json", headers=headers)


def _address_of_next(request: Request, cursor: str) -> str:
    """Without the hub's own address, which it need not know: it may be behind a proxy."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in ("cursor", "offset")]
    return f"{request.url.path}?{urlencode([*kept, ('cursor', cursor)])}"
