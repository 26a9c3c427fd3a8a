"""attachments"""

import sqlalchemy as sa
from alembic import op

from datacollect.db.walls import raise_wall

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_IS_THERE = sa.text("deleted_ms IS NULL")
_IS_PENDING = sa.text("awaits_entity AND deleted_ms IS NULL")


def upgrade() -> None:
    op.create_table(
        "attachments",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("guid", sa.Text(), nullable=False),
        sa.Column("entity_guid", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("original_name", sa.Text(), nullable=False),
        sa.Column("mime_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=True),
        sa.Column("awaits_entity", sa.Boolean(), nullable=False),
        sa.Column("forsaken_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "guid", name=op.f("pk_attachments")),
    )
    op.create_index("uq_attachments_position", "attachments", ["tenant_id", "position"], unique=True)
    op.create_index(
        "ix_attachments_entity",
        "attachments",
        ["tenant_id", "entity_guid", "created_ms", "guid"],
        sqlite_where=_IS_THERE,
        postgresql_where=_IS_THERE,
    )
    op.create_index(
        "ix_attachments_pending",
        "attachments",
        ["tenant_id", "position"],
        sqlite_where=_IS_PENDING,
        postgresql_where=_IS_PENDING,
    )
    op.create_table(
        "attachment_heads",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_attachment_heads")),
    )
    raise_wall(op.get_bind(), "attachments", "attachment_heads")
