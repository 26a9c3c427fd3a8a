"""`datacollect program lint`: what is wrong with config files, as linters say it. Needs no database, and settings only
where it is asked what a hub lacks."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from datacollect.cli.beside import answering, read_file
from datacollect.cli.showing import print_json, shown
from datacollect.features.tenants.findings import path_text
from datacollect.features.tenants.located import Located, lint_text
from datacollect.features.tenants.model import LARGEST_CONFIG_BYTES
from datacollect.features.tenants.rules import Severity
from datacollect.settings import load_settings

_FOUND = 1


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


_GITHUB = {Severity.ERROR: "error", Severity.REPAIR: "notice", Severity.WARNING: "warning"}


def lint_programs(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Configs as JSON; `-` is standard input.")],
    format_: Annotated[
        Format, typer.Option("--format", help="`text`, `json`, or `github` for notes in a pull request.")
    ] = Format.TEXT,
    strict: Annotated[bool, typer.Option("--strict", help="Let repairs and warnings fail as well.")] = False,
    production: Annotated[
        bool, typer.Option("--production", help="Check for what a hub in production requires: https.")
    ] = False,
    this_hub: Annotated[
        bool,
        typer.Option(
            "--this-hub",
            help="Also check whether the hub with these settings can do what the program needs, such as send codes.",
        ),
    ] = False,
) -> None:
    """Check config files, without storing anything. Ends with 1 if an upload would be refused."""
    with answering(as_json=format_ is Format.JSON):
        sends_codes = load_settings().sends_codes if this_hub else True
        found = [
            (name, located)
            for name in files
            for located in lint_text(
                read_file(name, largest_bytes=LARGEST_CONFIG_BYTES), https_only=production, sends_codes=sends_codes
            )
        ]
        if format_ is Format.JSON:
            print_json([_wire(name, located) for name, located in found])
        else:
            line = _github if format_ is Format.GITHUB else _text
            for name, located in found:
                typer.echo(line(name, located))
    if _fails([located for _, located in found], strict=strict):
        raise typer.Exit(_FOUND)


def _fails(found: Sequence[Located], *, strict: bool) -> bool:
    return any(strict or located.finding.is_error for located in found)


def _text(name: str, located: Located) -> str:
    finding, at = located.finding, located.position
    return f"{shown(name)}:{at.line}:{at.column} {finding.severity} {finding.code} {shown(finding.text)}"


def _github(name: str, located: Located) -> str:
    """A workflow command, which shows the finding beside the line it is about."""
    finding, at = located.finding, located.position
    where = f"file={_property(name)},line={at.line},col={at.column},title={_property(finding.code)}"
    return f"::{_GITHUB[finding.severity]} {where}::{_escaped(f'{finding.text}. {finding.help}')}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _wire(name: str, located: Located) -> dict[str, Any]:
    finding, at = located.finding, located.position
    return {
        "file": name,
        "line": at.line,
        "column": at.column,
        "severity": finding.severity.value,
        "code": finding.code,
        "path": list(finding.path),
        "message": f"{path_text(finding.path)}: {finding.message}",
        "help": finding.help,
    }
