"""What is in a database stays through every migration that comes after: each table gets rows when it is made."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import structlog
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, insert, select, text
from sqlalchemy import types as sql

from datacollect.app import Outdated, create_app  # imports every slice, and so every table
from datacollect.cli.database import bring_up_to_date
from datacollect.db import Database, open_database
from datacollect.db.database import closing
from datacollect.db.metadata import metadata
from datacollect.db.migrate import latest_revision
from datacollect.db.upgrading import migration_config
from datacollect.kernel.errors import StartupError
from tests.conftest import ENGINES, Migrated, database_url
from tests.logs import told

pytestmark = pytest.mark.anyio

ROWS = ("one", "two")
"""Of each table, by which its texts begin; both are of one tenant."""
READ_BY_MIGRATIONS = {
    ("users", "tenant_ids"): '["p"]',
    ("users", "role_assignments"): '[{"tenantId":"p","role":"viewer"}]',
    ("programs", "config"): '{"id":"p"}',
    ("log_heads", "figures"): '{"person":2}',
    ("entities", "stamps"): "{}",
    ("quarantine", "body"): '{"entityGuid":"e"}',
}


def value(table: Table, name: str, kind: sql.TypeEngine[Any], row: int) -> Any:
    if name == "tenant_id":
        return "p"
    if (table.name, name) in READ_BY_MIGRATIONS:
        return READ_BY_MIGRATIONS[table.name, name]
    match kind:
        case sql.JSON():
            return {"row": ROWS[row]}
        case sql.Boolean():
            return False
        case sql.Integer() | sql.Float():
            return row + 1
        case sql.LargeBinary():
            return ROWS[row].encode()
        case _:
            return f"{ROWS[row]} {name}"


def reflected(connection: Connection, *, but: Collection[str] = ()) -> dict[str, Table]:
    found = MetaData()
    found.reflect(connection, only=lambda name, _: name != "alembic_version" and name not in but)
    return {table.name: table for table in found.sorted_tables}


def fill(connection: Connection, table: Table) -> list[dict[str, Any]]:
    """Two rows, or one where there is one for each tenant, unless the migration has made some; as the database has them."""
    if made := rows(connection, table):
        return made
    of_one_tenant = [column.name for column in table.primary_key] == ["tenant_id"]
    for row in range(1 if of_one_tenant else len(ROWS)):
        connection.execute(
            insert(table).values({column.name: value(table, column.name, column.type, row) for column in table.columns})
        )
    return rows(connection, table)


def rows(connection: Connection, table: Table) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]


async def test_an_upgrade_for_which_there_is_no_room_says_to_make_some(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said to try again in a moment."""
    async with closing(open_database(None, data_dir=tmp_path, pool_size=1)) as database:
        async with database.transaction() as tx:
            await tx.run("PRAGMA max_page_count = 20")
        with pytest.raises(StartupError, match=r"disk is full\). Make room on the disk of DATA_DIR\."):
            await bring_up_to_date(database)

    async def migrate(database: Database) -> None:
        await database.run_migration(
            lambda connection: connection.execute(text("DO $$ BEGIN RAISE disk_full; END $$")).close()
        )

    monkeypatch.setattr("datacollect.cli.database.migrate", migrate)
    async with (
        database_url("postgres", request) as url,
        closing(open_database(url, data_dir=tmp_path, pool_size=1)) as database,
    ):
        with pytest.raises(StartupError, match=r"DiskFullError.*Make room on the disk of PostgreSQL\."):
            await bring_up_to_date(database)


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_process_of_the_release_before_says_once_that_the_database_has_been_upgraded_under_it(
    request: pytest.FixtureRequest, tmp_path: Path, migrated_once: Migrated, engine: str
) -> None:
    """Half of what was pushed to it was answered 500, and neither its log nor `/health` told why."""
    async with (
        migrated_once.database(engine, request, tmp_path) as url,
        closing(open_database(url, data_dir=tmp_path, pool_size=1)) as database,
    ):
        outdated = Outdated(database)
        with structlog.testing.capture_logs() as before:
            await outdated.look()
        async with database.transaction() as tx:
            await tx.run("UPDATE alembic_version SET version_num = '9999'")
        with structlog.testing.capture_logs() as after:
            await outdated.look()
            await outdated.look()
    assert told(before, "database") == []
    assert [(line["event"], line["log_level"]) for line in told(after, "database")] == [("database.upgraded", "error")]


@pytest.mark.parametrize("engine", ENGINES)
async def test_every_row_of_every_table_outlives_every_later_migration(
    request: pytest.FixtureRequest, tmp_path: Any, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert create_app
    script = ScriptDirectory.from_config(migration_config())
    # Alembic would read all files of migrations again for each of them.
    monkeypatch.setattr(ScriptDirectory, "from_config", lambda config: script)
    revisions = [one.revision for one in reversed(list(script.walk_revisions()))]
    assert (
        latest_revision() == script.get_current_head()
    )  # one has it from the files' names, the other from what is in them
    filled: dict[str, list[dict[str, Any]]] = {}

    def step(connection: Connection, revision: str) -> None:
        config = migration_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for name, table in reflected(connection, but=filled).items():
            filled[name] = fill(connection, table)

    def compare(connection: Connection) -> None:
        tables = reflected(connection)
        for name, before in filled.items():
            now = rows(connection, tables[name])
            kept = [{column: row[column] for column in before[0] if column in row} for row in now]
            assert kept == [{column: row[column] for column in kept[0]} for row in before], name

    async with database_url(engine, request) as url:
        database: Database = open_database(url, data_dir=tmp_path, pool_size=2)
        for revision in revisions:
            await database.run_migration(lambda connection, to=revision: step(connection, to))
        assert filled.keys() == metadata.tables.keys()
        await database.run_migration(compare)
        await database.close()
