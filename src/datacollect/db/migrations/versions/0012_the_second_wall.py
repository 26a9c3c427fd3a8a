"""the second wall between tenants"""

from alembic import op

from datacollect.db.walls import raise_wall

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = (
    "audit_log",
    "conflicts",
    "device_revocations",
    "device_sync_summary",
    "entities",
    "entities_rebuild",
    "event_places",
    "events",
    "form_findings",
    "log_heads",
    "members",
    "members_rebuild",
    "quarantine",
    "rebuilds",
    "sync_activity",
    "verifications",
)


def upgrade() -> None:
    raise_wall(op.get_bind(), *TABLES)
