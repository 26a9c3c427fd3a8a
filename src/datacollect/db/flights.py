"""Look-ups that many ask for at the same time are made once.

What every request needs of the database is remembered for a moment. When that is over, all requests that are under way
ask for it anew, and each would take a connection and its turn for the same answer.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_T = TypeVar("_T")


class Flights(Generic[_Key, _T]):
    """The look-ups that are under way."""

    def __init__(self) -> None:
        self._under_way: dict[_Key, asyncio.Task[_T]] = {}

    async def join(self, key: _Key, look_up: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """What the look-up that is under way for the key gives, or else what this one gives. Raises what it raises.

        Nobody's end is that of a look-up that others have joined.
        """
        flight = self._under_way.get(key)
        if flight is None:
            flight = self._under_way[key] = asyncio.create_task(look_up())
            flight.add_done_callback(lambda ended: self._end(key, ended))
        return await asyncio.shield(flight)

    def forget(self) -> None:
        """Something has just been changed: whoever asks from now on is not to be told what was read before."""
        self._under_way.clear()

    def _end(self, key: _Key, flight: "asyncio.Task[_T]") -> None:
        if self._under_way.get(key) is flight:
            del self._under_way[key]
        if not flight.cancelled():
            flight.exception()  # marks it as seen: all who asked may have left
