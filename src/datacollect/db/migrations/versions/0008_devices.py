"""devices"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_sync_summary",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_pull_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_push_ms", sa.BigInteger(), nullable=True),
        sa.Column("total_pulled", sa.BigInteger(), nullable=False),
        sa.Column("total_pushed", sa.BigInteger(), nullable=False),
        sa.Column("last_scope_hash", sa.Text(), nullable=True),
        sa.Column("clock_samples", sa.Text(), nullable=False),
        sa.Column("clock_ahead", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "device_id", name=op.f("pk_device_sync_summary")),
    )
    op.create_table(
        "sync_activity",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("occurred_ms", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("scope_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "occurred_ms", "id", name=op.f("pk_sync_activity")),
    )
    op.create_table(
        "device_revocations",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_by", sa.Text(), nullable=False),
        sa.Column("restored_ms", sa.BigInteger(), nullable=True),
        sa.Column("restored_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "device_id", "user_id", name=op.f("pk_device_revocations")),
    )
