"""Units of work on both engines, and the group commit of SQLite."""

import asyncio
import contextlib
import gc
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text

from datacollect.db import EVERY_TENANT, Database, Tx, open_database
from datacollect.db.database import closing
from datacollect.db.migrate import migrate
from datacollect.db.sqlite import SqliteDatabase
from datacollect.db.sqlite_units import SqliteTx
from datacollect.db.turns import in_turns
from datacollect.eventstore.tables import log_heads
from datacollect.kernel.errors import StartupError, Unavailable
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.conftest import ENGINES, Migrated

pytestmark = pytest.mark.anyio

_SLOW = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000) SELECT count(*) FROM c"

heads = "SELECT tenant_id FROM log_heads WHERE tenant_id LIKE 'tx-%'"


async def write(tx: Tx, name: str) -> None:
    values = f"('{name}', 0, {'x' if tx.dialect == 'sqlite' else ''}'', 0, '{{}}', 'e', 0)"
    columns = "tenant_id, position, chain_hash, recorded_ms, figures, epoch, epoch_position"
    await tx.run(f"INSERT INTO log_heads ({columns}) VALUES {values}")


async def written(database: Database) -> set[str]:
    async with database.reading(EVERY_TENANT) as view:
        return {row[0] for row in await view.fetch(heads)}


async def test_a_block_that_ends_is_committed(database: Database) -> None:
    async with database.transaction(EVERY_TENANT) as tx:
        await write(tx, "tx-1")
    assert "tx-1" in await written(database)


async def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction(EVERY_TENANT) as tx:
            await write(tx, "tx-2")
            raise ZeroDivisionError
    assert "tx-2" not in await written(database)


async def test_nobody_sees_a_block_before_it_ends(database: Database) -> None:
    async with database.transaction(EVERY_TENANT) as tx:
        await write(tx, "tx-3")
        assert "tx-3" not in await written(database)
    assert "tx-3" in await written(database)


async def test_a_unit_that_fails_takes_nobody_with_it(database: Database) -> None:
    async def unit(number: int) -> None:
        async with database.transaction(EVERY_TENANT) as tx:
            await write(tx, f"tx-4-{number}")
            if number % 3 == 0:
                raise ZeroDivisionError

    outcomes = await asyncio.gather(*(unit(n) for n in range(9)), return_exceptions=True)
    assert [isinstance(outcome, ZeroDivisionError) for outcome in outcomes] == [n % 3 == 0 for n in range(9)]
    kept = {name for name in await written(database) if name.startswith("tx-4-")}
    assert kept == {f"tx-4-{n}" for n in range(9) if n % 3}


