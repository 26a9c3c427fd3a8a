"""Submitting, and what becomes of it. Source: the contract's reviews, 5-7; docs/decisions/0050-reviews.md."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta

from datacollect.db import Reading, Tx
from datacollect.eventstore.checks import EventChecks, Mismatch
from datacollect.eventstore.event import Event, without_server_managed
from datacollect.eventstore.integrity import hash_event
from datacollect.eventstore.log import BatchRejected, EventLog
from datacollect.features.entities.service import entity_or_end
from datacollect.features.forms.service import keep_findings, rejection
from datacollect.features.reviews import queries
from datacollect.features.reviews.errors import (
    NotSubmitter,
    ReplacedNotOpen,
    ReviewNotFound,
    ReviewNotPending,
    SubmissionReused,
)
from datacollect.features.reviews.model import (
    SYSTEM_REVIEWER,
    Comment,
    CommentKind,
    Delegation,
    DelegationStatus,
    News,
    Policy,
    Review,
    Status,
    Submission,
    SubmissionOrigin,
    Way,
    base_of,
    citizen_key,
    way_of,
)
from datacollect.features.reviews.queries import Key, Listed
from datacollect.jobs import enqueue
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid
from datacollect.kernel.tenancy import FormValidation, Tenant

__all__ = [
    "Comment",
    "Key",
    "Review",
    "Status",
    "Submission",
    "SubmissionOrigin",
    "citizen_key",
    "count",
    "find",
    "find_by_submission",
    "find_mismatches",
    "find_owner",
    "find_owners",
    "forget_owners",
    "list_comments",
    "list_of_entity",
    "list_policies",
    "submit",
    "withdraw",
]

DELEGATING = "delegate-reviews"
"""The kind of the job that asks other systems; here because submitting puts it in line."""

TELLING = "tell-of-reviews"
"""The kind of the job that tells those whom it concerns; nobody who decides waits for it."""

_MILLISECOND = timedelta(milliseconds=1)
_DAY_MILLIS = timedelta(days=1) // _MILLISECOND

count = queries.count
find = queries.find
find_by_submission = queries.find_by_submission
find_owner = queries.find_owner
find_owners = queries.find_owners
forget_owners = queries.forget_owners
list_policies = queries.list_policies
list_comments = queries.list_comments


async def find_mismatches(checks: EventChecks, log: EventLog, tenant: Tenant, event: Event) -> Sequence[Mismatch]:
    """What the program's forms would not have let pass; to be asked before the log's turn. Raises `FormMismatch` where
    the program refuses such events."""
    check = await checks.of(tenant)
    found = () if check is None else check.mismatches(log.upcasters.upcast(event))
    if found and tenant.form_validation is FormValidation.REJECT:
        raise rejection(found)
    return found


# -- submitting


async def submit(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    submission: Submission,
    *,
    mismatches: Sequence[Mismatch] = (),
    now: Millis,
) -> Review:
    """Take a submission the way that the program has set: apply it, or keep it until somebody decides.

    The same submission again gives the review that it has. Whoever submits must be let in by `right_for` before. An
    event that could not be applied now is refused, so that it is not found out by whoever approves it. Open the
    transaction in the log's `turn`. Raises `SubmissionReused`, `ReplacedNotOpen`, an `EventRejected`.
    """
    submission = replace(
        submission, event=replace(submission.event, data=without_server_managed(submission.event.data))
    )
    event = submission.event
    # The log first, as every push does: who sends the same at the same time waits here, and finds the review.
    await log.lock(tx, scope)
    known = await queries.find_by_submission(tx, scope, event.guid)
    if known is not None:
        return _same(known, submission)
    way = way_of(submission, await queries.find_policy(tx, scope, event.type))
    is_new = submission.standalone or await log.try_out(tx, scope, tenant, event)
    review = await _made(tx, scope, submission, way, now=now)
    if not is_new:
        # It came by another way before: nothing is left to decide.
        review = replace(review, policy=Policy.AUTO_APPROVE)
    if review.policy is Policy.AUTO_APPROVE:
        review = replace(review, status=Status.APPROVED, reviewed_by=SYSTEM_REVIEWER, reviewed_at=now, due_at=None)
        if is_new:
            await append(tx, log, scope, tenant, event, mismatches)
    news = News.SUBMITTED if review.status is Status.PENDING else None
    await queries.insert_review(tx, scope, review, news=news)
    if review.replaces is not None:
        await _take_place(tx, scope, review, now=now)
    if review.policy is Policy.EXTERNAL_DELEGATE:
        await queries.store_delegation(tx, scope, Delegation(review.id, DelegationStatus.WAITING, updated_at=now))
        await enqueue(tx, scope, DELEGATING, {}, now=now)
    if news is not None:
        await enqueue(tx, scope, TELLING, {}, now=now)
    return review


def _same(known: Review, submission: Submission) -> Review:
    # How whoever submitted it is called may have changed since; who they are, the key tells.
    submission = replace(submission, event=replace(submission.event, user_id=known.event.user_id))
    same = known.content_hash == _hash(submission) and known.submitter_key == submission.submitter_key
    if not same or known.standalone != submission.standalone:
        raise SubmissionReused()
    return known


async def _made(tx: Tx, scope: TenantScope, submission: Submission, way: Way, *, now: Millis) -> Review:
    event = submission.event
    held = await entity_or_end(tx, scope, event.entity_guid)
    return Review(
        id=new_guid(),
        status=Status.PENDING,
        policy=way.policy,
        required_role=way.required_role,
        adapter_type=way.adapter_type,
        origin=submission.origin,
        standalone=submission.standalone,
        submitted_by=submission.submitted_by,
        submitter_key=submission.submitter_key,
        event=event,
        content_hash=_hash(submission),
        base=base_of(event, held),
        created_at=now,
        updated_at=now,
        due_at=None if way.due_days is None else Millis(now + way.due_days * _DAY_MILLIS),
        replaces=submission.replaces,
    )


def _hash(submission: Submission) -> str:
    return submission.content or hash_event(submission.event).content.hex()


async def _take_place(tx: Tx, scope: TenantScope, review: Review, *, now: Millis) -> None:
    assert review.replaces is not None
    old = await queries.find(tx, scope, review.replaces)
    if old is None or old.submitter_key != review.submitter_key or old.entity_guid != review.entity_guid:
        raise ReplacedNotOpen()
    replaced = await queries.change(
        tx,
        scope,
        old.id,
        found_in={Status.CHANGES_REQUESTED, Status.REJECTED},
        unreplaced=True,
        now=now,
        replaced_by=review.id,
    )
    if not replaced:
        raise ReplacedNotOpen()


async def append(
    tx: Tx, log: EventLog, scope: TenantScope, tenant: Tenant, event: Event, mismatches: Sequence[Mismatch]
) -> None:
    """Append what has been approved by nobody. Raises an `EventRejected`, or `SubmissionReused`."""
    try:
        appended = await log.append(tx, scope, tenant, [event])
    except BatchRejected as batch:
        raise batch.rejection.reason from batch
    if appended.reused:
        raise SubmissionReused()
    if appended.stored and mismatches:
        await keep_findings(tx, scope, appended, [(event.guid, mismatches)])


# -- looking, for whom it is about


async def list_of_entity(
    view: Reading,
    scope: TenantScope,
    entity_guid: str,
    *,
    before: Key | None,
    limit: int,
    submitter_key: str | None = None,
) -> Listed:
    """The reviews about one entity, the latest first; with `submitter_key` those that they have submitted."""
    return await queries.list_newest_of_entity(
        view, scope, entity_guid, before=before, limit=limit, submitter_key=submitter_key
    )


sent_between = queries.sent_between
asked_changes = queries.asked_changes


# -- taking back


async def withdraw(tx: Tx, scope: TenantScope, id: str, submitter_key: str, *, now: Millis) -> Review:
    """Take back what has not been decided yet. Raises `ReviewNotFound`, `NotSubmitter`, `ReviewNotPending`."""
    review = await queries.find(tx, scope, id)
    if review is None:
        raise ReviewNotFound()
    if review.submitter_key != submitter_key:
        raise NotSubmitter()
    await move(tx, scope, review, Status.WITHDRAWN, found_in={Status.PENDING, Status.CHANGES_REQUESTED}, now=now)
    return replace(review, status=Status.WITHDRAWN, updated_at=now)


async def move(
    tx: Tx,
    scope: TenantScope,
    review: Review,
    to: Status,
    *,
    found_in: Collection[Status],
    now: Millis,
    **values: object,
) -> None:
    """Let a review be in another state. Raises `ReviewNotPending` when somebody has been quicker."""
    changes = {"status": to.value, "news": News(to.value).value} | values
    if not await queries.change(tx, scope, review.id, found_in=found_in, unreplaced=True, now=now, **changes):
        raise ReviewNotPending()
    await enqueue(tx, scope, TELLING, {}, now=now)


async def say(tx: Tx, scope: TenantScope, review: Review, kind: CommentKind, text: str, *, now: Millis) -> Comment:
    """Add what somebody says of a review."""
    comment = Comment(new_guid(), kind, scope.actor.label, text, now)
    await queries.add_comment(tx, scope, review.id, comment)
    return comment
