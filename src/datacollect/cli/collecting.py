"""What the garbage collector of a server process has to look through."""

import gc

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_YOUNG = 10_000
"""Containers that may come to be before the youngest are looked through: a push of a thousand events makes as many."""

_ROUNDS = 50
_ROUNDS_AT_REST = 5
"""After so many times those that were left over are looked through as well: where eight push a thousand events at a time, the
two hundred thousand that they are at work on, which takes 30 ms and more. With nobody at work it is little, and done
earlier."""


def settle() -> None:
    """Leave out what is there now."""
    gc.collect()
    gc.freeze()
    _, rounds, old = gc.get_threshold()
    # Where the second is no number of rounds (an incremental collector, which has no third) it is left as it is.
    gc.set_threshold(_YOUNG, _ROUNDS if old else rounds, old)


def look_through() -> None:
    """What has been left over lately, if it was looked at often enough since."""
    if gc.get_count()[1] >= _ROUNDS_AT_REST:
        gc.collect(1)


def settled(app: ASGIApp) -> ASGIApp:
    """The application, whose own parts are left out of collections once it has started, and whose rests are used for those
    that take long.

    Its parts live as long as the process. A full collection that goes through them holds everybody up for 120 ms and more.
    """
    at_work = 0

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal at_work

        async def told(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                settle()
            await send(message)

        if scope["type"] == "lifespan":
            await app(scope, receive, told)
            return
        at_work += 1
        try:
            await app(scope, receive, send)
        finally:
            at_work -= 1
            if not at_work:
                look_through()

    return serve
