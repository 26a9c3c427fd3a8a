"""Reviews as clients read them."""

from typing import Any

import msgspec

from datacollect.features.reviews.deciding import conflict_document
from datacollect.features.reviews.looking import NOTHING, Page
from datacollect.features.reviews.model import Comment, Delegation, PolicyRow, Review, SubmissionOrigin
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import CITIZEN_PREFIX, TenantScope

MASK = "********"


def review_document(scope: TenantScope, review: Review, page: Page, *, now: Millis) -> dict[str, Any]:
    """The contract's object, and what is ours. Who only reads the program learns that something waits, and of what kind;
    what it says of people is for those who decide and for who has submitted it."""
    shows = review.id in page.read_in_full
    standing, delegation = page.standings.get(review.id, NOTHING), page.delegations.get(review.id)
    submitted_by = review.submitted_by
    if not shows and review.origin is SubmissionOrigin.CITIZEN:
        submitted_by = CITIZEN_PREFIX + MASK
    form_data = msgspec.json.decode(review.event.body())
    if not shows:
        form_data |= {"data": dict.fromkeys(form_data["data"], MASK), "userId": submitted_by}
    return {
        "id": review.id,
        "submissionGuid": review.submission_guid,
        "tenantId": scope.tenant_id,
        "status": review.status.value,
        "submittedBy": submitted_by,
        "reviewedBy": review.reviewed_by,
        "reviewedAt": _text(review.reviewed_at),
        "rejectionReason": review.rejection_reason if shows or review.rejection_reason is None else MASK,
        "eventType": review.event_type,
        "entityGuid": review.entity_guid,
        "formData": form_data,
        "createdAt": format_timestamp(review.created_at),
        "updatedAt": format_timestamp(review.updated_at),
        "policy": review.policy.value,
        "requiredRole": review.required_role,
        "externalAdapterType": review.adapter_type,
        "origin": review.origin.value,
        "standalone": review.standalone,
        "dueAt": _text(review.due_at),
        "isOverdue": review.is_open and review.due_at is not None and review.due_at < now,
        "assignedTo": review.assigned_to,
        "replaces": review.replaces,
        "replacedBy": review.replaced_by,
        "masked": not shows,
        "conflicts": [conflict_document(one) for one in standing.conflicts] if shows else [],
        "isGone": standing.is_gone,
        "delegation": None if delegation is None else _delegation(delegation),
    }


def _delegation(delegation: Delegation) -> dict[str, Any]:
    return {
        "status": delegation.status.value,
        "code": delegation.code,
        "message": delegation.message,
        "updatedAt": format_timestamp(delegation.updated_at),
    }


def comment_document(comment: Comment) -> dict[str, Any]:
    return {
        "id": comment.id,
        "kind": comment.kind.value,
        "author": comment.author,
        "text": comment.text,
        "createdAt": format_timestamp(comment.created_at),
    }


def policy_document(row: PolicyRow) -> dict[str, Any]:
    told = {
        "eventType": row.event_type,
        "policy": row.policy.value,
        "requiredRole": row.required_role,
        "externalAdapterType": row.external_adapter_type,
        "dueDays": row.due_days,
    }
    return {name: value for name, value in told.items() if value is not None}


def _text(instant: Millis | None) -> str | None:
    return None if instant is None else format_timestamp(instant)
