"""`/api/reviews`: what was submitted, and deciding about it. Source: the contract's reviews, 7.

A review's id says which program it is of, and what the caller may do there is asked in that program; what a request calls
the program besides must be the same.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request

from datacollect.features.entities.model import EVENT_TYPES, reserved_keys
from datacollect.features.reviews import deciding, looking, policies, schemas, service
from datacollect.features.reviews.bulk import approve_many
from datacollect.features.reviews.errors import (
    InvalidReviewBody,
    InvalidReviewsQuery,
    MissingPolicy,
    MissingReason,
    MissingReviewIds,
    MissingSubmission,
    MissingTenantId,
    NoReviewerAllowed,
    ReviewNotFound,
    UnknownReviewedType,
)
from datacollect.features.reviews.model import (
    Choice,
    Comment,
    Decision,
    Policy,
    PolicyRow,
    Review,
    Submission,
    right_for,
    staff_key,
)
from datacollect.features.reviews.queries import Filters, Key
from datacollect.features.reviews.views import comment_document, policy_document, review_document
from datacollect.features.sync.payload import read_push
from datacollect.http.body import JsonBody, ProgramBody, read_json, validated
from datacollect.http.hub import CurrentHub, Hub
from datacollect.http.openapi import errors
from datacollect.http.policy import ByObject, ByPath, ByTenantId, Entered, SignedIn
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.errors import InvalidPayload, TenantMismatch, TenantNotFound
from datacollect.kernel.identity import CITIZEN_PREFIX, Action, Actor, Role, TenantScope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.kernel.tenancy import CUSTOM_EVENT_TYPES, Tenant

router = APIRouter(prefix="/api/reviews", tags=["Reviews"])

MOST_LISTED = 500
MOST_PLAIN = 5000
"""Of a list without paging, as the contract has it; beyond it a cursor says that there is more."""

_WHOLE_NUMBER = re.compile(r"[0-9]{1,3}")
_CURSOR = re.compile(r"([0-9]{1,15})\.([0-9a-f-]{36})")
_NOT_FOUND = {404: "There is no such review, it is beyond your areas, or its program does not run."}
_CONFLICT = {
    403: "Your role is too low, or it is your own submission.",
    409: "It is not pending any more, the other system decides, or the record was changed since (`conflicts`).",
    422: "It cannot be applied any more; `code`, `path` and `message` say why. It stays pending.",
}


def _body(model: type[schemas.AboutReview], *, required: bool = True) -> Any:
    return Depends(_ReviewBody(model, required=required))


class _ReviewBody(JsonBody):
    def __init__(self, model: type[schemas.AboutReview], *, required: bool) -> None:
        super().__init__(model)
        self.required = required

    async def __call__(self, request: Request) -> Any:
        document = await read_json(request) if self.required or await request.body() else {}
        try:
            return validated(self.model, document)
        except InvalidPayload as invalid:
            raise InvalidReviewBody(invalid.issues, details=invalid.issues) from None


async def _owner(hub: Hub, id: str) -> TenantId | None:
    async with hub.db.reading() as view:
        return await service.find_owner(view, id)


def _of_review(action: Action) -> Any:
    return Depends(ByObject(action, parameter="id", owner=_owner, missing=ReviewNotFound))


ReviewId = Annotated[str, Path(alias="id", description="The review's `id`.")]
Reader = Annotated[TenantScope, _of_review(Action.READ)]
Reviewer = Annotated[TenantScope, _of_review(Action.APPROVE)]
Operator = Annotated[TenantScope, _of_review(Action.SYNCHRONISE)]
Anybody = Annotated[Actor, Depends(SignedIn(action=Action.APPROVE, denied=NoReviewerAllowed))]
Lister = Annotated[Entered, Depends(ByTenantId(Action.READ, unnamed=MissingTenantId))]
Submitter = Annotated[
    Entered,
    Depends(
        ByTenantId(
            Action.CREATE, unnamed=MissingSubmission, body=ProgramBody(schemas.Submit, refused=InvalidReviewBody)
        )
    ),
]
PolicyReader = Annotated[TenantScope, Depends(ByPath(Action.READ))]
PolicyWriter = Annotated[TenantScope, Depends(ByPath(Action.MANAGE_CONFIG))]


# -- policies


@router.get(
    "/config/{id}",
    summary="Review policies of a program",
    response_model=schemas.PolicyList,
    response_model_exclude_none=True,
    responses=errors(texts={404: "There is no such program, or it is archived."}),
)
async def list_review_policies(hub: CurrentHub, scope: PolicyReader) -> dict[str, Any]:
    """What has been set, by type of event. For all other types what is submitted is applied at once."""
    await _running(hub, scope)
    async with hub.db.reading(scope) as view:
        rows = await service.list_policies(view, scope)
    return {"configs": [policy_document(row) for row in rows]}


@router.put(
    "/config/{id}/{eventType}",
    summary="Set the review policy for a type of event",
    response_model=schemas.PolicyReply,
    response_model_exclude_none=True,
    responses=errors(
        400,
        texts={
            404: "There is no such program, or it is archived.",
            409: "`external-delegate`: the program's other system cannot decide.",
        },
    ),
)
async def set_review_policy(
    hub: CurrentHub,
    scope: PolicyWriter,
    event_type: Annotated[str, Path(alias="eventType", description="Such as `update-individual`.")],
    body: Annotated[schemas.SetPolicy, Depends(_ReviewBody(schemas.SetPolicy, required=True))],
) -> dict[str, Any]:
    """In place of what was set. It holds for what is submitted from now on; who may decide is asked when it is decided."""
    tenant = await _running(hub, scope)
    _require_known_type(tenant, event_type)
    if body.policy is None:
        raise MissingPolicy()
    role = None if body.required_role is None else Role(body.required_role)
    row = PolicyRow(new_guid(), event_type, Policy(body.policy), role, body.external_adapter_type, body.due_days)
    row = await policies.checked(hub.others, scope, tenant, row)
    async with hub.db.transaction(scope) as tx:
        row = await policies.store(tx, scope, row, now=hub.clock.now())
    stored = policy_document(row) | {"id": row.id, "tenantId": scope.tenant_id}
    return {"status": "success", "config": stored}


def _require_known_type(tenant: Tenant, event_type: str) -> None:
    if event_type not in (EVENT_TYPES - CUSTOM_EVENT_TYPES) | tenant.custom_event_types:
        raise UnknownReviewedType()


# -- the queue


@router.get(
    "",
    summary="Reviews of a program",
    response_model=schemas.ReviewList,
    responses=errors(400, texts={404: "There is no such program, or it is archived."}),
)
async def list_reviews(
    hub: CurrentHub,
    lister: Lister,
    status: Annotated[str | None, Query(description="Only those in this state.")] = None,
    event_type: Annotated[str | None, Query(alias="eventType", description="Only events of this type.")] = None,
    entity_guid: Annotated[str | None, Query(alias="entityGuid", description="Only about this entity.")] = None,
    submitted_by: Annotated[
        str | None, Query(alias="submittedBy", description="Only what this one has submitted.")
    ] = None,
    assigned_to: Annotated[
        str | None, Query(alias="assignedTo", description="Only what this one is to decide, by e-mail.")
    ] = None,
    since: Annotated[str | None, Query(alias="from", description="Submitted at or after this time.")] = None,
    until: Annotated[str | None, Query(alias="to", description="Submitted at or before this time.")] = None,
    due: Annotated[str | None, Query(description="Due at or before this time, or `overdue`.")] = None,
    limit: Annotated[str | None, Query(description="At most this many, 1-500.")] = None,
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
) -> dict[str, Any]:
    """The oldest first, all in one answer unless `limit` or `cursor` is sent; a program with more than 5,000, or
    with more than 16 MiB of them, has pages.

    Members who may not decide get them masked, but for what they have submitted. Who is limited to areas sees what they
    could apply there.
    """
    scope, now = lister.scope, hub.clock.now()
    if submitted_by is not None and submitted_by.startswith(CITIZEN_PREFIX):
        # Who sees it masked does not find out by asking for a number whose submission it is.
        scope.actor.in_tenant(scope.tenant_id, Action.APPROVE)
    filters = Filters(
        status,
        event_type,
        entity_guid,
        submitted_by,
        assigned_to,
        _instant(since),
        _instant(until),
        now if due == "overdue" else _instant(due),
    )
    most = _limit(limit) if limit is not None or cursor is not None else MOST_PLAIN
    async with hub.db.reading(scope, in_order=True) as view:
        page = await looking.list_reviews(view, scope, filters, after=_place(cursor), limit=most)
    if page.reviews:
        await hub.reads.note(scope, lister.tenant, "read-reviews", "*", count=len(page.reviews))
    following = page.following
    return {
        "reviews": [
            review_document(scope, one, page.standings.get(one.id), page.delegations.get(one.id), now=now)
            for one in page.reviews
        ],
        "nextCursor": None if following is None else f"{following[0]}.{following[1]}",
    }


@router.post(
    "/submit",
    summary="Submit a form",
    response_model=schemas.ReviewReply,
    responses=errors(
        400,
        texts={
            404: "There is no such program, or it is archived.",
            409: "Something else has this guid, or `replaces` is no review of yours that waits.",
            422: "The event cannot be applied; `code`, `path` and `message` say why. Nothing is kept.",
        },
    ),
)
async def submit_form(hub: CurrentHub, submitter: Submitter) -> dict[str, Any]:
    """Applied at once, or kept until somebody decides, as the program's policy for the event's type says.

    The same event again gives the review that it has. Creating and changing takes an enumerator, deleting and deciding
    about duplicates a supervisor.
    """
    sent: schemas.Submit = submitter.body
    tenant = submitter.tenant
    if sent.form_data is None:
        raise MissingSubmission()
    actor = submitter.scope.actor
    event = _read_event(sent.form_data | {"userId": actor.label}, tenant)
    scope = actor.in_tenant(submitter.scope.tenant_id, right_for(event.type))
    mismatches = await service.find_mismatches(hub.checks, hub.log, tenant, event)
    submission = Submission(event, actor.label, staff_key(actor), replaces=sent.replaces)
    async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
        review = await service.submit(
            tx, hub.log, scope, tenant, submission, mismatches=mismatches, now=hub.clock.now()
        )
    return {"review": await _told(hub, scope, review)}


def _read_event(form_data: Mapping[str, Any], tenant: Tenant) -> Any:
    """Held to what a push is held to."""
    try:
        pushed = read_push({"events": [form_data]}, reserved=reserved_keys(tenant.custom_event_types))
    except InvalidPayload as invalid:
        issues = [issue | {"path": ["formData", *issue["path"][2:]]} for issue in invalid.issues]
        raise InvalidReviewBody(issues, errors=issues, details=issues) from None
    return pushed.events[0]


@router.post("/bulk-approve", summary="Approve many", response_model=schemas.BulkApproved, responses=errors(400))
async def approve_several_reviews(
    hub: CurrentHub,
    actor: Anybody,
    body: Annotated[schemas.BulkApprove, _body(schemas.BulkApprove)],
) -> dict[str, Any]:
    """Each in a transaction of its own, by the caller's rights in its own program. Ids that are unknown, and those of
    programs where the caller may not approve, are left out; 403 if that is all of them."""
    if body.review_ids is None:
        raise MissingReviewIds()
    return await approve_many(hub, actor, list(dict.fromkeys(body.review_ids)), force=body.force)


@router.get("/{id}", summary="One review", response_model=schemas.ReviewReply, responses=errors(400, texts=_NOT_FOUND))
async def get_review(id: ReviewId, hub: CurrentHub, scope: Reader) -> dict[str, Any]:
    """With what has become of the record since, as long as it waits."""
    tenant = await _running(hub, scope)
    async with hub.db.reading(scope) as view:
        review = await looking.get(view, scope, id)
    await hub.reads.note(scope, tenant, "read-review", review.entity_guid, reviewId=id)
    return {"review": await _told(hub, scope, review)}


# -- deciding


@router.post(
    "/{id}/approve",
    summary="Approve a submission",
    response_model=schemas.ReviewReply,
    responses=errors(400, texts=_NOT_FOUND | _CONFLICT),
)
async def approve_review(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reviewer,
    body: Annotated[schemas.Approve, _body(schemas.Approve, required=False)],
) -> dict[str, Any]:
    """Applied, and pulled by every device, in the transaction that makes it approved.

    Where the record was changed since, in a field that the submission changes to something else, the answer is 409 with
    `conflicts`, until `fields` or `force` decides.
    """
    tenant = await _running(hub, scope, body.tenant_id)
    decision = Decision(body.force, {name: Choice(choice) for name, choice in body.fields.items()})
    async with hub.db.reading(scope) as view:
        review = await looking.get(view, scope, id)
    mismatches = await policies.findings(hub.checks, hub.log, tenant, review)
    async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
        review = await deciding.approve(
            tx,
            hub.log,
            scope,
            tenant,
            id,
            decision,
            mismatches=mismatches,
            comment=body.comment,
            now=hub.clock.now(),
        )
    return {"review": await _told(hub, scope, review)}


@router.post(
    "/{id}/reject",
    summary="Reject a submission",
    response_model=schemas.ReviewReply,
    responses=errors(400, texts=_NOT_FOUND | {409: _CONFLICT[409]}),
)
async def reject_review(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reviewer,
    body: Annotated[schemas.Reject, _body(schemas.Reject, required=False)],
) -> dict[str, Any]:
    """Nothing is applied. Whoever submitted it reads the reason."""
    await _running(hub, scope, body.tenant_id)
    reason = (body.reason or "").strip()
    if not reason:
        raise MissingReason()
    async with hub.db.transaction(scope) as tx:
        review = await deciding.reject(tx, scope, id, reason, now=hub.clock.now())
    return {"review": await _told(hub, scope, review)}


@router.post(
    "/{id}/request-changes",
    summary="Ask for another submission in its place",
    response_model=schemas.ReviewReply,
    responses=errors(400, texts=_NOT_FOUND | {409: _CONFLICT[409]}),
)
async def request_review_changes(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reviewer,
    body: Annotated[schemas.Say, _body(schemas.Say)],
) -> dict[str, Any]:
    """Whoever submitted it reads the comment, and submits another event that `replaces` this one."""
    await _running(hub, scope, body.tenant_id)
    async with hub.db.transaction(scope) as tx:
        review = await deciding.request_changes(tx, scope, id, body.comment, now=hub.clock.now())
    return {"review": await _told(hub, scope, review)}


@router.post(
    "/{id}/withdraw",
    summary="Withdraw a submission",
    response_model=schemas.ReviewReply,
    responses=errors(400, texts=_NOT_FOUND | {409: _CONFLICT[409]}),
)
async def withdraw_review(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reader,
    body: Annotated[schemas.AboutReview, _body(schemas.AboutReview, required=False)],
) -> dict[str, Any]:
    """For whoever has submitted it, as long as nobody has decided."""
    await _running(hub, scope, body.tenant_id)
    async with hub.db.transaction(scope) as tx:
        await looking.get(tx, scope, id)
        review = await service.withdraw(tx, scope, id, staff_key(scope.actor), now=hub.clock.now())
    return {"review": await _told(hub, scope, review)}


@router.post(
    "/{id}/assign",
    summary="Say who is to decide",
    response_model=schemas.ReviewReply,
    responses=errors(400, texts=_NOT_FOUND | {409: _CONFLICT[409]}),
)
async def assign_review(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reviewer,
    body: Annotated[schemas.Assign, _body(schemas.Assign)],
) -> dict[str, Any]:
    """For the list's filter `assignedTo`; others may decide all the same."""
    await _running(hub, scope, body.tenant_id)
    async with hub.db.transaction(scope) as tx:
        assignee = None if body.assignee is None else await policies.reviewer(tx, scope, body.assignee)
        review = await deciding.assign(tx, scope, id, assignee, now=hub.clock.now())
    return {"review": await _told(hub, scope, review)}


