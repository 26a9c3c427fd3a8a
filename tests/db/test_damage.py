"""What cannot be read any more is told to whoever runs the hub, and is no mistake of the hub's."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from datacollect.db import EVERY_TENANT, Database, open_database
from datacollect.db.database import closing
from datacollect.db.sqlite import SqliteDatabase
from datacollect.kernel.errors import DatabaseDamaged
from datacollect.testing.postgres import fresh_database
from tests.logs import told

pytestmark = pytest.mark.anyio

_PAGE = 4096
_SAYS_SO = """
CREATE FUNCTION damaged(code text) RETURNS integer AS $$
BEGIN RAISE EXCEPTION USING ERRCODE = code, MESSAGE = 'invalid page in block 7 of relation base/5/16384'; END
$$ LANGUAGE plpgsql
"""


async def assert_told(database: Database, statement: str, reason: str) -> None:
    with structlog.testing.capture_logs() as lines:
        with pytest.raises(DatabaseDamaged):
            async with database.reading(EVERY_TENANT) as view:
                await view.fetch(statement)
        with pytest.raises(DatabaseDamaged):
            async with database.transaction(EVERY_TENANT) as tx:
                await tx.fetch(statement)
        with pytest.raises(DatabaseDamaged):
            async with database.snapshot(EVERY_TENANT) as view:
                await view.fetch(statement)
    assert [(line["event"], line["log_level"]) for line in told(lines, "database")] == [
        ("database.damaged", "error")
    ] * 3
    assert all(reason in line["reason"] for line in told(lines, "database"))


async def test_a_page_of_sqlite_that_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite3"
    async with closing(SqliteDatabase(path)) as database:
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE t (x TEXT)")
        for _ in range(20):
            async with database.transaction(EVERY_TENANT) as tx:
                await tx.run(f"INSERT INTO t VALUES ('{'x' * 3000}')")
    held = bytearray(path.read_bytes())
    held[-8 * _PAGE :] = b"\xff" * 8 * _PAGE
    path.write_bytes(held)
    async with closing(SqliteDatabase(path)) as database:
        await assert_told(database, "SELECT count(x || '') FROM t", "malformed")
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE another (x INTEGER)")


@pytest.fixture
async def postgres(postgres_server: str) -> AsyncIterator[Database]:
    async with fresh_database(postgres_server) as url:
        database = open_database(url, data_dir=Path("unused"), pool_size=4)
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run(_SAYS_SO)
        yield database
        await database.close()


@pytest.mark.parametrize("code", ["XX001", "XX002", "58030"])
async def test_what_postgresql_says_of_its_files(postgres: Database, code: str) -> None:
    await assert_told(postgres, f"SELECT damaged('{code}')", "invalid page in block 7")
