"""contents of attachments, and bytes that are on their way in or out"""

import sqlalchemy as sa
from alembic import op

from datacollect.db.walls import raise_wall

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attachment_contents",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("generation", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("refs", sa.Integer(), nullable=False),
        sa.Column("touched_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name=op.f("pk_attachment_contents")),
    )
    op.create_index(
        op.f("ix_attachment_contents_idle"),
        "attachment_contents",
        ["tenant_id", "touched_ms"],
        sqlite_where=sa.text("refs = 0"),
        postgresql_where=sa.text("refs = 0"),
    )
    op.create_table(
        "attachment_loose",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("generation", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("dying", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "digest", "generation", name=op.f("pk_attachment_loose")),
    )
    op.create_index(op.f("ix_attachment_loose_tenant_id_since_ms"), "attachment_loose", ["tenant_id", "since_ms"])
    raise_wall(op.get_bind(), "attachment_contents", "attachment_loose")
