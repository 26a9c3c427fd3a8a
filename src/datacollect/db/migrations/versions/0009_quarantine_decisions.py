"""decisions about quarantined events, and events that block a device"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # With defaults, so that a hub of the release before can go on writing rows beside this one.
    for column in (
        sa.Column("kind", sa.Text(), nullable=False, server_default="refused"),
        sa.Column("status", sa.Text(), nullable=False, server_default="open"),
        sa.Column("entity_guid", sa.Text(), nullable=False, server_default=""),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("last_seen_ms", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("closed_ms", sa.BigInteger(), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("replayed_body", sa.Text(), nullable=True),
    ):
        op.add_column("quarantine", column)
    entity = "body::json ->> 'entityGuid'"
    if op.get_bind().dialect.name == "sqlite":
        entity = "json_extract(body, '$.entityGuid')"
    op.execute(f"UPDATE quarantine SET last_seen_ms = received_ms, entity_guid = {entity}")
    for columns in (
        ["tenant_id", "status", "received_ms", "id"],
        ["tenant_id", "received_ms", "id"],
        ["tenant_id", "event_guid"],
        ["tenant_id", "entity_guid"],
    ):
        op.create_index(op.f(f"ix_quarantine_{'_'.join(columns)}"), "quarantine", columns, unique=False)
