"""`/api/reviews`: the queue of what was submitted. Source: the contract's reviews, 7.

A review's id says which program it is of, and what the caller may do there is asked in that program; what a request calls
the program besides must be the same.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from datacollect.eventstore.event import Event
from datacollect.features.entities.model import reserved_keys
from datacollect.features.reviews import looking, schemas, service
from datacollect.features.reviews.asking import (
    NOT_FOUND,
    Reader,
    ReviewId,
    limit_of,
    place_of,
    review_body,
    running_program,
    told,
)
from datacollect.features.reviews.bulk import approve_many
from datacollect.features.reviews.errors import (
    InvalidReviewBody,
    InvalidReviewsQuery,
    MissingReviewIds,
    MissingSubmission,
    MissingTenantId,
    NoReviewerAllowed,
)
from datacollect.features.reviews.model import Submission, right_for, staff_key
from datacollect.features.reviews.queries import Filters
from datacollect.features.reviews.views import review_document
from datacollect.features.sync.payload import read_push
from datacollect.http.body import ProgramBody
from datacollect.http.current import CurrentHub
from datacollect.http.log_turn import log_turn, still
from datacollect.http.openapi import errors
from datacollect.http.policy import ByTenantId, Entered, SignedIn
from datacollect.http.wire import EMPTY_IS_ABSENT
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.errors import InvalidPayload
from datacollect.kernel.identity import CITIZEN_PREFIX, Action, Actor
from datacollect.kernel.tenancy import Tenant

router = APIRouter(prefix="/api/reviews", tags=["Reviews"])

MOST_PLAIN = 5000
"""Of a list without paging, as the contract has it; beyond it a cursor says that there is more."""

_ANYBODY = SignedIn(action=Action.APPROVE, denied=NoReviewerAllowed)
Anybody = Annotated[Actor, Depends(_ANYBODY)]
Lister = Annotated[Entered, Depends(ByTenantId(Action.READ, unnamed=MissingTenantId, assigned=True))]
Submitter = Annotated[
    Entered,
    Depends(
        ByTenantId(
            Action.CREATE,
            unnamed=MissingSubmission,
            assigned=True,
            body=ProgramBody(schemas.Submit, refused=InvalidReviewBody),
        )
    ),
]


@router.get(
    "",
    summary="Reviews of a program",
    response_model=schemas.ReviewList,
    responses=errors(400, texts={404: "There is no such program, or it is archived."}),
)
async def list_reviews(
    hub: CurrentHub,
    lister: Lister,
    status: Annotated[str | None, Query(description="Only those in this state."), EMPTY_IS_ABSENT] = None,
    event_type: Annotated[
        str | None, Query(alias="eventType", description="Only events of this type."), EMPTY_IS_ABSENT
    ] = None,
    entity_guid: Annotated[
        str | None, Query(alias="entityGuid", description="Only about this entity."), EMPTY_IS_ABSENT
    ] = None,
    submitted_by: Annotated[
        str | None,
        Query(
            alias="submittedBy",
            description="Only what this one has submitted; of a citizen all, whatever they had signed in with.",
        ),
        EMPTY_IS_ABSENT,
    ] = None,
    assigned_to: Annotated[
        str | None,
        Query(alias="assignedTo", description="Only what this one is to decide, by e-mail."),
        EMPTY_IS_ABSENT,
    ] = None,
    since: Annotated[
        str | None, Query(alias="from", description="Submitted at or after this time."), EMPTY_IS_ABSENT
    ] = None,
    until: Annotated[
        str | None, Query(alias="to", description="Submitted at or before this time."), EMPTY_IS_ABSENT
    ] = None,
    due: Annotated[str | None, Query(description="Due at or before this time, or `overdue`."), EMPTY_IS_ABSENT] = None,
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
        scope = scope.actor.in_tenant(scope.tenant_id, Action.APPROVE)
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
    most = limit_of(limit) if limit is not None or cursor is not None else MOST_PLAIN
    async with hub.db.reading(scope, in_order=True) as view:
        page = await looking.list_reviews(view, scope, filters, after=place_of(cursor), limit=most)
    if page.reviews:
        await hub.reads.note(scope, lister.tenant, "read-reviews", "*", count=len(page.reviews))
    following = page.following
    return {
        "reviews": [review_document(scope, one, page, now=now) for one in page.reviews],
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
async def submit_form(request: Request, hub: CurrentHub, submitter: Submitter) -> dict[str, Any]:
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
    async with log_turn(hub, scope, still(request)) as tx:
        review = await service.submit(
            tx, hub.log, scope, tenant, submission, mismatches=mismatches, now=hub.clock.now()
        )
    return {"review": await told(hub, scope, review)}


def _read_event(form_data: Mapping[str, Any], tenant: Tenant) -> Event:
    """Held to what a push is held to."""
    try:
        pushed = read_push({"events": [form_data]}, reserved=reserved_keys(tenant.custom_event_types))
    except InvalidPayload as invalid:
        issues = [issue | {"path": ["formData", *issue["path"][2:]]} for issue in invalid.issues]
        raise InvalidReviewBody(issues, errors=issues, details=issues) from None
    return pushed.events[0]


@router.post("/bulk-approve", summary="Approve many", response_model=schemas.BulkApproved, responses=errors(400))
async def approve_several_reviews(
    request: Request,
    hub: CurrentHub,
    actor: Anybody,
    body: Annotated[schemas.BulkApprove, review_body(schemas.BulkApprove, refusals={"reviewIds": MissingReviewIds})],
) -> dict[str, Any]:
    """Each in a transaction of its own, by the rights that the caller then has in its own program. Ids that are unknown,
    and those of programs where the caller may not approve, are left out; 403 if that is all of them."""
    if body.review_ids is None:
        raise MissingReviewIds()
    ids = list(dict.fromkeys(body.review_ids))
    return await approve_many(hub, actor, ids, force=body.force, again=_ANYBODY.again(request, hub))


@router.get("/{id}", summary="One review", response_model=schemas.ReviewReply, responses=errors(400, texts=NOT_FOUND))
async def get_review(id: ReviewId, hub: CurrentHub, scope: Reader) -> dict[str, Any]:
    """With what has become of the record since, as long as it waits."""
    tenant = await running_program(hub, scope)
    async with hub.db.reading(scope) as view:
        review = await looking.get(view, scope, id)
    await hub.reads.note(scope, tenant, "read-review", review.entity_guid, reviewId=id)
    return {"review": await told(hub, scope, review)}


def _instant(text: str | None) -> Millis | None:
    if text is None:
        return None
    try:
        return parse_timestamp(text)
    except ValueError:
        raise InvalidReviewsQuery() from None
