"""`/api/auth/self-service/…`: citizens and their own record."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from datacollect.features.audit.model import END, Place, parse_place
from datacollect.features.citizens.errors import SelfServiceDisabled
from datacollect.features.selfservice import access, export, service
from datacollect.features.selfservice.errors import InvalidListQuery, InvalidSubmission, NoEntity
from datacollect.features.selfservice.model import OwnForms
from datacollect.features.selfservice.schemas import (
    OWN_DATA,
    AccessLog,
    OwnEntityAnswer,
    SubmissionAnswer,
    SubmissionList,
    SubmitRequest,
    Submitted,
)
from datacollect.features.selfservice.views import entity_view, json_of, submission_view
from datacollect.http.body import ProgramBody, Sent
from datacollect.http.current import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import CurrentCitizen
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import OwnRecord, TenantScope
from datacollect.kernel.languages import negotiated
from datacollect.kernel.tenancy import Tenant

router = APIRouter(prefix="/api/auth/self-service", tags=["Self-Service"])

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
_WHOLE_NUMBER = re.compile(r"[0-9]{1,4}")
_KEY = re.compile(r"([0-9]{1,15})\|([0-9A-Za-z-]{1,64})")


@dataclass(frozen=True, slots=True)
class Here:
    """A citizen in their program."""

    own: OwnRecord
    scope: TenantScope
    tenant: Tenant
    forms: OwnForms


async def _here(own: CurrentCitizen, hub: CurrentHub) -> Here:
    if not own.entity_guid:
        raise NoEntity()
    tenant = await hub.tenants.find(own.tenant_id)
    if tenant is None or tenant.self_service is None:
        raise SelfServiceDisabled()
    return Here(own, own.about(own.entity_guid), tenant, await hub.own_forms.of(tenant))


InOwnRecord = Annotated[Here, Depends(_here)]
SubmissionId = Annotated[str, Path(description="The submission's `id`.")]
Limit = Annotated[str, Query(description="At most this many, 1-1000.")]
Cursor = Annotated[str, Query(description="`nextCursor` of the page before.")]

_SENT = ProgramBody(SubmitRequest, refused=InvalidSubmission)
_NO_RECORD = errors(400, texts={404: "The record is not there any more."})


@router.get("/entity", summary="The own record", response_model=OwnEntityAnswer, responses=_NO_RECORD)
async def get_own_record(
    hub: CurrentHub,
    here: InOwnRecord,
    response: Response,
    lang: Annotated[str | None, Query(description="The language of the forms, before `Accept-Language`.")] = None,
    accept_language: Annotated[
        str | None,
        Header(description="Which of the program's languages the forms are to be in, where `lang` says nothing."),
    ] = None,
) -> Response:
    """The record as far as the program shows it, and the forms to change it with, in one of the program's languages."""
    async with hub.db.reading(here.scope) as view:
        entity = await service.read_record(view, here.scope, here.own.entity_guid)
    await hub.reads.note(here.scope, here.tenant, "read-own-record", entity.guid)
    record, forms = service.own_of(entity), here.forms
    language = negotiated(forms.languages, asked=lang, header=accept_language)
    answer = {
        "entity": entity_view(entity, record, forms),
        "availableForms": [form.shown(language) for form in forms.of(record)],
        "language": language,
    }
    return _json(answer, {"Content-Language": language, "Vary": "Accept-Language"})


@router.post(
    "/submit",
    summary="Ask for a change of the own record",
    response_model=Submitted,
    responses=errors(
        400,
        texts={
            404: "The record is not there any more.",
            409: "The `submissionGuid` stands for another submission.",
            422: "What is asked for cannot be applied to the record.",
        },
    ),
)
async def submit_own_change(hub: CurrentHub, here: InOwnRecord, sent: Annotated[Sent, Depends(_SENT)]) -> Response:
    """Applied at once, or kept until somebody of the program has looked at it.

    Only fields that the form asks for can be set, and none that citizens sign in with: an attempt is refused field by
    field in `details`. The same `submissionGuid` again is the same submission.
    """
    scope, body = here.scope, sent.value
    wish = service.Wish(body.form_type, body.form_data, body.submission_guid, body.replaces)
    review = None
    while review is None:
        now = hub.clock.now()
        async with hub.db.reading(scope) as view:
            review = await service.find_same(view, scope, here.own, wish)
            entity = None if review else await service.read_record(view, scope, here.own.entity_guid)
        if entity is not None:
            submission = service.submission_of(here.forms, service.own_of(entity), here.own, wish, now=now)
            async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
                review = await service.submit(tx, hub.log, scope, here.tenant, submission, entity, now=now)
    status = "success" if service.is_applied(review) else "pending_review"
    return _json({"status": status, "submissionGuid": review.submission_guid, "reviewId": review.id})


