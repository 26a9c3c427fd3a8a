"""What is compared with what, and which pairs have been found."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, PrimaryKeyConstraint, Table, Text

from datacollect.db.metadata import JsonText, metadata

match_keys = Table(
    "match_keys",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("guid", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id", "key", "guid"),
    Index(None, "tenant_id", "guid"),
    sqlite_with_rowid=False,
)
# How far the log has been looked at.
match_marks = Table(
    "match_marks",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    # Of the rules that made the keys: others begin anew.
    Column("rules", Integer, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)
duplicate_pairs = Table(
    "duplicate_pairs",
    metadata,
    Column("tenant_id", Text, nullable=False),
    # A pair has no direction: the smaller guid first.
    Column("first_guid", Text, nullable=False),
    Column("second_guid", Text, nullable=False),
    # Which of them came later, and so is told first.
    Column("newer_guid", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("bits", Float, nullable=False),
    Column("evidence", JsonText, nullable=False),
    Column("detected_ms", BigInteger, nullable=False),
    Column("decided_ms", BigInteger),
    Column("decided_by", Text),
    # Which of them lives on, where one was merged into the other.
    Column("survivor_guid", Text),
    PrimaryKeyConstraint("tenant_id", "first_guid", "second_guid"),
    Index(None, "tenant_id", "second_guid"),
    Index(None, "tenant_id", "status", "detected_ms", "first_guid", "second_guid"),
)
# Events that decide about pairs, of people who may not: for when they are applied again, which tells nothing of roles.
unheard_decisions = Table(
    "unheard_decisions",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("event_guid", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id", "event_guid"),
    sqlite_with_rowid=False,
)
