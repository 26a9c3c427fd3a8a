"""The last verification of each log."""

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, Table, Text

from datacollect.db.metadata import metadata

verifications = Table(
    "verifications",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("verified_ms", BigInteger, nullable=False),
    Column("ok", Boolean, nullable=False),
    # Up to where the log was sound.
    Column("position", BigInteger, nullable=False),
    Column("chain_hash", LargeBinary, nullable=False),
    # What was wrong behind it; NULL if nothing was.
    Column("code", Text),
    Column("finding_position", BigInteger),
    Column("finding_guid", Text),
    Column("message", Text),
)
