"""The programs, and all that they have been.

`programs` is a small table shared by all tenants; it is written by hand of an administrator only.
"""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from datacollect.db.metadata import SHARED, JsonText, metadata

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
    # Sealed. JSON in the clear in rows of hubs that did not seal yet; see `adoption.py`.
    Column("external_sync", Text),
    # Only in rows of hubs before there were versions: the seeds are in `program_contents`.
    Column("entity_data", JsonText),
    Column("archived_ms", BigInteger),
    Column("revision", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    # The secrets that are taken out of `config`, sealed; empty for none. Null: not looked for yet, as above.
    Column("config_secrets", Text),
    Column("config_digest", Text),
    Column("seed_digest", Text),
)

program_versions = Table(
    "program_versions",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("action", Text, nullable=False),
    Column("detail", Text),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("actor_id", Integer),
    Column("actor", Text, nullable=False),
    Column("artifact_id", Text, nullable=False),
    Column("archived_ms", BigInteger),
    Column("config_digest", Text, nullable=False),
    Column("config_secrets", Text, nullable=False),
    Column("external_sync", Text),
    Column("seed_digest", Text),
)

purges = Table(
    "purges",
    metadata,
    # An id that is taken, though its program is gone: its data is still being deleted.
    Column("tenant_id", Text, primary_key=True),
    Column("begun_ms", BigInteger, nullable=False),
    Column("begun_by", Integer),
    info=SHARED,
)

program_contents = Table(
    "program_contents",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    # A config without its secrets, or seeds; once, however many versions have them.
    Column("body", JsonText, nullable=False),
)
