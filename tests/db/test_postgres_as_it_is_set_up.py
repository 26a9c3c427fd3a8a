"""PostgreSQL as people have set it up: what the hub makes of it, and what it says of what it cannot work with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlsplit

import asyncpg
import pytest
import structlog
from sqlalchemy import Connection, inspect, text

from datacollect.cli.database import bring_up_to_date
from datacollect.cli.failures import reporting
from datacollect.db import Database, Reading, Tx, postgres
from datacollect.db.database import closing
from datacollect.db.migrate import latest_revision, migrate
from datacollect.db.postgres import PostgresDatabase
from datacollect.kernel.errors import StartupError, StillLocked, TookTooLong, Unavailable
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.logs import reason_of
from datacollect.testing.postgres import fresh_database
from tests.logs import told

pytestmark = pytest.mark.anyio


TLS_PLEASE = (80877103).to_bytes(4)
WAITING = (
    "SELECT count(*) FROM pg_locks WHERE NOT granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@pytest.fixture
async def url(postgres_server: str) -> AsyncIterator[str]:
    async with fresh_database(postgres_server) as url:
        yield url


async def set_up(server: str, url: str, setting: str) -> None:
    """For everybody who connects from now on."""
    name = urlsplit(url).path.removeprefix("/")
    admin = await asyncpg.connect(server)
    await admin.execute(f'ALTER DATABASE "{name}" SET {setting}')
    await admin.close()


async def test_who_waits_to_migrate_sees_what_the_one_before_has_done_whatever_the_usual_isolation(
    url: str, postgres_server: str
) -> None:
    found: list[bool] = []

    def make(connection: Connection) -> None:
        found.append(inspect(connection).has_table("notes"))
        if len(found) == 1:
            while not connection.execute(text(WAITING)).scalar_one():
                pass
            connection.execute(text("CREATE TABLE notes (id int)"))

    await set_up(postgres_server, url, "default_transaction_isolation = 'repeatable read'")
    async with closing(PostgresDatabase(url, pool_size=2)) as database:
        await asyncio.gather(database.run_migration(make), database.run_migration(make))
    assert found == [False, True]


async def test_a_migration_may_take_longer_than_a_request(url: str, postgres_server: str) -> None:
    """Nor does who waits for another one's lose patience: two hubs that start at once are usual."""
    await set_up(postgres_server, url, "statement_timeout = '30s'")
    await set_up(postgres_server, url, "lock_timeout = '5s'")
    async with closing(PostgresDatabase(url, pool_size=1)) as database:
        asked: list[tuple[str, str, float]] = []

        def ask(connection: Connection) -> None:
            driver = connection.connection.driver_connection
            settings = [connection.execute(text(f"SHOW {name}_timeout")).scalar_one() for name in ("statement", "lock")]
            asked.append((*settings, driver._config.command_timeout))

        async with database.transaction() as tx:
            await tx.connection.run_sync(ask)
        await database.run_migration(ask)
        async with database.transaction() as tx:
            await tx.connection.run_sync(ask)
    assert asked == [("30s", "5s", 60), ("0", "3s", 24 * 3600), ("30s", "5s", 60)]


async def test_who_waits_for_the_migration_of_another_hub_waits_for_all_of_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_TABLE_SECONDS", 0.05)
    monkeypatch.setattr(postgres, "_PATIENCE_SECONDS", 0)
    done: list[int] = []

    def work(connection: Connection) -> None:
        connection.execute(text("SELECT pg_sleep(0.3)"))
        done.append(1)

    async with closing(PostgresDatabase(url, pool_size=1)) as database:
        await asyncio.gather(*(database.run_migration(work) for _ in range(3)))
    assert len(done) == 3


async def somebody_waits(watching: Reading) -> None:
    while True:
        [[waiting]] = await watching.fetch(WAITING)
        if waiting:
            return


