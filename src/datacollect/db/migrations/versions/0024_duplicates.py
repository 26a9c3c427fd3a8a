"""duplicates"""

import sqlalchemy as sa
from alembic import op

from datacollect.db.walls import raise_wall

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    by_code_point = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "match_keys",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key", by_code_point, nullable=False),
        sa.Column("guid", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "key", "guid", name=op.f("pk_match_keys")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_match_keys_tenant_id_guid"), "match_keys", ["tenant_id", "guid"])
    op.create_table(
        "match_marks",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("rules", sa.Integer(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_match_marks")),
    )
    op.create_table(
        "duplicate_pairs",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("first_guid", sa.Text(), nullable=False),
        sa.Column("second_guid", sa.Text(), nullable=False),
        sa.Column("newer_guid", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("bits", sa.Float(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("detected_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("survivor_guid", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "first_guid", "second_guid", name=op.f("pk_duplicate_pairs")),
    )
    op.create_index(op.f("ix_duplicate_pairs_tenant_id_second_guid"), "duplicate_pairs", ["tenant_id", "second_guid"])
    op.create_index(
        op.f("ix_duplicate_pairs_tenant_id_status_detected_ms_first_guid_second_guid"),
        "duplicate_pairs",
        ["tenant_id", "status", "detected_ms", "first_guid", "second_guid"],
    )
    raise_wall(op.get_bind(), "match_keys", "match_marks", "duplicate_pairs")
