"""The wire form of a place in a tenant's log: `<timestamp>|<eventGuid>`, or a plain timestamp from a v1 client.

Nothing here orders anything. A cursor only *names* an event; the event store resolves the name to a position.
"""

from dataclasses import dataclass

from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp


@dataclass(frozen=True, slots=True)
class Cursor:
    """An event named by its time and guid; `event_guid` is None when a v1 client sends the time alone."""

    occurred_at: Millis
    event_guid: str | None = None

    def __str__(self) -> str:
        time = format_timestamp(self.occurred_at)
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
    return Cursor(parse_timestamp(time), guid if bar else None)
