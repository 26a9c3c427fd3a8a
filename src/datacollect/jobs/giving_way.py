"""Work that can wait gives way to requests: it sees that there are some, and how long it has kept them waiting."""

import time
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

R = TypeVar("R")

_REST = 9
"""Times as long as a piece of it took: it takes a tenth of the loop then."""


@dataclass(slots=True)
class Visitors:
    """The requests of this process. Whoever lets them in counts them."""

    come: int = 0
    """Since the process began."""
    at_work: int = 0
    """Those that are being answered now."""

    def enter(self) -> None:
        self.come += 1
        self.at_work += 1

    def leave(self) -> None:
        self.at_work -= 1


class Lookout:
    """Looks for them from time to time."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._seen = visitors.come

    def is_anybody_there(self) -> bool:
        """Whether anybody is being answered, or has come since this was asked last: a client that sends one small request
        after the other is between two of them most of the time."""
        seen, self._seen = self._seen, self._visitors.come
        return self._visitors.at_work > 0 or self._seen != seen


class GivingWay:
    """How one piece of work that can wait gives way to them."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._lookout = Lookout(visitors)
        self._times = 0.0

    @property
    def knows_visitors(self) -> bool:
        """A process that nobody has asked anything works beside another one, most likely, whose visitors it cannot see."""
        return self._visitors.come > 0

    def rest_seconds(self, worked: float, took: float, *, alone: float) -> float:
        """How long it is to rest that has kept the loop for `worked` seconds and `took` as many with what it waited for:
        that is longer where others use the database as well. If there is nobody it is `alone` times as long as it took, but
        not at once: who has just been answered asks again, most likely."""
        if self._lookout.is_anybody_there():
            self._times = _REST
            return max(_REST * worked, took)
        self._times = self._times / 2 if self._times > 1 else 0.0
        return max(self._times * worked, alone * took)


class Metered(Generic[R]):
    """A coroutine to be awaited, and how long it has kept the loop from everybody else. While it waits for something, a
    database that others use as well for one, it keeps nobody."""

    def __init__(self, work: Coroutine[Any, Any, R], *, monotonic: Callable[[], float] = time.perf_counter) -> None:
        self._work = work
        self._monotonic = monotonic
        self._taken = 0.0
        self._begun: float | None = None

    @property
    def seconds(self) -> float:
        """To this moment, also as seen from within."""
        return self._taken if self._begun is None else self._taken + self._monotonic() - self._begun

    def __await__(self) -> Generator[Any, Any, R]:
        value, error = None, None
        while True:
            begun = self._begun = self._monotonic()
            try:
                awaited = self._work.send(value) if error is None else self._work.throw(error)
            except StopIteration as end:
                result: R = end.value
                return result
            finally:
                self._taken += self._monotonic() - begun
                self._begun = None
            value, error = None, None
            try:
                value = yield awaited
            except BaseException as raised:  # a cancellation, mostly: it is meant for the work
                error = raised
