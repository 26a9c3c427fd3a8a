"""What answers share that are sent as they are made, and only as fast as their reader takes them."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive, Send

from datacollect.http.guard import TookTooLong

STALL_SECONDS = 60.0
"""A reader that takes nothing for so long has gone."""


async def send_while_read(work: Coroutine[Any, Any, None], receive: Receive) -> bool:
    """Do the work; false if its reader has gone before it was done, and then it is cut off."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        working.result()
        return True
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait((working, leaving))


async def send_piece(send: Send, piece: bytes, *, stall_seconds: float) -> None:
    """Raises `TookTooLong`: to whoever the piece comes from, a timeout would be its own."""
    try:
        async with asyncio.timeout(stall_seconds):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError as error:
        raise TookTooLong() from error


async def _left(receive: Receive) -> None:
    """Returns when the reader has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
