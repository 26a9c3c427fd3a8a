"""The entities' current state, and who is a member of what; and the same once more while it is rebuilt from the log."""

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


def _entities(name: str, *more: Column[Any], **options: Any) -> Table:
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
        # In no index: it is what every change changes. Where an entity stands in lists, `listings` say.
        Column("changed_position", BigInteger, nullable=False),
        Column("last_updated", BigInteger, nullable=False),
        # What lists are sorted and filtered by, short enough for any index: see `keys.py`.
        Column("sort_name", Text, nullable=False, server_default=""),
        Column("form_key", Text, nullable=False, server_default=""),
        # Where it was deleted, or changed after that; 0 while it exists. Without a default, so that no release can write
        # an entity that does not know of listings.
        Column("gone_position", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "guid"),
        **options,
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
# Room in each page, so that a change of what no index has stays in it, and touches no index at all.
entities = _entities("entities", Column("initial", JsonDocument), postgresql_with={"fillfactor": 85})
# What was deleted, in that order, for those who have to tell others. Few rows: it costs those who write nothing else.
Index(
    "ix_entities_gone",
    entities.c.tenant_id,
    entities.c.gone_position,
    entities.c.guid,
    sqlite_where=entities.c.gone_position > 0,
    postgresql_where=entities.c.gone_position > 0,
)
Index(
    "ix_entities_name",
    entities.c.tenant_id,
    entities.c.sort_name,
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

# Entities in the order of their changes: a row for each change, at the end of the log. An entity is where its
# `changed_position` is; rows for what it was before mean nothing, and are taken away by and by (`listings.py`).
listings = Table(
    "listings",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("guid", Text, nullable=False),
    Column("type", Text),
    Column("form_key", Text, nullable=False),
    Column("area_id", Text),
    PrimaryKeyConstraint("tenant_id", "position", "guid"),
    sqlite_with_rowid=False,
)
for name, column in (("form", listings.c.form_key), ("type", listings.c.type), ("area", listings.c.area_id)):
    Index(f"ix_listings_{name}", listings.c.tenant_id, column, listings.c.position, listings.c.guid)

# How many rows of a stretch of positions mean nothing any more.
listing_blocks = Table(
    "listing_blocks",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("stale", BigInteger, nullable=False),
    # From how many on it is worth a look.
    Column("due", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "block"),
    sqlite_with_rowid=False,
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
