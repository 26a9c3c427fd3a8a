"""The programs. A small table shared by all tenants; it is written by hand of an administrator only."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from datacollect.db.metadata import JsonText, metadata

programs = Table(
    "programs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("artifact_id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("version", Text),
    # The accepted document in three parts, so that the list does not read forms and devices' files do not read seeds.
    Column("config", JsonText, nullable=False),
    Column("external_sync", JsonText),
    Column("entity_data", JsonText),
    Column("archived_ms", BigInteger),
    Column("revision", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)
