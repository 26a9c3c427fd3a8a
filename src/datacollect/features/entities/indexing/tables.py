"""The search index, and of each program what it holds."""

from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, Table, Text

from datacollect.db.metadata import JsonText, metadata

ByCodePoint = Text().with_variant(Text(collation="C"), "postgresql")
"""Compared by code point on both engines: only so can a key be looked up by how it begins."""

search_terms = Table(
    "search_terms",
    metadata,
    Column("tenant_id", Text, nullable=False),
    # The path of a value in an entity's data; empty for the words of its name and values.
    Column("field", ByCodePoint, nullable=False),
    # What is looked for: a word, or a value's key (`values.py`).
    Column("term", ByCodePoint, nullable=False),
    Column("guid", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id", "field", "term", "guid"),
    sqlite_with_rowid=False,
)

search_indexes = Table(
    "search_indexes",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    # By which rules the terms are made (`state.RULES`).
    Column("rules", Integer, nullable=False),
    # Searchable fields that every entity's terms are made of; NULL while there are none that count.
    Column("fields", JsonText),
    # The fields a reindex under way brings the entities to: those it has come by, and those changed since it began.
    Column("next_fields", JsonText),
    Column("begun_position", BigInteger, nullable=False),
    Column("through_position", BigInteger, nullable=False),
    # Entities last changed up to there have all their terms; of those behind it, the new ones have none yet.
    Column("indexed_position", BigInteger, nullable=False),
    # Counts the changes of what the index may be asked for, so that a reader notices one that comes in between.
    Column("changes", BigInteger, nullable=False),
)
