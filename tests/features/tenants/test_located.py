"""Findings of a file, each with its line."""

import json
from pathlib import Path

import pytest

from datacollect.features.tenants.located import lint_text
from datacollect.kernel.positions import Position

SAMPLE = (Path(__file__).parent / "configs" / "v1-sample-config.json").read_text()


def test_findings_come_in_the_order_of_the_lines() -> None:
    located = lint_text(SAMPLE.encode())
    assert len(located) == 10
    assert located == sorted(located, key=lambda one: one.position)
    lines = SAMPLE.splitlines()
    for one in located:
        at = lines[one.position.line - 1][one.position.column - 1 :]
        last = one.finding.path[-1]
        # What is missing has the place of what it is missing in; this item's parent is written once for its group.
        place = {"form_id_given": "{", "parent_of_other_form": "{", "adapter_cannot_start": '"externalSync"'}
        assert at.startswith(place.get(one.finding.code, f'"{last}"'))


def test_what_is_about_the_whole_comes_last() -> None:
    located = lint_text(json.dumps({"id": "a", "name": "b", **{f"k{i}": 1 for i in range(60)}}, indent=1).encode())
    assert located[-1].finding.path == ()
    assert located[-2].position > located[-1].position


@pytest.mark.parametrize(
    ("body", "code", "position"),
    [
        (b'{"id": "a",\n "name": }', "INVALID_JSON", Position(2, 10)),
        (b"", "INVALID_JSON", Position(1, 1)),
        (b'{"id": "a",\n "id": "b"}', "DUPLICATE_KEY", Position(2, 2)),
        (b'{"id":\n "a\\u0000"}', "NUL_CHARACTER", Position(2, 4)),
        ('{"ü":\n "ü'.encode() + b'\xff"}', "INVALID_UTF8", Position(2, 4)),
        (b"[" * 100 + b"]" * 100, "JSON_TOO_DEEP", Position(1, 1)),
        (b'{"id": 1e999}', "NUMBER_OUT_OF_RANGE", Position(1, 1)),
    ],
)
def test_what_is_no_json_is_one_finding_where_reading_stopped(body: bytes, code: str, position: Position) -> None:
    [located] = lint_text(body)
    assert (located.finding.code, located.position) == (code, position)
    assert located.finding.help and "body" not in located.finding.message
