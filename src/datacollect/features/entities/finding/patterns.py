"""Regular expressions that somebody else has written: by an engine whose time grows with the text and no faster. Pure.

The hub runs them itself, so that both databases mean the same by them and neither is kept busy by one.
"""

import re
from collections.abc import Callable

import re2

LONGEST_PATTERN = 100
_MEMORY_BYTES = 1 << 20

_QUANTIFIED_TWICE = re.compile(r"\((?:[^()\\]|\\.)*(?<!\\)[+*}](?:[^()\\]|\\.)*\)[+*{]")
_BEYOND_LITERALS = re.compile(r"[|(\[\\{?]")
_LITERALS = re.compile(r"([^.^$*+]+)([*]?)")


class BadPattern(ValueError):
    """The text says what is wrong with it."""


def searcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text holds what the pattern describes, whatever its case. Raises `BadPattern`."""
    if len(pattern) > LONGEST_PATTERN:
        raise BadPattern(f"$regex must be at most {LONGEST_PATTERN} characters")
    if _QUANTIFIED_TWICE.search(pattern):
        raise BadPattern("$regex must not repeat what repeats")
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as bad:
        problem = bad.args[0].decode(errors="replace") if isinstance(bad.args[0], bytes) else str(bad)
        raise BadPattern(f"$regex is no regular expression of this hub ({problem})") from None
    return lambda text: compiled.search(text) is not None


def literal_in(pattern: str) -> str | None:
    """A text that is in everything the pattern finds; None where that is not plain to see."""
    if _BEYOND_LITERALS.search(pattern):
        return None
    runs = [run[:-1] if repeated else run for run, repeated in _LITERALS.findall(pattern)]
    return max(runs, key=len, default="") or None
