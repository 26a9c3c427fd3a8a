"""Instants as whole milliseconds since 1970 in UTC: the precision every client stores and compares.

The hub computes with the integer and writes the text `YYYY-MM-DDTHH:MM:SS.mmmZ`. A cursor holds that text, so
digits below the millisecond are cut off when an event is read, never rounded: otherwise a cursor built from a
delivered event would not match the event.
"""

import functools
import re
import time
from datetime import UTC, datetime, timedelta
from typing import NewType, Protocol

Millis = NewType("Millis", int)
"""Milliseconds since 1970-01-01T00:00:00Z; negative before."""

LAST = Millis(253_402_300_799_999)
"""The last moment of the year 9999: later times are none that anybody reads."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ISO_UTC = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?Z",
    re.ASCII,
)


class Clock(Protocol):
    """Where "now" comes from; tests pass one they can turn."""

    def now(self) -> Millis: ...


class SystemClock:
    def now(self) -> Millis:
        return Millis(time.time_ns() // 1_000_000)


def parse_timestamp(text: str) -> Millis:
    """Read an ISO-8601 UTC instant ending in `Z`.

    Raises `ValueError` for anything else: numeric offsets, words such as `now`, days that do not exist.
    """
    if _is_usual(text):
        # As every client writes it. Read in C, and as strictly: what is not digits between these marks is refused.
        return Millis((datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND)
    return _parse_unusual(text)


def _parse_unusual(text: str) -> Millis:
    match = _ISO_UTC.fullmatch(text)
    if match is None:
        raise ValueError("not an ISO-8601 UTC timestamp ending in Z")
    year, month, day, hour, minute, second, fraction = match.groups()
    moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=UTC)
    return Millis((moment - _EPOCH) // _MILLISECOND + int(((fraction or "") + "000")[:3]))


def _is_usual(text: str) -> bool:
    """Whether it looks like `YYYY-MM-DDTHH:MM:SS.mmmZ`, and not like anything else that the parser in C knows."""
    return (
        len(text) == 24
        and text[4] == text[7] == "-"
        and text[10] == "T"
        and text[13] == text[16] == ":"
        and text[19] == "."
        and text[23] == "Z"
        and text[11:13] != "24"
        and text.isascii()
    )


@functools.lru_cache(maxsize=1024)
def format_timestamp(instant: Millis) -> str:
    """The one text form of an instant: three decimals and `Z`, so that texts sort as instants do."""
    moment = _EPOCH + instant * _MILLISECOND
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
