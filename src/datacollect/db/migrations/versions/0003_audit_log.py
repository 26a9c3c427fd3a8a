"""what the events do not tell of the audit trail"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_AHEAD = sa.text("occurred_ms > recorded_ms")


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("guid", sa.Text(), nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.Column("occurred_ms", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("claimed_user_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("event_guid", sa.Text(), nullable=False),
        sa.Column("entity_guid", sa.Text(), nullable=False),
        sa.Column("changes", sa.Text(), nullable=True),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "position", "ordinal", name=op.f("pk_audit_log")),
        sa.UniqueConstraint("tenant_id", "guid", name=op.f("uq_audit_log_tenant_id_guid")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_audit_log_tenant_id_entity_guid_position"),
        "audit_log",
        ["tenant_id", "entity_guid", "position"],
        unique=False,
    )
    op.create_index(
        "ix_audit_log_ahead",
        "audit_log",
        ["tenant_id", "occurred_ms"],
        unique=False,
        sqlite_where=_AHEAD,
        postgresql_where=_AHEAD,
    )
