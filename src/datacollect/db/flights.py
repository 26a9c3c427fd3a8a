"""Look-ups that many ask for at the same time are made once.

What every request needs of the database is remembered for a moment. When that is over, all requests that are under way
ask for it anew, and each would take a connection and its turn for the same answer.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

_Key = TypeVar("_Key", bound=Hashable)
_T = TypeVar("_T")

JOINED_SECONDS = 1.0
"""After which nobody joins a look-up any more, however long it takes: what it tells may be as old as it is."""


@dataclass(frozen=True, slots=True)
class _Flight(Generic[_T]):
    task: "asyncio.Task[_T]"
    begun: float


class Flights(Generic[_Key, _T]):
    """The look-ups that are under way."""

    def __init__(self) -> None:
        self._under_way: dict[_Key, _Flight[_T]] = {}
        self._tasks: set[asyncio.Task[_T]] = set()
        """Of these, and of those that nobody is to join any more: a task that nobody holds may be thrown away."""

    async def join(self, key: _Key, look_up: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """What the look-up that is under way for the key gives, or else what this one gives.

        Nobody's end is that of a look-up that others have joined. Its failure is that of whoever began it: the others ask
        once more, together. Raises what a look-up raises.
        """
        flight = self._joinable(key)
        if flight is not None:
            try:
                return await asyncio.shield(flight.task)
            except Exception:
                flight = self._joinable(key)
        if flight is None:
            # What it logs is not about the request that happens to be the first.
            context = contextvars.copy_context()
            context.run(structlog.contextvars.clear_contextvars)
            flight = self._begin(key, look_up, context)
        return await asyncio.shield(flight.task)

    def renew(self, key: _Key, look_up: Callable[[], Coroutine[Any, Any, _T]]) -> None:
        """Begin a look-up, unless one is under way, for those who will ask. Nobody waits for it, and its failure is nobody's:
        whoever needs to know asks anew."""
        if self._joinable(key) is None:
            self._begin(key, look_up, contextvars.Context())

    def forget(self) -> None:
        """Something has just been changed: whoever asks from now on is not to be told what was read before."""
        self._under_way.clear()

    def _joinable(self, key: _Key) -> _Flight[_T] | None:
        flight = self._under_way.get(key)
        if flight is None or flight.task.done():
            return None
        return flight if asyncio.get_running_loop().time() - flight.begun < JOINED_SECONDS else None

    def _begin(
        self, key: _Key, look_up: Callable[[], Coroutine[Any, Any, _T]], context: contextvars.Context
    ) -> _Flight[_T]:
        task = asyncio.create_task(look_up(), context=context)
        flight = self._under_way[key] = _Flight(task, asyncio.get_running_loop().time())
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._end(key, flight))
        return flight

    def _end(self, key: _Key, flight: _Flight[_T]) -> None:
        if self._under_way.get(key) is flight:
            del self._under_way[key]
        self._tasks.discard(flight.task)
        if not flight.task.cancelled():
            flight.task.exception()  # marks it as seen: all who asked may have left
