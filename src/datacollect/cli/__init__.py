"""The `datacollect` command. One file per group of commands; `commands.py` lists them."""

import sys

from datacollect.cli.commands import command_line
from datacollect.cli.failures import printing, reporting


def main() -> None:
    """The entry point: what the hub refuses ends in one line on standard error and exit code 1."""
    with reporting(), printing():
        command_line(sys.argv[1:])()
