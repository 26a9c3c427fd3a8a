"""columns of exchanges that nothing reads"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("external_outcomes", "retryable")
    op.drop_column("external_marks", "adapter")
