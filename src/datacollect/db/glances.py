"""Small statements of SQLite without leaving the loop.

To a connection's thread and back costs fifty times what such a statement takes, and two rounds of a loop that has others to
serve, or as long as Python lets a busy loop keep a thread waiting: five milliseconds. So it is made where the caller is.
That is a bet on the disk: rows that are in memory, or on a disk that answers in a millisecond. Whenever it is lost the loop
has waited once, and statements go to the threads for a while.
"""

import math
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, FrozenResult, create_engine, exc
from sqlalchemy.pool import StaticPool

_T = TypeVar("_T")

_PRAGMAS = ("PRAGMA busy_timeout=0", "PRAGMA cache_size=-2048")
_SLOW_SECONDS = 0.01
_AWAY_SECONDS = 1.0


class Bet:
    """That the disk of a database answers at once."""

    def __init__(self, *, monotonic: Callable[[], float] = time.perf_counter) -> None:
        self._monotonic = monotonic
        self._not_before = 0.0

    @property
    def is_on(self) -> bool:
        """Whether it has not been lost a moment ago."""
        return self._monotonic() >= self._not_before

    def make(self, work: Callable[[], _T]) -> _T:
        """What the work gives. The bet is lost if it takes long."""
        begun = self._monotonic()
        try:
            return work()
        finally:
            if self._monotonic() - begun > _SLOW_SECONDS:
                self.lose()

    def lose(self) -> None:
        self._not_before = max(self._not_before, self._monotonic() + _AWAY_SECONDS)

    def end(self) -> None:
        """Nobody makes it any more."""
        self._not_before = math.inf


class Glances:
    """A connection that only reads, opened when it is needed first."""

    def __init__(self, path: Path, bet: Bet) -> None:
        self._path = path
        self._bet = bet
        self._connection: sqlite3.Connection | None = None
        self._core: Connection | None = None
        """The same one, for statements that are made of SQLAlchemy's parts."""

    def try_to(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """What the work on the connection gives; None when it is better done in a thread: something else has the
        database for itself just now, or the disk was slow a moment ago."""
        if not self._bet.is_on:
            return None
        try:
            return self._bet.make(lambda: work(self._opened()))
        except (sqlite3.OperationalError, exc.OperationalError):
            # Whatever it is: a thread waits for those who are in the way, and tells the rest.
            self._bet.lose()
            return None

    def try_to_execute(self, statement: Executable, parameters: Any) -> FrozenResult[Any] | None:
        """All rows of the statement; None likewise."""
        return self.try_to(lambda opened: self._core_of(opened).execute(statement, parameters).freeze())

    def close(self) -> None:
        if self._core is not None:
            self._core.close()
            self._core.engine.dispose()
            self._core = None
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

    def _core_of(self, opened: sqlite3.Connection) -> Connection:
        if self._core is None:
            engine = create_engine(
                "sqlite://", creator=lambda: opened, poolclass=StaticPool, isolation_level="AUTOCOMMIT"
            )
            self._core = engine.connect()
        return self._core
