"""Work on many things at once, with turns for everybody else: the process has one event loop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")

AT_ONCE = 40
"""Events, say: what takes longest of them takes about two milliseconds for so many."""


async def in_turns(items: Sequence[_T], *, at_once: int = AT_ONCE) -> AsyncIterator[Sequence[_T]]:
    """The items in order, some at a time. Between two runs others do what they have been waiting to do."""
    for begin in range(0, len(items), at_once):
        if begin:
            await asyncio.sleep(0)
        yield items[begin : begin + at_once] if len(items) > at_once else items
