"""Times of other systems."""

from typing import Any

import pytest

from datacollect.adapters.calling import refusal
from datacollect.adapters.times import http_date, instant
from datacollect.outgoing import Answer


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


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 16 Nov 99999999999999 13:32:02 GMT",
        "Mon, 16 Nov 2026 99999999999999:32:02 GMT",
        "Mon, 16 Nov 2026 13:32:02 +99999999999999999999",
    ],
)
def test_a_date_with_numbers_that_no_date_has_is_none(text: str) -> None:
    assert http_date(text) is None
    assert refusal(Answer(503, {"retry-after": text}, b""), "read").retry_after_seconds is None