async def test_what_follows_a_commit_is_called_when_others_see_it_and_only_for_units_that_were_kept(
    database: Database,
) -> None:
    called: list[int] = []

    async def unit(number: int) -> None:
        async with database.transaction(EVERY_TENANT) as tx:
            await write(tx, f"tx-6-{number}")
            tx.after_commit(lambda: called.append(number))
            assert number not in called
            if number % 3 == 0:
                raise ZeroDivisionError
        assert number in called

    outcomes = await asyncio.gather(*(unit(n) for n in range(9)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome] == [ZeroDivisionError] * 3
    assert sorted(called) == [1, 2, 4, 5, 7, 8]


@pytest.mark.parametrize("steps", range(12))
async def test_a_unit_that_is_cancelled_blocks_nobody(database: Database, steps: int) -> None:
    async def unit(name: str) -> None:
        async with database.transaction(EVERY_TENANT) as tx:
            await write(tx, name)
            await write(tx, f"{name}-second")

    tasks = [asyncio.create_task(unit(f"tx-5-{steps}-{n}")) for n in range(4)]
    for _ in range(steps):
        await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await unit(f"tx-5-{steps}-after")
    kept = {name for name in await written(database) if name.startswith(f"tx-5-{steps}-")}
    assert {name for name in kept if name.endswith("second")} == {
        f"{name}-second" for name in kept if "second" not in name
    }
    assert {f"tx-5-{steps}-{n}" for n in (0, 3, "after")} <= kept


async def test_a_unit_cancelled_inside_a_core_statement_ends_alone(small: SqliteDatabase) -> None:
    begun = asyncio.Event()

    async def unit() -> None:
        async with small.transaction(EVERY_TENANT) as tx:
            await tx.execute(text("INSERT INTO notes (id) VALUES (1)"))
            begun.set()
            await tx.execute(text(_SLOW))

    async def quick(number: int) -> None:
        async with small.transaction(EVERY_TENANT) as tx:
            await tx.execute(text("INSERT INTO notes (id) VALUES (:number)"), {"number": number})

    cancelled = asyncio.create_task(unit())
    await begun.wait()
    behind = asyncio.create_task(quick(2))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await behind
    await quick(3)
    async with small.reading(EVERY_TENANT) as view:
        assert [tuple(row) for row in await view.fetch("SELECT id FROM notes ORDER BY id")] == [(2,), (3,)]


async def test_a_unit_commits_though_the_next_in_line_is_cancelled_just_then(small: SqliteDatabase) -> None:
    waiting: asyncio.Task[None] | None = None
    go_on = asyncio.Event()

    async def first() -> None:
        async with small.transaction(EVERY_TENANT) as tx:
            assert isinstance(tx, SqliteTx)
            release = tx.end

            async def end(*frame: str, undo: bool) -> int:
                changes = await release(*frame, undo=undo)
                if frame == ("RELEASE unit",) and waiting is not None:
                    waiting.cancel()
                return changes

            tx.end = end  # type: ignore[method-assign]
            await go_on.wait()
            await tx.run("INSERT INTO notes (id) VALUES (1)")

    async def second() -> None:
        async with small.transaction(EVERY_TENANT):
            pass

    task = asyncio.create_task(first())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(second())
    await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(10):
        await task
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize("failing", [0, 1, 2])
async def test_a_unit_whose_last_statement_fails_is_undone_alone(small: SqliteDatabase, failing: int) -> None:
    told: list[int] = []

    async def unit(number: int) -> None:
        async with small.transaction(EVERY_TENANT) as tx:
            tx.after_commit(lambda: told.append(number))
            await tx.run("INSERT INTO notes (id) VALUES (?)", number)
            # Sent with the end of the unit: nothing is asked for in between.
            await tx.run_many("INSERT INTO notes (id) VALUES (?)", [(number if number == failing else number + 10,)])

    outcomes = await asyncio.gather(*(unit(n) for n in range(3)), return_exceptions=True)
    assert [isinstance(outcome, sqlite3.IntegrityError) for outcome in outcomes] == [n == failing for n in range(3)]
    assert told == [n for n in range(3) if n != failing]
    async with small.reading(EVERY_TENANT) as view:
        kept = {row[0] for row in await view.fetch("SELECT id FROM notes")}
    assert kept == {n + more for n in range(3) if n != failing for more in (0, 10)}


async def test_what_gives_no_rows_is_there_for_the_statements_behind_it(small: SqliteDatabase) -> None:
    async with small.transaction(EVERY_TENANT) as tx:
        await tx.run("INSERT INTO notes (id) VALUES (1)")
        assert await tx.fetch("SELECT id FROM notes") == [(1,)]
        await tx.run_in_one_trip(
            ("INSERT INTO notes (id) VALUES (?)", [(2,)]), ("DELETE FROM notes WHERE id = ?", [(1,)])
        )
        assert (await tx.execute(text("SELECT id FROM notes"))).all() == [(2,)]
        await tx.run_many("INSERT INTO notes (id) VALUES (?)", [(n,) for n in range(3, 500)])
        found = await tx.fetch_portion("SELECT id, text FROM notes", texts=("text",), most_bytes=10_000)
        assert len(found.rows) == 498


async def test_a_lost_writer_fails_its_group_and_is_replaced(small: SqliteDatabase) -> None:
    with pytest.raises((Unavailable, ValueError)):
        async with small.transaction(EVERY_TENANT) as tx:
            await tx.connection.invalidate()
            await tx.run("INSERT INTO notes (id) VALUES (1)")
    async with small.transaction(EVERY_TENANT) as tx:
        await tx.run("INSERT INTO notes (id) VALUES (2)")
    async with small.reading(EVERY_TENANT) as view:
        assert [tuple(row) for row in await view.fetch("SELECT id FROM notes")] == [(2,)]


async def test_who_is_cancelled_twice_while_the_writer_is_opened_blocks_nobody(tmp_path: Path) -> None:
    async with closing(SqliteDatabase(tmp_path / "new.sqlite3")) as database:

        async def unit() -> None:
            async with database.transaction(EVERY_TENANT) as tx:
                await tx.run("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY)")

        opening = asyncio.create_task(unit())
        for _ in range(2):
            await asyncio.sleep(0)
            opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with asyncio.timeout(20):
            await unit()


@pytest.mark.parametrize("next_in_line", ["transaction", "tidy"])
async def test_who_waits_for_a_commit_learns_that_the_database_was_closed_before_it(
    small: SqliteDatabase, monkeypatch: pytest.MonkeyPatch, next_in_line: str
) -> None:
    monkeypatch.setattr("datacollect.db.sqlite._SECONDS_TO_END", 0)
    begun, ending = asyncio.Event(), asyncio.Event()

    async def unit() -> None:
        async with small.transaction(EVERY_TENANT) as tx:
            await tx.run("INSERT INTO notes (id) VALUES (1)")
            begun.set()
            await ending.wait()

    async def come_next() -> None:
        await (unit() if next_in_line == "transaction" else small.tidy())

    tasks = [asyncio.create_task(unit())]
    await begun.wait()
    tasks.append(asyncio.create_task(come_next()))
    await asyncio.sleep(0)
    closed = asyncio.create_task(small.close())
    ending.set()
    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await closed
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]


