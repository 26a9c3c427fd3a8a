"""Wire models of reviews."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model, Wire, examples

LONGEST_TEXT = 4000
MOST_AT_ONCE = 500

StatusName = Literal["pending", "approved", "rejected", "changes-requested", "withdrawn"]
PolicyName = Literal["auto-approve", "internal-review", "external-delegate"]
RoleName = Literal["viewer", "enumerator", "supervisor", "program-admin", "system-admin"]

_ID = "0b0f5f3e-6f0e-4a53-8f4e-0a9d4f8a5a11"
_EVENT = {
    "guid": "7d6f2a34-5a0e-4b0c-9a63-1f5f9f0e7b11",
    "entityGuid": "p-001",
    "type": "update-individual",
    "data": {"phone": "+26377000111"},
    "timestamp": "2026-01-01T08:00:00.000Z",
    "userId": "agent@example.org",
    "syncLevel": 1,
}


_REVIEW: dict[str, Any] = {
    "id": _ID,
    "submissionGuid": _EVENT["guid"],
    "tenantId": "household-registry",
    "status": "pending",
    "submittedBy": "agent@example.org",
    "reviewedBy": None,
    "reviewedAt": None,
    "rejectionReason": None,
    "eventType": "update-individual",
    "entityGuid": "p-001",
    "formData": _EVENT,
    "createdAt": "2026-01-01T08:00:02.000Z",
    "updatedAt": "2026-01-01T08:00:02.000Z",
    "policy": "internal-review",
    "requiredRole": "supervisor",
    "externalAdapterType": None,
    "origin": "staff",
    "standalone": False,
    "dueAt": "2026-01-08T08:00:02.000Z",
    "isOverdue": False,
    "assignedTo": None,
    "replaces": None,
    "replacedBy": None,
    "masked": False,
    "conflicts": [{"field": "phone", "before": "+49151123456", "now": "+49151123457", "submitted": "+26377000111"}],
    "isGone": False,
    "delegation": None,
}
_COMMENT = {
    "id": "5f3e0b0f-4a53-4e0a-9d4f-8a5a110b0f5f",
    "kind": "comment",
    "author": "supervisor@example.org",
    "text": "Which of the two numbers is right?",
    "createdAt": "2026-01-02T09:00:00.000Z",
}
_POLICY: dict[str, Any] = {
    "eventType": "update-individual",
    "policy": "internal-review",
    "requiredRole": "supervisor",
    "dueDays": 7,
}


def _unset(value: Any) -> Any:
    return None if value == "" else value


Unset = BeforeValidator(_unset)
"""What a form's select sends while nothing is chosen is nothing."""


class Submit(Wire):
    """A form that may have to be reviewed."""

    model_config = examples({"tenantId": "household-registry", "formData": _EVENT}, required=["formData"])

    tenant_id: str | None = Field(None, description="The program, unless the query names it.", examples=["program-a"])
    form_data: dict[str, Any] | None = Field(
        None, description="The event, as for a push. Its `userId` is taken from the token.", examples=[_EVENT]
    )
    replaces: str | None = Field(
        None, max_length=64, description="The id of a review of yours that was rejected or waits for changes."
    )


class AboutReview(Wire):
    """Older clients name the program; the review says which it is."""

    model_config = examples({"tenantId": "household-registry"})

    tenant_id: str | None = None


class Approve(AboutReview):
    """How to apply it."""

    model_config = examples(
        {"comment": "Checked by telephone."}, {"fields": {"phone": "submitted", "name": "current"}}, {}
    )

    force: bool = Field(False, description="What is submitted wins wherever the record was changed since.")
    fields: dict[str, Literal["submitted", "current"]] = Field(
        default_factory=dict,
        max_length=1000,
        description="For single fields, whether what is submitted or what the record holds now is to stay.",
        examples=[{"phone": "submitted", "name": "current"}],
    )
    comment: str | None = Field(None, max_length=LONGEST_TEXT)


class Reject(AboutReview):
    """Why it is refused."""

    model_config = examples({"reason": "The number belongs to somebody else."})

    reason: str | None = Field(None, max_length=LONGEST_TEXT, examples=["The number belongs to somebody else."])


class Say(AboutReview):
    """What is to be said."""

    model_config = examples({"comment": "Which of the two numbers is right?"})

    comment: str = Field(min_length=1, max_length=LONGEST_TEXT, examples=["Which of the two numbers is right?"])


