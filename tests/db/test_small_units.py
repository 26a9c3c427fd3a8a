"""Units that append few events: done on the loop but for the commit, and by a thread when that would keep everybody waiting."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import pytest

from datacollect.db import EVERY_TENANT, Tx
from datacollect.db.database import closing
from datacollect.db.sqlite import SqliteDatabase
from datacollect.db.turns import MANY
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId

pytestmark = pytest.mark.anyio

SCOPE = system_scope(TenantId("small"))
LOOP = "loop"
THREAD = "thread"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    loop = threading.get_ident()
    async with closing(SqliteDatabase(tmp_path / "hub.sqlite3")) as opened:
        async with opened.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE t (x INTEGER PRIMARY KEY, place TEXT)")
            driver = tx._driver  # type: ignore[attr-defined]
            await driver.create_function("place", 0, lambda: LOOP if threading.get_ident() == loop else THREAD)
        yield opened


async def _write(tx: Tx, *numbers: int) -> None:
    await tx.run_many("INSERT INTO t VALUES (?, place())", [(number,) for number in numbers])


async def _place(tx: Tx) -> str:
    [[place]] = await tx.fetch("SELECT place()")
    return str(place)


async def _stored(database: SqliteDatabase) -> dict[int, str]:
    async with database.reading(EVERY_TENANT) as view:
        return {row[0]: row[1] for row in await view.fetch("SELECT x, place FROM t")}


def _names(folder: Path) -> list[str]:
    return [found.name for found in folder.iterdir()]


async def test_what_appends_few_events_is_done_where_the_caller_is(database: SqliteDatabase) -> None:
    async with database.in_turn(SCOPE, events=MANY - 1) as tx:
        await _write(tx, 1)
        assert await _place(tx) == LOOP
        await _write(tx, 2)
    async with database.in_turn(SCOPE, events=MANY) as tx:
        await _write(tx, 3)
        assert await _place(tx) == THREAD
    async with database.transaction(SCOPE) as tx:  # nobody has said how much it does
        await _write(tx, 4)
    assert await _stored(database) == {1: LOOP, 2: LOOP, 3: THREAD, 4: THREAD}


async def test_many_rows_are_read_and_written_by_the_thread_whatever_the_unit_is(database: SqliteDatabase) -> None:
    async with database.in_turn(SCOPE, events=1) as tx:
        await _write(tx, *range(300))
        assert await _place(tx) == LOOP
        for limit in (99, 100, 101, 300):
            rows = await tx.fetch("SELECT x, place() FROM t ORDER BY x LIMIT ?", limit)
            assert [row[0] for row in rows] == list(range(limit))
            assert {row[1] for row in rows[:100]} == {LOOP}  # and one more, which the driver has at hand
            assert {row[1] for row in rows[101:]} <= {THREAD}
    assert set((await _stored(database)).values()) == {THREAD}


async def test_all_kinds_of_units_share_a_transaction(database: SqliteDatabase) -> None:
    async def unit(number: int) -> None:
        async with database.in_turn(SCOPE, events=(1, MANY)[number % 2]) as tx:
            await _write(tx, number)
            await _place(tx)
            await _write(tx, 100 + number)
            if number % 3 == 2:
                raise ZeroDivisionError
        assert {number, 100 + number} <= (await _stored(database)).keys()

    ends = await asyncio.gather(*(unit(number) for number in range(12)), return_exceptions=True)
    assert [type(end) for end in ends] == [(type(None), type(None), ZeroDivisionError)[n % 3] for n in range(12)]
    kept = [number for number in range(12) if number % 3 != 2]
    assert sorted(await _stored(database)) == [*kept, *(100 + number for number in kept)]


async def test_another_process_that_writes_is_waited_for_in_the_thread(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    async def unit() -> None:
        async with database.in_turn(SCOPE, events=1) as tx:
            await _write(tx, 1)

    with contextlib.closing(sqlite3.connect(tmp_path / "hub.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asked = asyncio.create_task(unit())
        await asyncio.wait([asked], timeout=0.05)
        assert not asked.done()
        other.execute("INSERT INTO t VALUES (2, 'elsewhere')")
        other.execute("COMMIT")
    await asked
    assert await _stored(database) == {1: THREAD, 2: "elsewhere"}
    async with database.transaction(EVERY_TENANT) as tx:
        assert await tx.fetch("PRAGMA busy_timeout") == [(10_000,)]


async def test_after_a_slow_statement_others_go_to_the_thread_for_a_while(database: SqliteDatabase) -> None:
    async with database.in_turn(SCOPE, events=1) as tx:
        assert await _place(tx) == LOOP
        database._bet.lose()
        await _write(tx, 1)
        assert await _place(tx) == THREAD
    assert await _stored(database) == {1: THREAD}


async def test_what_the_thread_does_for_a_unit_ends_before_the_unit_does(database: SqliteDatabase) -> None:
    """Whoever is cancelled meanwhile: what came behind the end would be committed with the others of the group."""
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def place() -> str:
        loop.call_soon_threadsafe(begun.set)
        return THREAD

    async def unit() -> None:
        async with database.in_turn(SCOPE, events=1) as tx:
            await tx._driver.create_function("place", 0, place)  # type: ignore[attr-defined]
            await _write(tx, *range(20_000))

    pushing = asyncio.create_task(unit())
    await begun.wait()
    pushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pushing
    async with database.in_turn(SCOPE, events=1) as tx:
        await tx.run("INSERT INTO t VALUES (-1, '')")
    assert await _stored(database) == {-1: ""}


async def test_a_database_that_is_closed_is_one_file(tmp_path: Path) -> None:
    """Whoever copies it copies all of it, and nothing that was overwritten lies beside it."""
    path = tmp_path / "alone.sqlite3"
    async with closing(SqliteDatabase(path)) as database:
        async with database.in_turn(SCOPE, events=1) as tx:
            await tx.run("CREATE TABLE t (x INTEGER)")
        async with database.reading() as view, database.glancing() as glance:
            assert await view.fetch("SELECT x FROM t") == await glance.fetch("SELECT x FROM t") == []
    assert _names(tmp_path) == [path.name]


async def test_who_is_cancelled_with_the_rows_in_hand_leaves_no_statement_open(
    tmp_path: Path, database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on reading what was there before another process wrote, and nobody could write behind that."""
    async with database.transaction(SCOPE) as tx:
        await _write(tx, *range(300))
    give = aiosqlite.core.set_result

    def give_and_cancel(given: "asyncio.Future[object]", result: object) -> None:
        give(given, result)
        reading.cancel()

    async def read() -> None:
        async with database.transaction(SCOPE) as tx:
            await tx.send()  # type: ignore[attr-defined]
            monkeypatch.setattr(aiosqlite.core, "set_result", give_and_cancel)
            try:
                await tx.fetch("SELECT x FROM t")
            finally:
                monkeypatch.undo()

    reading = asyncio.create_task(read())
    with pytest.raises(asyncio.CancelledError) as held:
        await reading
    with contextlib.closing(sqlite3.connect(tmp_path / "hub.sqlite3")) as other:
        other.execute("INSERT INTO t VALUES (-1, '')")
        other.commit()
    async with database.transaction(SCOPE) as tx:
        await tx.run("INSERT INTO t VALUES (-2, '')")
    assert {-1, -2} < (await _stored(database)).keys()
    del held
