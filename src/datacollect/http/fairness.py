"""Who asks little does not wait behind those who ask much.

A process has one event loop, which eight devices that sync as fast as they are answered keep busy by themselves: each
request of somebody else waits for a turn of all of theirs, again and again. So it is counted how long each caller has kept
the loop lately and, at a flat rate, the database. As long as somebody is there who has kept them for little, one request
at a time is let in of those who have kept them for much, and one more whenever the loop has time. The others wait, with
nothing begun for them. When only those are there who ask as much as each other, nobody waits for anybody else.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from weakref import WeakKeyDictionary

from datacollect.db.turns import Waiting

AT_ONCE = 1
"""Requests of those who ask much, beside somebody who asks little and while the loop is busy."""
MOST_AT_ONCE = 16
"""Of them, if nobody who asks little is there: whoever comes then waits for those that have begun."""

HALF_LIFE_SECONDS = 4.0
"""What somebody has kept the loop for counts half as much after so long."""
LITTLE = 0.02
"""Of the loop's time: who keeps it for less asks little, whoever else is there."""
LITTLE_BESIDE = 0.8
"""Of what those who ask much keep it for on the average: who keeps it for less asks little beside them."""
BUSY_HALF_LIFE_SECONDS = 0.25
BUSY_SHARE = 0.5
"""Of its time, which the loop works on requests. With less it is a disk or a database that is waited for, and one request
more is let in at a time."""
WINDOW_SECONDS = 0.1
"""Somebody who asks little is there for so long after their answer: who has just been answered often asks again."""
LEASE_SECONDS = 0.25
"""Whoever takes longer is waiting for something else, a slow reader for one, and takes nobody's place meanwhile."""

SECONDS_OF_BYTE = 50e-9
"""Of a body, which others wait for as well, in the database: a push of a hundred takes it for 2 to 4 milliseconds."""

_LOOK_SECONDS = 0.02
_FORGOTTEN_SECONDS = 0.001
_LEAST_AGE_SECONDS = 1.0
_MOST_CALLERS = 4096
_LN_2 = math.log(2)


class Use:
    """Which part of the time the loop is kept."""

    __slots__ = ("_half_life_seconds", "_seconds", "_since", "_when")

    def __init__(self, half_life_seconds: float, now: float) -> None:
        self._half_life_seconds = half_life_seconds
        self._seconds = 0.0
        """As much as it was kept, the longer ago the less, at `_when`."""
        self._since = self._when = now

    def add(self, seconds: float, now: float) -> None:
        before = self._at(now)
        if before < _FORGOTTEN_SECONDS:
            self._since = now - seconds
        self._seconds, self._when = before + seconds, now

    def share(self, now: float) -> float:
        """Since it began to be kept, but not of less than a second: one request is not yet much."""
        half_lives = max(now - self._since, _LEAST_AGE_SECONDS) / self._half_life_seconds
        whole: float = 1 - 0.5**half_lives
        return self._at(now) * _LN_2 / self._half_life_seconds / whole

    def _at(self, now: float) -> float:
        left: float = 0.5 ** ((now - self._when) / self._half_life_seconds)
        return self._seconds * left


class Visit:
    """One request's stay."""

    __slots__ = ("caller", "since", "used")

    def __init__(self, caller: Hashable) -> None:
        self.caller = caller
        self.used = 0.0
        """Of the loop's time, by its caller before it came, if they ask much."""
        self.since = 0.0
        """When it was let in."""

    @property
    def is_of_few(self) -> bool:
        """Whether its caller asked little when it came."""
        return not self.used


class FairTurns:
    """Lets requests in. Whoever is in has to `leave`."""

    def __init__(self, *, line: int, monotonic: Callable[[], float] = time.perf_counter) -> None:
        """`line`: as many requests of one caller wait at most."""
        self._line = line
        self._monotonic = monotonic
        self._uses: OrderedDict[Hashable, Use] = OrderedDict()
        """Of each caller, who came last at the end."""
        self._busy = Use(BUSY_HALF_LIFE_SECONDS, monotonic())
        self._few: dict[Visit, None] = {}
        """Those of who asks little that are in, the longest first."""
        self._inside: dict[Visit, None] = {}
        """Likewise those of who asks much."""
        self._waiting = Waiting[Hashable]()
        self._turns = WeakKeyDictionary[asyncio.Future[None], Visit]()
        self._many, self._used_by_many = 0, 0.0
        """Those of who asks much that are in or wait, and what their callers used in all."""
        self._window_ends = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, caller: Hashable) -> Visit | None:
        """None if too many of the caller's wait already."""
        visit, now = Visit(caller), self._monotonic()
        self._end_leases(now)
        use = self._uses.get(caller)
        used = 0.0 if use is None else use.share(now)
        if self._is_little(used):
            visit.since = now
            self._few[visit] = None
            return visit
        if self._waiting.count(caller) >= self._line:
            return None
        visit.used = used
        self._many += 1
        self._used_by_many += used
        turn = self._waiting.join(caller)
        self._turns[turn] = visit
        self._call()
        if turn.done():
            return visit
        self._watch()
        try:
            await turn
        except asyncio.CancelledError:
            self.leave(visit, 0.0)
            raise
        return visit

    def leave(self, visit: Visit, seconds: float, *, body_bytes: int = 0) -> None:
        """It is over, has kept the loop for so long, and had a body of so many bytes."""
        now = self._monotonic()
        self._note(now, visit.caller, seconds, body_bytes * SECONDS_OF_BYTE)
        if visit in self._few:
            del self._few[visit]
            self._window_ends = now + WINDOW_SECONDS
        elif visit.used:
            self._forget(visit)
            self._call()

    def _note(self, now: float, caller: Hashable, seconds: float, elsewhere: float) -> None:
        self._busy.add(min(seconds, BUSY_HALF_LIFE_SECONDS), now)
        use = self._uses.get(caller)
        if use is None:
            use = self._uses[caller] = Use(HALF_LIFE_SECONDS, now)
            if len(self._uses) > _MOST_CALLERS:
                self._uses.popitem(last=False)
        use.add(seconds + elsewhere, now)
        self._uses.move_to_end(caller)

    def _is_little(self, used: float) -> bool:
        return used < LITTLE or (self._many > 0 and used < LITTLE_BESIDE * self._used_by_many / self._many)

    # -- those who ask much

    def _call(self) -> None:
        """Let in as many as may come in now, and beside somebody who asks little one more if the loop has time."""
        now = self._monotonic()
        is_alone = not self._few and now > self._window_ends
        most = MOST_AT_ONCE if is_alone else AT_ONCE
        while self._waiting and len(self._inside) < most:
            self._let_in(now)
        if self._waiting and len(self._inside) < MOST_AT_ONCE and self._busy.share(now) < BUSY_SHARE:
            self._let_in(now)

    def _let_in(self, now: float) -> None:
        visit = self._turns.pop(self._waiting.first_turn)
        visit.since = now
        self._inside[visit] = None
        self._waiting.send_behind(self._waiting.call_first())

    def _forget(self, visit: Visit) -> None:
        self._many -= 1
        self._used_by_many -= visit.used
        visit.used = 0.0
        self._inside.pop(visit, None)

    def _end_leases(self, now: float) -> None:
        long_ago = now - LEASE_SECONDS
        while self._inside and (first := next(iter(self._inside))).since <= long_ago:
            self._forget(first)
        while self._few and (first := next(iter(self._few))).since <= long_ago:
            del self._few[first]

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        self._end_leases(self._monotonic())
        self._call()
        if self._waiting:
            self._watch()
