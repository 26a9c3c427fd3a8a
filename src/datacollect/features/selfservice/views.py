"""What citizens are told, in wire form."""

from typing import Any

import msgspec

from datacollect.features.entities.service import StoredEntity
from datacollect.features.reviews.model import SYSTEM_REVIEWER, Review
from datacollect.features.selfservice.model import Own, OwnForms
from datacollect.kernel.clock import format_timestamp

STAFF = "staff"
"""Stands for the name of whoever reviewed something."""


def entity_view(entity: StoredEntity, own: Own, forms: OwnForms) -> dict[str, Any]:
    return {
        "guid": entity.guid,
        "type": entity.type,
        "data": forms.visible_in(own.data, own.form),
        "lastUpdated": format_timestamp(entity.last_updated),
    }


def submission_view(
    review: Review, tenant_id: str, own: Own, forms: OwnForms, *, asked: str | None = None
) -> dict[str, Any]:
    reviewer = review.reviewed_by
    if reviewer not in (None, SYSTEM_REVIEWER) and not forms.names_staff:
        reviewer = STAFF
    return {
        "id": review.id,
        "submissionGuid": review.submission_guid,
        "tenantId": tenant_id,
        "status": review.status.value,
        "submittedBy": review.submitted_by,
        "reviewedBy": reviewer,
        "reviewedAt": None if review.reviewed_at is None else format_timestamp(review.reviewed_at),
        "rejectionReason": review.rejection_reason,
        "eventType": review.event_type,
        "entityGuid": review.entity_guid,
        "createdAt": format_timestamp(review.created_at),
        "data": _sent(review, own, forms),
        "requestedChanges": asked,
    }


def _sent(review: Review, own: Own, forms: OwnForms) -> dict[str, Any]:
    data = {key: value for key, value in review.event.data.items() if key != "entityName"}
    # A report holds what was sent, and nothing of the record.
    return data if review.standalone else forms.sent_in(data, own.form)


def json_of(answer: Any) -> bytes:
    return msgspec.json.encode(answer)
