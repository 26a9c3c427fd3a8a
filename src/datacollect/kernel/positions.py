"""Where in a JSON text the values of a document stand: what a linter prints in front of a finding.

The one library for it (json-source-map) has had no release since 2022 and maps every value of a text; of ten megabytes
that is a million. This goes through the text once and keeps the places that are asked for.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]

_STRING = r'"(?:[^"\\]|\\.)*+"'
_TOKEN = re.compile(rf'[{{}}\[\],:]|{_STRING}|[^\s{{}}\[\],:"]+', re.DOTALL)
_BRACKET = re.compile(rf"[{{}}\[\]]|{_STRING}", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Both from 1 on; columns count characters, as editors do."""

    line: int
    column: int


class Lines:
    """Finds line and column of offsets in a text."""

    def __init__(self, text: str) -> None:
        self._begins = [0, *(found.end() for found in re.finditer("\n", text))]

    def at(self, offset: int) -> Position:
        line = bisect_right(self._begins, offset)
        return Position(line, offset - self._begins[line - 1] + 1)


def locate(text: str, paths: Iterable[Path]) -> dict[Path, Position]:
    """The place of each path in a text that is known to be JSON: of a member its key's, of an item its own.

    What is not there has the place of what it would stand in.
    """
    wanted: dict[Any, Any] = {}
    asked = set(paths)
    steps = 0
    for path in asked:
        node = wanted
        for part in path:
            steps += part not in node
            node = node.setdefault(part, {})
    offsets = _Scanner(text).offsets(wanted, steps)
    lines = Lines(text)
    return {path: lines.at(_nearest(path, offsets)) for path in asked}


def _nearest(path: Path, offsets: dict[Path, int]) -> int:
    while path not in offsets:
        path = path[:-1]
    return offsets[path]


def repeated_key(text: str) -> int | None:
    """The offset of the first key that its object has had already, in a text that is known to be JSON."""
    objects: list[set[str] | None] = []
    awaits_key = False
    for found in _TOKEN.finditer(text):
        word = found.group()
        if word in "{[":
            objects.append(set() if word == "{" else None)
            awaits_key = word == "{"
        elif word in "}]":
            objects.pop()
        elif word == ",":
            awaits_key = objects[-1] is not None
        elif word == ":":
            awaits_key = False
        elif awaits_key and (keys := objects[-1]) is not None:
            key = _key(word)
            if key in keys:
                return found.start()
            keys.add(key)
            awaits_key = False
    return None


class _Scanner:
    """One way through a text. It does not recurse: how deep a text nests is its author's choice."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def offsets(self, wanted: dict[Any, Any], steps: int) -> dict[Path, int]:
        """Of the `steps` paths in a tree of what is wanted, those that are there."""
        found: dict[Path, int] = {}
        # Of each open object or array: what is wanted in it, its path, and the index of its next item (None: an object).
        open_: list[tuple[dict[Any, Any], Path, int | None]] = []
        word, at = self._next()
        found[()] = at
        if wanted and word in "{[":
            open_.append((wanted, (), 0 if word == "[" else None))
        while open_ and len(found) <= steps:
            inside, path, index = open_.pop()
            word, at = self._next()
            if word == ",":
                word, at = self._next()
            if word in "}]":
                continue
            part: str | int = _key(word) if index is None else index
            open_.append((inside, path, None if index is None else index + 1))
            if index is None:
                self._next()  # the colon
                word, value_at = self._next()
            else:
                value_at = at
            deeper = inside.get(part)
            if deeper is not None:
                found[(*path, part)] = at
            if word in "{[":
                if deeper:
                    open_.append((deeper, (*path, part), 0 if word == "[" else None))
                else:
                    self._skip(value_at)
        return found

    def _next(self) -> tuple[str, int]:
        word = _TOKEN.search(self._text, self._at)
        assert word is not None
        self._at = word.end()
        return word.group(), word.start()

    def _skip(self, begin: int) -> None:
        """Go behind the object or array that begins there."""
        depth = 0
        for word in _BRACKET.finditer(self._text, begin):
            mark = word.group()
            if mark in "{[":
                depth += 1
            elif mark in "}]":
                depth -= 1
                if depth == 0:
                    self._at = word.end()
                    return


def _key(word: str) -> str:
    return json.loads(word) if "\\" in word else word[1:-1]
