"""A command comes without what the others import, and is the same as among them."""

import re
from importlib.metadata import version

import pytest
from typer.testing import CliRunner, Result

from datacollect.cli.commands import COMMANDS, command_line


def asked(*arguments: str, loaded: tuple[str, ...]) -> Result:
    return CliRunner().invoke(command_line(loaded), list(arguments), env={"COLUMNS": "200"})


def test_the_help_lists_every_command_in_the_order_of_the_table() -> None:
    listed = re.findall(r"^│ ([a-z][a-z-]*) ", asked("--help", loaded=()).stdout, re.MULTILINE)
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("more", [("--help",), ("--no-such-option",), ("no-such-word", "--no-such-option")])
def test_a_command_alone_says_what_it_says_among_all(name: str, more: tuple[str, ...]) -> None:
    alone, among_all = (asked(name, *more, loaded=loaded) for loaded in ((name, *more), ()))
    assert (alone.exit_code, alone.stdout, alone.stderr) == (among_all.exit_code, among_all.stdout, among_all.stderr)
    assert alone.exit_code == (0 if more == ("--help",) else 2)


@pytest.mark.parametrize(
    "arguments", [("use",), ("--no-such-option", "user"), ("--", "user", "--help"), ("--help", "user")]
)
def test_what_does_not_begin_with_a_command_is_answered_by_all(arguments: tuple[str, ...]) -> None:
    by_all = asked(*arguments, loaded=())
    assert (asked(*arguments, loaded=arguments).output, by_all.exit_code) == (by_all.output, by_all.exit_code)
    assert len(command_line(arguments).registered_commands) > 1


def test_the_version_is_told_and_nothing_is_loaded_for_it() -> None:
    told = asked("--version", loaded=("--version",))
    assert (told.exit_code, told.stdout) == (0, f"datacollect {version('datacollect-hub')}\n")
    assert command_line(("--version",)).registered_commands == []


def test_the_version_is_told_among_all_too() -> None:
    assert asked("--version", "user", loaded=()).stdout == asked("--version", loaded=("--version",)).stdout


def test_the_help_calls_an_argument_as_the_page_does() -> None:
    assert (
        "Usage: datacollect program diff [OPTIONS] {PROGRAM} [REVISION]"
        in asked("program", "diff", "--help", loaded=("program",)).stdout
    )
    page = asked("reference", "command-line", loaded=()).stdout
    assert "## `datacollect program diff [OPTIONS] PROGRAM [REVISION]`" in page
