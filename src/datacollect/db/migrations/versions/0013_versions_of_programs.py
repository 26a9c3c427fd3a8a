"""versions of programs, and their secrets sealed

What programs hold already is moved and sealed by the hub when it starts: only it has the key, and so nothing is copied in
the clear.
"""

import sqlalchemy as sa
from alembic import op

from datacollect.db.walls import raise_wall

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("config_secrets", "config_digest", "seed_digest"):
        op.add_column("programs", sa.Column(column, sa.Text(), nullable=True))
    op.create_table(
        "program_versions",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor_id", sa.Integer(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("artifact_id", sa.Text(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=True),
        sa.Column("config_digest", sa.Text(), nullable=False),
        sa.Column("config_secrets", sa.Text(), nullable=False),
        sa.Column("external_sync", sa.Text(), nullable=True),
        sa.Column("seed_digest", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "revision", name=op.f("pk_program_versions")),
    )
    op.create_table(
        "program_contents",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name=op.f("pk_program_contents")),
    )
    raise_wall(op.get_bind(), "program_versions", "program_contents")
