"""`datacollect stand-in`: other systems to try an exchange or a sign-in on, for who does not have the real one at hand."""

import asyncio
import json
import signal
from typing import Annotated

import typer

from datacollect.kernel.errors import StartupError
from datacollect.testing.stand_ins import StandIn, running


def serve_stand_in(
    system: Annotated[StandIn, typer.Argument(metavar="SYSTEM", help="What to stand in for.")],
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 0,
) -> None:
    """Stand in for another system on this machine, until SIGTERM or SIGINT: it holds two made-up records, and keeps nothing. Prints what a program's config says to find it."""
    asyncio.run(_serve(system, port))


async def _serve(system: StandIn, port: int) -> None:
    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    try:
        async with running(system, port=port) as told:
            typer.echo(json.dumps(told))
            typer.echo(f"Standing in for {system}. End with Ctrl-C.", err=True)
            await told_to_end.wait()
    except OSError as error:
        raise StartupError(f"Cannot listen on 127.0.0.1:{port} ({error.strerror}). Choose a free --port.") from None
