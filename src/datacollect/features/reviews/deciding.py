"""Deciding about what has been submitted, and applying it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from datacollect.db import Tx
from datacollect.eventstore.checks import Mismatch
from datacollect.eventstore.event import Event, Origin
from datacollect.eventstore.log import BatchRejected, EventLog
from datacollect.features.entities.entity import Entity
from datacollect.features.entities.reserved import as_taken_now
from datacollect.features.entities.service import current_data, entity_or_end
from datacollect.features.forms.service import keep_findings
from datacollect.features.reviews import looking, queries
from datacollect.features.reviews.errors import (
    OwnSubmission,
    ReviewConflict,
    ReviewDelegated,
    ReviewedEntityGone,
    ReviewNotFound,
    ReviewNotPending,
    ReviewRoleTooLow,
    SubmissionReused,
    UndecidableField,
)
from datacollect.features.reviews.model import (
    Choice,
    Comment,
    CommentKind,
    Decision,
    DelegationCode,
    DelegationStatus,
    FieldConflict,
    News,
    Policy,
    PolicyRow,
    Review,
    Status,
    SubmissionOrigin,
    conflicts_of,
    fields_of,
    is_gone,
    is_late_delete,
    is_submitter,
    late_fields,
)
from datacollect.features.reviews.service import TELLING, move, say
from datacollect.features.tenants import asked as tenants
from datacollect.jobs import enqueue
from datacollect.kernel.clock import LAST, Millis
from datacollect.kernel.identity import MINIMUM_ROLE, Action, Role, TenantScope
from datacollect.kernel.ids import new_guid
from datacollect.kernel.tenancy import Tenant

_LEFT_TO_PEOPLE = (DelegationStatus.FAILED, DelegationStatus.ENDED)


async def approve(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    id: str,
    decision: Decision,
    *,
    mismatches: Sequence[Mismatch] = (),
    comment: str | None = None,
    now: Millis,
) -> Review:
    """Approve what waits, and apply it, in one transaction: it is pending and not in the log, or approved and in it.

    Open the transaction in the log's `turn`. Raises `ReviewNotFound`, `ReviewNotPending` and why the caller may not;
    `ReviewConflict`, `ReviewedEntityGone`; an `EventRejected` if it cannot be applied any more.
    """
    # The log first, as every push does: what the record holds must not change between looking and the event.
    at = log.time_now(await log.lock(tx, scope))
    review = await _to_decide(tx, scope, id)
    held = await entity_or_end(tx, scope, review.entity_guid)
    if is_gone(review, held):
        raise ReviewedEntityGone()
    conflicts = conflicts_of(replace(review, event=as_taken_now(review.event, tenant)), held)
    if any(decision.choice(one.field) is None for one in conflicts):
        raise ReviewConflict(conflicts=[conflict_document(one) for one in conflicts])
    return await approved(
        tx, log, scope, tenant, review, held, decision, mismatches=mismatches, comment=comment, now=now, at=at
    )


async def approved(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    review: Review,
    held: Entity | None,
    decision: Decision,
    *,
    mismatches: Sequence[Mismatch] = (),
    comment: str | None = None,
    now: Millis,
    at: Millis,
) -> Review:
    """Carry out an approval that nothing stands in the way of. The caller holds the log, and tells its time in `at`."""
    by = scope.actor.label
    await move(tx, scope, review, Status.APPROVED, found_in={Status.PENDING}, now=now, reviewed_by=by, reviewed_ms=now)
    if not review.standalone:
        await _apply(tx, log, scope, tenant, review, held, decision, mismatches, at=at)
    if comment:
        await say(tx, scope, review, CommentKind.APPROVED, comment, now=now)
    return replace(review, status=Status.APPROVED, reviewed_by=by, reviewed_at=now, updated_at=now)


async def _apply(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    review: Review,
    held: Entity | None,
    decision: Decision,
    mismatches: Sequence[Mismatch],
    *,
    at: Millis,
) -> None:
    event = await event_to_append(tx, log, scope, tenant, review)
    taken = as_taken_now(review.event, tenant)
    outcome = _outcome(taken, held, decision, user_id=scope.actor.event_user_id, now=at)
    # What has been decided here counts as written now, or a later write that the reviewer has seen would win over it.
    origin = Origin.CLIENT if outcome is None else Origin.DERIVED
    try:
        appended = await log.append(tx, scope, tenant, [event, *([outcome] if outcome else [])], origin=origin)
    except BatchRejected as batch:
        raise batch.rejection.reason from batch
    if appended.reused:
        raise SubmissionReused()
    if mismatches and any(one.guid == event.guid for one in appended.stored):
        await keep_findings(tx, scope, appended, [(event.guid, mismatches)])


async def event_to_append(tx: Tx, log: EventLog, scope: TenantScope, tenant: Tenant, review: Review) -> Event:
    """What was submitted, as a push of it would be taken now; as it came, if the log has something under its guid."""
    event = as_taken_now(review.event, tenant)
    if event is review.event or not await log.held(tx, scope, [event.guid]):
        return event
    return review.event


def _outcome(event: Event, held: Entity | None, decision: Decision, *, user_id: str, now: Millis) -> Event | None:
    """The event that brings every device to what was decided, if the submission by itself does not: devices go by the
    times of events, and it is as old as it is."""
    # Behind the submission for devices, too, whose clock may have been ahead.
    at = min(Millis(max(now, event.occurred_at + 1)), LAST)
    if is_late_delete(event, held):
        return Event(new_guid(), event.entity_guid, event.type, event.data, at, user_id)
    wanted = fields_of(event)
    kept = {name for name, choice in decision.fields.items() if choice is Choice.CURRENT}
    if not wanted:
        return None
    current: Mapping[str, Any] = held.data if held is not None and held.is_live else {}
    for name in kept & wanted.keys():
        if name not in current:
            raise UndecidableField(path=["data", name])
    chosen = {name: current[name] for name in kept & wanted.keys()}
    if not chosen and not late_fields(event, held):
        return None
    # All of them, for here they all count as written now: what somebody wrote meanwhile, and brings later, loses to each.
    fields = {**wanted, **chosen}
    kind = event.type.rpartition("-")[2]
    return Event(new_guid(), event.entity_guid, f"update-{kind}", fields, at, user_id)


async def reject(tx: Tx, scope: TenantScope, id: str, reason: str, *, now: Millis) -> Review:
    """Refuse what waits, or waits for changes. Raises as `approve`."""
    open_states = {Status.PENDING, Status.CHANGES_REQUESTED}
    review = await _to_decide(tx, scope, id, found_in=open_states)
    by = scope.actor.label
    await move(
        tx,
        scope,
        review,
        Status.REJECTED,
        found_in=open_states,
        now=now,
        reviewed_by=by,
        reviewed_ms=now,
        rejection_reason=reason,
    )
    await say(tx, scope, review, CommentKind.REJECTED, reason, now=now)
    return replace(
        review, status=Status.REJECTED, reviewed_by=by, reviewed_at=now, rejection_reason=reason, updated_at=now
    )


async def request_changes(tx: Tx, scope: TenantScope, id: str, comment: str, *, now: Millis) -> Review:
    """Ask whoever submitted it to send another one in its place. Raises as `approve`."""
    review = await _to_decide(tx, scope, id)
    by = scope.actor.label
    await move(
        tx,
        scope,
        review,
        Status.CHANGES_REQUESTED,
        found_in={Status.PENDING},
        now=now,
        reviewed_by=by,
        reviewed_ms=now,
    )
    await say(tx, scope, review, CommentKind.CHANGES_REQUESTED, comment, now=now)
    return replace(review, status=Status.CHANGES_REQUESTED, reviewed_by=by, reviewed_at=now, updated_at=now)


async def assign(tx: Tx, scope: TenantScope, id: str, assignee: str | None, *, now: Millis) -> Review:
    """Note who is to decide. Others may all the same."""
    review = await looking.get(tx, scope, id)
    waiting = {Status.PENDING, Status.CHANGES_REQUESTED}
    news: dict[str, Any] = (
        {} if assignee is None else {"news": queries.unless_untold(News.CHANGES_REQUESTED, News.ASSIGNED)}
    )
    if not await queries.change(tx, scope, id, found_in=waiting, now=now, assigned_to=assignee, **news):
        raise ReviewNotPending()
    await enqueue(tx, scope, TELLING, {}, now=now)
    return replace(review, assigned_to=assignee, updated_at=now)


async def take_back(tx: Tx, log: EventLog, scope: TenantScope, id: str, *, now: Millis) -> Review:
    """Leave it to people of the program, whatever the other system says later. Raises `ReviewNotPending`."""
    # As the job does that stores what the other system says: it writes what it has read under the lock.
    await log.lock(tx, scope)
    review = await looking.get(tx, scope, id)
    if review.status is not Status.PENDING or not await queries.take_back(
        tx, scope, id, code=DelegationCode.TAKEN_BACK, now=now
    ):
        raise ReviewNotPending()
    return review


async def comment_on(tx: Tx, scope: TenantScope, id: str, text: str, *, now: Millis) -> Comment:
    """Say something about a review: who may decide about it, and who has submitted it. Raises `ReviewNotFound`, `NotSubmitter`."""
    # A purge would leave behind what was said when it was at work already.
    if not await tenants.hold(tx, scope):
        raise ReviewNotFound()
    review = await looking.get(tx, scope, id)
    await looking.require_read_all(tx, scope, review)
    return await say(tx, scope, review, CommentKind.COMMENT, text, now=now)


async def _to_decide(
    tx: Tx, scope: TenantScope, id: str, *, found_in: frozenset[Status] | set[Status] = frozenset({Status.PENDING})
) -> Review:
    """The review, if it is the caller's to decide about it now."""
    review = await looking.get(tx, scope, id)
    required = required_role(review, await queries.find_policy(tx, scope, review.event_type))
    if not await _decides(tx, scope, review, required):
        raise ReviewRoleTooLow(requiredRole=required.value)
    is_citizens = review.origin is SubmissionOrigin.CITIZEN
    if is_submitter(review, scope.actor, await current_data(tx, scope, review.entity_guid) if is_citizens else None):
        raise OwnSubmission()
    if review.status not in found_in:
        raise ReviewNotPending()
    if review.policy is Policy.EXTERNAL_DELEGATE:
        delegation = (await queries.find_delegations(tx, scope, [id])).get(id)
        if delegation is not None and delegation.status not in _LEFT_TO_PEOPLE:
            raise ReviewDelegated()
    return review


async def _decides(tx: Tx, scope: TenantScope, review: Review, required: Role) -> bool:
    """Whether the caller has that role where the review is."""
    held = scope.held_as(required)
    return held is not None and (held is scope or review.id in await looking.visible_of(tx, held, [review]))


def required_role(review: Review, policy: PolicyRow | None) -> Role:
    """What the program asks for now; what it asked for when this was submitted, if it asks for nothing any more. Never
    less than what approving takes at all."""
    role = (policy.required_role if policy is not None else None) or review.required_role or Role.SUPERVISOR
    return max(role, MINIMUM_ROLE[Action.APPROVE], key=lambda one: one.level)


def conflict_document(conflict: FieldConflict) -> dict[str, Any]:
    """As clients are told of it; a side that is not there is left out."""
    sides = {"before": conflict.before, "now": conflict.now, "submitted": conflict.submitted}
    told = {side: value for side, value in sides.items() if value is not msgspec.UNSET}
    return {"field": conflict.field} | told
