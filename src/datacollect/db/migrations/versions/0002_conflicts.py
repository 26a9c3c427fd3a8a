"""conflicts between writes of one entity"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "conflicts",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("guid", sa.Text(), nullable=False),
        sa.Column("entity_guid", sa.Text(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("local_version", sa.Text(), nullable=False),
        sa.Column("remote_version", sa.Text(), nullable=False),
        sa.Column("lost", sa.Text(), nullable=False),
        sa.Column("local_event_guid", sa.Text(), nullable=False),
        sa.Column("remote_event_guid", sa.Text(), nullable=False),
        sa.Column("detected_ms", sa.BigInteger(), nullable=False),
        sa.Column("resolved_ms", sa.BigInteger(), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("merged_data", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "guid", name=op.f("pk_conflicts")),
    )
    op.create_index(
        op.f("ix_conflicts_tenant_id_resolved_ms_detected_ms_guid"),
        "conflicts",
        ["tenant_id", "resolved_ms", "detected_ms", "guid"],
        unique=False,
    )
    op.create_index(op.f("ix_conflicts_tenant_id_entity_guid"), "conflicts", ["tenant_id", "entity_guid"], unique=False)