async def _select(tx: Tx) -> None:
    await tx.execute(text("SELECT 1"))


async def _fetch(tx: Tx) -> None:
    await tx.fetch("SELECT 1")


@pytest.mark.parametrize("events", [0, 1])
@pytest.mark.parametrize("ask", [_select, _fetch])
async def test_nothing_is_stored_of_a_unit_that_goes_on_while_the_database_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: int, ask: Callable[[Tx], Awaitable[None]]
) -> None:
    monkeypatch.setattr("datacollect.db.sqlite._SECONDS_TO_END", 0)
    path, begun = tmp_path / "closed.sqlite3", asyncio.Event()
    database = SqliteDatabase(path)
    async with database.transaction() as tx:
        await tx.run("CREATE TABLE notes (id INTEGER PRIMARY KEY)")

    async def go_on() -> None:
        async with database.transaction(events=events) as tx:
            for number in count():
                await tx.run("INSERT INTO notes (id) VALUES (?)", number)
                await ask(tx)
                begun.set()
                await asyncio.sleep(0)

    unit = asyncio.create_task(go_on())
    await begun.wait()
    await database.close()
    with pytest.raises(Unavailable):
        await unit
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM notes").fetchall() == []


async def test_core_statements_and_the_drivers_own_share_the_transaction(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction(EVERY_TENANT) as tx:
            row = {
                "position": 0,
                "chain_hash": b"",
                "recorded_ms": 0,
                "figures": "{}",
                "epoch": "e",
                "epoch_position": 0,
            }
            await tx.execute(insert(log_heads), [{"tenant_id": "tx-6", **row}])
            found = await tx.execute(select(func.count()).where(log_heads.c.tenant_id == "tx-6"))
            assert found.scalar_one() == 1
            raise ZeroDivisionError
    assert "tx-6" not in await written(database)


async def test_migrating_twice_changes_nothing(database: Database) -> None:
    before = await written(database)
    await migrate(database)
    assert await written(database) == before


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "small.sqlite3")
    async with database.transaction(EVERY_TENANT) as tx:
        await tx.run("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
    yield database
    await database.close()


@pytest.mark.parametrize(("seconds", "expected"), [(60.0, 1), (0.0, 20)])
async def test_units_that_wait_together_are_committed_together_but_not_for_ever(
    small: SqliteDatabase, monkeypatch: pytest.MonkeyPatch, seconds: float, expected: int
) -> None:
    monkeypatch.setattr("datacollect.db.sqlite._GROUP_SECONDS", seconds)
    commits: list[str] = []

    async def unit(number: int) -> None:
        async with small.transaction(EVERY_TENANT) as tx:
            if number == 0:
                driver = tx._driver  # type: ignore[attr-defined]
                await driver.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
            await tx.run("INSERT INTO notes (id) VALUES (?)", number)

    await asyncio.gather(*(unit(n) for n in range(20)))
    assert len(commits) == expected
    async with small.reading(EVERY_TENANT) as view:
        assert len(await view.fetch("SELECT id FROM notes")) == 20
    await small.close()


@pytest.mark.parametrize(("slow", "worth_it"), [(8, True), (16, False)])
async def test_small_appends_are_not_made_one_where_each_commit_takes_the_disk_long(
    small: SqliteDatabase, monkeypatch: pytest.MonkeyPatch, slow: int, worth_it: bool
) -> None:
    """Some that are quick tell that the disk is; the others may have waited for the process. Those that had nothing to write
    tell nothing."""
    monkeypatch.setattr("datacollect.db.sqlite._QUICK_COMMIT_SECONDS", 0.03)

    def wait(statement: str) -> None:
        if statement == "COMMIT":
            time.sleep(0.03)  # the disk

    for number in range(20):
        async with small.transaction(EVERY_TENANT) as tx:
            if number == 20 - slow:
                await tx._driver.set_trace_callback(wait)  # type: ignore[attr-defined]
            await tx.run("INSERT INTO notes (id) VALUES (?)", number)
    async with small.transaction(EVERY_TENANT) as tx:
        await tx._driver.set_trace_callback(None)  # type: ignore[attr-defined]
        await tx.fetch("SELECT 1")
    assert small.appends_as_one is worth_it


async def test_however_many_units_of_one_tenant_wait_those_of_others_wait_for_one_of_them(
    small: SqliteDatabase,
) -> None:
    order: list[str] = []

    async def unit(tenant: str, number: int) -> None:
        async with small.transaction(system_scope(TenantId(tenant))):
            order.append(f"{tenant}{number}")
            await asyncio.sleep(0)

    asked = [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 1), ("b", 2), ("c", 1)]
    tasks = [asyncio.create_task(unit(*one)) for one in asked]
    await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["a1", "b1", "c1", "a2", "b2", "a4"]


