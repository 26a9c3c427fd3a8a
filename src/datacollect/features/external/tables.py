"""What is known of synchronising with other systems: runs, and per record how it stands.

Records are rows of one system each (`system` is a short name of it, see `connecting.py`), so that a program that is turned
to another system begins anew, and goes on where it was when it is turned back.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from datacollect.db.metadata import SHARED, JsonText, metadata

external_runs = Table(
    "external_runs",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("id", Integer, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("phase", Text, nullable=False),
    # The adapter's name; NULL until the run has seen the settings.
    Column("adapter", Text),
    Column("pushed", Integer, nullable=False, server_default="0"),
    Column("pulled", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("skipped", Integer, nullable=False, server_default="0"),
    Column("duration_ms", BigInteger, nullable=False, server_default="0"),
    # The first of them; all records that are not where they should be are in `external_outcomes` and `external_letters`.
    Column("errors", JsonText),
    # What stopped it for now: it is tried again, and this is told if it never works.
    Column("trouble", JsonText),
    Column("triggered_by", Text, nullable=False),
    Column("retry_of", Text),
    Column("error_message", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("updated_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
    UniqueConstraint("tenant_id", "job_id"),
)

external_jobs = Table(
    "external_jobs",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Index("ix_external_jobs_tenant_id", "tenant_id", "job_id"),
    info=SHARED,
)
"""Whose run a job id names: paths with one name no program. Nothing else is told of it here."""

external_marks = Table(
    "external_marks",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("system", Text, nullable=False),
    # How far entities of each kind have been looked at: `[position, guid]` by the stage of a push.
    Column("push", JsonText, nullable=False, server_default="{}"),
    # The adapter's own text; NULL before the first page.
    Column("pull", Text),
    PrimaryKeyConstraint("tenant_id", "system"),
)

external_outcomes = Table(
    "external_outcomes",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("guid", Text, nullable=False),
    # The stage of a push that it belongs to: individuals before the groups they are in.
    Column("stage", Integer, nullable=False),
    Column("status", Text, nullable=False),
    # Whether the next run offers it again whatever has become of it.
    Column("is_due", Boolean, nullable=False),
    # Of the content that was sent last, answered or not; and of that on which both sides agree.
    Column("sent_key", Text),
    Column("agreed_key", Text),
    # What the other system is known to hold, a short hash for each field; NULL before anything is known.
    Column("seen", JsonText),
    # How many events have been made of what it told.
    Column("pulls", Integer, nullable=False, server_default="0"),
    # The adapter's own.
    Column("state", JsonText, nullable=False, server_default="{}"),
    Column("is_open", Boolean, nullable=False),
    Column("code", Text),
    Column("message", Text),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("run_id", Integer, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "system", "guid"),
)
_o = external_outcomes.c
for name, columns, condition in (
    ("due", (_o.stage, _o.guid), _o.is_due),
    ("open", (_o.guid,), _o.is_open),
    ("failed", (_o.guid,), _o.code.is_not(None)),
):
    Index(
        f"ix_external_outcomes_{name}",
        _o.tenant_id,
        _o.system,
        *columns,
        sqlite_where=condition,
        postgresql_where=condition,
    )

external_letters = Table(
    "external_letters",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    # Of the entity it would have changed, if it names one.
    Column("guid", Text),
    # The record as the adapter gave it: it is not asked for again.
    Column("record", JsonText, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("is_due", Boolean, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("run_id", Integer, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "system", "external_id"),
)
Index(
    "ix_external_letters_due",
    external_letters.c.tenant_id,
    external_letters.c.system,
    external_letters.c.external_id,
    sqlite_where=external_letters.c.is_due,
    postgresql_where=external_letters.c.is_due,
)
"""Records of other systems that could not be applied here."""
