"""Every regular expression of ours takes time in proportion to the text, whatever the text."""

import importlib
import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import datacollect

SIZE = 10_000
SECONDS = 120
"""It takes two; work that doubles with each character, or grows with the cube of the text, would take hours."""

MEETS_ONLY_SHORT_TEXTS = {
    # features/users/schemas.py: a field of at most 320 characters.
    "_ADDRESS",
}

MEETS_ONLY_JSON = {
    # http/body.py and kernel/positions.py: of a text that has been decoded, in which every string ends.
    "_STRINGS_AND_COLONS", "_TOKEN", "_BRACKET",
}  # fmt: skip

SEARCHED = {
    "_BEHIND", "_BETWEEN_DIGITS", "_BRACKET", "_CHUNKS", "_EXTENSION", "_GAP", "_HALVES", "_IN_FRONT", "_JOINED",
    "_NAMED_FIELD", "_NEXT_LINK", "_NO_DIGITS", "_NUL_ESCAPE", "_ODD", "_PLACEHOLDER", "_QUOTED", "_REMARKABLE",
    "_SECRET_NAME", "_SEPARATORS", "_SOMALI", "_SPLIT", "_STATUS", "_STRINGS_AND_COLONS", "_TOKEN", "_TURKISH", "_TWICE", "_UNNAMEABLE", "_UNSAFE", "_VOWEL",
    "_UNSPACED", "_UNSPEAKABLE", "_UNWRITABLE", "_WITH_VERDICTS", "_WORDS", "_WORD_START", "_WRITTEN_SLASH", "words._PARTS", "rule",
}  # fmt: skip
"""What is looked for in a text; all others must fit the whole of it. `rule` is one of the password rules. A name that
several modules have comes with its module's."""

UNITS = [
    "a", "0", " ", ".", "-", "@", '"', "\\", "\\\\", '\\"', "\n", "_", "T", ":", "+", "é", "a.", "a@", "1-", "0:", "f-",
    "{", "{a", "{to}", "'", "'\"", "'\n", "'\"\n", "'a", ";", "; ",
]  # fmt: skip
ENDS = ["", "!", "a", "\\u0000", '"', "\n!"]


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(datacollect.__path__, "datacollect."):
        if ".migrations" not in found.name and not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def patterns() -> Iterator[tuple[str, "re.Pattern[str] | re.Pattern[bytes]"]]:
    """Those that modules keep, also inside tuples."""
    for module in modules():
        for name, value in vars(module).items():
            for part in _parts(value):
                if isinstance(part, re.Pattern):
                    yield f"{module.__name__}.{name}", part


def _parts(value: object) -> Iterator[object]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _parts(part)
    else:
        yield value


def is_searched(name: str) -> bool:
    return not SEARCHED.isdisjoint({name.rpartition(".")[2], ".".join(name.split(".")[-2:])})


def exercise() -> None:
    texts = [unit * (SIZE // len(unit)) + end for unit in UNITS for end in ENDS]
    tried = 0
    for name, pattern in patterns():
        own_name = name.rpartition(".")[2]
        looked_for = is_searched(name) or own_name == "_PASSWORD_RULES"
        for text in texts:
            made = text[:320] if own_name in MEETS_ONLY_SHORT_TEXTS else text
            made = json.dumps(text) if own_name in MEETS_ONLY_JSON else made
            given = made if isinstance(pattern.pattern, str) else made.encode()
            pattern.fullmatch(given)  # type: ignore[arg-type]
            if looked_for:
                pattern.sub(given[:0], given)  # type: ignore[arg-type]
        tried += 1
    sys.stdout.write(str(tried))


def test_no_text_makes_a_pattern_of_ours_work_without_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tests.unit.test_patterns import exercise; exercise()"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 30


def test_only_these_are_searched_for() -> None:
    ours = {name.rpartition(".")[2] for name, _ in patterns()} | {"rule"}
    for file in Path(datacollect.__path__[0]).rglob("*.py"):
        for name in re.findall(r"\b(_[A-Z_]+|rule)\.(?:search|finditer|findall|sub|split)\(", file.read_text()):
            assert is_searched(f"{file.stem}.{name}") or name not in ours, (file, name)
