"""Regular expressions that somebody else has written: by an engine whose time grows with the text and no faster. Pure.

The hub runs them itself, so that both databases mean the same by them and neither is kept busy by one.
"""

from collections.abc import Callable

LONGEST_PATTERN = 100
_MEMORY_BYTES = 1 << 20

_BEYOND_LITERALS = frozenset("|([\\{?")
_BETWEEN_LITERALS = frozenset(".^$+")


class BadPattern(ValueError):
    """The text says what is wrong with it."""


def searcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text holds what the pattern describes, whatever its case. Raises `BadPattern`."""
    if len(pattern) > LONGEST_PATTERN:
        raise BadPattern(f"$regex must be at most {LONGEST_PATTERN} characters")
    if _repeats_what_repeats(pattern):
        raise BadPattern("$regex must not repeat what repeats")
    # With the first search by a pattern: the engine and what it links to are 1.4 MiB.
    import re2  # noqa: PLC0415

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
    if not _BEYOND_LITERALS.isdisjoint(pattern):
        return None
    runs = [""]
    for character in pattern:
        if character == "*":
            # What stands before it need not be there.
            runs[-1] = runs[-1][:-1]
        if character == "*" or character in _BETWEEN_LITERALS:
            runs.append("")
        else:
            runs[-1] += character
    return max(runs, key=len) or None


def _repeats_what_repeats(pattern: str) -> bool:
    """Whether a group is repeated in which something is repeated without end. Harmless here; the contract refuses it."""
    # Of the groups that are open: whether something in them repeats.
    repeats = [False]
    at = 0
    while at < len(pattern):
        character, rest = pattern[at], pattern[at + 1 :]
        if character == "\\":
            at += 1
        elif character == "[":
            # A bracket that comes first is one of the class.
            at += max(1, rest.find("]", 1) + 1)
        elif character == "(":
            repeats.append(False)
        elif character == ")" and len(repeats) > 1:
            inside = repeats.pop()
            if inside and rest[:1] in ("*", "+", "{"):
                return True
            repeats[-1] |= inside
        elif character in "*+" or (character == "{" and rest.partition("}")[0].endswith(",")):
            repeats[-1] = True
        at += 1
    return False
