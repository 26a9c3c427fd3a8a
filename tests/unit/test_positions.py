"""Line and column of values in a JSON text."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from datacollect.kernel.positions import Lines, Path, Position, locate, repeated_key

TEXT = """{
  "a": [1, {"b\\"c": true}],
\t"ü": "x{[,:]}\\\\",
  "last": {}
}
"""


def test_a_member_has_the_place_of_its_key_and_an_item_its_own() -> None:
    paths: list[Path] = [(), ("a",), ("a", 0), ("a", 1), ("a", 1, 'b"c'), ("ü",), ("last",)]
    found = locate(TEXT, paths)
    assert [found[path] for path in paths] == [
        Position(1, 1),
        Position(2, 3),
        Position(2, 9),
        Position(2, 12),
        Position(2, 13),
        Position(3, 2),
        Position(4, 3),
    ]


def test_what_is_not_there_has_the_place_of_what_it_would_stand_in() -> None:
    missing: list[Path] = [("a", 1, "x", 3), ("a", 9), ("nowhere",), ("ü", "x")]
    found = locate(TEXT, missing)
    assert [found[path] for path in missing] == [Position(2, 12), Position(2, 3), Position(1, 1), Position(3, 2)]


def test_nothing_asked_is_nothing_found() -> None:
    assert locate(TEXT, []) == {}
    assert locate("7", [()]) == {(): Position(1, 1)}


def test_lines_end_with_a_line_feed() -> None:
    lines = Lines("a\r\nb\n\nc")
    assert [lines.at(offset) for offset in (0, 3, 5, 6)] == [
        Position(1, 1),
        Position(2, 1),
        Position(3, 1),
        Position(4, 1),
    ]


def test_depth_costs_no_stack() -> None:
    text = "[" * 50_000 + "7" + "]" * 50_000
    assert locate(text, [(0, 0, 0)])[0, 0, 0] == Position(1, 4)
    assert repeated_key('{"a":' * 50_000 + "7" + "}" * 50_000) is None


def test_the_first_repeated_key_is_found() -> None:
    text = '{"a": [{"a": 1}, {"b": {"a": 2}, "\\u0062": 3}], "a": 4}'
    offset = repeated_key(text)
    assert offset is not None
    assert text[offset:].startswith('"\\u0062"')
    assert repeated_key('{"a": {"a": "a"}, "b": ["a", "a"]}') is None


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _paths(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(path, value), *(found for key, inner in items for found in _paths(inner, (*path, key)))]


@given(_values, st.sampled_from([None, 1, "\t", "\n"]), st.booleans())
def test_at_each_place_stands_what_the_path_names(value: Any, indent: Any, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    paths = _paths(value)
    positions = locate(text, [path for path, _ in paths])
    lines = text.split("\n")
    decoder = json.JSONDecoder()
    for path, expected in paths:
        position = positions[path]
        rest = "\n".join(lines[position.line - 1 :])[position.column - 1 :]
        found, end = decoder.raw_decode(rest)
        if path and isinstance(path[-1], str):
            assert found == path[-1]
            found, _ = decoder.raw_decode(rest[end:].lstrip(" \t\r\n:"))
        assert found == expected