class Assign(AboutReview):
    """Who is to decide."""

    model_config = examples({"assignee": "supervisor@example.org"}, {"assignee": None})

    assignee: str | None = Field(
        description="The e-mail of an account that may; null takes the assignment back.",
        max_length=320,
        examples=["supervisor@example.org"],
    )


class BulkApprove(AboutReview):
    """What to approve."""

    model_config = examples({"reviewIds": [_ID]}, required=["reviewIds"])

    review_ids: list[str] | None = Field(None, max_length=MOST_AT_ONCE)
    force: bool = Field(False, description="As for one.")


class SetPolicy(Wire):
    """Which way submissions of a type of event go."""

    model_config = examples({"policy": "internal-review", "requiredRole": "supervisor", "dueDays": 7})

    policy: Annotated[PolicyName | None, Unset] = Field(None, examples=["internal-review"])
    required_role: Annotated[RoleName | None, Unset] = Field(
        None, description="Who decides. Approving takes a supervisor at least, whatever this says."
    )
    external_adapter_type: Annotated[str | None, Unset] = Field(
        None, max_length=100, description="Of `external-delegate`: the adapter of the program's other system."
    )
    due_days: int | None = Field(None, ge=1, le=365, description="In how many days it is to be decided.")


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class FieldConflict(_Out):
    """A field that was changed since. A side that is left out is not there."""

    field: str
    before: Any = Field(None, description="What it was when this was submitted.")
    now: Any = None
    submitted: Any = None


class DelegationView(_Out):
    status: Literal["waiting", "asked", "failed", "ended"]
    code: str | None
    message: str | None
    updated_at: str


class ReviewView(_Out):
    """A submission and what has become of it."""

    id: str
    submission_guid: str
    tenant_id: str
    status: StatusName
    submitted_by: str
    reviewed_by: str | None = Field(description="`system` if nobody had to, `external:…` for another system.")
    reviewed_at: str | None
    rejection_reason: str | None
    event_type: str
    entity_guid: str
    form_data: dict[str, Any] = Field(description="The event as submitted.", examples=[_EVENT])
    created_at: str
    updated_at: str
    policy: PolicyName
    required_role: str | None
    external_adapter_type: str | None
    origin: Literal["staff", "citizen"]
    standalone: bool = Field(description="Whether it is kept for itself, and changes no record.")
    due_at: str | None
    is_overdue: bool
    assigned_to: str | None
    replaces: str | None
    replaced_by: str | None
    masked: bool = Field(description="Whether what it says of people is left out: for members who do not decide.")
    conflicts: list[FieldConflict] = Field(
        description="Of what is pending: what was changed since in the fields it is about."
    )
    is_gone: bool = Field(description="Whether what it is about was deleted since.")
    delegation: DelegationView | None


class CommentView(_Out):
    id: str
    kind: Literal["comment", "approved", "rejected", "changes-requested"]
    author: str
    text: str
    created_at: str


class ReviewList(_Out):
    model_config = examples({"reviews": [_REVIEW], "nextCursor": None})

    reviews: list[ReviewView]
    next_cursor: str | None


class ReviewReply(_Out):
    model_config = examples({"review": _REVIEW})

    review: ReviewView


class CommentList(_Out):
    model_config = examples({"comments": [_COMMENT], "nextCursor": None})

    comments: list[CommentView]
    next_cursor: str | None


class CommentReply(_Out):
    model_config = examples({"comment": _COMMENT})

    comment: CommentView


class BulkError(_Out):
    review_id: str
    error: str
    code: str


class BulkApproved(_Out):
    model_config = examples(
        {
            "approved": 1,
            "failed": 1,
            "errors": [
                {
                    "reviewId": "5a110b0f-5f3e-4f0e-8a53-0a9d4f8a5a22",
                    "error": "Review not found",
                    "code": "REVIEW_NOT_FOUND",
                }
            ],
        }
    )

    approved: int
    failed: int
    errors: list[BulkError]


class PolicyView(_Out):
    """A side that is not set is left out."""

    event_type: str
    policy: PolicyName
    required_role: str | None = None
    external_adapter_type: str | None = None
    due_days: int | None = None


class StoredPolicyView(PolicyView):
    id: str
    tenant_id: str


class PolicyList(_Out):
    model_config = examples({"configs": [_POLICY]})

    configs: list[PolicyView]


class PolicyReply(_Out):
    model_config = examples(
        {
            "status": "success",
            "config": _POLICY | {"id": "8f4e0a9d-4f8a-4a11-8b0f-5f3e6f0e4a53", "tenantId": "household-registry"},
        }
    )

    status: Literal["success"]
    config: StoredPolicyView
