"""A PostgreSQL that is down, or goes away in the middle: a clear error, and the hub recovers by itself."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import Connection, text

from datacollect.db import Tx, postgres
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


async def test_postgres_ends_what_a_migration_has_begun_when_its_hub_is_gone(url: str) -> None:
    """It went on until its statement was done, an index on a large table, say, and a backup's end where it waited for that.
    All who came to the tables waited, and so did the hub that was started next."""

    def migrate(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE made (id int)"))
        driver = connection.connection.driver_connection
        asyncio.get_running_loop().call_later(0.2, driver._transport.abort)  # as the system does for who is killed
        connection.execute(text("SELECT pg_sleep(60)"))

    async with closing(PostgresDatabase(url, pool_size=1)) as database:
        with pytest.raises(Unavailable):
            await database.run_migration(migrate)
        async with asyncio.timeout(20):
            await database.run_migration(lambda connection: None)


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


async def until_ended(unit: Tx) -> None:
    """By the server."""
    driver = (await unit.connection.get_raw_connection()).driver_connection
    assert driver is not None
    ended = asyncio.Event()
    driver.add_termination_listener(lambda _: ended.set())
    waiting = asyncio.create_task(ended.wait())
    while not driver.is_closed():
        done, _ = await asyncio.wait([waiting], timeout=20)
        assert done, "the server lets it rest"
    waiting.cancel()


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("opened", [PostgresDatabase.transaction, PostgresDatabase.in_turn])
async def test_what_a_unit_holds_that_says_nothing_more_others_get_and_nothing_of_it_is_stored(
    url: str, opened: Callable[..., AbstractAsyncContextManager[Tx]], *, goes_on: bool
) -> None:
    """Its hub's machine has lost power: PostgreSQL would wait for two hours for it to say that it is gone."""
    ours, theirs = PostgresDatabase(url, pool_size=1, idle_seconds=0.1), PostgresDatabase(url, pool_size=1)
    got: list[int] = []
    async with closing(ours), closing(theirs):
        async with theirs.transaction() as tx:
            await tx.run("CREATE TABLE heads (position int)")
            await tx.run("INSERT INTO heads VALUES (0)")
        with pytest.raises(Unavailable):
            async with opened(ours, SCOPE, events=1) as gone:
                await gone.fetch("UPDATE heads SET position = 1 RETURNING position")
                async with theirs.in_turn(SCOPE, events=1) as tx:
                    got += [row[0] for row in await tx.fetch_locked("SELECT position FROM heads FOR UPDATE")]
                await until_ended(gone)
                if goes_on:
                    await gone.fetch("SELECT 1")
        async with opened(ours, SCOPE, events=1) as tx:  # its only connection has been replaced
            assert await tx.fetch("SELECT position FROM heads") == [(0,)]
    assert got == [0]


async def test_the_end_of_a_unit_that_rests_is_that_of_all_who_were_to_be_committed_with_it(url: str) -> None:
    async with closing(PostgresDatabase(url, pool_size=1, idle_seconds=0.1)) as database:
        async with database.transaction() as tx:
            await tx.run("CREATE TABLE notes (id int)")

        async def unit(number: int) -> None:
            async with database.in_turn(SCOPE, events=1) as tx:
                await tx.run("INSERT INTO notes VALUES ($1)", number)
                if number == 1:
                    await until_ended(tx)

        ends = await asyncio.gather(unit(0), unit(1), return_exceptions=True)
        assert [type(end) for end in ends] == [Unavailable, Unavailable]
        async with database.reading() as view:
            assert await view.fetch("SELECT id FROM notes") == []


async def test_a_migration_may_rest_as_long_as_it_likes(url: str, postgres_server: str) -> None:
    """What it computes in between is not counted, whatever operators have set: such a hub could never be updated."""
    server = await asyncpg.connect(postgres_server)
    name = urlsplit(url).path.removeprefix("/")
    await server.execute(f"ALTER DATABASE \"{name}\" SET idle_in_transaction_session_timeout = '1ms'")
    await server.close()
    found: list[str] = []

    def migrate(connection: Connection) -> None:
        found.append(connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one())

    async with closing(PostgresDatabase(url, pool_size=1)) as database:
        await database.run_migration(migrate)
    assert found == ["0"]


async def test_postgres_looks_whether_the_machine_of_a_hub_is_still_there(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a pooler nothing is set, for a session that may be somebody else's next."""

    async def settings(database: PostgresDatabase) -> dict[str, tuple[str, str]]:
        async with closing(database), database.reading() as view:
            rows = await view.fetch("SELECT name, source, setting FROM pg_settings WHERE name LIKE 'tcp\\_%'")
            [[is_far]] = await view.fetch("SELECT inet_client_addr() IS NOT NULL")
        # On a socket of the machine itself there is nothing to be looked for, and it says 0.
        return {name: (source, setting if is_far else "") for name, source, setting in rows}

    set_for_it = await settings(PostgresDatabase(url, pool_size=1))
    is_far = set_for_it["tcp_user_timeout"][1] != ""
    assert set_for_it == {
        "tcp_keepalives_idle": ("session", "20" if is_far else ""),
        "tcp_keepalives_interval": ("session", "5" if is_far else ""),
        "tcp_keepalives_count": ("session", "6" if is_far else ""),
        "tcp_user_timeout": ("session", "50000" if is_far else ""),
    }
    monkeypatch.setattr(asyncpg.Connection, "get_server_pid", lambda _: 0)
    behind = await settings(PostgresDatabase(url, pool_size=1))
    assert behind.keys() == set_for_it.keys()
    assert "session" not in {source for source, _ in behind.values()}


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
