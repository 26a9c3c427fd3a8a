"""Small reads of SQLite are made on the loop, and by a thread when that would keep everybody waiting."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from sqlalchemy import bindparam, column, select, table

from datacollect.db import EVERY_TENANT, Reading
from datacollect.db.database import closing
from datacollect.db.glances import Bet, Glances
from datacollect.db.sqlite import SqliteDatabase
from datacollect.kernel.errors import Unavailable


class Watch:
    """Seconds that pass only when a test says so, or with each look at it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.each = 0.0

    def __call__(self) -> float:
        self.now += self.each
        return self.now


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    async with closing(SqliteDatabase(tmp_path / "hub.sqlite3")) as opened:
        async with opened.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE t (x INTEGER PRIMARY KEY, y TEXT NOT NULL)")
            await tx.run_many("INSERT INTO t VALUES (?, ?)", [(number, "y" * 100) for number in range(10)])
        yield opened


@pytest.fixture
def glances(database: SqliteDatabase, tmp_path: Path) -> Iterator[Glances]:
    with contextlib.closing(Glances(tmp_path / "hub.sqlite3", Bet(monotonic=Watch()))) as opened:
        yield opened


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


async def test_a_glance_sees_what_a_reader_sees(database: SqliteDatabase) -> None:
    statement = "SELECT x, y FROM t WHERE x > ? ORDER BY x LIMIT 3"
    for view_of in (database.reading, database.glancing):
        async with view_of(EVERY_TENANT) as view:
            assert await view.fetch(statement, 4) == [(number, "y" * 100) for number in (5, 6, 7)]
            assert await view.fetch(
                "SELECT x FROM t WHERE x IN (SELECT value FROM json_each(?))", view.listed([2])
            ) == [(2,)]
            rows, is_cut = await view.fetch_portion(statement, 4, texts=("y",), most_bytes=200)
            assert ([row[0] for row in rows], is_cut) == ([5, 6], True)


async def test_a_glance_sees_every_commit_that_was_answered_before_it(database: SqliteDatabase) -> None:
    for count in range(11, 15):
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run("INSERT INTO t VALUES (?, '')", count)
        async with database.glancing(EVERY_TENANT) as view:
            assert await view.fetch("SELECT count(*) FROM t") == [(count,)]


async def test_each_statement_of_a_glance_is_counted_once(database: SqliteDatabase) -> None:
    with database.statements.record() as sent:
        async with database.glancing(EVERY_TENANT) as view:
            await view.fetch("SELECT 1")
            await view.fetch_portion("SELECT y FROM t LIMIT 1", texts=("y",), most_bytes=100)
            with pytest.raises(sqlite3.OperationalError, match="no such table"):
                await view.fetch("SELECT * FROM nowhere")
    assert sent == ["SELECT 1", "SELECT y FROM t LIMIT 1", "SELECT * FROM nowhere"]


async def test_where_there_are_many_rows_a_thread_reads_them_for_a_glance(database: SqliteDatabase) -> None:
    async with database.glancing(EVERY_TENANT) as view:
        async with view.for_rows(100) as few:
            assert few is view
        async with view.for_rows(101) as many:
            assert many is not view
            assert await many.fetch("SELECT count(*) FROM t") == [(10,)]
    async with database.reading(EVERY_TENANT) as view, view.for_rows(101) as many:
        assert many is view, "it is read in a thread anyway"


async def test_few_rows_that_hold_much_are_read_by_a_thread(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []
    reading = database._glance._reading

    def counted() -> AbstractAsyncContextManager[Reading]:
        asked.append(None)
        return reading()

    monkeypatch.setattr(database._glance, "_reading", counted)
    monkeypatch.setattr("datacollect.db.sqlite_units._MOST_HERE_BYTES", 300)
    statement = "SELECT x, y FROM t ORDER BY x LIMIT 5"
    async with database.glancing(EVERY_TENANT) as view:
        for most_bytes, rows, is_cut, in_threads in (
            (200, 2, True, 0),
            (300, 3, True, 0),
            (301, 4, True, 1),
            (9999, 5, False, 1),
        ):
            found = await view.fetch_portion(statement, texts=("y",), most_bytes=most_bytes)
            assert ([row[0] for row in found.rows], found.is_cut) == (list(range(rows)), is_cut), most_bytes
            assert len(asked) == in_threads, most_bytes
            asked.clear()


async def test_a_glance_reads_statements_of_sqlalchemys_parts_too(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table("t", column("x"), column("y"))
    wanted = select(rows.c.x).where(rows.c.x > bindparam("after")).order_by(rows.c.x)
    with database.statements.record() as sent:
        async with database.glancing(EVERY_TENANT) as view:
            found = await view.execute(wanted, {"after": 6})
            # All of it is there: the reading has ended, and the log of the database can be tidied.
            async with database.transaction(EVERY_TENANT) as tx:
                await tx.run("INSERT INTO t VALUES (10, '')")
            await database.tidy()
            assert [row.x for row in found] == [7, 8, 9]
            assert [row.x for row in await view.execute(wanted, {"after": 6})] == [7, 8, 9, 10]
    assert sum(one.startswith("SELECT t.x") for one in sent) == 2


async def test_a_thread_reads_statements_of_sqlalchemys_parts_while_somebody_is_in_the_way(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    rows = table("t", column("x"))
    async with database.glancing(EVERY_TENANT) as view:
        assert len((await view.execute(select(rows.c.x))).all()) == 10
        database._bet.lose()
        assert len((await view.execute(select(rows.c.x))).all()) == 10


async def test_a_glance_of_a_database_that_is_closed_is_refused(database: SqliteDatabase) -> None:
    await database.close()
    with pytest.raises(Unavailable):
        async with database.glancing(EVERY_TENANT):
            pass


async def test_whoever_has_the_database_for_himself_is_waited_for_in_a_thread(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    async with database.glancing(EVERY_TENANT) as view:
        await view.fetch("SELECT 1")
    await database.close()
    async with closing(SqliteDatabase(tmp_path / "hub.sqlite3")) as again:
        with contextlib.closing(sqlite3.connect(tmp_path / "hub.sqlite3", isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode=EXCLUSIVE")
            other.execute("INSERT INTO t VALUES (99, '')")
            async with again.glancing(EVERY_TENANT) as view:
                asked = asyncio.create_task(view.fetch("SELECT count(*) FROM t"))
                await asyncio.wait([asked], timeout=0.05)
                assert not asked.done()
        assert await asked == [(11,)]


async def test_after_a_slow_glance_others_go_to_threads_for_a_second(tmp_path: Path, database: SqliteDatabase) -> None:
    watch = Watch()
    with contextlib.closing(Glances(tmp_path / "hub.sqlite3", Bet(monotonic=watch))) as glances:
        assert glances.try_to(_count) == 10
        watch.each = 0.011
        assert glances.try_to(_count) == 10
        watch.each = 0.0
        assert glances.try_to(_count) is None
        watch.now += 0.9
        assert glances.try_to(_count) is None
        watch.now += 0.2
        assert glances.try_to(_count) == 10


async def test_a_glance_writes_nothing(glances: Glances) -> None:
    assert glances.try_to(lambda opened: opened.execute("DELETE FROM t").rowcount) is None
