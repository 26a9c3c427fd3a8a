"""Nothing is stored in a file of SQLite's that nobody will find again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from datacollect.db import EVERY_TENANT
from datacollect.db.database import closing
from datacollect.db.sqlite import SqliteDatabase
from datacollect.kernel.errors import Unavailable
from tests.logs import told

pytestmark = pytest.mark.anyio


def move(path: Path) -> None:
    for file in path.parent.glob("hub.sqlite3*"):
        file.rename(path.parent / f"moved-{file.name}")


def replace(path: Path) -> None:
    copy = path.with_name("backup")
    shutil.copy(path, copy)
    for file in path.parent.glob("hub.sqlite3*"):
        file.unlink()
    shutil.copy(copy, path)


@pytest.mark.parametrize("happens", [move, replace])
async def test_who_writes_to_a_file_that_is_moved_or_replaced_is_told_that_nothing_is_stored(
    tmp_path: Path, happens: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datacollect.db.checkpoints._ROWS", 1)
    path = tmp_path / "hub.sqlite3"
    async with closing(SqliteDatabase(path)) as database:
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run("CREATE TABLE t (x INTEGER)")
        await database.check()
        happens(path)
        with structlog.testing.capture_logs() as lines:
            for _ in range(3):
                with pytest.raises(Unavailable):
                    async with database.transaction(EVERY_TENANT) as tx:
                        await tx.run("INSERT INTO t VALUES (1)")
            with pytest.raises(Unavailable):
                await database.check()
        assert [line["event"] for line in told(lines, "database")] == ["database.file_replaced"]
        async with database.reading(EVERY_TENANT) as view:
            assert await view.fetch("SELECT count(*) FROM t") == [(0,)]
    assert path.exists() == (happens is replace), "no empty one is made in its place"
