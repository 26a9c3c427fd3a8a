"""Group commit on PostgreSQL: the units of one tenant that wait for each other in this process share a transaction.

Appending to a tenant's log begins with its lock, which is held until the commit is on disk. Where the disk takes
milliseconds for that, one after the other would wait for it. So units that are waiting when one ends go on in its
transaction, each behind a savepoint, and all of them are committed at once; each block returns only after that commit. A unit
that fails is rolled back to its savepoint and takes nobody with it. A lone unit costs no more than it would by itself.

Whoever holds the lock elsewhere, on a machine that is gone maybe, holds it for all in line: when one of them has waited for
it as long as one may, the others are told so too, instead of waiting as long each, one after the other.

A transaction belongs to the task that leads the line, so that no caller's end can leave it half-done.
"""

import asyncio
import contextlib
import contextvars
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from datacollect.db.database import Tx
from datacollect.db.turns import is_much_beside
from datacollect.kernel.errors import StillLocked, Unavailable

MOST_UNITS = 32
"""Of one transaction: PostgreSQL keeps 64 savepoints of each at hand."""
LONGEST_SECONDS = 0.1
"""After which nobody joins any more: the first unit waits for its answer, and other processes for the lock."""

_FIRST = "SAVEPOINT unit"
_NEXT = "RELEASE SAVEPOINT unit; SAVEPOINT unit"
_UNDO = "ROLLBACK TO SAVEPOINT unit"


class Open(Protocol):
    """A transaction under way; it is committed by the block that opened it."""

    def unit(self, *, joins: bool) -> Tx:
        """For a unit of its own. One that `joins` others ends its statements even if it is cancelled meanwhile."""

    async def run(self, frame: str) -> None: ...


class Undone(Exception):
    """Ends a transaction of which nothing is to stay."""


class Abandoned(BaseException):
    """Ends a transaction on a connection that cannot be used any more, or of which nobody knows what it is doing."""


class _Seat:
    """One unit, from lining up to knowing what became of it."""

    def __init__(self, events: int) -> None:
        self.events = events
        new = asyncio.get_running_loop().create_future
        self.turn: asyncio.Future[Tx] = new()
        self.ended: asyncio.Future[BaseException | None] = new()
        """Why the unit's work is to be undone; None if it is to be kept."""
        self.outcome: asyncio.Future[None] = new()

    def leave(self) -> None:
        """Nothing is left to be waited for."""
        if not self.outcome.done():
            self.outcome.set_result(None)

    def fail(self, error: Exception) -> None:
        """Tell the unit that it is not stored, wherever it is waiting."""
        waiting = self.outcome if self.turn.done() else self.turn
        if not waiting.done():
            waiting.set_exception(error)
            waiting.exception()  # marks it as seen: the unit may have been cancelled


class Line:
    """The units of one tenant in this process, in the order in which they came."""

    def __init__(
        self,
        open_transaction: Callable[[], AbstractAsyncContextManager[Open]],
        *,
        is_lost: Callable[[BaseException], bool],
        told: Callable[[Tx], None],
    ) -> None:
        """`is_lost` tells of what a unit ended with whether its connection may be to blame; `told` is called for each
        unit that is on disk."""
        self._open = open_transaction
        self._is_lost = is_lost
        self._told = told
        self._waiting: deque[_Seat] = deque()
        self._leader: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def unit(self, *, events: int) -> AsyncIterator[Tx]:
        """`events` are how many it appends."""
        seat = _Seat(events)
        self._waiting.append(seat)
        if self._leader is None:
            # In a context of its own: it is not the work of the unit that happened to start it.
            self._leader = asyncio.get_running_loop().create_task(self._lead(), context=contextvars.Context())
        try:
            tx = await seat.turn
        except BaseException:
            seat.ended.set_result(None)  # cancelled when the turn had just been given: the line goes on
            raise
        try:
            yield tx
        except BaseException as error:
            seat.ended.set_result(error)
            await seat.outcome
            raise
        seat.ended.set_result(None)
        await seat.outcome

    async def _lead(self) -> None:
        try:
            while self._somebody_waits():
                await self._commit_group()
        finally:
            self._leader = None
            while self._waiting:  # only if it was cancelled: the process ends
                self._waiting.popleft().fail(Unavailable())

    async def _commit_group(self) -> None:
        """One transaction, and everybody in it is told what became of it."""
        seats: list[_Seat] = []
        kept: list[_Seat] = []
        failure: Exception = Unavailable()
        try:
            async with self._open() as transaction:
                await self._seat_units(transaction, seats, kept)
            for seat in kept:
                self._tell(seat)
        except (Undone, Abandoned):
            pass  # the unit that is to blame knows more
        except Exception as error:
            failure = error
            if not seats and self._somebody_waits():
                self._waiting.popleft().fail(error)
        finally:
            for seat in kept:
                seat.fail(failure)
            for seat in seats:
                seat.leave()

    async def _seat_units(self, transaction: Open, seats: list[_Seat], kept: list[_Seat]) -> None:
        """Give those in line their turns, one after the other; who is `kept` is to be committed."""
        last, joined = time.monotonic() + LONGEST_SECONDS, False
        while self._somebody_waits() and len(seats) < MOST_UNITS and (not kept or time.monotonic() < last):
            if kept:
                if is_much_beside(self._waiting[0].events, min(seat.events for seat in kept)):
                    return
                await transaction.run(_NEXT if joined else _FIRST)
                joined = True
                if not self._somebody_waits():
                    return
            seat = self._waiting.popleft()
            seats.append(seat)
            seat.turn.set_result(transaction.unit(joins=joined))
            failure = await seat.ended
            if failure is None:
                kept.append(seat)
                continue
            if isinstance(failure, StillLocked):
                self._send_away()
            if self._is_lost(failure):
                raise Abandoned
            if not joined:
                raise Undone if isinstance(failure, Exception) else Abandoned
            await transaction.run(_UNDO)
            seat.leave()

    def _tell(self, seat: _Seat) -> None:
        try:
            self._told(seat.turn.result())
        except Exception as error:
            seat.fail(error)
        else:
            seat.leave()

    def _send_away(self) -> None:
        """What one has waited for in vain, all who are in line now would."""
        while self._waiting:
            self._waiting.popleft().fail(StillLocked())

    def _somebody_waits(self) -> bool:
        """Whether anyone is in line. Who was cancelled may not have noticed yet, and will never take a turn."""
        while self._waiting and self._waiting[0].turn.cancelled():
            self._waiting.popleft()
        return bool(self._waiting)
