"""sealed segments of the log"""

import sqlalchemy as sa
from alembic import op

from datacollect.db.walls import raise_wall

revision = "0030"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "log_segments",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.Column("lengths", sa.LargeBinary(), nullable=False),
        sa.Column("checksum", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("last_occurred_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_guid", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "number", name=op.f("pk_log_segments")),
    )
    raise_wall(op.get_bind(), "log_segments")
    if op.get_bind().dialect.name == "postgresql":
        # It is compressed already: PostgreSQL would only try in vain.
        op.execute("ALTER TABLE log_segments ALTER COLUMN packed SET STORAGE EXTERNAL")
