"""citizens"""

import sqlalchemy as sa
from alembic import op

from datacollect.db.walls import raise_wall

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "otp_codes",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("identifier_hash", sa.LargeBinary(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("entity_guid", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("own_tries", sa.Integer(), nullable=False),
        sa.Column("other_tries", sa.Integer(), nullable=False),
        sa.Column("spent", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_otp_codes")),
    )
    op.create_index(
        op.f("ix_otp_codes_tenant_id_identifier_hash_created_ms"),
        "otp_codes",
        ["tenant_id", "identifier_hash", "created_ms"],
    )
    op.create_index(op.f("ix_otp_codes_tenant_id_expires_ms"), "otp_codes", ["tenant_id", "expires_ms"])
    op.create_table(
        "citizen_sessions",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("entity_guid", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("factors", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_citizen_sessions")),
    )
    op.create_index(op.f("ix_citizen_sessions_tenant_id_entity_guid"), "citizen_sessions", ["tenant_id", "entity_guid"])
    op.create_index(op.f("ix_citizen_sessions_tenant_id_expires_ms"), "citizen_sessions", ["tenant_id", "expires_ms"])
    op.create_table(
        "citizen_locks",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("wrong", sa.Integer(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("locked_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "key_hash", name=op.f("pk_citizen_locks")),
    )
    op.create_index(op.f("ix_citizen_locks_tenant_id_changed_ms"), "citizen_locks", ["tenant_id", "changed_ms"])
    raise_wall(op.get_bind(), "otp_codes", "citizen_sessions", "citizen_locks")
