"""What this slice refuses."""

from datacollect.eventstore.event import EventRejected
from datacollect.kernel.errors import Conflict, Forbidden, InvalidPayload, InvalidRequest, NotFound


class ReviewNotFound(NotFound):
    """Review not found"""

    code = "REVIEW_NOT_FOUND"
    help = "Take the id from the list of the program's reviews; what is beyond your areas is not found either."


class ReviewNotPending(Conflict):
    """Review is not in pending status"""

    code = "REVIEW_NOT_PENDING"
    help = "Somebody has decided, or whoever submitted it has withdrawn it; read the review again."


class SubmissionReused(Conflict):
    """Something else has been submitted or stored with this guid."""

    code = "SUBMISSION_REUSED"
    help = "Give the event a new guid. To send the same again, send it unchanged and as the same account."


class OwnSubmission(Forbidden):
    """Nobody decides about what they have submitted themselves."""

    code = "OWN_SUBMISSION"
    help = "Ask somebody else who may review; this holds for administrators, too."


class ReviewRoleTooLow(Forbidden):
    """Forbidden: Insufficient permission for this tenant"""

    code = "REVIEW_ROLE_TOO_LOW"
    help = "`requiredRole` is what the program asks for in those who decide about such events."


class NotSubmitter(Forbidden):
    """Only who has submitted it may do this."""

    code = "NOT_SUBMITTER"
    help = "Ask them to withdraw it, or reject it."


class ReviewConflict(Conflict):
    """The record was changed since this was submitted."""

    code = "REVIEW_CONFLICT"
    help = (
        "`conflicts` has each field with what it was, is and would be. Decide: `fields` with `submitted` or `current` for "
        "each, or `force` for all."
    )


class ReviewedEntityGone(Conflict):
    """What this is about was deleted since it was submitted."""

    code = "REVIEWED_ENTITY_GONE"
    help = "Reject the submission."


class ReviewDelegated(Conflict):
    """The other system decides about this one."""

    code = "REVIEW_DELEGATED"
    help = "Decide there. If it cannot be asked, `delegation` tells why, and people of the program decide."


class CannotDelegate(Conflict):
    """The program's other system cannot decide about submissions."""

    code = "REVIEW_CANNOT_DELEGATE"
    help = (
        "`external-delegate` takes an adapter that has its changes approved there (change requests). Configure "
        "`externalSync` for it, or choose `internal-review`."
    )


class ReplacedNotOpen(Conflict):
    """`replaces` is no review of yours that waits for changes."""

    code = "REVIEW_NOT_REPLACEABLE"
    help = "Name a review that you have submitted, and that is rejected or waits for changes; or leave it out."


class MissingTenantId(InvalidRequest):
    """Missing tenantId query parameter"""

    code = "MISSING_TENANT_ID"
    help = "Name the program as `tenantId`."


class InvalidReviewsQuery(InvalidRequest):
    """`limit` must be 1 to 500, `cursor` the one of a page, times ISO-8601 UTC ending in Z."""

    code = "INVALID_REVIEWS_QUERY"
    help = "Correct what the message names."


class InvalidReviewBody(InvalidPayload):
    """Invalid payload"""


class MissingSubmission(InvalidRequest):
    """Missing tenantId or formData"""

    code = "MISSING_SUBMISSION"
    help = "Send `tenantId` and the event as `formData`."


class MissingReason(InvalidRequest):
    """Missing rejection reason"""

    code = "MISSING_REASON"
    help = "Say in `reason` why: whoever submitted it reads it."


class MissingReviewIds(InvalidRequest):
    """Missing or invalid reviewIds array"""

    code = "MISSING_REVIEW_IDS"
    help = "Send `reviewIds`: an array of at most 500 ids."


class MissingPolicy(InvalidRequest):
    """Missing policy"""

    code = "MISSING_POLICY"
    help = "Send `policy`: `auto-approve`, `internal-review` or `external-delegate`."


class MissingRequiredRole(InvalidRequest):
    """internal-review policy requires a requiredRole"""

    code = "MISSING_REQUIRED_ROLE"
    help = (
        "Send `requiredRole`: `supervisor`, `program-admin` or `system-admin`; `viewer` and `enumerator` are taken too, and"
        " count as `supervisor`."
    )


class UnknownReviewedType(InvalidRequest):
    """There are no events of this type in this program."""

    code = "UNKNOWN_REVIEWED_TYPE"
    help = "Name a type of event, such as `update-individual`."


class NoSuchReviewer(InvalidRequest):
    """`assignee` is nobody who may decide in this program."""

    code = "NO_SUCH_REVIEWER"
    help = "Name the e-mail of an account that may approve there."


class NoReviewerAllowed(Forbidden):
    """Forbidden: Insufficient permission for the requested tenant(s)"""

    code = "NO_REVIEW_ALLOWED"
    help = "Ask an administrator for a higher role in these programs."


class UndecidableField(EventRejected):
    """`fields` names a field that the record does not have."""

    code = "REVIEW_FIELD_UNKNOWN"
    help = "Name fields of `conflicts`."
