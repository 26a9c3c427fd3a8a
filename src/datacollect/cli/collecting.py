"""What the garbage collector of a server process has to look through."""

import gc

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_YOUNG = 10_000
"""Containers that may come to be before the youngest are looked through: a push of a thousand events makes as many."""


def settle() -> None:
    """Leave out what is there now."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def settled(app: ASGIApp) -> ASGIApp:
    """The application, whose own parts are left out of collections once it has started.

    They live as long as the process. A full collection that goes through them holds everybody up for 120 ms and more.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                settle()
            await send(message)

        await app(scope, receive, told if scope["type"] == "lifespan" else send)

    return serve
