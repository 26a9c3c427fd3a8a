"""Reading a few rows of SQLite by their keys without leaving the loop.

To a connection's thread and back costs fifty times what such a statement takes, and two rounds of a loop that has others to
serve. So it is asked where the caller is, over a connection of the loop's own. That is a bet on the disk: rows that are in
memory, or on a disk that answers in a millisecond. Whenever it is lost the loop has waited once, and statements go to the
threads for a while.
"""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")

_PRAGMAS = ("PRAGMA busy_timeout=0", "PRAGMA cache_size=-2048")
_SLOW_SECONDS = 0.01
_AWAY_SECONDS = 1.0


class Glances:
    """The connection, opened when it is needed first."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.perf_counter) -> None:
        self._path = path
        self._monotonic = monotonic
        self._connection: sqlite3.Connection | None = None
        self._not_before = 0.0

    def try_to(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """What the work on the connection gives; None when it is better done in a thread: something else has the
        database for itself just now, or the disk was slow a moment ago."""
        begun = self._monotonic()
        if begun < self._not_before:
            return None
        try:
            found = work(self._opened())
        except sqlite3.OperationalError:
            # Whatever it is: a thread waits for those who are in the way, and tells the rest.
            self._not_before = begun + _AWAY_SECONDS
            return None
        ended = self._monotonic()
        if ended - begun > _SLOW_SECONDS:
            self._not_before = ended + _AWAY_SECONDS
        return found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            opened = sqlite3.connect(
                f"file:{self._path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            for pragma in _PRAGMAS:
                opened.execute(pragma)
            self._connection = opened
        return self._connection
