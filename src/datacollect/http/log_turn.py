"""Units of work that decide, and append to a program's log: who has waited for their turn is asked for once more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import Request

from datacollect.db import Tx
from datacollect.http.hub import Hub
from datacollect.http.receiving import MOMENT_SECONDS, REQUIRE_STILL
from datacollect.kernel.errors import StillLocked
from datacollect.kernel.identity import TenantScope

RequireStill = Callable[[], Awaitable[object]]
"""Raises when the caller may not do any more what they were let in for."""

_MOMENT_MILLIS = round(MOMENT_SECONDS * 1000)


def still(request: Request) -> RequireStill:
    """Of the request's caller, if they have an account: that it was not changed."""
    asked: RequireStill | None = getattr(request.state, REQUIRE_STILL, None)
    return _nothing if asked is None else asked


@asynccontextmanager
async def log_turn(hub: Hub, scope: TenantScope, require_still: RequireStill) -> AsyncIterator[Tx]:
    """A unit of work, in the turn of the program's log.

    Where that takes longer than a moment, `require_still` is asked: before the unit is opened if others of this process
    were appending, and before it is committed if those of another one were. Nothing is stored if it raises.
    """
    asked_at = hub.clock.now()

    async def ask_if_waited() -> None:
        nonlocal asked_at
        now = hub.clock.now()
        # A clock that was set back tells nothing of how long it took.
        if not 0 <= now - asked_at <= _MOMENT_MILLIS:
            await _asked_in_time(require_still)
            asked_at = now

    async with hub.log.turn(scope):
        await ask_if_waited()
        async with hub.db.transaction(scope) as tx:
            yield tx
            await ask_if_waited()


async def _asked_in_time(require_still: RequireStill) -> None:
    """Raises `StillLocked` where that takes long: everybody who appends to the log waits meanwhile, and whoever is to be
    asked may be waiting for a connection that they have."""
    try:
        async with asyncio.timeout(MOMENT_SECONDS):
            await require_still()
    except TimeoutError:
        raise StillLocked() from None


async def _nothing() -> None:
    """What is known of callers without an account is what their token says."""
