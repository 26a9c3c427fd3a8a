"""What a comparison means, and that keys sort as values do."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from datacollect.features.entities.indexing.values import Op, is_true, key_of, number_of, ranges_of, value_at

NUMBERS = st.one_of(st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 3))
SCALARS = st.one_of(NUMBERS, st.booleans(), st.text(), st.sampled_from(["31", "031", "2024-01-05", "", "True"]))
ANYTHING = st.one_of(SCALARS, st.none(), st.lists(SCALARS, max_size=2))


@pytest.mark.parametrize(
    ("op", "value", "operand", "expected"),
    [
        (Op.EQ, "Ann SMITH", "ann smith", True),
        (Op.EQ, "STRASSE", "straße", True),
        (Op.EQ, "é", "É", True),
        (Op.EQ, "é", "e", False),
        (Op.EQ, 31, 31.0, True),
        (Op.EQ, "31", 31, True),
        (Op.EQ, "031", 31, True),
        (Op.EQ, "031", "31", False),
        (Op.EQ, 31, "31", True),
        (Op.EQ, True, True, True),
        (Op.EQ, True, "true", True),
        (Op.EQ, "True", True, True),
        (Op.EQ, 1, True, False),
        (Op.EQ, True, 1, False),
        (Op.EQ, None, "none", False),
        (Op.EQ, ["a"], "a", False),
        (Op.EQ, "", "", True),
        (Op.GT, 10, 9, True),
        (Op.GT, 9, 9, False),
        (Op.GT, -1, -2, True),
        (Op.LT, -10, -9, True),
        (Op.LT, "x", 5, False),
        (Op.GTE, "18", 18, True),
        (Op.GTE, 18, "18", True),
        (Op.LTE, 2.5, 2.5, True),
        (Op.GTE, "2024-03-01", "2024-01-31", True),
        (Op.LT, "2024-01-05", "2024-01-05T00:00:00Z", True),
        (Op.LT, "", "2024", False),
        (Op.LT, "", "b", False),
        (Op.GT, True, False, False),
        (Op.IN, "b", ["a", "B"], True),
        (Op.IN, 3, [1, "3"], True),
        (Op.IN, 3, [], False),
        (Op.IN, 3, 3, False),
        (Op.IN, 3, [None, [3]], False),
    ],
)
def test_a_comparison(op: Op, value: Any, operand: Any, expected: bool) -> None:
    assert is_true(op, value, operand) is expected


@given(NUMBERS, NUMBERS)
def test_keys_of_numbers_compare_as_the_numbers_do(value: float, operand: float) -> None:
    a, b = float(value), float(operand)
    told = {op: is_true(op, value, operand) for op in (Op.EQ, Op.GT, Op.GTE, Op.LT, Op.LTE)}
    assert told == {Op.EQ: a == b, Op.GT: a > b, Op.GTE: a >= b, Op.LT: a < b, Op.LTE: a <= b}


@given(st.text(max_size=300), st.text(max_size=300))
def test_of_two_texts_one_is_less_or_they_are_equal(value: str, operand: str) -> None:
    assume(value and operand and number_of(value) is None and number_of(operand) is None)
    assert sum(is_true(op, value, operand) for op in (Op.LT, Op.EQ, Op.GT)) == 1


@given(ANYTHING, st.sampled_from(list(Op)), ANYTHING)
def test_no_value_and_no_operand_fails(value: Any, op: Op, operand: Any) -> None:
    ranges_of(op, operand)
    assert is_true(op, value, operand) in (True, False)


@given(SCALARS)
def test_everything_equals_itself(value: Any) -> None:
    assert is_true(Op.EQ, value, value) or key_of(value) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a", 1), ("b.c", 2), ("b.d.e", 3), ("x.y", 4), ("b", {"c": 2, "d": {"e": 3}}), ("b.c.z", None), ("q", None)],
)
def test_a_path_is_walked_unless_a_key_is_written_so(path: str, expected: Any) -> None:
    assert value_at({"a": 1, "b": {"c": 2, "d": {"e": 3}}, "x.y": 4, "x": {"y": 5}}, path) == expected
