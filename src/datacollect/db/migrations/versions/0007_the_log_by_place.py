"""the log by place, for readers of a part of it"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("log_heads", sa.Column("scoping", sa.Text(), nullable=True))
    op.create_table(
        "event_places",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "place", "position", name=op.f("pk_event_places")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_entities_parent",
        "entities",
        ["tenant_id", "parent_guid"],
        unique=False,
        sqlite_where=sa.text("parent_guid IS NOT NULL"),
        postgresql_where=sa.text("parent_guid IS NOT NULL"),
    )
