"""the search index"""

import sqlalchemy as sa
from alembic import op

from datacollect.db.walls import raise_wall

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    by_code_point = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "search_terms",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("field", by_code_point, nullable=False),
        sa.Column("term", by_code_point, nullable=False),
        sa.Column("guid", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "field", "term", "guid", name=op.f("pk_search_terms")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "search_indexes",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("rules", sa.Integer(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=True),
        sa.Column("next_fields", sa.Text(), nullable=True),
        sa.Column("begun_position", sa.BigInteger(), nullable=False),
        sa.Column("through_position", sa.BigInteger(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_search_indexes")),
    )
    raise_wall(op.get_bind(), "search_terms", "search_indexes")
