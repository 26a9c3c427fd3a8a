"""What was submitted for review, who decides about it, and what has been said about it."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    and_,
    false,
)

from datacollect.db.metadata import SHARED, JsonText, metadata

submission_reviews = Table(
    "submission_reviews",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("submission_guid", Text, nullable=False),
    Column("status", Text, nullable=False),
    # The policy that it came under, and what that said.
    Column("policy", Text, nullable=False),
    Column("required_role", Text),
    Column("adapter_type", Text),
    Column("origin", Text, nullable=False),
    Column("standalone", Boolean, nullable=False),
    Column("submitted_by", Text, nullable=False),
    # Who that is: `user:<id>`, `citizen:<guid>`. A label may change, and may be chosen to look like another one.
    Column("submitter_key", Text, nullable=False),
    Column("reviewed_by", Text),
    Column("reviewed_ms", BigInteger),
    Column("rejection_reason", Text),
    Column("event_type", Text, nullable=False),
    Column("entity_guid", Text, nullable=False),
    # The event, as it will be appended.
    Column("body", JsonText, nullable=False),
    Column("content_hash", Text, nullable=False),
    # What the record held then of what the event is to change; NULL if there was none.
    Column("base", JsonText),
    Column("due_ms", BigInteger),
    Column("assigned_to", Text),
    # The review that this one takes the place of, or that has taken its place.
    Column("replaces", Text),
    Column("replaced_by", Text),
    # What of it has not been told to whom it concerns; and whether they were told that it is due.
    Column("news", Text),
    Column("due_told", Boolean, nullable=False, server_default=false()),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
    UniqueConstraint("tenant_id", "submission_guid"),
    Index("ix_submission_reviews_created", "tenant_id", "created_ms", "id"),
    Index("ix_submission_reviews_status", "tenant_id", "status", "created_ms", "id"),
    Index("ix_submission_reviews_entity", "tenant_id", "entity_guid", "created_ms", "id"),
)

_r = submission_reviews.c
for name, column, condition in (
    ("news", _r.id, _r.news.is_not(None)),
    ("due", _r.due_ms, and_(_r.due_ms.is_not(None), _r.due_told.is_(False), _r.status == "pending")),
):
    Index(f"ix_submission_reviews_{name}", _r.tenant_id, column, sqlite_where=condition, postgresql_where=condition)

review_owners = Table(
    "review_owners",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Index("ix_review_owners_tenant_id", "tenant_id", "id"),
    info=SHARED,
)
"""Whose review an id names: paths with one name no program. Nothing else is told of it here."""

review_configs = Table(
    "review_configs",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("required_role", Text),
    Column("external_adapter_type", Text),
    Column("due_days", Integer),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "event_type"),
)

review_comments = Table(
    "review_comments",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("review_id", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("id", Text, nullable=False),
    # Said in passing, or together with a decision.
    Column("kind", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id", "review_id", "created_ms", "id"),
)

review_delegations = Table(
    "review_delegations",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("review_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    # A short name of the other system, once it has been told.
    Column("system", Text),
    # The adapter's own, and its key of the record there.
    Column("state", JsonText, nullable=False, server_default="{}"),
    Column("link", JsonText),
    # Why it has not been told, or could not be.
    Column("code", Text),
    Column("message", Text),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("updated_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "review_id"),
    Index("ix_review_delegations_status", "tenant_id", "status", "review_id"),
)
