"""Entities and their twins in other systems."""

from sqlalchemy import Column, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from datacollect.db.metadata import JsonText, metadata

external_links = Table(
    "external_links",
    metadata,
    Column("tenant_id", Text, nullable=False),
    # Which system, in a short form: a program that is turned to another one keeps what it knows of the first.
    Column("system", Text, nullable=False),
    Column("guid", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("version", Text),
    Column("state", JsonText, nullable=False, server_default="{}"),
    PrimaryKeyConstraint("tenant_id", "system", "guid"),
    UniqueConstraint("tenant_id", "system", "external_id"),
)

external_current = Table(
    "external_current",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("system", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id"),
)
"""The system that each program has synchronised with last: the one whose links are shown."""
