"""The entities' current state, and who is a member of what; and the same once more while it is rebuilt from the log."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    not_,
)

from datacollect.db.metadata import JsonDocument, JsonText, metadata


def _entities(name: str, *more: Column[Any]) -> Table:
    return Table(
        name,
        metadata,
        Column("tenant_id", Text, nullable=False),
        Column("guid", Text, nullable=False),
        # NULL only in the tombstone of an entity that was deleted before anything else of it arrived.
        Column("type", Text),
        Column("entity_name", Text),
        Column("name", Text),
        Column("area_id", Text),
        Column("parent_guid", Text),
        Column("version", Integer, nullable=False),
        *more,
        Column("data", JsonDocument, nullable=False),
        Column("stamps", JsonText, nullable=False),
        # A tombstone has no data, but keeps its stamps: without them a write made before the delete that arrives
        # after it would bring the entity back.
        Column("deleted", Boolean, nullable=False),
        Column("changed_position", BigInteger, nullable=False),
        Column("last_updated", BigInteger, nullable=False),
        # What lists are sorted and filtered by, short enough for any index: see `keys.py`.
        Column("sort_name", Text, nullable=False, server_default=""),
        Column("form_key", Text, nullable=False, server_default=""),
        PrimaryKeyConstraint("tenant_id", "guid"),
    )


def _members(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("tenant_id", Text, nullable=False),
        Column("group_guid", Text, nullable=False),
        Column("member_guid", Text, nullable=False),
        Column("ordinal", BigInteger, nullable=False),
        # An ended membership stays, for the same reason as a tombstone.
        Column("present", Boolean, nullable=False),
        Column("stamp_ms", BigInteger, nullable=False),
        Column("stamp_position", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "group_guid", "member_guid"),
        Index(None, "tenant_id", "member_guid"),
    )


# The baseline, kept only while the entity differs from it; NULL means that it equals `data`. No event says it.
entities = _entities("entities", Column("initial", JsonDocument))
Index(
    "ix_entities_newest",
    entities.c.tenant_id,
    entities.c.changed_position,
    entities.c.guid,
    sqlite_where=not_(entities.c.deleted),
    postgresql_where=not_(entities.c.deleted),
)
# What was deleted, in that order, for those who have to tell others. Few rows: it costs those who write nothing else.
Index(
    "ix_entities_gone",
    entities.c.tenant_id,
    entities.c.changed_position,
    entities.c.guid,
    sqlite_where=entities.c.deleted,
    postgresql_where=entities.c.deleted,
)
_LISTED: Mapping[str, Sequence[Column[Any]]] = {
    "name": (entities.c.sort_name,),
    "form": (entities.c.form_key, entities.c.changed_position),
    "type": (entities.c.type, entities.c.changed_position),
    "area": (entities.c.area_id, entities.c.changed_position),
}
for name, columns in _LISTED.items():
    Index(
        f"ix_entities_{name}",
        entities.c.tenant_id,
        *columns,
        entities.c.guid,
        sqlite_where=not_(entities.c.deleted),
        postgresql_where=not_(entities.c.deleted),
    )
members = _members("members")

Index(
    "ix_entities_parent",
    entities.c.tenant_id,
    entities.c.parent_guid,
    sqlite_where=entities.c.parent_guid.is_not(None),
    postgresql_where=entities.c.parent_guid.is_not(None),
)

entities_rebuild = _entities("entities_rebuild")
members_rebuild = _members("members_rebuild")
rebuilds = Table(
    "rebuilds",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    # Who is at work: whoever takes a rebuild over writes a new one, and the one before notices.
    Column("id", Text, nullable=False),
    # The rules, and the purpose, that the rows so far were made by.
    Column("made_by", Text, nullable=False),
    # Negative while there are rows to throw away.
    Column("position", BigInteger, nullable=False),
    Column("chain_hash", LargeBinary, nullable=False),
    Column("figures", JsonText, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)
