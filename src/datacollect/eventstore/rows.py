"""What both adapters share: rows to values and back, and the arithmetic of resolving a cursor."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from datacollect.db.portions import Portion
from datacollect.eventstore.epochs import mark_of, may_be_of_before, put_back_at
from datacollect.eventstore.event import Origin
from datacollect.eventstore.segments import Segment
from datacollect.eventstore.store import (
    DeliveredEvent,
    Head,
    HeadUnreadable,
    Page,
    Place,
    RowUnreadable,
    Run,
    Scoping,
    StoredEvent,
)
from datacollect.kernel.clock import Millis
from datacollect.kernel.cursor import Cursor

_scoping = msgspec.json.Decoder(Scoping)
_figures = msgspec.json.Decoder(dict[str, int])

EVENT_COLUMNS = (
    "position, guid, entity_guid, type, occurred_ms, max_occurred_ms, recorded_ms, actor, device_id, origin, "
    "content_hash, chain_hash, body"
)
BODY = ("body",)
"""The column whose length is the length of an event."""
HEAD_COLUMNS = "position, chain_hash, max_occurred_ms, recorded_ms, figures, scoping"


_HEAD_KINDS = (int, bytes, int | None, int, str | bytes, str | bytes | None)


def head_from_row(row: Sequence[Any]) -> Head:
    """A row of `HEAD_COLUMNS`. Raises `HeadUnreadable` if a value is of the wrong kind."""
    position, chain_hash, max_occurred, recorded, figures, scoping = row
    if not all(map(isinstance, row, _HEAD_KINDS)):
        raise HeadUnreadable()
    try:
        held = None if scoping is None else _scoping.decode(scoping)
        return Head(position, chain_hash, max_occurred, recorded, _figures.decode(figures), held)
    except ValueError as error:
        raise HeadUnreadable() from error


def encode_figures(figures: Mapping[str, int]) -> str:
    return msgspec.json.encode(figures).decode()


def encode_scoping(scoping: Scoping) -> str:
    return msgspec.json.encode(scoping).decode()


def event_values(event: StoredEvent) -> tuple[Any, ...]:
    """The values of `EVENT_COLUMNS`."""
    return (
        event.position,
        event.guid,
        event.entity_guid,
        event.type,
        event.occurred_at,
        event.max_occurred_at,
        event.recorded_at,
        event.actor,
        event.device_id,
        event.origin.value,
        event.content_hash,
        event.chain_hash,
        event.body,
    )


_KINDS = (int, str, str, str, int, int, int, str, str | None, Origin, bytes, bytes, str)
_ORIGINS = {origin.value: origin for origin in Origin}


def events_from_rows(rows: Iterable[Sequence[Any]]) -> list[StoredEvent]:
    """Rows of `EVENT_COLUMNS`. Raises `RowUnreadable` at the first with a value of the wrong kind."""
    events: list[StoredEvent] = []
    for row in rows:
        values = list(row[: len(_KINDS)])
        values[9] = _ORIGINS.get(values[9])
        if not all(map(isinstance, values, _KINDS)):
            raise RowUnreadable(row[0], row[1], events)
        events.append(StoredEvent(*values))
    return events


def page_from_rows(found: Portion[Sequence[Any]], *, after: int, limit: int) -> Page:
    """Rows of (position, occurred_ms, guid, body, the epoch if the cursor is to say it)."""
    rows = found.rows
    if not rows:
        return Page((), None, after)
    position, occurred, guid, _, epoch, *_ = rows[-1]
    full = found.is_cut or len(rows) == limit
    mark = mark_of(epoch) if epoch is not None else 0
    return Page([row[3] for row in rows], Cursor(Millis(occurred), guid, mark) if full else None, position)


def delivered_from_rows(found: Portion[Sequence[Any]]) -> Portion[DeliveredEvent]:
    """Rows of (position, occurred_ms, guid, entity_guid, body)."""
    return Portion([DeliveredEvent(*row[:5]) for row in found.rows], found.is_cut)


SEGMENT_COLUMNS = "number, packed, lengths, checksum, digest, last_occurred_ms, last_guid"


def segment_values(segment: Segment) -> tuple[Any, ...]:
    """The values of `SEGMENT_COLUMNS`."""
    return (
        segment.number,
        segment.packed,
        segment.lengths,
        segment.checksum,
        segment.digest,
        segment.last.occurred_at,
        segment.last.event_guid,
    )


def segments_from_rows(rows: Iterable[Sequence[Any]]) -> list[Segment]:
    """Rows of `SEGMENT_COLUMNS`."""
    return [
        Segment(number, packed, lengths, checksum, digest, Cursor(Millis(occurred), guid))
        for number, packed, lengths, checksum, digest, occurred, guid, *_ in rows
    ]


NOWHERE = Place(0, 0, "")
"""In a log that is not there."""


def place_and_count(row: Sequence[Any]) -> tuple[Place, int]:
    """From (the head's position, the epoch, the number of the last segment)."""
    position, epoch, last = row
    return Place(position, position, epoch), 0 if last is None else last + 1


def run_from_row(row: Sequence[Any]) -> Run:
    epoch, chain_hash, text_bytes = row
    return Run(epoch, chain_hash, int(text_bytes))


def start_from_row(row: Sequence[Any]) -> Place:
    """From (the head's position, the epoch, the digests of segments)."""
    head, epoch, digests = row
    return Place(0, head, epoch, sealed=_digests(digests))


def place_from_row(row: Sequence[Any], cursor: Cursor) -> Place:
    """Where a cursor stands, from what the store knows of it.

    The row holds: the position of the event with the cursor's guid; the first position with exactly its time; the
    first position in log order with a later time; the head's position; the epoch's position; when the last event was
    recorded; the epoch; and the digests of the segments from the event with the guid on.
    """
    *known, digests = row
    by_guid, position = row[0], _resolved_position(known, cursor)
    return Place(
        position,
        row[3],
        row[6],
        is_known=cursor.event_guid is None or by_guid is not None,
        sealed=_digests(digests) if position == by_guid else None,
    )


def _digests(text: str | None) -> Mapping[int, bytes]:
    """From `number:digest number:digest`."""
    found = {}
    for entry in (text or "").split():
        number, _, digest = entry.partition(":")
        found[int(number)] = bytes.fromhex(digest)
    return found


def _resolved_position(row: Sequence[Any], cursor: Cursor) -> int:
    by_guid, exact, later, head, unbroken, last_recorded, epoch = row
    # In the history before, the event may have stood in front of events that its holder has never seen.
    doubtful = cursor.mark != mark_of(epoch) and may_be_of_before(
        epoch, cursor.occurred_at, last_recorded_at=last_recorded
    )
    if by_guid is not None:
        return min(int(by_guid), int(unbroken)) if doubtful else int(by_guid)
    if exact is not None:
        by_time = int(exact) - 1
    elif later is not None:
        by_time = int(later) - 1
    else:
        by_time = int(head)
    # An event that is named, and one that had this time, must have been of a history that was replaced.
    is_gone = cursor.event_guid is not None or (exact is None and (unbroken or put_back_at(epoch) is not None))
    return min(by_time, int(unbroken)) if is_gone or doubtful else by_time
