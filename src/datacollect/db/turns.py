"""Work on many things, with turns for everybody else: a process has one event loop, and what one request does at one go
all others wait for.

One piece of such work is let through in each round of the loop, however many are at work: a small request, which takes
a few rounds, waits for a few pieces and not for as many from each.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar
from weakref import WeakKeyDictionary

_T = TypeVar("_T")

AT_ONCE = 40
"""Events, say: the slowest that is done to each takes about two milliseconds for so many."""


class _Turnstile:
    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def pass_through(self) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            loop.call_soon(self._let_one_in, loop)
        await turn

    def _let_one_in(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                break
        if self._waiting:
            loop.call_soon(self._let_one_in, loop)


_turnstiles: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turnstile] = WeakKeyDictionary()


async def others_turn() -> None:
    """To be awaited between two pieces of work: what is ready goes first, and other work of this kind in its turn."""
    loop = asyncio.get_running_loop()
    turnstile = _turnstiles.get(loop)
    if turnstile is None:
        turnstile = _turnstiles[loop] = _Turnstile()
    await turnstile.pass_through()


async def in_turns(items: Sequence[_T], *, at_once: int = AT_ONCE) -> AsyncIterator[Sequence[_T]]:
    """The items in order, so many at a time, with others' turns in between."""
    for begin in range(0, len(items), at_once):
        if begin:
            await others_turn()
        yield items[begin : begin + at_once] if len(items) > at_once else items
