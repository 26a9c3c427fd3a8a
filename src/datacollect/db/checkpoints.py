"""SQLite's write-ahead log, copied into the database beside the writer.

What is committed stands in the log until a checkpoint copies it. Left to SQLite, whoever commits when the log has come
to its size copies all of it while everybody waits. Here a connection with a thread of its own copies while the writer
goes on. The log can only begin anew when nobody has written since the last copy; so when it is long enough, and little
of it is left to be copied, the writer is held for as long as that little takes.

None of this is needed for what is committed to be safe: a checkpoint that fails is done again later. But one must never
begin where there is nothing to copy while somebody may commit. Up to SQLite 3.51.2 it can overlook that the commit lets the
log begin anew, and take frames for copied that are not: the database is then lost (https://sqlite.org/wal.html#walresetbug).
So each copy follows a commit that nothing else in this process has copied, and there is no other that copies while the writer
is free. Commands that write beside a hub hold SQLite's own lock for writers while they copy: nobody commits then, in no process.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiosqlite
import structlog

_ROWS = 3000
"""Changed since the last copy: one to four pages each, which are the log's frames."""
_FRAMES = 4000
"""From which on the log is to begin anew. 16 MiB."""
_COMMITS = 1000
"""Likewise: of a process that changes little while others do."""
_BYTES = 16 * 1024 * 1024
"""Likewise, by which its file has grown: of rows that are long, or of others who write."""
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

    def __init__(self, path: Path, *, beside_a_hub: bool = False) -> None:
        """`beside_a_hub` copies for whoever holds the writer only, who is to hold it against other processes, too."""
        self.is_due = False
        """Whether the log is to begin anew: see `begin_anew`."""
        self._path = path
        self._beside_a_hub = beside_a_hub
        self._log_path = path.with_name(f"{path.name}-wal")
        self._bytes_copied = 0
        """Of the log's file, which keeps its size when the log begins anew."""
        self._driver: aiosqlite.Connection | None = None
        self._at_work = asyncio.Lock()
        self._begun_anew = 0
        """How often."""
        self._commits = 0
        """Since the last copy began."""
        self._changes = self._changes_copied = 0
        self._copying: asyncio.Task[None] | None = None
        self._is_closed = False

    def committed(self, changes: int) -> None:
        """To be told after each commit of the writer: how many rows its connection has changed since it was opened."""
        if changes < self._changes:  # it is another connection
            self._changes_copied = 0
        elif changes == self._changes:  # nothing that could be copied
            return
        self._changes = changes
        self._commits += 1
        if self._copying is not None or self.is_due or self._is_closed:
            return
        size = self._log_size()
        self._bytes_copied = min(self._bytes_copied, size)
        is_long = size - self._bytes_copied >= _BYTES
        if is_long or changes - self._changes_copied >= _ROWS or self._commits >= _COMMITS:
            self._changes_copied, self._commits, self._bytes_copied = changes, 0, size
            if self._beside_a_hub:
                self.is_due = True
            else:
                self._copying = asyncio.create_task(self._copy(self._begun_anew))

    def _log_size(self) -> int:
        try:
            return self._log_path.stat().st_size
        except OSError:
            return 0

    async def begin_anew(self) -> None:
        """Copy what is left and let the next commit write from the log's beginning. For whoever holds the writer."""
        self.is_due = False
        if not self._is_closed:
            async with self._alone():
                await self._checkpoint("PASSIVE" if self._beside_a_hub else "RESTART")

    async def cut(self) -> None:
        """As `begin_anew`, and leave nothing of what the log held in its file, if nobody is reading it."""
        if not self._is_closed:
            async with self._alone():
                await self._checkpoint("TRUNCATE")

    def put_off(self) -> None:
        """Until as much has been changed once more."""
        self.is_due = False

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """While nothing else copies. For whoever holds the writer, and is about to copy all that there is."""
        async with self._at_work:
            self._begun_anew += 1
            yield

    async def close(self) -> None:
        self._is_closed = True
        if self._copying is not None:
            await asyncio.wait([self._copying])
        if self._driver is not None:
            await self._driver.close()
            self._driver = None

    async def _copy(self, begun_anew: int) -> None:
        """After a commit; if the log has begun anew since, what that has left has been copied."""
        try:
            async with self._at_work:
                if begun_anew == self._begun_anew:
                    _, frames, copied = await self._checkpoint("PASSIVE")
                    # What a snapshot holds back is not waited for.
                    self.is_due = frames >= _FRAMES and frames - copied < _FRAMES
        finally:
            self._copying = None

    async def _checkpoint(self, mode: str) -> _Copied:
        try:
            if self._driver is None:
                there = f"file:{self._path}?mode=rw"  # if it is not, none is to be made
                self._driver = await aiosqlite.connect(there, timeout=_PATIENCE_SECONDS, isolation_level=None, uri=True)
            [told] = await self._driver.execute_fetchall(f"PRAGMA wal_checkpoint({mode})")
            return _Copied(*told)
        except (sqlite3.Error, ValueError) as error:
            # A full disk, for one: whoever commits meets it too, and is told.
            _log.warning("database.checkpoint_failed", reason=getattr(error, "sqlite_errorname", type(error).__name__))
            return _Copied(1, -1, -1)
