"""Which of the languages that are offered a caller is answered in. Pure, and never an error, whatever a header holds."""

import re
from collections.abc import Sequence

DEFAULT_LANGUAGES = ("en",)
"""Of a program that names none."""

_LONGEST = 500
"""What is looked at of a header, or of a name that is asked for: to look a name up takes the square of its length."""
_RANGE = re.compile(r"\s*([A-Za-z]{1,8}(?:[-_][A-Za-z0-9]{1,8})*|\*)\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?")


def negotiated(offered: Sequence[str], *, asked: str | None, header: str | None) -> str:
    """The offered language that fits best: what is asked for outright, then the ranges of an `Accept-Language` header by
    their weight, then the first that is offered. A range fits by the words in front, as RFC 4647 looks languages up."""
    offered = offered or DEFAULT_LANGUAGES
    wanted = [asked[:_LONGEST]] if asked else []
    for tag in [*wanted, *_ranges(header or "")]:
        if tag == "*":
            return offered[0]
        if (found := _looked_up(tag, offered)) is not None:
            return found
    return offered[0]


def normal(tag: str) -> str:
    """As tags are compared: `pt_BR` and `pt-br` are one."""
    return tag.strip().lower().replace("_", "-")


def _ranges(header: str) -> list[str]:
    """The heaviest first; what cannot be read is passed over."""
    weighed: list[tuple[float, str]] = []
    for part in header[:_LONGEST].split(","):
        if (match := _RANGE.fullmatch(part)) is not None:
            weight = float(match[2]) if match[2] else 1.0
            if 0 < weight <= 1:
                weighed.append((weight, match[1]))
    return [tag for _, tag in sorted(weighed, key=lambda one: -one[0])]


def _looked_up(tag: str, offered: Sequence[str]) -> str | None:
    """The offered language of that name, or of its first words; else one that is more exact than asked for."""
    known = {normal(language): language for language in reversed(offered)}
    words = normal(tag).split("-")
    for length in range(len(words), 0, -1):
        if (found := known.get("-".join(words[:length]))) is not None:
            return found
    return next((language for name, language in known.items() if name.split("-")[0] == words[0]), None)
