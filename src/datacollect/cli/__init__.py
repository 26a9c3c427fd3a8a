"""The `datacollect` command. One file per group of commands; `commands.py` lists them."""

import sys

import typer

from datacollect.cli.failures import reporting


def main() -> None:
    """The entry point: what the hub refuses ends in one line on standard error and exit code 1."""
    with reporting():
        _called(sys.argv[1:])()


def _called(arguments: list[str]) -> typer.Typer:
    """The command line, as far as these arguments need it.

    `serve` goes without the other commands: what they import (simulations, stand-ins) would stay in memory for months,
    2.7 MiB of it.
    """
    if arguments[:1] != ["serve"]:
        from datacollect.cli.commands import app  # noqa: PLC0415

        return app
    from datacollect.cli.serve import serve  # noqa: PLC0415

    alone = typer.Typer(name="datacollect", add_completion=False, pretty_exceptions_enable=False)
    alone.callback()(_nothing)  # so that `serve` stays the name of a command
    alone.command("serve")(serve)
    return alone


def _nothing() -> None:
    pass
