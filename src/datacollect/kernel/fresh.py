"""What the database has told a moment ago, and is taken for true for a second or as long as is said."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from datacollect.kernel.clock import Clock, Millis

_Key = TypeVar("_Key", bound=Hashable)
_T = TypeVar("_T")

FRESH_MS = 1000
"""How long a change made by another process may go unnoticed here."""


_OFTEN = 8
"""Times that something is asked for in half of that time."""


class Moment(NamedTuple):
    """By the clock on the wall, which may be set, and by one that only goes on."""

    millis: Millis
    elapsed: float
    """Seconds."""

    def is_within(self, millis: int, now: "Moment") -> bool:
        """So much time has not gone by, whatever has been done to the clock."""
        return now.millis - self.millis < millis and now.elapsed - self.elapsed < millis / 1000


class Told(NamedTuple, Generic[_T]):
    value: _T
    when: Moment
    """The database was asked."""


@dataclass(slots=True)
class _Held(Generic[_T]):
    told: Told[_T]
    size: int
    asked: int = 0
    """How often it was asked for."""


class Fresh(Generic[_Key, _T]):
    """Values of at most so much size together. Those that are older than a second, or were kept longest ago, are let go."""

    def __init__(
        self, clock: Clock, *, most: int, fresh_ms: int = FRESH_MS, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._most = most
        self._fresh_ms = fresh_ms
        self._held: OrderedDict[_Key, _Held[_T]] = OrderedDict()
        self._size = 0
        self._latest = Millis(0)

    def now(self) -> Moment:
        """To be asked before the database is. If the clock has been set back nothing is fresh."""
        millis = self._clock.now()
        if millis < self._latest:
            self._held.clear()
            self._size = 0
        self._latest = millis
        return Moment(millis, self._monotonic())

    def get(self, key: _Key) -> Told[_T] | None:
        now = self.now()
        found = self._held.get(key)
        if found is None or not found.told.when.is_within(self._fresh_ms, now):
            return None
        found.asked += 1
        return found.told

    def is_due(self, key: _Key) -> bool:
        """Whether the database had better be asked now: half of the time for which this is true is over, and whoever asks for
        it often should not have to wait when all of it is."""
        found = self._held.get(key)
        return (
            found is not None and found.asked >= _OFTEN and self._latest - found.told.when.millis >= self._fresh_ms // 2
        )

    def keep(self, key: _Key, value: _T, when: Moment, *, size: int = 1) -> None:
        now = self.now()
        if when.millis > now.millis:  # the clock was set back while it was read
            return
        replaced = self._held.pop(key, None)
        self._size += size - (replaced.size if replaced is not None else 0)
        self._held[key] = _Held(Told(value, when), size)
        while self._held and (self._size > self._most or not self._oldest.when.is_within(self._fresh_ms, now)):
            self._size -= self._held.popitem(last=False)[1].size

    def forget(self, is_meant: Callable[[_Key], bool]) -> None:
        """Something about these has just been changed."""
        for key in [key for key in self._held if is_meant(key)]:
            self._size -= self._held.pop(key).size

    @property
    def _oldest(self) -> Told[_T]:
        return next(iter(self._held.values())).told
