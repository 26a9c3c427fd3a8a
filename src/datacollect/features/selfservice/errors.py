"""What citizens are refused with when they see, correct and take along their record."""

from datacollect.kernel.errors import Forbidden, InvalidPayload, InvalidRequest, NotFound, TooManyRequests


class NoEntity(InvalidRequest):
    """No entity associated with this token"""

    code = "NO_ENTITY"
    help = "Sign in again: a token is for one record."


class InvalidSubmission(InvalidPayload):
    """Invalid request"""

    code = "INVALID_SUBMISSION"
    help = "Correct every issue in `details`; each names its field under `formData`, and what is expected there."


class FormTypeNotAllowed(Forbidden):
    """Form type not allowed for this program"""

    code = "FORM_TYPE_NOT_ALLOWED"
    help = "Send the `type` of one of the `availableForms` of the record."


class SubmissionNotFound(NotFound):
    """Submission not found"""

    code = "SUBMISSION_NOT_FOUND"
    help = "Send the `id` of a submission of yours, as `GET /api/auth/self-service/submissions` lists it."


class InvalidListQuery(InvalidRequest):
    """`limit` must be a whole number from 1 to 1000, and `cursor` as delivered."""

    code = "INVALID_LIST_QUERY"
    help = "Correct `limit`, and send `nextCursor` as it was delivered."


class TooManySubmissions(TooManyRequests):
    """Too many changes have been sent for this record. Try again later."""

    code = "TOO_MANY_SUBMISSIONS"
    help = "Wait as long as the header `Retry-After` says. Sending the same `submissionGuid` again is always answered."
