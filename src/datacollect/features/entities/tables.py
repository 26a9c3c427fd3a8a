"""The entities' current state, and who is a member of what. Both can be rebuilt from the log."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    not_,
)

from datacollect.db.metadata import JsonDocument, JsonText, metadata

entities = Table(
    "entities",
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
    # The baseline, kept only while the entity differs from it; NULL means that it equals `data`.
    Column("initial", JsonDocument),
    Column("data", JsonDocument, nullable=False),
    Column("stamps", JsonText, nullable=False),
    # A tombstone has no data, but keeps its stamps: without them a write made before the delete that arrives after it
    # would bring the entity back.
    Column("deleted", Boolean, nullable=False),
    Column("changed_position", BigInteger, nullable=False),
    Column("last_updated", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "guid"),
)
Index(
    "ix_entities_newest",
    entities.c.tenant_id,
    entities.c.changed_position,
    entities.c.guid,
    sqlite_where=not_(entities.c.deleted),
    postgresql_where=not_(entities.c.deleted),
)

Index(
    "ix_entities_parent",
    entities.c.tenant_id,
    entities.c.parent_guid,
    sqlite_where=entities.c.parent_guid.is_not(None),
    postgresql_where=entities.c.parent_guid.is_not(None),
)

members = Table(
    "members",
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
