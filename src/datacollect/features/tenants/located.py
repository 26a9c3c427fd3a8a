"""Findings of a config file, each with its line and column."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from datacollect.features.tenants.findings import Finding
from datacollect.features.tenants.linting import lint
from datacollect.features.tenants.rules import Severity
from datacollect.http.decoding import DuplicateKey, NulCharacter, said_of_a_file, strict_json
from datacollect.kernel.errors import InvalidJson
from datacollect.kernel.positions import Lines, Position, locate, repeated_key


@dataclass(frozen=True, slots=True)
class Located:
    finding: Finding
    position: Position


def lint_text(body: bytes, *, https_only: bool = False, sends_codes: bool = True) -> list[Located]:
    """All findings of a file in the order of its lines; of what is no JSON the one that says so, where reading stopped."""
    try:
        document = strict_json(body)
    except InvalidJson as refused:
        finding = Finding(refused.code, Severity.ERROR, (), said_of_a_file(refused), refused.help)
        return [Located(finding, _stopped(body, refused))]
    return placed(body.decode(), lint(document, https_only=https_only, sends_codes=sends_codes))


def placed(text: str, findings: Sequence[Finding]) -> list[Located]:
    """Findings of a text that is known to be JSON, in the order of its lines; what is about the whole comes last."""
    positions = locate(text, (finding.path for finding in findings))
    located = [Located(finding, positions[finding.path]) for finding in findings]
    return sorted(located, key=lambda one: (not one.finding.path, one.position))


def _stopped(body: bytes, refused: InvalidJson) -> Position:
    try:
        text = body.decode()
    except UnicodeDecodeError as broken:
        return Lines(body[: broken.start].decode()).at(len(body[: broken.start].decode()))
    offset: int | None = 0
    if isinstance(refused, DuplicateKey):
        offset = repeated_key(text)
    elif isinstance(refused, NulCharacter):
        offset = max(text.find("\x00"), text.find("\\u0000"))
    elif type(refused) is InvalidJson:
        offset = _syntax_error(text)
    return Lines(text).at(offset or 0)


def _syntax_error(text: str) -> int:
    try:
        json.loads(text)
    except json.JSONDecodeError as malformed:
        return malformed.pos
    except (RecursionError, ValueError):
        pass
    return 0
