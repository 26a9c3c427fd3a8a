"""`/api/potential-duplicates`: pairs that may be one person or household."""

import re
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response, status

from datacollect.features.duplicates import service
from datacollect.features.duplicates.errors import (
    GuidsRequired,
    InvalidCheck,
    InvalidDecision,
    InvalidPairsQuery,
    PairsProgramNotFound,
)
from datacollect.features.duplicates.model import Pair, Status
from datacollect.features.duplicates.schemas import (
    DuplicateCheck,
    DuplicateCheckReply,
    PairDecision,
    PairResolved,
    PairView,
    SweepReply,
)
from datacollect.features.duplicates.service import Decision, Resolution
from datacollect.features.duplicates.views import pair_document, reasons
from datacollect.features.entities.entity import Kind, text_in
from datacollect.http.body import ProgramBody
from datacollect.http.current import CurrentHub
from datacollect.http.log_turn import log_turn, still
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InProgram
from datacollect.kernel.clock import Millis
from datacollect.kernel.cursor import read_place, write_place
from datacollect.kernel.identity import Action

router = APIRouter(prefix="/api/potential-duplicates", tags=["Potential Duplicates"])

DEFAULT_PAGE = 500
LARGEST_PAGE = 1000
_WHOLE_NUMBER = re.compile(r"[0-9]{1,4}")
_PAGING = {
    "X-Total-Count": {"description": "How many there are on all pages.", "schema": {"type": "integer"}},
    "X-Next-Cursor": {
        "description": "Sent when there are more: the `cursor` of the next page.",
        "schema": {"type": "string"},
    },
    "Link": {"description": 'The same as an address, with `rel="next"`.', "schema": {"type": "string"}},
}
_NO_PROGRAM = errors(400, texts={404: "There is no running program of that id."})

_DECIDED = ProgramBody(PairDecision, refused=InvalidDecision)
_ASKED = ProgramBody(DuplicateCheck, refused=InvalidCheck)

Reader = Annotated[Entered, Depends(InProgram(Action.READ, whole=True, missing=PairsProgramNotFound))]
Judge = Annotated[Entered, Depends(InProgram(Action.APPROVE, whole=True, body=_DECIDED, missing=PairsProgramNotFound))]
Asker = Annotated[Entered, Depends(InProgram(Action.READ, body=_ASKED, missing=PairsProgramNotFound))]
Sweeper = Annotated[Entered, Depends(InProgram(Action.APPROVE, whole=True, missing=PairsProgramNotFound))]


@router.get(
    "",
    summary="List potential duplicates",
    response_model=list[PairView],
    responses={200: {"headers": _PAGING}, **_NO_PROGRAM},
)
async def list_potential_duplicates(
    request: Request,
    response: Response,
    hub: CurrentHub,
    reader: Reader,
    wanted: Annotated[
        str, Query(alias="status", description="`open`, `not-a-duplicate`, `merged`, `deleted` or `all`.")
    ] = "open",
    limit: Annotated[str, Query(description="At most this many, 1-1000.")] = str(DEFAULT_PAGE),
    cursor: Annotated[str | None, Query(description="The `X-Next-Cursor` of the page before.")] = None,
) -> list[dict[str, Any]]:
    """Pairs of entities that may be one, those found last first, with what speaks for it and against it."""
    wanted = wanted or "open"
    if wanted != "all" and wanted not in set(Status):
        raise InvalidPairsQuery()
    if not _WHOLE_NUMBER.fullmatch(limit) or not 1 <= int(limit) <= LARGEST_PAGE:
        raise InvalidPairsQuery()
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        page = await service.list_pairs(
            view,
            scope,
            status=None if wanted == "all" else Status(wanted),
            after=None if cursor is None else _place(cursor),
            limit=int(limit),
        )
    if page.pairs:
        await hub.reads.note(scope, reader.tenant, "read-duplicates", "*", count=len(page.pairs))
    response.headers["X-Total-Count"] = str(page.total)
    if page.has_more:
        last = page.pairs[-1]
        following = write_place([last.detected_at, last.pair.first, last.pair.second])
        query = {**dict(request.query_params), "cursor": following}
        response.headers["X-Next-Cursor"] = following
        response.headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
    return [pair_document(found, page.entities) for found in page.pairs]


