"""Reference pages made from the code, so that they cannot drift from it."""

from collections.abc import Iterator

import typer

import datacollect.app  # noqa: F401  # every slice, and so every error, is imported by it
from datacollect.kernel.errors import DataCollectError, IssueCode
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
    yield "Every error body has `error` and `message` (the same text, for people), `code` (for programs) and `requestId` (names the"
    yield "request in the hub's log), besides what the route adds. With `Accept: application/problem+json` the same error is an RFC 9457"
    yield "document. A code never changes its meaning; texts may be reworded. Made by `datacollect reference errors`."
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


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _errors_of(error: type[DataCollectError]) -> Iterator[tuple[int, str, str, str]]:
    text = (error.__doc__ or "").strip().splitlines()[0]
    # What begins with an underscore has its code from elsewhere; StartupError is said on the terminal, not on the wire.
    if not error.__name__.startswith("_") and error.code != "STARTUP_FAILED":
        yield error.status, error.code, text, error.help
    for kind in error.__subclasses__():
        yield from _errors_of(kind)
