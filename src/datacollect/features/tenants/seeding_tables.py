"""What a program is being seeded with. Both tables are written by hand of an administrator and by one job only."""

from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, Table, Text

from datacollect.db.metadata import JsonText, metadata

seedings = Table(
    "seedings",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("total", Integer, nullable=False),
    Column("added", Integer, nullable=False),
    Column("existing", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("rejections", JsonText, nullable=False),
    # The time of the next event; behind all times that seeds of this program have had.
    Column("next_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger),
    PrimaryKeyConstraint("tenant_id"),
)
"""The latest seeding of each program."""

seed_batches = Table(
    "seed_batches",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    # As they were uploaded, with what their forms meant then. A copy, so that nothing done to the config meanwhile
    # changes what is under way, and each step reads its own records only.
    Column("records", JsonText, nullable=False),
    PrimaryKeyConstraint("tenant_id", "number"),
)
"""What is still to be seeded. A batch is deleted in the transaction that seeds it."""