@router.post(
    "/resolve",
    summary="Decide about a potential duplicate",
    response_model=PairResolved,
    responses=errors(
        400,
        texts={
            404: "There is no such open pair in this program.",
            409: "The two cannot be merged; the message says why.",
        },
    ),
)
async def resolve_potential_duplicate(request: Request, hub: CurrentHub, judge: Judge) -> dict[str, Any]:
    """Keep both, delete one, or merge one into the other. The order of the two guids in the list does not matter.

    What is decided is appended as events of types that every client knows, so that every device reaches it with its
    next pull. A merge moves memberships and records to the one that stays. What devices write later to the one that went is moved, too.
    Needs a supervisor.
    """
    decision = _decision(judge.body)
    scope = judge.scope
    async with log_turn(hub, scope, still(request)) as tx:
        decided = await service.decide(tx, hub.log, scope, judge.tenant, decision)
    return {"status": "success", "pair": pair_document(decided, {})}


@router.post(
    "/check",
    summary="Ask whether somebody is there already",
    response_model=DuplicateCheckReply,
    responses=_NO_PROGRAM,
)
async def check_for_duplicates(hub: CurrentHub, asker: Asker) -> dict[str, Any]:
    """Compare a form that is being filled in with everybody in the program, before it is saved.

    Whom the caller may not see is not shown: `elsewhere` tells that there is somebody, and nothing else.
    """
    scope, body = asker.scope, asker.body
    async with hub.db.reading(scope) as view:
        found = await service.check(
            view,
            scope,
            guid=body.guid,
            kind=Kind(body.type),
            form=body.entity_name or text_in(body.data, "entityName"),
            data=body.data,
            area=text_in(body.data, "area_id"),
            now=hub.clock.now(),
        )
    if found.matches or found.elsewhere:
        # Also where nobody is shown: to learn that somebody is there is to learn something of them.
        told = {"elsewhere": True} if found.elsewhere else {}
        await hub.reads.note(scope, asker.tenant, "check-duplicates", "*", count=len(found.matches), **told)
    return {
        "status": "success",
        "matches": [
            {
                "guid": match.entity.guid,
                "name": match.entity.name,
                "type": match.entity.kind,
                "entityName": match.entity.entity_name,
                "score": match.score.bits,
                "likelihood": "probable" if match.score.bits >= found.threshold else "possible",
                "reasons": reasons(match.score.evidence),
            }
            for match in found.matches
        ],
        "elsewhere": found.elsewhere,
    }


@router.post(
    "/sweep",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Look through the whole program",
    response_model=SweepReply,
    responses=_NO_PROGRAM,
)
async def sweep_for_duplicates(hub: CurrentHub, sweeper: Sweeper) -> dict[str, Any]:
    """Compare everybody in the program once more, in the background. What has been decided stays decided."""
    async with hub.db.transaction(sweeper.scope) as tx:
        job_id = await service.sweep(tx, hub.log, sweeper.scope, now=hub.clock.now())
    return {"status": "success", "jobId": job_id}


def _decision(body: PairDecision) -> Decision:
    merged, kept = (body.new_item or "").strip(), (body.existing_item or "").strip()
    if not merged or not kept:
        raise GuidsRequired()
    if merged == kept:
        raise GuidsRequired("newItem and existingItem must be two different entities.")
    older = Resolution.DELETE_NEW if body.should_delete_new_item else Resolution.KEEP_BOTH
    resolution = older if body.resolution is None else Resolution(body.resolution)
    return Decision(merged, kept, resolution, body.merged_data)


def _place(cursor: str) -> tuple[Millis, Pair]:
    try:
        at, first, second = read_place(cursor)
    except ValueError:
        raise InvalidPairsQuery() from None
    is_place = type(at) is int and 0 <= at < 10**15 and isinstance(first, str) and isinstance(second, str)
    if not is_place or "\0" in first + second:
        raise InvalidPairsQuery()
    return Millis(at), Pair(first, second)
