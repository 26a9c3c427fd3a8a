"""What is found in a config: one finding for each place, and a limited number of each kind."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from datacollect.features.tenants.rules import RULES, Rule, Severity
from datacollect.kernel.errors import Issue, IssueCode

MOST_OF_A_KIND = 50
"""Findings of one code that are told; the rest is counted. A config of 10 MB has room for a million."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about one place of a config."""

    code: str
    severity: Severity
    path: Path
    message: str
    """Without the place."""
    help: str

    @property
    def text(self) -> str:
        """Place and message, for people: `entityForms[0].name: …`"""
        return f"{path_text(self.path)}: {self.message}"

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR

    def as_issue(self) -> Issue:
        return Issue(code=IssueCode(self.code), path=list(self.path), message=self.text)


@dataclass(slots=True)
class Findings:
    """Collects findings; of what there is too much of, it keeps the first ones and the number."""

    _kept: list[Finding] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)

    def add(self, rule: Rule, path: Path, message: str) -> None:
        if self._has_room(rule.code):
            self._kept.append(Finding(rule.code, rule.severity, path, message, rule.help))

    def add_issue(self, code: IssueCode, path: Path, message: str) -> None:
        """What the schema has found."""
        if self._has_room(code):
            self._kept.append(Finding(code.value, Severity.ERROR, path, message, code.help))

    @property
    def has_errors(self) -> bool:
        return any(finding.is_error for finding in self._kept)

    def all(self) -> list[Finding]:
        """In the order in which they were found, and at the end how many more there are of a kind."""
        return self._kept + [
            self._more(code, count - MOST_OF_A_KIND) for code, count in self._counts.items() if count > MOST_OF_A_KIND
        ]

    def _has_room(self, code: str) -> bool:
        self._counts[code] += 1
        return self._counts[code] <= MOST_OF_A_KIND

    def _more(self, code: str, count: int) -> Finding:
        rule = RULES.get(code)
        severity, help = (rule.severity, rule.help) if rule else (Severity.ERROR, IssueCode(code).help)
        return Finding(code, severity, (), f"{count} more of this kind ({code})", help)


def path_text(path: Sequence[str | int]) -> str:
    """`entityForms[0].name`"""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "config"
