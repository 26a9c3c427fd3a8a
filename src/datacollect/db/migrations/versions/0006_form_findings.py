"""findings of events checked against forms"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "form_findings",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("event_guid", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("entity_guid", sa.Text(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "event_guid", "ordinal", name=op.f("pk_form_findings")),
    )
    op.create_index(
        op.f("ix_form_findings_tenant_id_recorded_ms_event_guid_ordinal"),
        "form_findings",
        ["tenant_id", "recorded_ms", "event_guid", "ordinal"],
        unique=False,
    )
    op.create_index(
        "ix_form_findings_by_entity",
        "form_findings",
        ["tenant_id", "entity_guid", "recorded_ms", "event_guid", "ordinal"],
        unique=False,
    )
