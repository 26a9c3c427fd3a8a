"""Reference pages made from the code, so that they cannot drift from it."""

from collections.abc import Iterator

import typer

from datacollect.app import create_app
from datacollect.cli import adapters_page, commands_page, config_page, limits_page
from datacollect.http.policy import Operation, operations_of
from datacollect.kernel.errors import DataCollectError, IssueCode
from datacollect.kernel.identity import MINIMUM_ROLE, Action, Role
from datacollect.kernel.permission import Callers
from datacollect.settings import Settings

app = typer.Typer(help="Print reference pages as Markdown.", no_args_is_help=True)


@app.command("settings")
def print_settings() -> None:
    """The environment variables the hub reads."""
    typer.echo("\n".join(_settings_page()))


@app.command("errors")
def print_errors() -> None:
    """The codes of all errors the hub answers."""
    typer.echo("\n".join(_errors_page()))


@app.command("limits")
def print_limits() -> None:
    """The hub's limits, and what it answers beyond them."""
    typer.echo("\n".join(limits_page.lines()))


@app.command("program-config")
def print_program_config() -> None:
    """What a program's config may hold, and which faults are found in one."""
    typer.echo("\n".join(config_page.lines()))


@app.command("adapters")
def print_adapters() -> None:
    """The systems a program can exchange with, and the options of each."""
    typer.echo("\n".join(adapters_page.lines()))


@app.command("permissions")
def print_permissions() -> None:
    """Who may call which route."""
    typer.echo("\n".join(_permissions_page()))


@app.command("command-line")
def print_commands(context: typer.Context) -> None:
    """Every command, its arguments and options, and what exit codes mean."""
    typer.echo("\n".join(commands_page.lines(context)).rstrip())


def _settings_page() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Read from the process environment, then from `.env` in the working folder. Made by `datacollect reference settings`."
    yield ""
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    for field in Settings.model_fields.values():
        default = "–" if field.default in (None, ()) else f"`{field.default}`"
        yield f"| `{field.alias}` | {default} | {field.description} |"


def _errors_page() -> Iterator[str]:
    yield "# Errors"
    yield ""
    yield "Every error body has `error` and `message` (the same text, for people), `code` (for programs), `help` (what to do: the last"
    yield "column below) and `requestId` (names the request in the hub's log), besides what the route adds. With"
    yield "`Accept: application/problem+json` the same error is an RFC 9457 document. A code never changes its meaning; texts may be"
    yield "reworded. Made by `datacollect reference errors`."
    yield ""
    yield "Any other status that the web framework answers by itself has the status's name as its code, such as `IM_A_TEAPOT`."
    yield ""
    yield "Entries of `failed` and `warnings` in the answer to a push carry the code of an event's error (status 422), its `path` from the"
    yield "event's root, its `message`, and as `help` the third column."
    yield ""
    yield "| status | code | says | what to do |"
    yield "|---|---|---|---|"
    for status, code, text, help in sorted(set(_errors_of(DataCollectError))):
        yield f"| {status} | `{code}` | {_cell(text)} | {_cell(help)} |"
    yield ""
    yield "## Issues"
    yield ""
    yield "What is wrong inside a payload: the entries of `details` (and `errors`) of `INVALID_PAYLOAD` and `INVALID_CONFIG`. Each has one of"
    yield "these codes, a `path` from the payload's root and a `message`."
    yield ""
    yield "| code | what to do |"
    yield "|---|---|"
    for issue in sorted(IssueCode):
        yield f"| `{issue}` | {issue.help} |"


_ROLES = list(Role)


def _permissions_page() -> Iterator[str]:
    yield "# Permissions"
    yield ""
    yield "Who may call which route. These rows are not a description beside the code: they are what lets a caller in, and the hub does not"
    yield "start with a route that has none. Made by `datacollect reference permissions`; `datacollect permissions explain USER ROUTE TENANT`"
    yield "says why an account may or may not call a route in a program."
    yield ""
    yield "A role is held in one program and means nothing in another. Accounts with role ADMIN may do everything everywhere. A member without"
    yield "any assignment counts as `enumerator` where the row does not say *assigned*; an assignment with an unknown role grants nothing. Strangers get 403, whether or not"
    yield "the program exists; members get 400 (sync) or 404 for a program that does not run."
    yield ""
    yield "| action | takes at least |"
    yield "|---|---|"
    for action in Action:
        yield f"| `{action}` | {MINIMUM_ROLE[action]} |"
    yield ""
    yield "*open to*: **staff** are accounts with an access token; **devices** are callers with a token of the program's own identity provider;"
    yield "**citizens** are people with a self-service token, about their own record only, and no account is one;"
    yield "**assigned** means that a member without any assignment in the program may not call;"
    yield "**whole** means that a caller whose access is limited to areas or kinds may not call, because the route"
    yield "tells of everything, or changes it for everybody."
    yield ""
    yield f"| route | open to | action | in | {' | '.join(_ROLES)} | ADMIN |"
    yield f"|---|---|---|---|{'---|' * (len(_ROLES) + 1)}"
    # Without settings: nothing is opened to look at the routes.
    operations = [one for one in operations_of(create_app(Settings(_env_file=None))) if one.is_documented]
    for operation in sorted(operations, key=lambda one: (one.path, one.method)):
        yield _permission_row(operation)


def _permission_row(operation: Operation) -> str:
    permission = operation.permission
    anybody = permission.callers is Callers.ANYBODY
    marks = ["yes" if anybody or permission.is_open_to(role) else "–" for role in _ROLES]
    callers = (
        f"{permission.callers}{', assigned' if permission.assigned else ''}{', whole' if permission.whole else ''}"
    )
    by_admins = "–" if permission.callers is Callers.CITIZEN else "yes"
    action = "–" if permission.action is None else f"`{permission.action}`"
    cells = [f"`{operation.name}`", callers, action, permission.where.value, *marks, by_admins]
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _errors_of(error: type[DataCollectError]) -> Iterator[tuple[int, str, str, str]]:
    text = (error.__doc__ or "").strip().splitlines()[0]
    # What begins with an underscore has its code from elsewhere; StartupError is said on the terminal, not on the wire.
    if not error.__name__.startswith("_") and error.code != "STARTUP_FAILED":
        yield error.status, error.code, text, error.help
    for kind in error.__subclasses__():
        yield from _errors_of(kind)
