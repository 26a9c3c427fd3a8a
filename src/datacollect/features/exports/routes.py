"""`/api/entities/export`: a program's data as a file."""

import json
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from datacollect.features.entities.finding.filters import NO_WORD, ListFilters, Parameters, read_filters
from datacollect.features.exports.answering import ExportAnswer
from datacollect.features.exports.errors import InvalidExport
from datacollect.features.exports.model import MEDIA_TYPES, Format, Header, Order, What, order_of
from datacollect.http.current import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InProgram
from datacollect.kernel.identity import Action

router = APIRouter(prefix="/api/entities", tags=["Entities"])

_TAKING = InProgram(Action.EXPORT)
Taker = Annotated[Entered, Depends(_TAKING)]

_LISTS = ("type", "entityName", "area")
_FILTERS = (*_LISTS, "parent", "externalId", "updatedSince", "q")

_OTHERS = ("configId", "tenantId", "format", "what", "form", "header", "bom")

_AS_IN_LISTS = "Only these entities, as in `GET /api/entities`."
_SEVERAL = "May be given several times: any of them."

_PERSON = {"guid": "p-001", "entityName": "individual", "type": "individual", "data": {"name": "Ana Rivera"}}
_SCHEMAS = {
    "json": {
        "type": "object",
        "description": "`metadata`, and as `what` says `entities`, `events` or `audit`.",
        "examples": [
            {
                "metadata": {"format": "datacollect-export", "configId": "household-registry", "what": "entities"},
                "entities": [{"guid": "p-001", "modified": _PERSON}],
            }
        ],
    },
    "ndjson": {
        "type": "string",
        "description": "One JSON object on each line.",
        "examples": [f"{json.dumps(_PERSON)}\n"],
    },
    "csv": {"type": "string"},
    "zip": {"type": "string", "format": "binary"},
    "xlsx": {"type": "string", "format": "binary"},
}
_FILE = {
    "description": "The file. One that breaks off ends without the last chunk that HTTP asks for: it is not whole.",
    "content": {media_type.partition(";")[0]: {"schema": _SCHEMAS[kind]} for kind, media_type in MEDIA_TYPES.items()},
    "headers": {"Content-Disposition": {"description": "A name for the file.", "schema": {"type": "string"}}},
}


@router.get(
    "/export",
    summary="Take data out as a file",
    response_class=Response,
    responses={200: _FILE, **errors(400, 429, 503, texts={404: "There is no such program."})},
)
async def export_entities(
    request: Request,
    hub: CurrentHub,
    taker: Taker,
    format: Annotated[str, Query(description="`json`, `ndjson`, `csv` or `xlsx`.")] = "json",
    what: Annotated[
        str | None,
        Query(
            description="`entities`, `events` or `audit`; of `json` also `all`, its default: entities and events as one, "
            "to be imported again."
        ),
    ] = None,
    form: Annotated[
        str | None, Query(description="Only entities of this form; as `csv` one table instead of an archive.")
    ] = None,
    header: Annotated[str, Query(description="Columns are called by `labels` of the form, or by `keys`.")] = "labels",
    bom: Annotated[str, Query(description="`true`: begin a CSV with the mark by which Excel knows UTF-8.")] = "false",
    type: Annotated[list[str], Query(description=f"{_AS_IN_LISTS} {_SEVERAL}")] = [],
    entityName: Annotated[list[str], Query(description=f"{_AS_IN_LISTS} {_SEVERAL}")] = [],
    area: Annotated[list[str], Query(description=f"{_AS_IN_LISTS} {_SEVERAL}")] = [],
    parent: Annotated[str | None, Query(description=_AS_IN_LISTS)] = None,
    externalId: Annotated[str | None, Query(description=_AS_IN_LISTS)] = None,
    updatedSince: Annotated[str | None, Query(description=_AS_IN_LISTS)] = None,
    hasConflict: Annotated[str | None, Query(description=_AS_IN_LISTS)] = None,
    hasDuplicate: Annotated[str | None, Query(description=_AS_IN_LISTS)] = None,
    q: Annotated[str | None, Query(description=_AS_IN_LISTS)] = None,
) -> Response:
    """The program's data at one moment, sent as it is read. Needs a program-admin.

    Entities are those within the caller's reach; the rest takes a caller without limits. As `csv` every form and every
    grid in it is a table of its own, all in one zip archive; as `xlsx` each is a sheet. The audit trail tells who took
    what, also when it broke off, as it does soon after the caller's right to it has been withdrawn. See `docs/reference/exports.md`.
    """
    del type, entityName, area, parent, externalId, updatedSince, hasConflict, hasDuplicate, q
    query = {name: request.query_params.getlist(name) for name in request.query_params}
    texts = _filters_in(query, (*_FILTERS, *hub.marks))
    order = _order(format, what, form, header, bom, read_filters(query, hub.marks), texts)
    headers = {
        "Content-Disposition": f'attachment; filename="{order.file_name(taker.scope.tenant_id, hub.clock.now())}"',
        "Cache-Control": "no-store",
    }
    still = _TAKING.again(request, hub, taker)
    return ExportAnswer(hub.exports, taker.scope, taker.tenant, order, headers=headers, require_still=still)


def _filters_in(query: Parameters, known: Sequence[str]) -> Parameters:
    """The filters as they were sent. Raises `InvalidExport` for what would limit nothing though it was meant to."""
    for name in query:
        if name not in (*known, *_OTHERS):
            raise InvalidExport(f"An export knows no parameter {name[:40]!r}.")
    # Generated clients send those that may be given once, and were not, empty.
    given = {name: values for name, values in query.items() if name in _LISTS or list(values) != [""]}
    for name, values in given.items():
        if name in (*known, "form") and not all(map(str.strip, values)):
            raise InvalidExport(f"`{name}` is empty. Leave it out to take everything.")
    return {name: given[name] for name in known if name in given}


def _order(
    format: str,
    what: str | None,
    form: str | None,
    header: str,
    bom: str,
    filters: ListFilters,
    texts: Parameters,
) -> Order:
    if filters.words == NO_WORD:
        raise InvalidExport("`q` has no word in it.")
    try:
        chosen = Format(format)
        is_whole = chosen is Format.JSON and not form and not texts
        wanted = What(what) if what else What.ALL if is_whole else What.ENTITIES
        named = Header(header)
    except ValueError:
        raise InvalidExport() from None
    return order_of(
        chosen, wanted, form=form or None, header=named, bom=_truth(bom), filters=filters, filter_texts=texts
    )


def _truth(text: str) -> bool:
    if text not in ("true", "false", "1", "0"):
        raise InvalidExport("`bom` is `true` or `false`.")
    return text in ("true", "1")
