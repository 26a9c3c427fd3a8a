"""The table of the security log. It belongs to the installation, not to a tenant."""

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text, text

from datacollect.db.metadata import SHARED, JsonText, metadata

security_log = Table(
    "security_log",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    # Accounts by number and without a reference: what was done by or to an account outlasts it.
    Column("actor_user_id", Integer),
    Column("subject_user_id", Integer),
    # Of an account that does not exist: a keyed hash of what was typed.
    Column("subject_hint", Text),
    Column("tenant_id", Text),
    Column("origin", Text),
    Column("request_id", Text),
    Column("details", JsonText, nullable=False),
    Index("ix_security_log_recorded_ms_id", "recorded_ms", "id"),
    Index("ix_security_log_action_recorded_ms_id", "action", "recorded_ms", "id"),
    # Most entries are of nobody or of no tenant; those cost these indexes nothing.
    *(
        Index(
            f"ix_security_log_{column}_recorded_ms_id",
            column,
            "recorded_ms",
            "id",
            sqlite_where=text(f"{column} IS NOT NULL"),
            postgresql_where=text(f"{column} IS NOT NULL"),
        )
        for column in ("actor_user_id", "subject_user_id", "tenant_id")
    ),
    info=SHARED,
    sqlite_autoincrement=True,
)
