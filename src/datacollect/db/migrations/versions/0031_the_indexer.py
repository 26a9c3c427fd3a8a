"""how far the indexer has come

Until now the terms of every entity were stored with it: an index that is there has come to the end of its log.
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("indexed_position", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("search_indexes", column)
    op.execute(
        "UPDATE search_indexes SET indexed_position ="
        " COALESCE((SELECT h.position FROM log_heads h WHERE h.tenant_id = search_indexes.tenant_id), 0)"
    )
