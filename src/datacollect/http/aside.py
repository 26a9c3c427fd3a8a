"""Work that takes the processor for long, beside the event loop, which answers others meanwhile."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")

_BREATH_SECONDS = 0.0005

# One: what waits here holds a whole document in memory, and two at work would take the event loop's turns away.
_pool = ThreadPoolExecutor(1, thread_name_prefix="aside")


async def aside(work: Callable[[], _T]) -> _T:
    """What `work` gives, done by a thread; one work at a time, the others wait for their turn."""
    return await asyncio.get_running_loop().run_in_executor(_pool, work)


def breathe() -> None:
    """To be called by `work` every few milliseconds: the event loop need not wait until the interpreter switches."""
    time.sleep(_BREATH_SECONDS)
