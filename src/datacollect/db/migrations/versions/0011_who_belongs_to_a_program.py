"""who belongs to a program, and passwords that must be changed"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ROLES = ("viewer", "enumerator", "supervisor", "program-admin", "system-admin")
_BATCH = 1000


def upgrade() -> None:
    op.add_column("users", sa.Column("must_change_password", sa.Boolean(), nullable=False, server_default=sa.false()))
    memberships = op.create_table(
        "user_tenants",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_tenants_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", name=op.f("pk_user_tenants")),
    )
    op.create_index(op.f("ix_user_tenants_user_id"), "user_tenants", ["user_id"], unique=False)
    rows = op.get_bind().execute(sa.text("SELECT id, tenant_ids, role_assignments FROM users")).all()
    filled = [
        {"tenant_id": tenant, "user_id": row.id, "role": _role(tenant, json.loads(row.role_assignments))}
        for row in rows
        for tenant in dict.fromkeys(json.loads(row.tenant_ids))
    ]
    for begin in range(0, len(filled), _BATCH):
        op.bulk_insert(memberships, filled[begin : begin + _BATCH])


def _role(tenant: str, assignments: list[dict[str, str]]) -> str | None:
    """The rule as it was when this was written: a member without any assignment counts as an enumerator."""
    roles = [one["role"] for one in assignments if one["tenantId"] == tenant]
    if not roles:
        return "enumerator"
    return max((role for role in roles if role in _ROLES), key=_ROLES.index, default=None)
