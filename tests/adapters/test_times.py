"""Times of other systems."""

from typing import Any

import pytest

from datacollect.adapters.times import instant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-10T12:00:00Z", 1773144000000),
        ("2026-03-10 12:00:00", 1773144000000),
        ("2026-03-10T14:00:00+02:00", 1773144000000),
        ("2026-03-10T12:00:00.123999", 1773144000123),
        ("1969-12-31T23:59:59.999500Z", -1),
        ("9999-12-31T23:59:59.999999Z", 253402300799999),
        ("0001-01-01T00:00:00+14:00", None),
        ("soon", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_a_time_is_read_to_the_millisecond_it_is_in(text: Any, expected: int | None) -> None:
    assert instant(text) == expected
