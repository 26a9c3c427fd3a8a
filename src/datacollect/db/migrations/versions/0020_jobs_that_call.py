"""jobs that call other systems: deadlines, and lists of jobs"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("deadline_ms", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("time_limit_ms", sa.BigInteger(), nullable=True))
    op.create_index("ix_jobs_tenant_id_created_ms", "jobs", ["tenant_id", "created_ms", "id"])
    op.create_index("ix_jobs_created_ms", "jobs", ["created_ms", "id"])
