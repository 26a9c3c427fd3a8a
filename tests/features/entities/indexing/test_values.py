"""What a comparison means, and that keys sort as values do."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.features.entities.indexing.values import Range, at_least, at_most, equal_to, key_of, value_at

NUMBERS = st.one_of(st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 3))
SCALARS = st.one_of(NUMBERS, st.booleans(), st.text(), st.sampled_from(["31", "031", "2024-01-05", "", "True"]))
ANYTHING = st.one_of(SCALARS, st.none(), st.lists(SCALARS, max_size=2))


def holds(asked: Range | None, value: Any) -> bool:
    key = key_of(value)
    return asked is not None and key is not None and asked.holds(key)


@pytest.mark.parametrize(
    ("value", "operand", "expected"),
    [
        ("Ann SMITH", "ann smith", True),
        ("STRASSE", "straße", True),
        ("é", "É", True),
        ("é", "e", False),
        ("İBRAHİM IŞIK", "ibrahim ışık", True),
        ("ibrahim ışık", "I\u0307BRAHI\u0307M IŞIK", True),
        ("Yılmaz", "YILMAZ", True),
        ("yilmaz", "Yılmaz", True),
        (31, 31.0, True),
        ("31", 31, True),
        ("031", 31, True),
        ("031", "31", False),
        (31, "31", True),
        (True, True, True),
        (True, "true", True),
        ("True", True, True),
        (1, True, False),
        (True, 1, False),
        (None, "none", False),
        (["a"], "a", False),
        ("", "", True),
        (3, None, False),
        (3, [3], False),
    ],
)
def test_what_equals_what(value: Any, operand: Any, expected: bool) -> None:
    assert holds(equal_to(operand), value) is expected


def test_texts_compare_with_numbers_only_where_they_spell_one() -> None:
    assert holds(at_least(18), "18")
    assert not holds(at_most(5), "x")
    assert not holds(at_least(0), "")
    assert not holds(at_most(1), True)


@given(NUMBERS, NUMBERS)
def test_keys_of_numbers_compare_as_the_numbers_do(value: float, operand: float) -> None:
    a, b = float(value), float(operand)
    told = [holds(asked, value) for asked in (equal_to(operand), at_least(operand), at_most(operand))]
    assert told == [a == b, a >= b, a <= b]


@given(ANYTHING, ANYTHING)
def test_no_value_and_no_operand_fails(value: Any, operand: Any) -> None:
    assert holds(equal_to(operand), value) in (True, False)


@given(SCALARS)
def test_everything_equals_itself(value: Any) -> None:
    assert holds(equal_to(value), value) or key_of(value) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a", 1), ("b.c", 2), ("b.d.e", 3), ("x.y", 4), ("b", {"c": 2, "d": {"e": 3}}), ("b.c.z", None), ("q", None)],
)
def test_a_path_is_walked_unless_a_key_is_written_so(path: str, expected: Any) -> None:
    assert value_at({"a": 1, "b": {"c": 2, "d": {"e": 3}}, "x.y": 4, "x": {"y": 5}}, path) == expected
