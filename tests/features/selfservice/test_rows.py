"""Which of the rows that come back was which."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.features.selfservice.rows import matched


def rows(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


@pytest.mark.parametrize(
    ("sent", "back", "changed", "doubtful"),
    [
        ("abc", {0: 0, 1: 1, 2: 2}, {}, []),
        ("Abcd", {1: 1, 2: 2}, {0: 0}, []),
        ("aBc", {0: 0, 2: 2}, {1: 1}, []),
        ("ABC", {}, {0: 0, 1: 1, 2: 2}, []),
        ("bC", {0: 1}, {1: 2}, []),
        ("abcd", {0: 0, 1: 1, 2: 2}, {}, []),
        ("ac", {0: 0, 1: 2}, {}, []),
        ("abCd", {0: 0, 1: 1}, {}, [2]),
        ("aC", {0: 0}, {}, [1, 2]),
        ("cbA", {0: 2, 1: 1}, {}, [0]),
        ("cbad", {0: 2, 1: 1, 2: 0}, {}, []),
        ("cBAd", {0: 2}, {}, []),
        ("cbAd", {0: 2, 1: 1}, {}, [0]),
        ("", {}, {}, []),
    ],
)
def test_a_row_is_told_by_its_neighbours(
    sent: str, back: dict[int, int], changed: dict[int, int], doubtful: list[int]
) -> None:
    found = matched(rows(*sent), rows(*"abc"), ())
    assert (found.back, found.changed, found.doubtful) == (back, changed, doubtful)


def test_rows_that_look_alike_are_told_by_where_they_stand() -> None:
    found = matched(rows("A", "a", "a", "d"), rows("a", "a", "a"), ())
    assert (found.back, found.changed) == ({1: 1, 2: 2}, {0: 0})


def numbered(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "no": number} for name, number in pairs]


def test_a_row_is_told_by_what_nobody_fills_in() -> None:
    shown = numbered(("a", 1), ("b", 2), ("c", 3))
    found = matched([*numbered(("B", 2), ("A", 1)), {"name": "d"}], shown, {"no"})
    assert (found.back, found.changed, found.doubtful) == ({}, {0: 1, 1: 0}, [2])


@pytest.mark.parametrize("number", ["", None, 7])
def test_values_that_say_nothing_or_that_several_have_tell_no_row(number: Any) -> None:
    shown = numbered(("a", number), ("b", number))
    found = matched(numbered(("B", number), ("A", number), ("d", number)), shown, {"no"})
    assert (found.changed, found.doubtful) == ({}, [0, 1])


_ROWS = st.lists(st.fixed_dictionaries({"name": st.sampled_from("ab")}, optional={"no": st.sampled_from([1, 2, ""])}))


@given(_ROWS, _ROWS)
def test_no_row_is_two_and_what_is_back_is_the_same(sent: list[Any], shown: list[Any]) -> None:
    found = matched(sent, shown, {"no"})
    places = [*found.back.values(), *found.changed.values(), *found.doubtful]
    assert len(set(places)) == len(places)
    assert not found.back.keys() & found.changed.keys()
    assert all(sent[came] == shown[place] for came, place in found.back.items())
