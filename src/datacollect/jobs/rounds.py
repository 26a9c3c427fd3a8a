"""Looking, now and then, whether work has come due. Several processes may."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog


@contextlib.asynccontextmanager
async def going_round(look: Callable[[], Awaitable[None]], *, seconds: float, name: str) -> AsyncIterator[None]:
    """Call `look` about every so many seconds while the block lasts. One that fails is logged, as `name`'s."""
    going = asyncio.get_running_loop().create_task(_go_round(look, seconds, name))
    try:
        yield
    finally:
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)


async def _go_round(look: Callable[[], Awaitable[None]], seconds: float, name: str) -> None:
    log = structlog.get_logger(component=name)
    while True:
        # Not all processes at the same moment, and not in the moment of the start.
        await asyncio.sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311 - it spreads load, and guards nothing
        try:
            await look()
        except Exception as error:
            log.warning("round.failed", exc_info=error)
