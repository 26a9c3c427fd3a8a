"""A PostgreSQL that is down, or goes away in the middle: a clear error, and the hub recovers by itself."""

import asyncio
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import Connection, text

from datacollect.db import postgres
from datacollect.db.database import closing
from datacollect.db.postgres import PostgresDatabase
from datacollect.kernel.errors import Unavailable
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.postgres import fresh_database

pytestmark = pytest.mark.anyio

SCOPE = system_scope(TenantId("ours"))


@pytest.fixture
async def url(postgres_server: str) -> AsyncIterator[str]:
    async with fresh_database(postgres_server) as url:
        yield url


async def cut_all_connections(url: str) -> None:
    """What a restart of the server does to those who are connected."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


async def test_a_migration_takes_as_long_as_it_takes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index on a large table takes longer than any statement of a request may: such a hub could never be updated."""
    monkeypatch.setattr(postgres, "_COMMAND_SECONDS", 0.1)
    database = PostgresDatabase(url, pool_size=1)

    def migrate(connection: Connection) -> None:
        connection.execute(text("SELECT pg_sleep(0.2)"))
        connection.execute(text("CREATE TABLE made (id int)"))

    async with closing(database):
        await database.run_migration(migrate)
        async with database.reading() as view:
            assert await view.fetch("SELECT * FROM made") == []


async def test_a_server_that_is_down_is_said_to_be_unavailable() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    database = PostgresDatabase(f"postgresql://hub@127.0.0.1:{port}/hub", pool_size=2)
    with pytest.raises(Unavailable):
        await database.check()
    with pytest.raises(Unavailable):
        async with database.transaction():
            pass
    await database.close()


async def test_connections_cut_while_idle_are_replaced(url: str) -> None:
    database = PostgresDatabase(url, pool_size=2)
    await database.check()
    await cut_all_connections(url)
    # The first use may find the cut connection; nobody after it does.
    try:
        await database.check()
    except Unavailable:
        await database.check()
    await database.close()


async def test_after_a_restart_the_first_unit_finds_a_connection_that_lives_however_many_were_cut(url: str) -> None:
    database = PostgresDatabase(url, pool_size=4)
    noticed = asyncio.Semaphore(0)
    async with database.transaction() as first, database.transaction() as second, database.transaction() as third:
        for unit in (first, second, third):
            driver = (await unit.connection.get_raw_connection()).driver_connection
            assert driver is not None
            driver.add_termination_listener(lambda _: noticed.release())
    await cut_all_connections(url)
    for _ in range(3):
        await noticed.acquire()
    await database.check()
    await database.close()


async def test_a_unit_cut_in_the_middle_leaves_nothing_and_says_so(url: str) -> None:
    database = PostgresDatabase(url, pool_size=2)
    async with database.transaction() as tx:
        await tx.run("CREATE TABLE notes (id int)")
    with pytest.raises(Unavailable):
        async with database.transaction() as tx:
            await tx.run("INSERT INTO notes VALUES (1)")
            await cut_all_connections(url)
            await tx.run("INSERT INTO notes VALUES (2)")
    async with database.reading() as view:
        assert await view.fetch("SELECT id FROM notes") == []
    await database.close()


async def test_a_unit_whose_commit_is_cut_is_not_reported_as_done(url: str) -> None:
    database = PostgresDatabase(url, pool_size=2)
    async with database.transaction() as tx:
        await tx.run("CREATE TABLE notes (id int)")
    with pytest.raises(Unavailable):
        async with database.transaction() as tx:
            await tx.run("INSERT INTO notes VALUES (1)")
            await cut_all_connections(url)
    async with database.reading() as view:
        assert await view.fetch("SELECT id FROM notes") == []
    await database.close()


async def test_a_server_that_lets_nobody_in_is_said_to_be_unavailable(url: str, postgres_server: str) -> None:
    """As one that starts or stops does, which is there and answers."""
    database = PostgresDatabase(url, pool_size=2)
    name = urlsplit(url).path.removeprefix("/")
    server = await asyncpg.connect(postgres_server)
    await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    with pytest.raises(Unavailable):
        await database.check()
    await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    await server.close()
    await database.check()
    await database.close()


async def test_a_core_statement_for_which_there_is_no_room_is_no_mistake_of_ours(url: str) -> None:
    database = PostgresDatabase(url, pool_size=1)
    with pytest.raises(Unavailable):
        async with database.transaction() as tx:
            await tx.execute(text("DO $$ BEGIN RAISE disk_full; END $$"))
    await database.check()
    await database.close()


async def test_a_pool_that_is_used_up_says_so_instead_of_waiting_for_ever(url: str) -> None:
    database = PostgresDatabase(url, pool_size=1, pool_timeout_seconds=0.2)
    async with database.transaction():
        with pytest.raises(Unavailable):
            await database.check()
    await database.close()


async def test_who_has_read_to_the_end_is_not_told_that_the_connection_was_cut(url: str) -> None:
    database = PostgresDatabase(url, pool_size=1)
    async with database.reading(SCOPE) as view:
        found = await view.fetch("SELECT 1")
        await cut_all_connections(url)
    assert found == [(1,)]
    async with database.reading(SCOPE) as view:  # the one connection has been replaced
        assert await view.fetch("SELECT 2") == [(2,)]
    await database.close()


async def test_closing_waits_for_readers_that_are_giving_their_connections_back(url: str) -> None:
    database = PostgresDatabase(url, pool_size=3)
    async with database.reading(SCOPE), database.reading(SCOPE) as view:
        await view.fetch("SELECT 1")
    await database.close()
    assert not database._ending
    connection = await asyncpg.connect(url)
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while await connection.fetchval(others):  # the server takes a moment to notice
        pass
    await connection.close()
