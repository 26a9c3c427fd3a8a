"""Instants, and cursors made of them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.kernel import clock
from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp
from datacollect.kernel.cursor import Cursor, parse_cursor

instants = st.datetimes(timezones=st.just(UTC))


@given(instants)
def test_a_formatted_instant_reads_back_as_itself(moment: datetime) -> None:
    text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert format_timestamp(parse_timestamp(text)) == text


@given(instants, instants)
def test_texts_sort_as_instants_do(one: datetime, other: datetime) -> None:
    texts = [m.isoformat(timespec="milliseconds").replace("+00:00", "Z") for m in (one, other)]
    times = [parse_timestamp(text) for text in texts]
    assert (times[0] < times[1]) == (format_timestamp(times[0]) < format_timestamp(times[1]))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2025-01-15T10:30Z", "2025-01-15T10:30:00.000Z"),
        ("2025-01-15T10:30:00Z", "2025-01-15T10:30:00.000Z"),
        ("2025-01-15T10:30:00.5Z", "2025-01-15T10:30:00.500Z"),
        ("2025-01-15T10:30:00.123999Z", "2025-01-15T10:30:00.123Z"),
        ("2025-01-15T10:30:00.123456789012Z", "2025-01-15T10:30:00.123Z"),
        ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
        ("2999-12-31T23:59:59.999Z", "2999-12-31T23:59:59.999Z"),
    ],
)
def test_digits_below_the_millisecond_are_cut_off(text: str, same: str) -> None:
    assert format_timestamp(parse_timestamp(text)) == same


@pytest.mark.parametrize(
    "text",
    [
        "now",
        "infinity",
        "yesterday",
        "2025-01-15",
        "2025-13-01T00:00:00Z",
        "2025-02-30T00:00:00Z",
        "2025-01-15T24:00:00Z",
        "2025-01-15T10:30:00+00:00",
        "2025-01-15T10:30:00",
        "2025-01-15T10:30:00.Z",
        "0000-01-01T00:00:00Z",
        " 2025-01-15T10:30:00Z",
        "2025-01-15T10:30:00Z\n",
        "٢٠٢٥-01-15T10:30:00Z",
        "",
    ],
)
def test_anything_but_a_utc_timestamp_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_timestamp(text)


@given(
    instants.map(lambda moment: format_timestamp(Millis(int(moment.timestamp() * 1000)))),
    st.lists(st.tuples(st.integers(0, 23), st.sampled_from("0123456789-:.,TZW+ t/²٣")), max_size=3),
)
def test_the_quick_way_to_read_a_timestamp_takes_and_refuses_what_the_other_does(
    text: str, changes: list[tuple[int, str]]
) -> None:
    for place, mark in changes:
        text = text[:place] + mark + text[place + 1 :]
    outcomes = []
    for parse in (parse_timestamp, clock._parse_unusual):
        try:
            outcomes.append(parse(text))
        except ValueError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]


def test_no_cursor_is_the_beginning() -> None:
    assert parse_cursor("") is None


@given(instants, st.none() | st.uuids().map(str))
def test_a_cursor_survives_the_wire(moment: datetime, guid: str | None) -> None:
    cursor = Cursor(Millis(int(moment.timestamp()) * 1000), guid)
    assert parse_cursor(str(cursor)) == cursor


def test_a_cursor_with_a_bar_needs_a_guid() -> None:
    with pytest.raises(ValueError, match="no event guid"):
        parse_cursor("2025-01-15T10:30:00Z|")
