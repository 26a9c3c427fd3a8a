"""Calls that wait for a disk, in threads of their own: nobody else's work waits behind them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")

_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="objects")


async def in_thread(call: Callable[[], _T], *, undo: Callable[[_T], object] | None = None) -> _T:
    """What the call gives. Whoever is cancelled meanwhile waits for its end: it may be using a file.

    `undo` gets what the call gives if nobody else does, because its caller was cancelled.
    """
    running = asyncio.get_running_loop().run_in_executor(_threads, call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError:
                continue
        # Looked at, so that nobody complains that it was not.
        if not running.cancelled() and running.exception() is None and undo is not None:
            undo(running.result())
        raise
