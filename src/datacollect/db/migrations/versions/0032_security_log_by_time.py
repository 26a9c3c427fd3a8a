"""the security log in the order of its times

Ids follow time only as far as the clocks of the hub's processes agree.
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_security_log_recorded_ms", "security_log")
    op.create_index("ix_security_log_recorded_ms_id", "security_log", ["recorded_ms", "id"])
    op.drop_index("ix_security_log_action_id", "security_log")
    op.create_index("ix_security_log_action_recorded_ms_id", "security_log", ["action", "recorded_ms", "id"])
    for column in ("actor_user_id", "subject_user_id", "tenant_id"):
        op.drop_index(f"ix_security_log_{column}_id", "security_log")
        op.create_index(
            f"ix_security_log_{column}_recorded_ms_id",
            "security_log",
            [column, "recorded_ms", "id"],
            sqlite_where=sa.text(f"{column} IS NOT NULL"),
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )
