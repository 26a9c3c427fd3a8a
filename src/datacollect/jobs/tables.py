"""The table of jobs. Small and shared by all tenants: it is claimed across them."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, text

from datacollect.db.metadata import SHARED, JsonText, metadata
from datacollect.jobs.model import ACTIVE

IS_ACTIVE = f"state IN ({', '.join(repr(state.value) for state in ACTIVE)})"

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    # Ids and numbers, not people's data: no wall stands before this table.
    Column("args", JsonText, nullable=False),
    Column("state", Text, nullable=False),
    Column("checkpoint", JsonText, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("result", JsonText),
    Column("owner", Text),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("error_code", Text),
    # When somebody may claim it: the time it may be tried (again), or, while it runs, the end of the lease.
    Column("due_ms", BigInteger, nullable=False),
    # Counts claims over all jobs. A tenant's largest tells how long ago it was served.
    Column("turn", BigInteger, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("deadline_ms", BigInteger),
    # How long it has in all, from when it is enqueued or put in line again.
    Column("time_limit_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("updated_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger),
    Index(
        "uq_jobs_active",
        "tenant_id",
        "kind",
        "key",
        unique=True,
        sqlite_where=text(IS_ACTIVE),
        postgresql_where=text(IS_ACTIVE),
    ),
    Index("ix_jobs_due", "due_ms", sqlite_where=text(IS_ACTIVE), postgresql_where=text(IS_ACTIVE)),
    Index("ix_jobs_tenant_id_turn", "tenant_id", "turn"),
    Index("ix_jobs_turn", "turn"),
    Index("ix_jobs_tenant_id_created_ms", "tenant_id", "created_ms", "id"),
    Index("ix_jobs_created_ms", "created_ms", "id"),
    Index(
        "ix_jobs_finished_ms",
        "finished_ms",
        sqlite_where=text("finished_ms IS NOT NULL"),
        postgresql_where=text("finished_ms IS NOT NULL"),
    ),
    info=SHARED,
)
