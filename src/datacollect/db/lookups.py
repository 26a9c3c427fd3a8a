"""What every request needs of the database: looked up once a second, once for all who want to know it, and for those who ask
often before they have to wait for it."""

from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from datacollect.db.flights import Flights
from datacollect.kernel.clock import Clock
from datacollect.kernel.fresh import FRESH_MS, Fresh, Told

_Key = TypeVar("_Key", bound=Hashable)
_T = TypeVar("_T")


class LookUps(Generic[_Key, _T]):
    """A change holds at once in the process that makes it and calls `forget`, and in others when the time is over."""

    def __init__(
        self,
        look_up: Callable[[_Key], Coroutine[Any, Any, _T]],
        clock: Clock,
        *,
        most: int,
        fresh_ms: int = FRESH_MS,
        absent_ms: int | None = None,
    ) -> None:
        """`most` that are remembered at a time, for `fresh_ms`; that there is nothing (None) for `absent_ms` if it is given."""
        self._look_up = look_up
        self._absent_ms = fresh_ms if absent_ms is None else absent_ms
        self._told = Fresh[_Key, _T](clock, most=most, fresh_ms=fresh_ms)
        self._flights = Flights[_Key, _T]()
        self._changes = 0

    async def find(self, key: _Key) -> _T:
        """What is remembered, or else what a look-up gives. Raises what that raises."""
        told = self._told.get(key)
        if told is None or self._may_be_there_by_now(told):
            return await self._flights.join(key, partial(self._ask, key))
        if self._told.is_due(key):
            self._flights.renew(key, partial(self._ask, key))
        return told.value

    def _may_be_there_by_now(self, told: Told[_T]) -> bool:
        return told.value is None and not told.when.is_within(self._absent_ms, self._told.now())

    def forget(self, is_meant: Callable[[_Key], bool]) -> None:
        """Look these up afresh next time. To be called after the change is committed."""
        self._changes += 1
        self._flights.forget()
        self._told.forget(is_meant)

    async def _ask(self, key: _Key) -> _T:
        when, changes = self._told.now(), self._changes
        value = await self._look_up(key)
        # A change made here meanwhile may be younger than what has just been read: then it is not kept.
        if changes == self._changes:
            self._told.keep(key, value, when)
        return value
