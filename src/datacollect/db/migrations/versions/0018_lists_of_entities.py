"""what lists of entities are sorted and filtered by"""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0016"
branch_labels = None
depends_on = None

_BATCH = 2000
_LONGEST = 100
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_INDEXES = {
    "name": ("sort_name",),
    "form": ("form_key", "changed_position"),
    "type": ("type", "changed_position"),
    "area": ("area_id", "changed_position"),
}


def upgrade() -> None:
    for table in ("entities", "entities_rebuild"):
        for column in ("sort_name", "form_key"):
            op.add_column(table, sa.Column(column, _KEY, nullable=False, server_default=""))
        _fill(table)
    for name, columns in _INDEXES.items():
        op.create_index(
            f"ix_entities_{name}",
            "entities",
            ["tenant_id", *columns, "guid"],
            unique=False,
            sqlite_where=sa.text("deleted = 0"),
            postgresql_where=sa.text("NOT deleted"),
        )


def _fill(name: str) -> None:
    connection = op.get_bind()
    table = sa.table(name, *map(sa.column, ("tenant_id", "guid", "name", "entity_name", "sort_name", "form_key")))
    key = (table.c.tenant_id, table.c.guid)
    change = (
        sa.update(table)
        .where(table.c.tenant_id == sa.bindparam("t"), table.c.guid == sa.bindparam("g"))
        .values(sort_name=sa.bindparam("n"), form_key=sa.bindparam("f"))
    )
    wanted = sa.select(*key, table.c.name, table.c.entity_name).order_by(*key).limit(_BATCH)
    rows = connection.execute(wanted).all()
    while rows:
        connection.execute(
            change,
            [{"t": t, "g": g, "n": _sort_name(n or ""), "f": (form or "")[:_LONGEST]} for t, g, n, form in rows],
        )
        rows = connection.execute(wanted.where(sa.tuple_(*key) > sa.tuple_(*rows[-1][:2]))).all()


def _sort_name(name: str) -> str:
    name = name[: 2 * _LONGEST]
    if name.isascii():
        return name.lower()[:_LONGEST]
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(mark for mark in apart if not unicodedata.combining(mark))[:_LONGEST]
