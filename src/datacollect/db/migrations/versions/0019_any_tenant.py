"""no statistics of tenants"""

from alembic import op
from sqlalchemy import text

from datacollect.db.walls import expect_any_tenant

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_WITH_A_WALL = text(
    "SELECT relname FROM pg_class WHERE relrowsecurity"
    " AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) ORDER BY relname"
)
"""Tables that belong to no tenant are asked across them: there it helps to know how many rows one has."""


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        expect_any_tenant(connection, *connection.execute(_WITH_A_WALL).scalars())
