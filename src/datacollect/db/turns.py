"""Work on many things, with turns for everybody else: a process has one event loop, and what one request does at one go
all others wait for.

One piece of such work is let through in each round of the loop, however many are at work: a small request, which takes
a few rounds, waits for a few pieces and not for as many from each. Who holds what others wait for, the log of a tenant or
SQLite's only writer, goes before who does not. So it is with small requests that are many: a few in each round, and each
of their tenants in turn.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable, Sequence
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from datacollect.kernel.ids import TenantId

_T = TypeVar("_T")
_Party = TypeVar("_Party", bound=Hashable)

AT_ONCE = 40
"""Events, say: the slowest that is done to each takes about two milliseconds for so many."""


SMALL_IN_A_ROUND = 2
"""Half a millisecond each."""
CROWD = 16
"""Requests that are being answered, from which on all that are small have their turns. With fewer, those of who asks little go
on at once: a turn is a round of the loop, in which large work goes on, and they would wait for more than others for them."""


MANY = 16
"""Events. The hub may do the work for fewer at one go."""
_MANY_TIMES = 4


def is_much_beside(events: int, fewest: int) -> bool:
    """Whether who appends `fewest` should not have to wait for who is about to append so many. What is committed together
    is answered together, and a commit of its own is little beside the work for many events."""
    return events >= MANY and events >= _MANY_TIMES * fewest


class Waiting(Generic[_Party]):
    """Those who wait for a turn: of each party (tenants, say) in the order in which they came, and the parties in turn."""

    def __init__(self) -> None:
        self._lines: OrderedDict[_Party, deque[asyncio.Future[None]]] = OrderedDict()

    def join(self, party: _Party) -> asyncio.Future[None]:
        """A place in line; its turn has come when it is done."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(party, deque()).append(turn)
        return turn

    def count(self, party: _Party) -> int:
        """How many of a party are in line; among them who was cancelled and has not come to the front yet."""
        return len(self._lines.get(party, ()))

    def __bool__(self) -> bool:
        """Whether anyone is in line. Who was cancelled may not have noticed yet, and will never take a turn."""
        while self._lines:
            turns = self._lines[self.first]
            while turns and turns[0].cancelled():
                turns.popleft()
            if turns:
                return True
            del self._lines[self.first]
        return False

    @property
    def first(self) -> _Party:
        """Whose turn is next, if anyone is in line."""
        return next(iter(self._lines))

    @property
    def first_turn(self) -> asyncio.Future[None]:
        """Likewise."""
        return self._lines[self.first][0]

    def call_first(self) -> _Party:
        """Whose turn has come now. Somebody is in line."""
        party = self.first
        self._lines[party].popleft().set_result(None)
        return party

    def send_behind(self, party: _Party) -> None:
        """The others are next."""
        if party in self._lines:
            self._lines.move_to_end(party)


class _Turnstile:
    """Lets so many through in each round of the loop."""

    def __init__(self, in_a_round: int) -> None:
        self._in_a_round = in_a_round
        self._waiting = Waiting[TenantId | None]()
        self._holding = Waiting[TenantId | None]()
        self._is_turning = False

    async def pass_through(self, tenant_id: TenantId | None, *, holding: bool = False) -> None:
        turn = (self._holding if holding else self._waiting).join(tenant_id)
        if not self._is_turning:
            self._is_turning = True
            asyncio.get_running_loop().call_soon(self._let_in)
        await turn

    def _let_in(self) -> None:
        for _ in range(self._in_a_round):
            waiting = self._holding or self._waiting
            if waiting:
                waiting.send_behind(waiting.call_first())
        self._is_turning = bool(self._holding or self._waiting)
        if self._is_turning:
            asyncio.get_running_loop().call_soon(self._let_in)


_Turnstiles = WeakKeyDictionary[asyncio.AbstractEventLoop, _Turnstile]
_of_pieces: _Turnstiles = WeakKeyDictionary()
_of_small: _Turnstiles = WeakKeyDictionary()


async def others_turn(*, holding: bool = False) -> None:
    """To be awaited between two pieces of work: what is ready goes first, and other work of this kind in its turn.
    `holding` is for work that others wait for."""
    await _turnstile(_of_pieces, 1).pass_through(None, holding=holding)


async def tenants_turn(tenant_id: TenantId) -> None:
    """To be awaited before a small piece of work that many ask for at once: whoever asks for much of it waits behind those
    of other tenants who ask for little."""
    await _turnstile(_of_small, SMALL_IN_A_ROUND).pass_through(tenant_id)


def _turnstile(turnstiles: _Turnstiles, in_a_round: int) -> _Turnstile:
    loop = asyncio.get_running_loop()
    turnstile = turnstiles.get(loop)
    if turnstile is None:
        turnstile = turnstiles[loop] = _Turnstile(in_a_round)
    return turnstile


async def in_turns(
    items: Sequence[_T], *, at_once: int = AT_ONCE, holding: bool = False
) -> AsyncIterator[Sequence[_T]]:
    """The items in order, so many at a time, with others' turns in between."""
    for begin in range(0, len(items), at_once):
        if begin:
            await others_turn(holding=holding)
        yield items[begin : begin + at_once] if len(items) > at_once else items
