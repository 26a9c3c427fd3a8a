"""Citizens' sign-ins: the codes they are sent, the sign-ins that last, and wrong tries. No text that people type."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from datacollect.db.metadata import JsonText, metadata

codes = Table(
    "otp_codes",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    # Of phone number or e-mail, keyed.
    Column("identifier_hash", LargeBinary, nullable=False),
    # Keyed as well, and bound to the row, the identifier and the program.
    Column("code_hash", LargeBinary, nullable=False),
    # Whose sign-in it opens; NULL in codes for identifiers that nobody has.
    Column("entity_guid", Text),
    # From where it was asked for: wrong tries from there and from elsewhere are counted apart.
    Column("origin", Text, nullable=False),
    Column("own_tries", Integer, nullable=False),
    Column("other_tries", Integer, nullable=False),
    Column("spent", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index(None, "tenant_id", "identifier_hash", "created_ms"),
    Index(None, "tenant_id", "expires_ms"),
)
sessions = Table(
    "citizen_sessions",
    metadata,
    Column("tenant_id", Text, nullable=False),
    # As tokens name it.
    Column("id", Text, nullable=False),
    Column("entity_guid", Text, nullable=False),
    Column("method", Text, nullable=False),
    # What they have shown, as `{field: keyed hash of its value}`: once the record says something else, it is over.
    Column("factors", JsonText, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index(None, "tenant_id", "entity_guid"),
    Index(None, "tenant_id", "expires_ms"),
)
locks = Table(
    "citizen_locks",
    metadata,
    Column("tenant_id", Text, nullable=False),
    # Of what was tried (an identifier or a national id), and from where if it has worked from there before; keyed.
    Column("key_hash", LargeBinary, nullable=False),
    # Wrong tries since the last lock.
    Column("wrong", Integer, nullable=False),
    # Locks in a row.
    Column("level", Integer, nullable=False),
    Column("locked_until_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "key_hash"),
    Index(None, "tenant_id", "changed_ms"),
)
