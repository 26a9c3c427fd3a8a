"""The write-ahead log of SQLite is copied beside the writer, and does not grow without end."""

import asyncio
import contextlib
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest
import structlog

from datacollect.db import EVERY_TENANT, Database
from datacollect.db.checkpoints import Checkpoints
from datacollect.db.database import closing
from datacollect.db.sqlite import SqliteDatabase
from datacollect.kernel.errors import Unavailable

_ONE_INSERT = 20_000


async def _insert(database: Database, times: int) -> None:
    for _ in range(times):
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run(f"INSERT INTO t VALUES (randomblob({_ONE_INSERT}))")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a log of sixteen mebibytes, with one of a few hundred kilobytes."""
    monkeypatch.setattr("datacollect.db.checkpoints._ROWS", 5)
    monkeypatch.setattr("datacollect.db.checkpoints._FRAMES", 50)


async def test_the_log_begins_anew_though_somebody_is_always_writing(tmp_path: Path, eager: None) -> None:
    path, log = tmp_path / "hub.sqlite3", tmp_path / "hub.sqlite3-wal"
    async with closing(SqliteDatabase(path)) as database, closing(SqliteDatabase(path)) as another_process:
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE t (x BLOB)")
            # Of a log that has just been copied whole by a commit, the copy behind that commit must not begin.
            assert await tx.fetch("PRAGMA wal_autocheckpoint") == [(0,)]
        await asyncio.gather(*(_insert(database, 50) for _ in range(3)), _insert(another_process, 50))
        assert log.stat().st_size < 200 * _ONE_INSERT / 2 < path.stat().st_size
    assert not log.exists()
    async with closing(SqliteDatabase(path)) as database, database.reading(EVERY_TENANT) as view:
        assert await view.fetch("SELECT count(*) FROM t") == [(200,)]


async def test_a_log_of_few_long_rows_does_not_grow_without_end(tmp_path: Path) -> None:
    log = tmp_path / "hub.sqlite3-wal"
    async with closing(SqliteDatabase(tmp_path / "hub.sqlite3")) as database:
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE t (x BLOB)")
        for _ in range(200):
            async with database.transaction(EVERY_TENANT) as tx:
                await tx.run("INSERT INTO t VALUES (randomblob(1000000))")
        assert log.stat().st_size < 120_000_000, "some 50; more where the machine is busy, and copying takes its time"


async def test_what_a_snapshot_holds_back_is_copied_when_it_has_ended(tmp_path: Path, eager: None) -> None:
    log = tmp_path / "hub.sqlite3-wal"
    async with closing(SqliteDatabase(tmp_path / "hub.sqlite3")) as database:
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE t (x BLOB)")
        async with database.snapshot(EVERY_TENANT) as view:
            await _insert(database, 50)
            assert await view.fetch("SELECT count(*) FROM t") == [(0,)]
        held = log.stat().st_size
        await _insert(database, 100)
        assert 50 * _ONE_INSERT < held <= log.stat().st_size < 2 * held


async def test_tidying_waits_for_the_units_before_it_and_leaves_none_of_them_waiting(tmp_path: Path) -> None:
    async with closing(SqliteDatabase(tmp_path / "hub.sqlite3")) as database:
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE t (x BLOB)")
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(_insert(database, 1))
            await asyncio.sleep(0)
            tasks.create_task(database.tidy())


async def test_no_copy_begins_where_there_is_nothing_to_copy_while_somebody_may_commit(
    tmp_path: Path, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else SQLite up to 3.51.2 may take frames for copied that are not."""
    path, log_is_whole = tmp_path / "hub.sqlite3", list[bool]()
    copy = Checkpoints._checkpoint

    async def watched(checkpoints: Checkpoints, mode: str) -> Any:
        if mode == "PASSIVE":
            index = (tmp_path / "hub.sqlite3-shm").read_bytes()  # https://sqlite.org/walformat.html, 2.1
            [frames], [copied] = struct.unpack_from("=I", index, 16), struct.unpack_from("=I", index, 96)
            log_is_whole.append(copied < frames)
        return await copy(checkpoints, mode)

    monkeypatch.setattr(Checkpoints, "_checkpoint", watched)
    monkeypatch.setattr("datacollect.db.checkpoints._COMMITS", 2)

    async def look() -> None:
        for _ in range(200):
            async with database.transaction(EVERY_TENANT) as tx:
                await tx.fetch("SELECT 1")

    async def tidy() -> None:
        for _ in range(30):
            await database.tidy()

    async with closing(SqliteDatabase(path)) as database:
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE t (x BLOB)")
        await asyncio.gather(*(_insert(database, 100) for _ in range(3)), look(), tidy())
    assert len(log_is_whole) > 5
    assert all(log_is_whole)


async def test_a_command_beside_a_hub_copies_while_no_process_commits(
    tmp_path: Path, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, refused = tmp_path / "hub.sqlite3", list[str]()
    copy = Checkpoints._checkpoint

    async def watched(checkpoints: Checkpoints, mode: str) -> Any:
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as another_process:
            with pytest.raises(sqlite3.OperationalError) as busy:
                another_process.execute("BEGIN IMMEDIATE")
        refused.append(busy.value.sqlite_errorname)
        told = await copy(checkpoints, mode)
        assert told.frames == told.copied > 0
        return told

    async with closing(SqliteDatabase(path)) as hub, closing(SqliteDatabase(path, beside_a_hub=True)) as command:
        async with hub.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE t (x BLOB)")
        monkeypatch.setattr(Checkpoints, "_checkpoint", watched)
        await _insert(command, 200)
        assert (tmp_path / "hub.sqlite3-wal").stat().st_size < 200 * _ONE_INSERT / 2
        async with hub.transaction(EVERY_TENANT) as tx:
            assert await tx.fetch("SELECT count(*) FROM t") == [(200,)]
    assert len(refused) > 5
    assert set(refused) == {"SQLITE_BUSY"}


async def test_a_command_that_does_not_get_the_lock_goes_on_and_copies_later(tmp_path: Path, eager: None) -> None:
    path, log = tmp_path / "hub.sqlite3", tmp_path / "hub.sqlite3-wal"
    async with closing(SqliteDatabase(path, beside_a_hub=True)) as command:
        async with command.transaction(EVERY_TENANT) as tx:
            await tx.run("PRAGMA busy_timeout=20")
            await tx.run("CREATE TABLE t (x BLOB)")
        with (
            structlog.testing.capture_logs() as lines,
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as hub,
        ):
            async with command.transaction(EVERY_TENANT) as tx:
                await tx.run("INSERT INTO t SELECT zeroblob(1000) FROM json_each('[1, 2, 3, 4, 5, 6]')")
                tx.after_commit(lambda: hub.execute("BEGIN IMMEDIATE"))
            with pytest.raises(Unavailable):
                await _insert(command, 1)
            hub.execute("COMMIT")
        assert "database.checkpoint_failed" in {line["event"] for line in lines}
        await _insert(command, 100)
        assert log.stat().st_size < 50 * _ONE_INSERT


async def test_a_copy_that_fails_is_told_and_is_nobodys_error(tmp_path: Path) -> None:
    (tmp_path / "hub.sqlite3").write_text("not a database " * 100)
    checkpoints = Checkpoints(tmp_path / "hub.sqlite3")
    with structlog.testing.capture_logs() as lines:
        checkpoints.committed(1_000_000)
        await checkpoints.begin_anew()
        await checkpoints.close()
    assert {(line["event"], line["reason"]) for line in lines} == {("database.checkpoint_failed", "SQLITE_NOTADB")}
    assert not checkpoints.is_due
