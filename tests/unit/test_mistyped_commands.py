"""What is wrong with the command line itself ends with 2, in every command; see docs/how-to/automate-with-the-command-line.md."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.core import TyperArgument, TyperGroup, TyperOption
from typer.main import get_command
from typer.testing import CliRunner

from datacollect.cli.commands import command_line

ANY_TEXT = {
    "file", "files", "folder", "out", "db", "path", "attachments",  # what cannot be opened is told when it is opened
    "host", "client_id", "client_secret", "search", "form", "kind", "language",
    "job_id", "route",  # there may be none such, which ends with 1
    "yes_purge",  # to be the id once more; ends with 1, as what is typed at the prompt
}  # fmt: skip
"""Whatever is written may be meant."""

NOBODY_MEANS = ":?!"


def commands() -> Iterator[tuple[str, Any]]:
    def below(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        if isinstance(command, TyperGroup):
            for sub, found in command.commands.items():
                yield from below(found, f"{name} {sub}".strip())
        else:
            yield name, command

    yield from below(get_command(command_line()), "")


COMMANDS = dict(commands())
VALUES = [
    pytest.param(name, param, id=f"{name} {param.name}")
    for name, command in COMMANDS.items()
    for param in command.params
    if not (isinstance(param, TyperOption) and param.is_flag) and param.name not in ANY_TEXT
]
GOOD = {
    "program_id": "south", "program": "south", "email": "a@hub.test", "user": "a@hub.test", "grants": "south:viewer",
    "takings": "south", "address": "+49151123456", "system": "keycloak", "revision": "1",
}  # fmt: skip


def given(param: Any, value: str) -> list[str]:
    return [value] if isinstance(param, TyperArgument) else [param.opts[-1], value]


def arguments(command: Any, bad: Any = None) -> list[str]:
    """What the command requires, with a value that nobody can mean for one of its parameters."""
    wanted = [one for one in command.params if one is bad or one.required]
    return [
        word for one in wanted for word in given(one, NOBODY_MEANS if one is bad else GOOD.get(one.name, "anything"))
    ]


@pytest.mark.parametrize(("name", "param"), VALUES)
def test_a_value_that_nobody_can_mean_is_told_as_mistyped(name: str, param: Any) -> None:
    """Nothing is opened or run: it is refused while the command line is read."""
    command = COMMANDS[name]
    command.make_context(name, arguments(command))
    with pytest.raises(typer.BadParameter) as refused:
        command.make_context(name, arguments(command, bad=param))
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "line",
    [
        "export south --out - --format csv --what all",
        "user create a@hub.test --password-stdin --generate",
        "user roles add a@hub.test",
        "user roles add a@hub.test south:nobody",
        "user roles remove a@hub.test south:viewer south:nobody",
    ],
)
def test_what_does_not_go_together_is_told_as_mistyped(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "/proc/nowhere")
    ended = CliRunner().invoke(command_line(), line.split())
    assert (ended.exit_code, ended.stdout) == (2, ""), ended.output
    assert "Usage: " in ended.stderr


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        ("+49 151 (123)-456", True),
        ("a.b@hub.test", True),
        ("12", False),
        ("hello", False),
        ("a@hub.test,b@hub.test", False),
    ],
)
def test_a_test_message_goes_to_what_can_be_an_address(address: str, is_one: bool) -> None:
    command, line = COMMANDS["messages test"], ["south", address]
    if is_one:
        command.make_context("test", line)
    else:
        with pytest.raises(typer.BadParameter, match=r"neither a phone number, as in \+49 151 123456, nor an e-mail"):
            command.make_context("test", line)
