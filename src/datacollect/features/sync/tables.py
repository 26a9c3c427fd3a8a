"""Tables of sync beside the log itself."""

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Table, Text

from datacollect.db.metadata import metadata

event_places = Table(
    "event_places",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "place", "position"),
    sqlite_with_rowid=False,
)
"""The log by place: which events a device that holds only a part of a program gets. See `places.py`."""
