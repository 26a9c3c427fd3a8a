"""All commands, each under its name: where each one is, or each group of them. One file per group."""

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from datacollect import __version__

COMMANDS = {
    "serve": "serve:serve",
    "migrate": "database:migrate_database",
    "verify": "integrity:verify_logs",
    "simulate": "simulate:simulate",
    "restored": "restored:note_restored",
    "rebuild": "rebuild:rebuild_state",
    "export": "files:export_program",
    "import": "files:import_program",
    "openapi": "documents:print_openapi",
    "mock-registry": "mock_registry:serve_registry",
    "stand-in": "stand_in:serve_stand_in",
    "dev-env": "development:write_dev_env",
    "attachments": "attachments:app",
    "permissions": "permissions:app",
    "program": "program:app",
    "user": "user:app",
    "duplicates": "duplicates:app",
    "jobs": "jobs:app",
    "messages": "messages:app",
    "reference": "reference:app",
    "secrets": "sealing:app",
}
"""In the order of the help, which lists groups behind commands. Texts, because importing all of it takes seconds."""

_TELLS_OF_ALL = "reference"
"""Its pages name every command, and every error that there is anywhere."""


def command_line(arguments: Sequence[str] = ()) -> typer.Typer:
    """The command `datacollect`, as far as these arguments need it; without arguments all of it.

    What other commands import would cost each one a second, and a server memory for months.
    """
    first = arguments[0] if arguments else None
    if first == "--version":
        return _holding()
    return _holding(first) if first in COMMANDS and first != _TELLS_OF_ALL else _holding(*COMMANDS)


def _holding(*names: str) -> typer.Typer:
    app = typer.Typer(
        name="datacollect",
        help="DataCollect Hub: the sync hub of offline-first field data programmes.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_before_all)  # and with it an only command keeps its name
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        found = getattr(import_module(f"datacollect.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"datacollect {__version__}")
        raise typer.Exit


def _before_all(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    pass
