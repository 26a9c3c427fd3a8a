"""The wire form of places: in a tenant's log `<timestamp>|<eventGuid>`, or a plain timestamp from a v1 client; in lists
a text that says nothing to anybody else.

Nothing here orders anything. A cursor only *names* an event; the event store resolves the name to a position.

Devices build cursors themselves, of an event's time and guid, so a cursor cannot say more than that. Only within one
sync do they send back what they were given. There it may say which history of the log the event is meant in, in a place
that every reader of the text cuts off: the six digits behind the milliseconds, which no event's time has.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp

_MARKED = re.compile(r".{19}\.[0-9]{3}([0-9]{6})Z")


@dataclass(frozen=True, slots=True)
class Cursor:
    """An event named by its time and guid; `event_guid` is None when a v1 client sends the time alone."""

    occurred_at: Millis
    event_guid: str | None = None
    mark: int = 0
    """Of the history that it was given out in; 0 if it does not say. `eventstore.epochs` tells of which."""

    def __str__(self) -> str:
        time = format_timestamp(self.occurred_at)
        if self.mark:
            time = f"{time.removesuffix('Z')}{self.mark:06d}Z"
        return time if self.event_guid is None else f"{time}|{self.event_guid}"


def parse_cursor(text: str) -> Cursor | None:
    """Read a `since` parameter; empty means "from the beginning" and gives None.

    Raises `ValueError` for a text that is neither a timestamp nor `timestamp|guid`.
    """
    if not text:
        return None
    time, bar, guid = text.partition("|")
    if bar and not guid:
        raise ValueError("no event guid after the bar")
    marked = _MARKED.fullmatch(time)
    return Cursor(parse_timestamp(time), guid if bar else None, int(marked[1]) if marked else 0)


def write_place(values: Sequence[Any]) -> str:
    """Where a page of a list ends, as letters and digits that may stand in headers and addresses."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(values))).decode().rstrip("=")


def read_place(text: str) -> list[Any]:
    """Raises `ValueError` for what `write_place` has not made."""
    try:
        values = msgspec.json.decode(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, msgspec.DecodeError):
        raise ValueError("no place in a list") from None
    if not isinstance(values, list):
        raise ValueError("no place in a list")
    return values