@router.post(
    "/{id}/take-back",
    summary="Take a decision back from the other system",
    response_model=schemas.ReviewReply,
    responses=errors(400, texts=_NOT_FOUND | {409: "The other system does not decide about it, or has."}),
)
async def take_review_back(
    id: ReviewId,
    hub: CurrentHub,
    scope: Operator,
    body: Annotated[schemas.AboutReview, _body(schemas.AboutReview, required=False)],
) -> dict[str, Any]:
    """People of the program decide then. What was asked for there stays asked for: withdraw it there, too."""
    await _running(hub, scope, body.tenant_id)
    async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
        review = await deciding.take_back(tx, hub.log, scope, id, now=hub.clock.now())
    return {"review": await _told(hub, scope, review)}


# -- what is said


@router.get(
    "/{id}/comments",
    summary="What was said about a review",
    response_model=schemas.CommentList,
    responses=errors(400, texts=_NOT_FOUND),
)
async def list_review_comments(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reader,
    limit: Annotated[str, Query(description="At most this many, 1-500.")] = "100",
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
) -> dict[str, Any]:
    """The oldest first, reasons of decisions among them. For who may decide and who has submitted it."""
    await _running(hub, scope)
    most = _limit(limit)
    async with hub.db.reading(scope) as view:
        review = await looking.get(view, scope, id)
        looking.require_read_all(scope, review)
        found = await service.list_comments(view, scope, id, after=_place(cursor), limit=most + 1)
    page = found[:most]
    return {
        "comments": [comment_document(one) for one in page],
        "nextCursor": f"{page[-1].created_at}.{page[-1].id}" if len(found) > most else None,
    }


