"""Wire models of reviews."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Wire

LONGEST_TEXT = 4000
MOST_AT_ONCE = 500

StatusName = Literal["pending", "approved", "rejected", "changes-requested", "withdrawn"]
PolicyName = Literal["auto-approve", "internal-review", "external-delegate"]
RoleName = Literal["viewer", "enumerator", "supervisor", "program-admin", "system-admin"]

_EVENT = {
    "guid": "7d6f2a34-5a0e-4b0c-9a63-1f5f9f0e7b11",
    "entityGuid": "p-001",
    "type": "update-individual",
    "data": {"phone": "+26377000111"},
    "timestamp": "2026-01-01T08:00:00.000Z",
    "userId": "agent@example.org",
    "syncLevel": 1,
}


class Submit(Wire):
    """A form that may have to be reviewed."""

    tenant_id: str | None = Field(None, description="The program.", examples=["program-a"])
    form_data: dict[str, Any] | None = Field(
        None, description="The event, as for a push. Its `userId` is taken from the token.", examples=[_EVENT]
    )
    replaces: str | None = Field(
        None, max_length=64, description="The id of a review of yours that was rejected or waits for changes."
    )


class AboutReview(Wire):
    """Older clients name the program; the review says which it is."""

    tenant_id: str | None = None


class Approve(AboutReview):
    """How to apply it."""

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

    reason: str | None = Field(None, max_length=LONGEST_TEXT, examples=["The number belongs to somebody else."])


class Say(AboutReview):
    """What is to be said."""

    comment: str = Field(min_length=1, max_length=LONGEST_TEXT, examples=["Which of the two numbers is right?"])


class Assign(AboutReview):
    """Who is to decide."""

    assignee: str | None = Field(
        description="The e-mail of an account that may; null takes the assignment back.",
        max_length=320,
        examples=["supervisor@example.org"],
    )


class BulkApprove(AboutReview):
    """What to approve."""

    review_ids: list[str] | None = Field(None, max_length=MOST_AT_ONCE)
    force: bool = Field(False, description="As for one.")


class SetPolicy(Wire):
    """Which way submissions of a type of event go."""

    policy: PolicyName | None = Field(None, examples=["internal-review"])
    required_role: RoleName | None = Field(
        None, description="Who decides. Approving takes a supervisor at least, whatever this says."
    )
    external_adapter_type: str | None = Field(
        None, max_length=100, description="Of `external-delegate`: the adapter of the program's other system."
    )
    due_days: int | None = Field(None, ge=1, le=365, description="In how many days it is to be decided.")


class _Out(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class ConflictView(_Out):
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
    conflicts: list[ConflictView] = Field(
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
    reviews: list[ReviewView]
    next_cursor: str | None


class ReviewReply(_Out):
    review: ReviewView


class CommentList(_Out):
    comments: list[CommentView]
    next_cursor: str | None


class CommentReply(_Out):
    comment: CommentView


class BulkError(_Out):
    review_id: str
    error: str
    code: str


class BulkReply(_Out):
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
    configs: list[PolicyView]


class PolicyReply(_Out):
    status: Literal["success"]
    config: StoredPolicyView