@router.get("/submissions", summary="What was sent", response_model=SubmissionList, responses=errors(400))
async def list_own_submissions(
    hub: CurrentHub, here: InOwnRecord, limit: Limit = str(LARGEST_PAGE), cursor: Cursor = ""
) -> Response:
    """What the citizen has sent and what has become of it, the latest first: all of it, unless it is more than a page."""
    scope, before = here.scope, _key(cursor)
    async with hub.db.reading(scope) as view:
        record = service.own_of(await service.read_record(view, scope, here.own.entity_guid))
        page = await service.list_submissions(view, scope, here.own, before=before, limit=_limit(limit))
    await hub.reads.note(scope, here.tenant, "read-own-submissions", here.own.entity_guid, count=len(page.found))
    answer = {
        "submissions": [
            submission_view(one, here.tenant.id, record, here.forms, asked=page.asked.get(one.id)) for one in page.found
        ],
        "nextCursor": None if page.next_key is None else f"{page.next_key[0]}|{page.next_key[1]}",
    }
    return _json(answer)


@router.post(
    "/submissions/{id}/withdraw",
    summary="Take a submission back",
    response_model=SubmissionAnswer,
    responses=errors(404, texts={409: "It is decided already."}),
)
async def withdraw_own_submission(id: SubmissionId, hub: CurrentHub, here: InOwnRecord) -> Response:
    """What nobody has decided yet is not decided any more. Only the citizen's own."""
    scope = here.scope
    async with hub.db.transaction(scope) as tx:
        record = service.own_of(await service.read_record(tx, scope, here.own.entity_guid))
        review = await service.withdraw(tx, scope, here.own, id, now=hub.clock.now())
    return _json({"submission": submission_view(review, here.tenant.id, record, here.forms)})


@router.get(
    "/export",
    summary="Take the own data along",
    response_class=Response,
    responses={
        200: {
            "description": "A JSON file: the record, its groups, the events about it, submissions, attachments.",
            "content": {"application/json": {"schema": OWN_DATA}},
            "headers": {"Content-Disposition": {"description": "A name for the file.", "schema": {"type": "string"}}},
        },
        **_NO_RECORD,
    },
)
async def export_own_data(hub: CurrentHub, here: InOwnRecord) -> Response:
    """All that the program holds about the citizen, as far as it shows it to them."""
    scope, now = here.scope, hub.clock.now()
    async with hub.db.reading(scope) as view:
        document = await export.exported(view, hub.log, here.own, scope, here.tenant, here.forms, now=now)
    await hub.reads.note(scope, here.tenant, "export-own-record", here.own.entity_guid)
    name = f"my-data-{format_timestamp(now)[:10]}.json"
    return _json(document, {"Content-Disposition": f'attachment; filename="{name}"'})


@router.get("/access-log", summary="Who has looked at the record", response_model=AccessLog, responses=errors(400))
async def list_own_access_log(
    hub: CurrentHub,
    here: InOwnRecord,
    limit: Limit = str(DEFAULT_PAGE),
    cursor: Cursor = "",
    wide: Annotated[str, Query(description="`true`: also reads of many records at once, such as lists.")] = "",
) -> Response:
    """The latest first. Staff are told by their role, unless the program says otherwise (`selfService.accessLog`).

    Only of programs that note who reads records (`auditReads`); `isKept` says whether this one does.
    """
    scope, tenant, names = here.scope, here.tenant, here.forms.names_staff
    before, most = _place(cursor), _limit(limit)
    async with hub.db.reading(scope) as view:
        page = await access.list_accesses(
            view, scope, here.own.entity_guid, wide=wide == "true", before=before, limit=most
        )
    await hub.reads.note(scope, tenant, "read-access-log", here.own.entity_guid, count=len(page.found))
    answer = {
        "isKept": tenant.audit_reads,
        "note": access.KEPT if tenant.audit_reads else access.NOT_KEPT,
        "accesses": [access.access_view(one, page, tenant, names_staff=names) for one in page.found],
        "nextCursor": None if page.next_place is None else str(page.next_place),
    }
    return _json(answer)


def _json(answer: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(json_of(answer), media_type="application/json", headers=headers)


def _limit(text: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(text) or not 1 <= int(text) <= LARGEST_PAGE:
        raise InvalidListQuery()
    return int(text)


def _key(cursor: str) -> service.Key | None:
    if not cursor:
        return None
    parts = _KEY.fullmatch(cursor)
    if parts is None:
        raise InvalidListQuery()
    return Millis(int(parts[1])), parts[2]


def _place(cursor: str) -> Place:
    try:
        return parse_place(cursor) if cursor else END
    except ValueError:
        raise InvalidListQuery() from None