@router.post(
    "/{id}/comments",
    summary="Say something about a review",
    response_model=schemas.CommentReply,
    responses=errors(400, texts=_NOT_FOUND),
)
async def comment_on_review(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reader,
    body: Annotated[schemas.Say, _body(schemas.Say)],
) -> dict[str, Any]:
    """For who may decide and who has submitted it; also when it is decided."""
    await _running(hub, scope, body.tenant_id)
    async with hub.db.transaction(scope) as tx:
        said: Comment = await deciding.comment_on(tx, scope, id, body.comment, now=hub.clock.now())
    return {"comment": comment_document(said)}


# -- small things


async def _running(hub: Hub, scope: TenantScope, named: str | None = None) -> Tenant:
    if named is not None and named != scope.tenant_id:
        raise TenantMismatch("tenantId names another program than the one whose review this is.")
    tenant = await hub.tenants.find(scope.tenant_id)
    if tenant is None:
        raise TenantNotFound(scope.tenant_id)
    structlog.contextvars.bind_contextvars(tenant_id=scope.tenant_id[:100])
    return tenant


async def _told(hub: Hub, scope: TenantScope, review: Review) -> dict[str, Any]:
    async with hub.db.reading(scope) as view:
        standing, delegation = await looking.around(view, scope, review)
    return review_document(scope, review, standing, delegation, now=hub.clock.now())


def _limit(text: str | None) -> int:
    if text is None:
        return 100
    if not _WHOLE_NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST_LISTED:
        raise InvalidReviewsQuery()
    return int(text)


def _place(cursor: str | None) -> Key | None:
    if not cursor:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidReviewsQuery()
    return Millis(int(found[1])), found[2]


def _instant(text: str | None) -> Millis | None:
    if text is None:
        return None
    try:
        return parse_timestamp(text)
    except ValueError:
        raise InvalidReviewsQuery() from None
