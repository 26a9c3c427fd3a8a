"""The second wall between tenants: what PostgreSQL shows a unit of work, whatever the unit's statements ask for."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, Float, Integer, LargeBinary, Table, Text, insert
from structlog.typing import EventDict

from datacollect.app import create_app  # imports every slice, and so every table
from datacollect.db import EVERY_TENANT, Database, Tx, Within
from datacollect.db.database import closing
from datacollect.db.metadata import metadata
from datacollect.db.migrate import migrate
from datacollect.db.postgres import PostgresDatabase
from datacollect.db.walls import naming, tenant_tables
from datacollect.eventstore.postgres import _STATEMENTS
from datacollect.kernel.errors import TenantUnknown, Unavailable
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.postgres import fresh_database
from tests.conftest import make_settings
from tests.db.test_query_plans import FILL

pytestmark = pytest.mark.anyio

OURS, THEIRS = system_scope(TenantId("ours")), system_scope(TenantId("theirs"))

TABLES = tenant_tables()
SHARED_TABLES = {"security_log", "user_tenants", "jobs", "purges", "external_jobs", "review_owners"}
"""They name tenants and belong to none: who may read which rows is decided by the caller's account. Jobs are claimed across
tenants, and hold nothing that people have told. A purge outlasts the program it is of."""

_VALUES: Mapping[type, Any] = {Text: "x", Float: 1.0, BigInteger: 1, Integer: 1, LargeBinary: b"x", Boolean: False}


def row_of(table: Table, tenant: str) -> dict[str, Any]:
    """Some row of the table."""
    row = {
        column.name: next((value for kind, value in _VALUES.items() if isinstance(column.type, kind)), {})
        for column in table.columns
    }
    return row | {"tenant_id": tenant}


@pytest.fixture(scope="module")
async def url(anyio_backend: str, postgres_server: str) -> AsyncIterator[str]:
    """A migrated database in which both tenants have a row in every table."""
    async with fresh_database(postgres_server) as url:
        async with closing(PostgresDatabase(url, pool_size=1)) as database:
            await migrate(database)
            async with database.transaction(EVERY_TENANT) as tx:
                for name in TABLES:
                    table = metadata.tables[name]
                    rows = [row_of(table, scope.tenant_id) for scope in (OURS, THEIRS)]
                    await tx.execute(insert(table), rows)
        yield url


@pytest.fixture
async def postgres(url: str) -> AsyncIterator[PostgresDatabase]:
    """One connection, so that every unit comes after the others on it."""
    async with closing(PostgresDatabase(url, pool_size=1, pool_timeout_seconds=30)) as database:
        yield database


async def test_a_snapshot_shows_one_tenant_too(postgres: PostgresDatabase) -> None:
    async with postgres.snapshot(OURS) as view:
        for name in TABLES:
            rows = await view.fetch(f"SELECT tenant_id FROM {name}")
            assert [row[0] for row in rows] == [OURS.tenant_id], name
    async with postgres.snapshot() as view:
        assert await view.fetch("SELECT tenant_id FROM events") == []


async def seen(database: Database, within: Within, table: str = "events") -> list[str]:
    """The tenants whose rows a statement without any condition gives."""
    async with database.reading(within) as view:
        return [row[0] for row in await view.fetch(f"SELECT tenant_id FROM {table} ORDER BY tenant_id")]


# -- every table


async def test_every_table_with_a_tenant_has_the_wall_and_no_other_has(postgres: PostgresDatabase) -> None:
    async with postgres.reading() as view:
        rows = await view.fetch(
            "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced, p.policies,"
            " EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id') AS tenants"
            " FROM pg_class c LEFT JOIN LATERAL (SELECT count(*) AS policies FROM pg_policy"
            "  WHERE polrelid = c.oid AND polpermissive AND polcmd = '*' AND polroles = '{0}'"
            "  AND pg_get_expr(polqual, polrelid) = pg_get_expr(polwithcheck, polrelid)) p ON true"
            " WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace"
        )
    assert {row["relname"] for row in rows if row["tenants"]} == SHARED_TABLES.union(TABLES)
    assert {row["relname"]: row["policies"] for row in rows if row["forced"]} == dict.fromkeys(TABLES, 1)
    assert await postgres.unguarded(TABLES) == []


async def test_no_table_behind_the_wall_has_statistics_of_tenants(postgres: PostgresDatabase) -> None:
    async with postgres.reading() as view:
        rows = await view.fetch(
            "SELECT attrelid::regclass::text AS name, NULLIF(attstattarget, -1) AS target FROM pg_attribute"
            " JOIN pg_class c ON c.oid = attrelid WHERE attname = 'tenant_id' AND c.relkind IN ('r', 'p')"
        )
    targets = {row["name"]: row["target"] for row in rows}
    assert targets == dict.fromkeys(TABLES, 0) | dict.fromkeys(SHARED_TABLES)


@pytest.mark.parametrize("table", TABLES)
async def test_a_statement_that_forgets_the_tenant_sees_and_changes_its_own_rows_only(
    postgres: PostgresDatabase, table: str
) -> None:
    assert await seen(postgres, OURS, table) == ["ours"]
    assert await seen(postgres, THEIRS, table) == ["theirs"]
    assert await seen(postgres, EVERY_TENANT, table) == ["ours", "theirs"]
    assert await seen(postgres, None, table) == []
    with pytest.raises(ZeroDivisionError):
        async with postgres.transaction(OURS) as tx:
            assert (await tx.fetch(f"SELECT count(*) FROM {table}"))[0][0] == 1
            assert await tx.fetch(f"SELECT 1 FROM {table} WHERE tenant_id = 'theirs' FOR UPDATE") == []
            changed = await tx.fetch(f"UPDATE {table} SET tenant_id = tenant_id RETURNING tenant_id")
            assert [row[0] for row in changed] == ["ours"]
            assert [row[0] for row in await tx.fetch(f"DELETE FROM {table} RETURNING tenant_id")] == ["ours"]
            raise ZeroDivisionError
    assert await seen(postgres, EVERY_TENANT, table) == ["ours", "theirs"]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("within", [OURS, None], ids=["of another tenant", "of none"])
async def test_no_row_gets_into_a_tenant_that_the_unit_does_not_name(
    postgres: PostgresDatabase, table: str, within: Within
) -> None:
    with pytest.raises(Exception, match="row-level security"):
        async with postgres.transaction(within) as tx:
            row = row_of(metadata.tables[table], "theirs")
            await tx.execute(insert(metadata.tables[table]), [row | dict.fromkeys(_keys(table), "y")])
    assert await seen(postgres, EVERY_TENANT, table) == ["ours", "theirs"]


def _keys(table: str) -> Iterator[str]:
    for column in metadata.tables[table].columns:
        if isinstance(column.type, Text) and column.name != "tenant_id":
            yield column.name


async def test_no_row_is_moved_to_another_tenant(postgres: PostgresDatabase) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with postgres.transaction(OURS) as tx:
            await tx.run("UPDATE events SET tenant_id = 'theirs', guid = 'y', position = 2")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with postgres.transaction(OURS) as tx:
            await tx.run("UPDATE log_heads SET tenant_id = 'third'")


async def test_a_row_of_another_tenant_is_not_taken_over_by_a_conflicting_insert(postgres: PostgresDatabase) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with postgres.transaction(OURS) as tx:
            await tx.run(
                "INSERT INTO log_heads (tenant_id, position, chain_hash, recorded_ms, figures, epoch, epoch_position)"
                " VALUES ('theirs', 0, '', 0, '{}', 'e', 0) ON CONFLICT (tenant_id) DO UPDATE SET position = 99"
            )


async def test_a_copy_holds_the_units_rows_only(url: str, postgres: PostgresDatabase) -> None:
    async with postgres.transaction(OURS) as tx:
        raw = await tx.connection.get_raw_connection()
        driver: asyncpg.Connection[Any] = raw.driver_connection
        copied = bytearray()

        async def keep(data: bytes) -> None:
            copied.extend(data)

        await driver.copy_from_query("SELECT tenant_id FROM events", output=keep)
        await driver.copy_from_table("log_heads", columns=["tenant_id"], output=keep)
    assert copied == b"ours\nours\n"


async def test_functions_that_tell_of_what_they_compare_are_not_shown_other_tenants_rows(
    postgres: PostgresDatabase,
) -> None:
    async with postgres.transaction(THEIRS) as tx:
        await tx.run("UPDATE entities SET name = 'not a number'")
    async with postgres.transaction(OURS) as tx:
        await tx.run("UPDATE entities SET name = '7'")
    async with postgres.reading(OURS) as view:
        # A planner that tried the cast first would raise with their name in the message.
        assert len(await view.fetch("SELECT 1 FROM entities WHERE name::int = 7")) == 1


# -- one connection, many units


async def test_what_a_unit_named_is_gone_with_it(postgres: PostgresDatabase) -> None:
    async with postgres.transaction(OURS):
        pass
    assert await seen(postgres, None) == []
    with pytest.raises(ZeroDivisionError):
        async with postgres.transaction(THEIRS):
            raise ZeroDivisionError
    assert await seen(postgres, None) == []
    with pytest.raises(asyncpg.UndefinedTableError):
        async with postgres.reading(EVERY_TENANT) as view:
            await view.fetch("SELECT 1 FROM nowhere")
    assert await seen(postgres, None) == []
    assert await seen(postgres, OURS) == ["ours"]
    # As another client of a PgBouncer in transaction mode would find the connection.
    async with postgres.reading() as view:
        settings = (
            "SELECT current_setting('datacollect.tenant', true), current_setting('datacollect.every_tenant', true)"
        )
        assert set((await view.fetch(settings))[0]) <= {"", None}


async def test_a_unit_without_a_tenant_writes_nothing_after_one_that_had_one(postgres: PostgresDatabase) -> None:
    assert await seen(postgres, OURS) == ["ours"]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with postgres.transaction() as tx:
            await tx.run("INSERT INTO event_places VALUES ('ours', 'a', 7)")


async def test_a_row_of_a_tenant_without_a_name_passes_nobody_by_accident(postgres: PostgresDatabase) -> None:
    with pytest.raises(ZeroDivisionError):
        async with postgres.transaction(EVERY_TENANT) as tx:
            await tx.run("INSERT INTO event_places VALUES ('', 'a', 7)")
            # What the settings are on a connection that has seen a unit.
            await tx.run("SET LOCAL datacollect.every_tenant = ''")
            await tx.run("SET LOCAL datacollect.tenant = ''")
            assert await tx.fetch("SELECT 1 FROM event_places") == []
            raise ZeroDivisionError


async def test_units_side_by_side_see_their_own(url: str) -> None:
    async with closing(PostgresDatabase(url, pool_size=2)) as database:
        for _ in range(3):
            async with database.transaction(OURS) as ours, database.transaction(THEIRS) as theirs:
                for _ in range(3):
                    for unit, name in ((ours, "ours"), (theirs, "theirs")):
                        rows = await unit.fetch("SELECT DISTINCT tenant_id FROM entities")
                        assert [row[0] for row in rows] == [name]
            assert await asyncio.gather(*(seen(database, within) for within in (THEIRS, None, OURS, None))) == [
                ["theirs"],
                [],
                ["ours"],
                [],
            ]


@pytest.mark.parametrize("steps", range(14))
@pytest.mark.parametrize("kind", ["reading", "transaction"])
async def test_a_unit_that_is_cancelled_leaves_no_tenant_behind(
    postgres: PostgresDatabase, steps: int, kind: str
) -> None:
    async def unit() -> None:
        async with getattr(postgres, kind)(THEIRS) as view:
            await view.fetch("SELECT 1 FROM events")
            await view.fetch("SELECT 1 FROM entities")

    await seen(postgres, None)  # else the steps would be those of connecting
    task = asyncio.create_task(unit())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await seen(postgres, None) == []
    assert await seen(postgres, OURS) == ["ours"]
    async with postgres.transaction(OURS) as tx:
        await tx.run("UPDATE events SET actor = 'again'")


async def test_reading_within_a_tenant_sees_what_is_committed_meanwhile(url: str) -> None:
    async with closing(PostgresDatabase(url, pool_size=2)) as database, database.reading(OURS) as view:
        actor = f"actor {uuid.uuid4()}"
        await view.fetch("SELECT actor FROM events")
        async with database.transaction(OURS) as tx:
            await tx.run("UPDATE events SET actor = $1", actor)
        assert [row[0] for row in await view.fetch("SELECT actor FROM events")] == [actor]


async def test_reading_within_a_tenant_writes_nothing(postgres: PostgresDatabase) -> None:
    with pytest.raises(Unavailable):  # what a server that takes no writes is, elsewhere
        async with postgres.reading(OURS) as view:
            await view.fetch("UPDATE events SET actor = 'a reader' RETURNING 1")


async def test_a_unit_that_goes_on_after_a_failed_statement_is_not_reported_as_stored(
    postgres: PostgresDatabase,
) -> None:
    with pytest.raises(RuntimeError, match="nothing of it is stored"):
        async with postgres.transaction(OURS) as tx:
            await tx.run("UPDATE events SET actor = 'lost'")
            with pytest.raises(asyncpg.UndefinedTableError):
                await tx.fetch("SELECT 1 FROM nowhere")
    async with postgres.reading(OURS) as view:
        assert await view.fetch("SELECT 1 FROM events WHERE actor = 'lost'") == []


# -- ids

ODD = [
    "o'clock",
    "ours'; SET LOCAL datacollect.every_tenant = 'on'; --",
    "'; COMMIT; DROP TABLE events; --",
    "\\",
    "\\'; ROLLBACK; --",
    "ours\\U00000027",
    "$$", "$1", "%s", ":name", "E'x'", '"', "/* ", "-- ",
    "line\nbreak\r\ttab",
    " ours", "ours ", "OURS",
    "on", "*", "every tenant", "EVERY_TENANT",
    "Zoë", "\u202eevil", "\U0001f600", "\U0010ffff", "ﬀ", "a\u0301",
    "x" * 10_000, "'" * 10_000, "\\" * 9_999,
]  # fmt: skip


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
async def test_whatever_a_tenant_is_called_it_is_that_tenant_and_nothing_more(
    postgres: PostgresDatabase, name: str
) -> None:
    odd = system_scope(TenantId(name))
    assert await seen(postgres, odd) == []
    with pytest.raises(ZeroDivisionError):
        async with postgres.transaction(odd) as tx:
            await tx.run("INSERT INTO event_places VALUES ($1, 'a', 7)", name)
            await _requires_only(tx, name)
            raise ZeroDivisionError
    assert await seen(postgres, EVERY_TENANT) == ["ours", "theirs"]


async def _requires_only(tx: Tx, name: str) -> None:
    assert (await tx.fetch("SELECT current_setting('datacollect.tenant')"))[0][0] == name
    assert (await tx.fetch("SELECT current_setting('datacollect.every_tenant', true)"))[0][0] in (None, "")
    assert [row[0] for row in await tx.fetch("SELECT tenant_id FROM event_places")] == [name]


@pytest.mark.parametrize("name", ["", "\0", "ours\0", "\0'; SET x", "\ud800", "ours\udfff"])
async def test_what_no_tenant_can_be_called_is_an_unknown_tenant(postgres: PostgresDatabase, name: str) -> None:
    nobody = system_scope(TenantId(name))
    for unit in (postgres.reading(nobody), postgres.transaction(nobody)):
        with pytest.raises(TenantUnknown):
            async with unit:
                pass
    assert await seen(postgres, OURS) == ["ours"]


@given(st.text(min_size=1))
def test_an_id_is_written_in_letters_digits_and_escapes(name: str) -> None:
    try:
        statement = naming(TenantId(name))
    except TenantUnknown:
        assert re.search("[\0\ud800-\udfff]", name)
        return
    literal = re.fullmatch(r"SET LOCAL datacollect\.tenant = E'((?:[A-Za-z0-9_-]|\\U[0-9A-F]{8})+)'", statement)
    assert literal is not None
    assert re.sub(r"\\U([0-9A-F]{8})", lambda mark: chr(int(mark[1], 16)), literal[1]) == name


# -- who passes it


async def test_a_superuser_is_told_at_the_start_that_the_wall_does_not_hold_and_the_owner_is_not(
    postgres_server: str, tmp_path: Path
) -> None:
    async with fresh_database(postgres_server) as url:
        assert "database.row_security_bypassed" not in [line["event"] for line in await _start(url, tmp_path)]
        superusers = urlunsplit(urlsplit(url)._replace(netloc=urlsplit(postgres_server).netloc))
        lines = await _start(superusers, tmp_path)
    [told] = [line for line in lines if line["event"] == "database.row_security_bypassed"]
    assert (told["log_level"], told["tables"]) == ("warning", len(TABLES))


async def test_whoever_takes_the_wall_down_or_waits_for_no_disk_is_told_at_the_start(
    postgres_server: str, tmp_path: Path
) -> None:
    """That of the tests may be told to wait for none, as a whole: it is thrown away after them."""
    events = ("database.row_security_off", "database.commits_not_on_disk")
    async with fresh_database(postgres_server) as url:
        server = await asyncpg.connect(postgres_server)
        off = [name for name in ("fsync", "full_page_writes") if await server.fetchval(f"SHOW {name}") == "off"]
        lines = await _start(url, tmp_path)
        assert [line["off"] for line in lines if line["event"] in events] == ([off] if off else [])
        await server.execute(f'ALTER DATABASE "{urlsplit(url).path[1:]}" SET synchronous_commit = off')
        await server.close()
        lines = await _start(url, tmp_path, ROW_LEVEL_SECURITY=False)
    told = {line["event"]: line["log_level"] for line in lines if line["event"] in events}
    assert told == dict.fromkeys(events, "warning")
    assert [[*off, "synchronous_commit"]] == [line["off"] for line in lines if line["event"] == events[1]]


async def test_with_the_wall_down_units_see_what_their_statements_ask_for(url: str) -> None:
    async with closing(PostgresDatabase(url, pool_size=1, row_level_security=False)) as database:
        for within in (OURS, EVERY_TENANT, None):
            assert {OURS.tenant_id, THEIRS.tenant_id} <= set(await seen(database, within))
        async with database.transaction(OURS) as tx:
            assert await tx.fetch("SELECT 1 FROM events WHERE tenant_id = 'theirs' FOR UPDATE")
    async with closing(PostgresDatabase(url, pool_size=1)) as database:
        assert set(await seen(database, OURS)) == {OURS.tenant_id}


async def _start(url: str, folder: Path, **settings: object) -> list[EventDict]:
    """What a hub logs that starts and ends."""
    app = create_app(make_settings(folder, url, **settings))
    with structlog.testing.capture_logs() as lines:
        async with app.router.lifespan_context(app):
            pass
    return lines


async def test_a_table_whose_wall_is_down_is_named(postgres_server: str) -> None:
    async with fresh_database(postgres_server) as url, closing(PostgresDatabase(url, pool_size=1)) as database:
        await migrate(database)
        async with database.transaction() as tx:
            await tx.run("ALTER TABLE members NO FORCE ROW LEVEL SECURITY")
            await tx.run("ALTER TABLE events DISABLE ROW LEVEL SECURITY")
        assert await database.unguarded(TABLES) == ["events", "members"]


# -- what the wall must not cost


async def test_a_page_of_a_log_is_read_in_its_order_also_before_the_table_has_statistics(
    postgres: PostgresDatabase,
) -> None:
    """PostgreSQL takes the wall for a condition that few rows meet, and would then sort the rest of the log for a page."""
    scope = system_scope(TenantId("without-statistics"))
    async with postgres.transaction(scope) as tx:
        await tx.run(FILL[0].replace("'filler'", "'without-statistics'").replace("filler-", "unread-"))
    async with postgres.reading(scope) as view:
        explained = await view.fetch(f"EXPLAIN {_STATEMENTS.read}", scope.tenant_id, 4000, None, 10)
    async with postgres.transaction(scope) as tx:
        await tx.run("DELETE FROM events")  # others count what there is
    plan = "\n".join(row[0] for row in explained)
    assert "Index Scan using pk_events" in plan
    assert "Sort" not in plan, plan
