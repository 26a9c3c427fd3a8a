"""where entities stand in lists, apart from the entities

An index that has the position of an entity's last change is written with each change, at two places, one of them
anywhere. So lists in the order of changes get a table of their own, to whose end each change adds a row; and what is left
in an entity's row that an index has rarely changes.
"""

import sqlalchemy as sa
from alembic import op

from datacollect.db.walls import raise_wall

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_GONE = sa.text("gone_position > 0")


def upgrade() -> None:
    for name in ("newest", "gone", "form", "type", "area"):
        op.drop_index(f"ix_entities_{name}", "entities")
    for table in ("entities", "entities_rebuild"):
        op.add_column(table, sa.Column("gone_position", sa.BigInteger(), nullable=False, server_default="0"))
        op.execute(f"UPDATE {table} SET gone_position = changed_position WHERE deleted")
    op.create_index(
        "ix_entities_gone",
        "entities",
        ["tenant_id", "gone_position", "guid"],
        sqlite_where=_GONE,
        postgresql_where=_GONE,
    )
    _make_tables()
    op.execute(
        "INSERT INTO listings (tenant_id, position, guid, type, form_key, area_id)"
        " SELECT tenant_id, changed_position, guid, type, form_key, area_id FROM entities WHERE NOT deleted"
        " ORDER BY tenant_id, changed_position, guid"
    )
    # Behind the rows, in the order of each.
    for name, column in (("form", "form_key"), ("type", "type"), ("area", "area_id")):
        op.create_index(f"ix_listings_{name}", "listings", ["tenant_id", column, "position", "guid"])
    raise_wall(op.get_bind(), "listings", "listing_blocks")
    if op.get_bind().dialect.name == "postgresql":
        for table in ("entities", "entities_rebuild"):
            op.alter_column(table, "gone_position", server_default=None)
        op.execute("ALTER TABLE entities SET (fillfactor = 85)")


def _make_tables() -> None:
    op.create_table(
        "listings",
        sa.Column("tenant_id", _TEXT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("guid", _TEXT, nullable=False),
        sa.Column("type", _TEXT),
        sa.Column("form_key", _TEXT, nullable=False),
        sa.Column("area_id", _TEXT),
        sa.PrimaryKeyConstraint("tenant_id", "position", "guid", name=op.f("pk_listings")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "listing_blocks",
        sa.Column("tenant_id", _TEXT, nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("stale", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "block", name=op.f("pk_listing_blocks")),
        sqlite_with_rowid=False,
    )
