"""Attachments, and how many there are. Their bytes are elsewhere."""

from sqlalchemy import BigInteger, Boolean, Column, Index, PrimaryKeyConstraint, Table, Text, and_

from datacollect.db.metadata import metadata

attachments = Table(
    "attachments",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("guid", Text, nullable=False),
    Column("entity_guid", Text, nullable=False),
    # Of the content; NULL once deleted. What is deleted keeps no name either: names tell of people.
    Column("digest", Text),
    Column("filename", Text, nullable=False),
    Column("original_name", Text, nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # Of the last change, in the order of commits: given under a lock that is held to the commit.
    Column("position", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("deleted_ms", BigInteger),
    # Came before its entity, as far as has been looked: see `pending`.
    Column("awaits_entity", Boolean, nullable=False),
    # When its entity was first found deleted.
    Column("forsaken_ms", BigInteger),
    PrimaryKeyConstraint("tenant_id", "guid"),
)
_IS_THERE = attachments.c.deleted_ms.is_(None)
_IS_PENDING = and_(attachments.c.awaits_entity, _IS_THERE)
Index("uq_attachments_position", attachments.c.tenant_id, attachments.c.position, unique=True)
Index(
    "ix_attachments_entity",
    attachments.c.tenant_id,
    attachments.c.entity_guid,
    attachments.c.created_ms,
    attachments.c.guid,
    sqlite_where=_IS_THERE,
    postgresql_where=_IS_THERE,
)
Index(
    "ix_attachments_pending",
    attachments.c.tenant_id,
    attachments.c.position,
    sqlite_where=_IS_PENDING,
    postgresql_where=_IS_PENDING,
)

attachment_heads = Table(
    "attachment_heads",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    # What there is now.
    Column("files", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)
