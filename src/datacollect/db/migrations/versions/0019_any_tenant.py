"""no statistics of tenants"""

from alembic import op
from sqlalchemy import text

from datacollect.db.walls import expect_any_tenant

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_WITH_A_TENANT = text(
    "SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant_id' AND table_schema = current_schema()"
    " ORDER BY table_name"
)


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        expect_any_tenant(connection, *connection.execute(_WITH_A_TENANT).scalars())
