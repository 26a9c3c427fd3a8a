"""The migrations make exactly the schema that the slices declare."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from datacollect.app import create_app  # imports every slice, and so every table
from datacollect.db import Database
from datacollect.db.metadata import metadata

pytestmark = pytest.mark.anyio

TENANT_TABLES = {
    "submission_reviews",
    "review_configs",
    "review_comments",
    "review_delegations",
    "messages",
    "message_days",
    "match_keys",
    "match_marks",
    "duplicate_pairs",
    "unheard_decisions",
    "events",
    "log_segments",
    "entities",
    "listings",
    "listing_blocks",
    "members",
    "audit_log",
    "conflicts",
    "quarantine",
    "event_places",
    "form_findings",
    "verifications",
    "device_sync_summary",
    "sync_activity",
    "device_revocations",
    "entities_rebuild",
    "members_rebuild",
    "rebuilds",
    "seedings",
    "seed_batches",
    "program_versions",
    "program_contents",
    "search_terms",
    "search_indexes",
    "attachments",
    "attachment_heads",
    "attachment_contents",
    "attachment_loose",
    "external_links",
    "external_current",
    "external_runs",
    "external_marks",
    "external_outcomes",
    "external_letters",
    "otp_codes",
    "citizen_sessions",
    "citizen_locks",
}


async def test_the_migrated_schema_is_the_declared_one(database: Database) -> None:
    assert create_app
    differences: list[object] = []

    def compare(connection: Connection) -> None:
        differences.extend(compare_metadata(MigrationContext.configure(connection), metadata))

    await database.run_migration(compare)
    assert differences == []


_BY_LANGUAGE = {
    "postgresql": """
SELECT c.relname, a.attname
FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'i') AND c.relname NOT LIKE 'alembic%'
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attcollation NOT IN (0, 'pg_catalog."C"'::regcollation)""",
    "sqlite": """
SELECT s.name, c.name FROM sqlite_schema s JOIN pragma_index_xinfo(s.name) c
WHERE s.type = 'index' AND c.coll <> 'BINARY'""",
}


async def test_text_is_compared_byte_by_byte_wherever_the_database_was_made(database: Database) -> None:
    async with database.reading() as view:
        assert [tuple(row) for row in await view.fetch(_BY_LANGUAGE[database.dialect])] == []


def test_every_key_of_a_tenant_table_begins_with_the_tenant() -> None:
    for name in TENANT_TABLES:
        table = metadata.tables[name]
        keys = [list(table.primary_key.columns)]
        keys += [list(index.columns) for index in table.indexes]
        keys += [list(c.columns) for c in table.constraints if c.columns]
        assert {key[0].name for key in keys} == {"tenant_id"}, name


def test_tables_that_know_a_tenant_are_listed_here() -> None:
    with_tenant = {name for name, table in metadata.tables.items() if "tenant_id" in table.columns}
    # The security log is the installation's; some of its entries are about a tenant. Who belongs to which tenant is part
    # of the accounts, which all tenants share. Jobs are claimed across tenants, and found by their ids alone.
    assert with_tenant == TENANT_TABLES | {
        "log_heads",
        "security_log",
        "user_tenants",
        "jobs",
        "purges",
        "external_jobs",
        "review_owners",
    }
