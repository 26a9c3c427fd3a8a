"""`/api/reviews/{id}/…`: deciding about a review, and what is said about it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from datacollect.features.reviews import deciding, looking, policies, schemas, service
from datacollect.features.reviews.asking import (
    NOT_FOUND,
    Reader,
    ReviewId,
    limit_of,
    of_review,
    place_of,
    review_body,
    running_program,
    told,
)
from datacollect.features.reviews.errors import MissingReason
from datacollect.features.reviews.model import Choice, Comment, Decision, staff_key
from datacollect.features.reviews.views import comment_document
from datacollect.http.current import CurrentHub
from datacollect.http.log_turn import log_turn, still
from datacollect.http.openapi import errors
from datacollect.kernel.identity import Action, TenantScope

router = APIRouter(prefix="/api/reviews/{id}", tags=["Reviews"])

Reviewer = Annotated[TenantScope, of_review(Action.APPROVE)]
Operator = Annotated[TenantScope, of_review(Action.SYNCHRONISE)]

_CONFLICT = {
    403: "Your role is too low, or it is your own submission.",
    409: "It is not pending any more, the other system decides, or the record was changed since (`conflicts`).",
    422: "It cannot be applied any more; `code`, `path` and `message` say why. It stays pending.",
}


@router.post(
    "/approve",
    summary="Approve a submission",
    response_model=schemas.ReviewReply,
    responses=errors(400, texts=NOT_FOUND | _CONFLICT),
)
async def approve_review(
    request: Request,
    id: ReviewId,
    hub: CurrentHub,
    scope: Reviewer,
    body: Annotated[schemas.Approve, review_body(schemas.Approve, required=False)],
) -> dict[str, Any]:
    """Applied, and pulled by every device, in the transaction that makes it approved.

    Where the record was changed since, in a field that the submission changes to something else, the answer is 409 with
    `conflicts`, until `fields` or `force` decides.
    """
    tenant = await running_program(hub, scope, body.tenant_id)
    decision = Decision(body.force, {name: Choice(choice) for name, choice in body.fields.items()})
    async with hub.db.reading(scope) as view:
        review = await looking.get(view, scope, id)
    mismatches = await policies.findings(hub.checks, hub.log, tenant, review)
    async with log_turn(hub, scope, still(request)) as tx:
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
    return {"review": await told(hub, scope, review)}


@router.post(
    "/reject",
    summary="Reject a submission",
    response_model=schemas.ReviewReply,
    responses=errors(400, texts=NOT_FOUND | {409: _CONFLICT[409]}),
)
async def reject_review(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reviewer,
    body: Annotated[schemas.Reject, review_body(schemas.Reject, required=False)],
) -> dict[str, Any]:
    """Nothing is applied. Whoever submitted it reads the reason."""
    await running_program(hub, scope, body.tenant_id)
    reason = (body.reason or "").strip()
    if not reason:
        raise MissingReason()
    async with hub.db.transaction(scope) as tx:
        review = await deciding.reject(tx, scope, id, reason, now=hub.clock.now())
    return {"review": await told(hub, scope, review)}


@router.post(
    "/request-changes",
    summary="Ask for another submission in its place",
    response_model=schemas.ReviewReply,
    responses=errors(400, texts=NOT_FOUND | {409: _CONFLICT[409]}),
)
async def request_review_changes(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reviewer,
    body: Annotated[schemas.Say, review_body(schemas.Say)],
) -> dict[str, Any]:
    """Whoever submitted it reads the comment, and submits another event that `replaces` this one."""
    await running_program(hub, scope, body.tenant_id)
    async with hub.db.transaction(scope) as tx:
        review = await deciding.request_changes(tx, scope, id, body.comment, now=hub.clock.now())
    return {"review": await told(hub, scope, review)}


@router.post(
    "/withdraw",
    summary="Withdraw a submission",
    response_model=schemas.ReviewReply,
    responses=errors(400, texts=NOT_FOUND | {409: _CONFLICT[409]}),
)
async def withdraw_review(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reader,
    body: Annotated[schemas.AboutReview, review_body(schemas.AboutReview, required=False)],
) -> dict[str, Any]:
    """For whoever has submitted it, as long as nobody has decided."""
    await running_program(hub, scope, body.tenant_id)
    async with hub.db.transaction(scope) as tx:
        await looking.get(tx, scope, id)
        review = await service.withdraw(tx, scope, id, staff_key(scope.actor), now=hub.clock.now())
    return {"review": await told(hub, scope, review)}


@router.post(
    "/assign",
    summary="Say who is to decide",
    response_model=schemas.ReviewReply,
    responses=errors(400, texts=NOT_FOUND | {409: _CONFLICT[409]}),
)
async def assign_review(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reviewer,
    body: Annotated[schemas.Assign, review_body(schemas.Assign)],
) -> dict[str, Any]:
    """For the list's filter `assignedTo`; others may decide all the same."""
    await running_program(hub, scope, body.tenant_id)
    async with hub.db.transaction(scope) as tx:
        assignee = None if body.assignee is None else await policies.reviewer(tx, scope, body.assignee)
        review = await deciding.assign(tx, scope, id, assignee, now=hub.clock.now())
    return {"review": await told(hub, scope, review)}


@router.post(
    "/take-back",
    summary="Take a decision back from the other system",
    response_model=schemas.ReviewReply,
    responses=errors(400, texts=NOT_FOUND | {409: "The other system does not decide about it, or has."}),
)
async def take_review_back(
    request: Request,
    id: ReviewId,
    hub: CurrentHub,
    scope: Operator,
    body: Annotated[schemas.AboutReview, review_body(schemas.AboutReview, required=False)],
) -> dict[str, Any]:
    """People of the program decide then. What was asked for there stays asked for: withdraw it there, too."""
    await running_program(hub, scope, body.tenant_id)
    async with log_turn(hub, scope, still(request)) as tx:
        review = await deciding.take_back(tx, hub.log, scope, id, now=hub.clock.now())
    return {"review": await told(hub, scope, review)}


# -- what is said


@router.get(
    "/comments",
    summary="What was said about a review",
    response_model=schemas.CommentList,
    responses=errors(400, texts=NOT_FOUND),
)
async def list_review_comments(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reader,
    limit: Annotated[str, Query(description="At most this many, 1-500.")] = "100",
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
) -> dict[str, Any]:
    """The oldest first, reasons of decisions among them. For who may decide and who has submitted it."""
    await running_program(hub, scope)
    most = limit_of(limit)
    async with hub.db.reading(scope) as view:
        review = await looking.get(view, scope, id)
        await looking.require_read_all(view, scope, review)
        found = await service.list_comments(view, scope, id, after=place_of(cursor), limit=most + 1)
    page = found[:most]
    return {
        "comments": [comment_document(one) for one in page],
        "nextCursor": f"{page[-1].created_at}.{page[-1].id}" if len(found) > most else None,
    }


@router.post(
    "/comments",
    summary="Say something about a review",
    response_model=schemas.CommentReply,
    responses=errors(400, texts=NOT_FOUND),
)
async def comment_on_review(
    id: ReviewId,
    hub: CurrentHub,
    scope: Reader,
    body: Annotated[schemas.Say, review_body(schemas.Say)],
) -> dict[str, Any]:
    """For who may decide and who has submitted it; also when it is decided."""
    await running_program(hub, scope, body.tenant_id)
    async with hub.db.transaction(scope) as tx:
        said: Comment = await deciding.comment_on(tx, scope, id, body.comment, now=hub.clock.now())
    return {"comment": comment_document(said)}