def change_notes(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE made (id int)"))
    connection.execute(text("ALTER TABLE notes ADD COLUMN name text"))


async def test_a_migration_lets_others_go_on_while_it_does_not_get_a_table(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind one that waited for the end of a backup, everybody waited."""
    monkeypatch.setattr(postgres, "_TABLE_SECONDS", 0.2)
    monkeypatch.setattr(postgres, "_REST_SECONDS", 0.2)
    async with closing(PostgresDatabase(url, pool_size=3)) as database:
        async with database.transaction() as tx:
            await tx.run("CREATE TABLE notes (id int)")
        async with database.snapshot() as backup:
            await backup.fetch("SELECT id FROM notes")
            migrating = asyncio.create_task(database.run_migration(change_notes))
            async with database.reading() as watching:
                for _ in range(2):
                    await somebody_waits(watching)
                    async with asyncio.timeout(5), database.transaction() as tx:
                        await tx.run("INSERT INTO notes VALUES (1)")
            assert not migrating.done()
        await migrating
        async with database.reading() as view:
            assert [tuple(row) for row in await view.fetch("SELECT id, name FROM notes")] == [(1, None)] * 2


async def test_a_migration_that_does_not_get_a_table_says_that_others_use_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said that the hub needs a database with nothing else in it."""
    monkeypatch.setattr(postgres, "_TABLE_SECONDS", 0.05)
    monkeypatch.setattr(postgres, "_REST_SECONDS", 0.05)
    monkeypatch.setattr(postgres, "_PATIENCE_SECONDS", 0.2)
    async with closing(PostgresDatabase(url, pool_size=2)) as database:
        async with database.transaction() as tx:
            await tx.run("CREATE TABLE notes (id int)")
        async with database.snapshot() as backup:
            await backup.fetch("SELECT id FROM notes")
            with structlog.testing.capture_logs() as logs, pytest.raises(StartupError, match="while others use them"):
                await database.run_migration(change_notes)
            assert await backup.fetch("SELECT to_regclass('made')") == [(None,)]
    assert {line["event"] for line in told(logs, "database")} == {"database.migration_waits"}


async def test_a_migration_that_waits_for_a_request_that_waits_for_it_is_tried_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_REST_SECONDS", 0.1)
    tried: list[int] = []

    def migrate(connection: Connection) -> None:
        tried.append(1)
        connection.execute(text("ALTER TABLE other ADD COLUMN name text"))
        change_notes(connection)

    async with closing(PostgresDatabase(url, pool_size=2)) as database:
        async with database.transaction() as tx:
            await tx.run("CREATE TABLE notes (id int)")
            await tx.run("CREATE TABLE other (id int)")
        async with database.transaction() as tx, database.reading() as watching:
            await tx.run("INSERT INTO notes VALUES (1)")
            migrating = asyncio.create_task(database.run_migration(migrate))
            await somebody_waits(watching)
            await asyncio.sleep(0.5)  # who has waited longer is ended by PostgreSQL
            await tx.run("INSERT INTO other VALUES (1)")
        await migrating
    assert len(tried) == 2


async def test_who_does_not_get_a_lock_in_the_time_that_is_set_for_it_comes_again(
    url: str, postgres_server: str
) -> None:
    """No job is given up for it."""
    scope = system_scope(TenantId("p"))
    await set_up(postgres_server, url, "lock_timeout = '1ms'")
    async with closing(PostgresDatabase(url, pool_size=3)) as database:
        async with database.transaction() as tx:
            await tx.run("CREATE TABLE notes (id int)")
        async with database.transaction() as holder:
            await holder.run("LOCK notes")
            with pytest.raises(Unavailable):
                async with database.transaction() as tx:
                    await tx.fetch("SELECT id FROM notes FOR UPDATE")
            with pytest.raises(Unavailable):
                async with database.in_turn(scope, events=1) as tx:
                    await tx.execute(text("SELECT id FROM notes FOR UPDATE"))


async def test_who_is_ended_because_two_wait_for_each_other_comes_again(url: str, postgres_server: str) -> None:
    """As a request and a release that changes tables may: it was answered with 500, as a mistake of the hub's."""
    scope = system_scope(TenantId("p"))
    async with closing(PostgresDatabase(url, pool_size=2)) as database:
        async with database.transaction() as tx:
            await tx.run("CREATE TABLE one (id int)")
            await tx.run("CREATE TABLE other (id int)")
        held = asyncio.Barrier(2)

        async def unit(unit: AbstractAsyncContextManager[Tx], first: str, second: str) -> None:
            async with unit as tx:
                await tx.execute(text(f"LOCK {first}"))
                await held.wait()
                await tx.execute(text(f"LOCK {second}"))

        ends = await asyncio.gather(
            unit(database.transaction(), "one", "other"),
            unit(database.in_turn(scope, events=1), "other", "one"),
            return_exceptions=True,
        )
        assert sorted(type(end).__name__ for end in ends) == ["NoneType", "Unavailable"]


async def test_who_asks_what_a_change_of_a_table_has_outdated_comes_again(url: str) -> None:
    """A release that is started beside this one changes them, and each connection met it with a 500."""
    async with (
        closing(PostgresDatabase(url, pool_size=1)) as ours,
        closing(PostgresDatabase(url, pool_size=1)) as theirs,
    ):
        async with theirs.transaction() as tx:
            await tx.run("CREATE TABLE notes (name text)")
            await tx.run("INSERT INTO notes VALUES ('kept')")
        wanted = text("SELECT * FROM notes")
        for number in range(6):  # for a driver that prepares what it has seen some times
            async with ours.transaction() as tx:
                await tx.execute(wanted)
                await tx.fetch("SELECT name FROM notes")
            if number < 5:
                continue
            async with theirs.transaction() as tx:
                await tx.run('ALTER TABLE notes ALTER COLUMN name TYPE text COLLATE "C"')
        with pytest.raises(Unavailable):
            async with ours.transaction() as tx:
                await tx.fetch("SELECT name FROM notes")
        with pytest.raises(Unavailable):
            async with ours.transaction() as tx:
                await tx.execute(wanted)
        async with ours.transaction() as tx:
            assert [tuple(row) for row in await tx.fetch("SELECT name FROM notes")] == [("kept",)]
            assert (await tx.execute(wanted)).scalars().all() == ["kept"]


@pytest.mark.parametrize("setting", ["lock_timeout = '300ms'", "statement_timeout = '300ms'", None])
async def test_whoever_waits_behind_a_unit_that_does_not_get_its_lock_in_time_is_told_with_it(
    url: str, postgres_server: str, setting: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would have waited as long again, one after the other. Whoever comes later is none of them."""
    scope, waited = system_scope(TenantId("p")), list[int]()

    async def unit(database: Database, number: int) -> None:
        async with database.in_turn(scope, events=1) as tx:
            waited.append(number)
            await tx.fetch_locked("SELECT position FROM heads FOR UPDATE")

    async with closing(PostgresDatabase(url, pool_size=1)) as theirs:
        async with theirs.transaction() as tx:
            await tx.run("CREATE TABLE heads (position int)")
            await tx.run("INSERT INTO heads VALUES (0)")
        if setting is None:
            monkeypatch.setattr(postgres, "_COMMAND_SECONDS", 0.3)
        else:
            await set_up(postgres_server, url, setting)
        async with closing(PostgresDatabase(url, pool_size=1)) as ours:
            async with theirs.transaction() as tx:
                await tx.fetch_locked("SELECT position FROM heads FOR UPDATE")
                ends = await asyncio.gather(*(unit(ours, number) for number in range(5)), return_exceptions=True)
            assert [type(end) for end in ends] == [StillLocked] * 5
            await unit(ours, 5)
    assert waited == [0, 5]


async def test_a_statement_that_the_server_ends_is_tried_again_and_the_log_says_what_to_look_at(
    url: str, postgres_server: str
) -> None:
    """Requests were answered with 500, and jobs given up."""
    await set_up(postgres_server, url, "statement_timeout = '20ms'")
    async with closing(PostgresDatabase(url, pool_size=1)) as database:
        with structlog.testing.capture_logs() as logs:
            for unit in (database.transaction(), database.reading()):
                with pytest.raises(Unavailable):
                    async with unit as view:
                        await view.execute(text("SELECT pg_sleep(5)"))
            with pytest.raises(TookTooLong):
                async with database.reading(seconds=0.01) as view:
                    await view.fetch("SELECT pg_sleep(5)")
    assert ["statement_timeout" in line["advice"] for line in told(logs, "database")] == [True, True]


async def test_a_hub_lives_in_a_schema_of_its_own_whatever_that_is_called(url: str, postgres_server: str) -> None:
    async with closing(PostgresDatabase(url, pool_size=1)) as database, database.transaction() as tx:
        await tx.run("DROP SCHEMA IF EXISTS public")
        await tx.run('CREATE SCHEMA "Hub-1"')
    await set_up(postgres_server, url, 'search_path = "Hub-1"')
    async with closing(PostgresDatabase(url, pool_size=1)) as database:
        await migrate(database)
        assert not await database.unguarded(["events"])


async def test_a_command_says_that_the_database_is_read_only(
    url: str, postgres_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a standby is."""
    await set_up(postgres_server, url, "default_transaction_read_only = on")
    async with closing(PostgresDatabase(url, pool_size=1)) as database:
        with pytest.raises(SystemExit), reporting():
            await bring_up_to_date(database)
    assert "read-only transaction" in capsys.readouterr().err


@pytest.mark.parametrize("holds", ["nothing", "what a dump has brought"])
async def test_a_database_that_does_not_hold_every_name_is_refused(url: str, postgres_server: str, holds: str) -> None:
    """As clusters are made where no language has been chosen."""
    name = urlsplit(url).path.removeprefix("/")
    admin = await asyncpg.connect(postgres_server)
    await admin.execute(f'DROP DATABASE "{name}"')
    await admin.execute(
        f"CREATE DATABASE \"{name}\" OWNER \"{name}\" ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    )
    await admin.close()
    async with closing(PostgresDatabase(url, pool_size=1)) as database:
        if holds != "nothing":
            async with database.transaction() as tx:
                await tx.run("CREATE TABLE alembic_version (version_num text)")
                await tx.run(f"INSERT INTO alembic_version VALUES ('{latest_revision()}')")
        with pytest.raises(StartupError, match=r"LATIN1.*UTF8"):
            await migrate(database)


@pytest.mark.parametrize(
    ("said", "asks"),
    [("sslmode=disable", False), ("sslmode=require", True), ("sslmode=verify-full&sslrootcert=x", None)],
)
async def test_what_a_url_says_of_tls_is_heard(said: str, *, asks: bool | None) -> None:
    """A server that has none. `require` does not go on without, and what it trusts must be there before it is asked."""
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readexactly(8))[4:])
        writer.write(b"N")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"postgresql://hub:p%40ss%2Fword@127.0.0.1:{port}/hub?{said}"
    async with server, closing(PostgresDatabase(url, pool_size=1)) as database:
        with pytest.raises(Unavailable) as refused:
            await database.check()
    assert ("rejected SSL upgrade" in reason_of(refused.value)) is bool(asks)
    assert [one == TLS_PLEASE for one in asked] == ([] if asks is None else [asks])


async def test_a_url_as_hosts_hand_it_out_is_understood(url: str) -> None:
    said = "sslmode=prefer&application_name=hub&connect_timeout=10&channel_binding=prefer&target_session_attrs=any"
    more = "&" if "?" in url else "?"
    async with closing(PostgresDatabase(f"{url}{more}{said}", pool_size=1)) as database, database.reading() as view:
        name = (await view.fetch("SELECT current_setting('application_name')"))[0][0]
    assert name == "hub"
    with pytest.raises(StartupError, match=r"channel_binding.*verify-full"):
        PostgresDatabase(f"{url}{more}channel_binding=require", pool_size=1)
