"""SQLite's write-ahead log, copied into the database beside the writer.

What is committed stands in the log until a checkpoint copies it. Left to SQLite, whoever commits when the log has come
to its size copies all of it while everybody waits. Here a connection with a thread of its own copies while the writer
goes on. The log can only begin anew when nobody has written since the last copy; so when it is long enough, and little
of it is left to be copied, the writer is held for as long as that little takes.

None of this is needed for what is committed to be safe: a checkpoint that fails is done again later.
"""

import asyncio
import sqlite3
from pathlib import Path
from typing import NamedTuple

import aiosqlite
import structlog

WRITER_FRAMES = 24_000
"""From here on whoever commits copies the log, as SQLite does it by itself: the end of a log that others write as well,
each less than is copied for, or which a long reader has held back. 96 MiB."""

_ROWS = 3000
"""Changed since the last copy: one to four pages each, which are the log's frames."""
_FRAMES = 4000
"""From which on the log is to begin anew. 16 MiB."""
_COPIES = 3
"""In a row at most, until nobody has committed meanwhile: each has less to do than the one before."""
_PATIENCE_SECONDS = 0.02
"""For readers of what is to be overwritten, and other processes that write, while the writer is held."""

_log = structlog.get_logger(component="database")


class _Copied(NamedTuple):
    gave_up: int
    frames: int
    """In the log; -1 when it could not be looked at."""
    copied: int


class Checkpoints:
    """Of one database, in one process; its connection is opened when there is something to copy."""

    def __init__(self, path: Path) -> None:
        self.is_due = False
        """Whether the log is to begin anew: see `begin_anew`."""
        self._path = path
        self._driver: aiosqlite.Connection | None = None
        self._opening = asyncio.Lock()
        self._commits = 0
        self._changes_copied = 0
        self._copying: asyncio.Task[None] | None = None
        self._is_closed = False

    def committed(self, changes: int) -> None:
        """To be told after each commit of the writer: how many rows its connection has changed since it was opened."""
        self._commits += 1
        if changes < self._changes_copied:  # it is another connection
            self._changes_copied = 0
        if self._copying is None and not self._is_closed and changes - self._changes_copied >= _ROWS:
            self._changes_copied = changes
            self._copying = asyncio.create_task(self._copy())

    async def begin_anew(self) -> None:
        """Copy what is left and let the next commit write from the log's beginning. For whoever holds the writer."""
        self.is_due = False
        if not self._is_closed:
            await self._checkpoint("RESTART")

    async def close(self) -> None:
        self._is_closed = True
        if self._copying is not None:
            await asyncio.wait([self._copying])
        if self._driver is not None:
            await self._driver.close()
            self._driver = None

    async def _copy(self) -> None:
        try:
            for _ in range(_COPIES):
                commits = self._commits
                _, frames, copied = await self._checkpoint("PASSIVE")
                if commits == self._commits:
                    break
            # What a snapshot holds back is not waited for.
            self.is_due = frames >= _FRAMES and frames - copied < _FRAMES
        finally:
            self._copying = None

    async def _checkpoint(self, mode: str) -> _Copied:
        try:
            async with self._opening:
                if self._driver is None:
                    self._driver = await aiosqlite.connect(self._path, timeout=_PATIENCE_SECONDS, isolation_level=None)
            [told] = await self._driver.execute_fetchall(f"PRAGMA wal_checkpoint({mode})")
            return _Copied(*told)
        except (sqlite3.Error, ValueError) as error:
            # A full disk, for one: whoever commits meets it too, and is told.
            _log.warning("database.checkpoint_failed", reason=getattr(error, "sqlite_errorname", type(error).__name__))
            return _Copied(1, -1, -1)
