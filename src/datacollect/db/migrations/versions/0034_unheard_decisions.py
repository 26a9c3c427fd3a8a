"""decisions about pairs of those who may not decide

Of what was pushed before, every decision counts, as it did.
"""

import sqlalchemy as sa
from alembic import op

from datacollect.db.walls import raise_wall

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "unheard_decisions",
        sa.Column("tenant_id", text, nullable=False),
        sa.Column("event_guid", text, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "event_guid", name=op.f("pk_unheard_decisions")),
        sqlite_with_rowid=False,
    )
    raise_wall(op.get_bind(), "unheard_decisions")
