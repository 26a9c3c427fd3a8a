"""Tables of contents."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, text

from datacollect.db.metadata import metadata

attachment_contents = Table(
    "attachment_contents",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    # Which writing of the content it is: another one after it was found damaged.
    Column("generation", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("refs", Integer, nullable=False),
    # When an upload or a deletion last had to do with it.
    Column("touched_ms", BigInteger, nullable=False),
    Index(
        "ix_attachment_contents_idle",
        "tenant_id",
        "touched_ms",
        sqlite_where=text("refs = 0"),
        postgresql_where=text("refs = 0"),
    ),
)

attachment_loose = Table(
    "attachment_loose",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("generation", Text, primary_key=True),
    Column("since_ms", BigInteger, nullable=False),
    # Decided: its bytes are going to be deleted, and nobody may count on them any more.
    Column("dying", Boolean, nullable=False),
    Index("ix_attachment_loose_tenant_id_since_ms", "tenant_id", "since_ms"),
)
