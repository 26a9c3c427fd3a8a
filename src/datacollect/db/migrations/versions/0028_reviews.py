"""reviews"""

import sqlalchemy as sa
from alembic import op

from datacollect.db.walls import raise_wall

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    by_code_point = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "submission_reviews",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("id", by_code_point, nullable=False),
        sa.Column("submission_guid", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("required_role", sa.Text(), nullable=True),
        sa.Column("adapter_type", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("standalone", sa.Boolean(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("submitter_key", sa.Text(), nullable=False),
        sa.Column("reviewed_by", sa.Text(), nullable=True),
        sa.Column("reviewed_ms", sa.BigInteger(), nullable=True),
        sa.Column("rejection_reason", sa.Text(), nullable=True),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("entity_guid", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=True),
        sa.Column("due_ms", sa.BigInteger(), nullable=True),
        sa.Column("assigned_to", sa.Text(), nullable=True),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.Column("replaced_by", sa.Text(), nullable=True),
        sa.Column("news", sa.Text(), nullable=True),
        sa.Column("due_told", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_submission_reviews")),
        sa.UniqueConstraint(
            "tenant_id", "submission_guid", name=op.f("uq_submission_reviews_tenant_id_submission_guid")
        ),
    )
    for name, columns in (
        ("created", ["tenant_id", "created_ms", "id"]),
        ("status", ["tenant_id", "status", "created_ms", "id"]),
        ("entity", ["tenant_id", "entity_guid", "created_ms", "id"]),
    ):
        op.create_index(f"ix_submission_reviews_{name}", "submission_reviews", columns)
    for name, column, condition in (
        ("news", "id", "news IS NOT NULL"),
        ("due", "due_ms", "due_ms IS NOT NULL AND due_told IS false AND status = 'pending'"),
    ):
        op.create_index(
            f"ix_submission_reviews_{name}",
            "submission_reviews",
            ["tenant_id", column],
            sqlite_where=sa.text(condition.replace("false", "0")),
            postgresql_where=sa.text(condition),
        )
    op.create_table(
        "review_owners",
        sa.Column("id", by_code_point, nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_owners")),
    )
    op.create_index("ix_review_owners_tenant_id", "review_owners", ["tenant_id", "id"])
    op.create_table(
        "review_configs",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("required_role", sa.Text(), nullable=True),
        sa.Column("external_adapter_type", sa.Text(), nullable=True),
        sa.Column("due_days", sa.Integer(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "event_type", name=op.f("pk_review_configs")),
    )
    op.create_table(
        "review_comments",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("review_id", by_code_point, nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("id", by_code_point, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "review_id", "created_ms", "id", name=op.f("pk_review_comments")),
    )
    op.create_table(
        "review_delegations",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("review_id", by_code_point, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="{}", nullable=False),
        sa.Column("link", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "review_id", name=op.f("pk_review_delegations")),
    )
    op.create_index("ix_review_delegations_status", "review_delegations", ["tenant_id", "status", "review_id"])
    raise_wall(op.get_bind(), "submission_reviews", "review_configs", "review_comments", "review_delegations")