async def test_a_small_unit_does_not_wait_for_a_large_one_behind_it(small: SqliteDatabase) -> None:
    """One that has shown that its units take long is expected to take long again."""
    is_answered = asyncio.Event()

    async def large(number: int) -> None:
        async with small.transaction(system_scope(TenantId("large"))) as tx:
            await tx.run("INSERT INTO notes (id) VALUES (?)", number)
            if number == 1:
                await asyncio.sleep(0.5)  # it takes long, also beside a commit to a slow disk
            else:
                await is_answered.wait()

    async def little() -> None:
        async with small.transaction(system_scope(TenantId("little"))) as tx:
            await tx.run("INSERT INTO notes (id) VALUES (3)")
        is_answered.set()

    async with asyncio.timeout(20):
        await asyncio.gather(large(1), large(2), little())


async def test_a_commit_that_fails_is_an_error_for_everyone_in_the_group(small: SqliteDatabase) -> None:
    # The disk is "full" at commit: deferred foreign keys would do as well, but this is what happens in the field.
    async with small.transaction(EVERY_TENANT) as tx:
        await tx.run("PRAGMA max_page_count=1")

    async def unit(number: int) -> None:
        async with small.transaction(EVERY_TENANT) as tx:
            await tx.run("INSERT INTO notes (id, text) VALUES (?, ?)", number, "x" * 20_000)

    outcomes = await asyncio.gather(*(unit(n) for n in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    async with small.reading(EVERY_TENANT) as view:
        assert await view.fetch("SELECT id FROM notes") == []
    await small.close()


async def test_a_folder_that_cannot_be_written_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StartupError, match=r"DATA_DIR .* cannot be written"):
        SqliteDatabase(tmp_path / "file" / "hub.sqlite3")


async def test_a_bug_in_a_statement_stays_a_bug(database: Database) -> None:
    with pytest.raises(Exception, match="no_such_table") as failure:
        async with database.reading(EVERY_TENANT) as view:
            await view.fetch("SELECT * FROM no_such_table")
    assert not isinstance(failure.value, Unavailable)


async def test_the_database_can_be_read_by_the_hubs_own_user_only(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "data" / "hub.sqlite3")
    async with database.transaction(EVERY_TENANT) as tx:
        await tx.run("CREATE TABLE notes (id INTEGER)")
    modes = {path.name: path.stat().st_mode & 0o077 for path in [tmp_path / "data", *(tmp_path / "data").iterdir()]}
    await database.close()
    assert set(modes.values()) == {0}, modes


async def test_the_write_ahead_log_stays_small_though_another_process_writes_too(tmp_path: Path) -> None:
    log = tmp_path / "hub.sqlite3-wal"
    async with (
        closing(SqliteDatabase(tmp_path / "hub.sqlite3")) as ours,
        closing(SqliteDatabase(tmp_path / "hub.sqlite3")) as theirs,
    ):
        async with ours.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE t (x BLOB)")
        sizes = []
        for _ in range(30):
            # What they write after our statement has been copied keeps the log from beginning anew by itself.
            async with ours.transaction(EVERY_TENANT) as tx:
                await tx.run("INSERT INTO t VALUES (randomblob(1000000))")
            async with theirs.transaction(EVERY_TENANT) as tx:
                await tx.run("INSERT INTO t VALUES (x'00')")
            await ours.tidy()
            sizes.append(log.stat().st_size)
    assert max(sizes) < 3_000_000


async def test_a_snapshot_shows_what_was_there_when_it_was_opened_and_keeps_nobody_from_writing(
    database: Database,
) -> None:
    async with database.transaction(EVERY_TENANT) as tx:
        await write(tx, "tx-snapshot-before")
    async with database.snapshot(EVERY_TENANT) as view:
        async with database.transaction(EVERY_TENANT) as tx:
            await write(tx, "tx-snapshot-after")
        for _ in range(2):
            shown = {row[0] for row in await view.fetch(heads)}
            assert "tx-snapshot-before" in shown and "tx-snapshot-after" not in shown
    assert "tx-snapshot-after" in await written(database)
    async with database.snapshot(EVERY_TENANT) as view:
        assert "tx-snapshot-after" in {row[0] for row in await view.fetch(heads)}


async def test_a_reader_that_is_cancelled_leaves_nothing_running_for_the_next_one(small: SqliteDatabase) -> None:
    begun, endless, drivers = asyncio.Event(), _SLOW.replace(" WHERE n < 100000", ""), list[Any]()

    async def read() -> None:
        async with small.reading(seconds=3600) as view:
            drivers.append((await view.connection.get_raw_connection()).driver_connection)
            begun.set()
            await view.fetch(endless)

    try:
        for _ in range(4):
            begun.clear()
            reader = asyncio.create_task(read())
            await begun.wait()
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
        for _ in range(8):
            async with asyncio.timeout(20), small.reading() as view:
                assert [tuple(row) for row in await view.fetch("SELECT 1")] == [(1,)]
    finally:
        for driver in drivers:  # or a failure here would never end
            await driver.interrupt()


async def test_a_snapshot_that_is_given_up_leaves_its_connection_sound(database: Database) -> None:
    for number in range(20):  # more often than there are connections
        with pytest.raises(ZeroDivisionError):
            async with database.snapshot(EVERY_TENANT):
                raise ZeroDivisionError
        opened = asyncio.Event()

        async def hold(opened: asyncio.Event) -> None:
            async with database.snapshot(EVERY_TENANT) as view:
                await view.fetch(heads)
                opened.set()
                await asyncio.Event().wait()

        holding = asyncio.create_task(hold(opened))
        await opened.wait()
        holding.cancel()
        await asyncio.wait((holding,))
        async with database.transaction(EVERY_TENANT) as tx:
            await write(tx, f"tx-given-up-{number}")
        async with database.snapshot(EVERY_TENANT) as view:
            assert f"tx-given-up-{number}" in {row[0] for row in await view.fetch(heads)}


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("is_cancelled", [False, True], ids=["that ends", "that is cancelled"])
@pytest.mark.parametrize("kind", ["reading", "snapshot", "transaction"])
async def test_no_connection_outlives_a_database_that_is_closed_under_somebody(
    request: pytest.FixtureRequest, migrated_once: Migrated, engine: str, tmp_path: Path, kind: str, is_cancelled: bool
) -> None:
    async with migrated_once.database(engine, request, tmp_path) as url:
        await _close_under_somebody(open_database(url, data_dir=tmp_path, pool_size=2), kind, is_cancelled=is_cancelled)
    gc.collect()  # what is left open says so when it goes


@pytest.mark.parametrize("seconds", [0, 20])
async def test_no_connection_outlives_a_database_that_is_closed_while_its_writer_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    monkeypatch.setattr("datacollect.db.sqlite._SECONDS_TO_END", seconds)
    database = SqliteDatabase(tmp_path / "closed.sqlite3")

    async def write() -> None:
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE notes (id INTEGER PRIMARY KEY)")

    writing = asyncio.create_task(write())
    await asyncio.sleep(0)
    await asyncio.wait([writing, asyncio.create_task(database.close())])
    assert type(writing.exception()) is (type(None) if seconds else Unavailable)
    assert _names(tmp_path) == ["closed.sqlite3"]


def _names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def _close_under_somebody(database: Database, kind: str, *, is_cancelled: bool) -> None:
    begun, going_on = asyncio.Event(), asyncio.Event()

    async def use() -> None:
        async with getattr(database, kind)(EVERY_TENANT) as view:
            await view.fetch(heads)
            begun.set()
            await going_on.wait()

    using = asyncio.create_task(use())
    await begun.wait()
    ending = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    if is_cancelled:
        using.cancel()
    going_on.set()
    await asyncio.wait((using, ending))
    for unit in (database.transaction, database.reading, database.snapshot):
        with pytest.raises(Unavailable):
            async with unit(EVERY_TENANT) as view:
                await view.fetch(heads)


async def test_work_on_many_things_leaves_others_their_turns_however_many_are_at_it() -> None:
    seen: list[str] = []

    async def work(name: str) -> list[int]:
        found: list[int] = []
        async for some in in_turns(range(9), at_once=2):
            seen.append(name)
            found += some
        return found

    async def other() -> None:
        for _ in range(50):
            await asyncio.sleep(0)
            seen.append("other")

    given_up, *workers = [asyncio.create_task(work(name)) for name in "xab"]
    bystander = asyncio.create_task(other())
    await asyncio.sleep(0)
    given_up.cancel()
    assert await asyncio.gather(*workers) == [list(range(9))] * 2
    await bystander
    # Each begins at once; from then on there is one piece at the most between two turns of somebody else.
    pieces = [name for name in "".join(name[0] for name in seen[3:]).split("o") if name]
    assert seen[:3] == ["x", "a", "b"] and sorted(pieces) == ["a"] * 4 + ["b"] * 4
    assert [list(some) async for some in in_turns([])] == []
