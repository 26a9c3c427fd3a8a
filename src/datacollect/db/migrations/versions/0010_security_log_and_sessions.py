"""the security log, and more about sessions"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "security_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor_user_id", sa.Integer(), nullable=True),
        sa.Column("subject_user_id", sa.Integer(), nullable=True),
        sa.Column("subject_hint", sa.Text(), nullable=True),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_log")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_security_log_recorded_ms"), "security_log", ["recorded_ms"], unique=False)
    op.create_index("ix_security_log_action_id", "security_log", ["action", "id"], unique=False)
    for column in ("actor_user_id", "subject_user_id", "tenant_id"):
        op.create_index(
            f"ix_security_log_{column}_id",
            "security_log",
            [column, "id"],
            unique=False,
            sqlite_where=sa.text(f"{column} IS NOT NULL"),
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )
    # Nullable, so that a hub of the release before can go on writing rows beside this one.
    op.add_column("sessions", sa.Column("last_used_ms", sa.BigInteger(), nullable=True))
    op.add_column("sessions", sa.Column("origin", sa.Text(), nullable=True))
    op.add_column("sessions", sa.Column("user_agent", sa.Text(), nullable=True))
    op.add_column("sessions", sa.Column("version", sa.Integer(), nullable=True))
    op.create_table(
        "familiar_origins",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "origin", name=op.f("pk_familiar_origins")),
    )
    op.create_index(op.f("ix_familiar_origins_seen_ms"), "familiar_origins", ["seen_ms"], unique=False)
