"""The port to the event log. Two adapters implement it (`sqlite.py`, `postgres.py`; what they do alike is in
`statements.py`); `datacollect.testing.eventstore` holds the contract suite both pass.

**Position = commit order.** `open` takes the tenant's lock and everything that an append reads and decides happens
under it, to commit. So a position is given out only when every smaller one is committed: a reader that follows
positions never passes a gap that fills later. Positions of a tenant are dense: 1, 2, 3, …

The log's running values (position, chain, latest event time) are one row per tenant, the *head*.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from datacollect.db import Reading, Tx
from datacollect.db.portions import Portion
from datacollect.eventstore.epochs import mark_of, put_back_at
from datacollect.eventstore.event import Origin
from datacollect.eventstore.segments import Segment, Slice
from datacollect.kernel.clock import Millis
from datacollect.kernel.cursor import Cursor
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.identity import TenantScope

MOST_PAGE_BYTES = 16 * 1024 * 1024
"""Of the texts of events that are read at once, without what stands between them. A page ends with the event that reaches
it, however many are asked for, so that there is always one."""


@dataclass(frozen=True, slots=True)
class Scoping:
    """Since when events are filed by the place of their entities, so that a part of the log can be read by itself."""

    id: str
    """Names this beginning; snapshots made for it have guids derived from it."""
    prepared_to: str | None
    """The last entity (by guid) whose snapshot has been filed; None when all have."""
    window_days: int | None = None
    """The shortest rolling window any reader has had."""
    window_floor: Millis | None = None
    """The latest fixed floor any reader has had."""

    @property
    def is_ready(self) -> bool:
        return self.prepared_to is None


@dataclass(frozen=True, slots=True)
class Head:
    """Where a tenant's log ends. `position` 0 and an empty `chain_hash` mean that it has no events."""

    position: int
    chain_hash: bytes
    max_occurred_at: Millis | None
    """The latest event time seen so far; never falls, which is what makes a time searchable by position."""
    recorded_at: Millis
    figures: Mapping[str, int] = field(default_factory=dict)
    """Running counts the inline projections keep, by name, so that a count never scans."""
    scoping: Scoping | None = None
    """None while nobody reads a part of this log only."""


@dataclass(frozen=True, slots=True)
class OpenLog:
    """A tenant's log, locked for one append: its head, and which of the guids asked for it already holds."""

    head: Head
    known: Mapping[str, bytes]
    """guid -> content hash of the stored event"""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of the log."""

    position: int
    guid: str
    entity_guid: str
    type: str
    occurred_at: Millis
    max_occurred_at: Millis
    recorded_at: Millis
    actor: str
    """The authenticated caller, beside the `userId` the event claims."""
    device_id: str | None
    origin: Origin
    content_hash: bytes
    chain_hash: bytes
    body: str


@dataclass(frozen=True, slots=True)
class Page:
    """Events in position order, as the text to deliver. `next_cursor` is None iff the page was not full: it is full with as
    many as are asked for, or with `MOST_PAGE_BYTES` of them."""

    bodies: Sequence[str]
    next_cursor: Cursor | None
    last_position: int
    sealed: Sequence[Slice] = ()
    """Events in front of the `bodies`, as parts of sealed segments."""
    written: dict[bytes, Any] = field(default_factory=dict, compare=False)
    """For whoever writes the page down: what was made of it, for the next one who is given this very page."""

    def __len__(self) -> int:
        return sum(map(len, self.sealed)) + len(self.bodies)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader stands in a log, and how far that goes."""

    position: int
    """The last one the reader has: what it wants next is greater."""
    head: int
    epoch: str
    """Names the history that the positions are of."""
    is_known: bool = True
    """Whether the log holds the event that the cursor names; a time alone names none."""
    sealed: Mapping[int, bytes] | None = None
    """By number, the digests of the segments there are of what comes next. None if nobody asked, or where the cursor
    names no event of the log."""

    @property
    def was_put_back(self) -> bool:
        """Whether readers may be ahead of the log, for a reason that the operator has named."""
        return put_back_at(self.epoch) is not None

    def give_out(self, cursor: Cursor | None) -> Cursor | None:
        """The cursor as a reader of this history is given it."""
        mark = mark_of(self.epoch)
        return replace(cursor, mark=mark) if mark and cursor is not None else cursor


@dataclass(frozen=True, slots=True)
class Run:
    """The events that a segment is made of, as the database has them."""

    epoch: str
    chain_hash: bytes
    """Of the last one, and so of all before it."""
    text_bytes: int
    """About how long their texts are together."""


class HeldEvent(NamedTuple):
    """What tells whether an event the hub makes anew is the one the log holds already."""

    occurred_at: Millis
    content_hash: bytes


class DeliveredEvent(NamedTuple):
    """What a reader needs of one event."""

    position: int
    occurred_at: Millis
    guid: str
    entity_guid: str
    body: str


class RowUnreadable(DataCollectError):
    """A row of the log holds a value that no event can have."""

    code = "ROW_UNREADABLE"
    help = "Run `datacollect verify`, and compare the row with a backup."

    def __init__(self, position: object, guid: object, sound: Sequence[StoredEvent]) -> None:
        super().__init__()
        self.position = position
        self.guid = guid
        self.sound = sound
        """The rows that were read before it."""


class HeadUnreadable(DataCollectError):
    """The head of the log holds a value that no head can have."""

    code = "HEAD_UNREADABLE"
    help = "Run `datacollect verify` and restore the database if it finds more."


class EventStore(Protocol):
    def turn(self, scope: TenantScope) -> AbstractAsyncContextManager[None]:
        """Wait here, before opening a transaction, while others of this process append to the tenant.

        Correctness does not need it: it keeps the pushes to one busy tenant from holding every connection just to wait
        for the same lock.
        """

    async def create(self, tx: Tx, scope: TenantScope, *, epoch: str, now: Millis) -> None:
        """Give a new tenant an empty log; harmless if it has one."""

    async def close(self, tx: Tx, scope: TenantScope, *, now: Millis) -> None:
        """Take no more events from the commit of `tx` on; appends under way are waited for. Reading goes on."""

    async def reopen(self, tx: Tx, scope: TenantScope) -> None:
        """Take events again; harmless on a log that does."""

    async def set_scoping(self, tx: Tx, scope: TenantScope, scoping: Scoping) -> None:
        """Note how far filing by place has come. The caller holds the lock."""

    async def open(self, tx: Tx, scope: TenantScope, guids: Sequence[str]) -> OpenLog:
        """Lock the tenant's log until the transaction ends. Raises `TenantUnknown` if it has none or is closed."""

    async def hold(self, tx: Tx, scope: TenantScope) -> Head | None:
        """Lock the tenant's log for maintenance, closed or not, until the transaction ends; None if it has none."""

    async def set_figures(self, tx: Tx, scope: TenantScope, figures: Mapping[str, int]) -> None:
        """Replace the running counts of a log that is held."""

    async def renew(self, tx: Tx, scope: TenantScope, *, epoch: str, position: int) -> None:
        """Note that the history up to this position was put in the place of another one that had it too, and more. The
        caller holds the log. Where an earlier one ended before, it stays: there are devices of that one, too."""

    async def append(self, tx: Tx, scope: TenantScope, events: Sequence[StoredEvent], head: Head) -> None:
        """Add events behind the opened head; `head` is the new one. Positions follow on from the old head."""

    async def resolve(self, view: Reading, scope: TenantScope, cursor: Cursor | None) -> int:
        """The position a reader with this cursor has reached: what it wants next is greater.

        None is the beginning. A known guid is its event's position, if the event has the cursor's time: a log that was
        made anew may have other events under the same guids (seeds). A plain time T is just before the first event
        with exactly that time, or, if there is none, just before the first event in log order later than T. An
        unknown guid is resolved by its time, but never beyond where this store's history is known to be unbroken
        (the epoch): delivering twice is free, skipping is not. The same goes for an event behind the epoch that the
        history before can have had too, unless the cursor was given out in this one (`epochs.py`).
        """

    async def locate(self, view: Reading, scope: TenantScope, cursor: Cursor | None, *, reach: int = 0) -> Place:
        """Where a reader with this cursor stands, by one statement. Without a log: at the beginning of nothing.

        It tells which segments there are of the next `reach` events.
        """

    async def segments(
        self, view: Reading, scope: TenantScope, *, epoch: str, first: int, last: int
    ) -> Sequence[Segment]:
        """The sealed segments of these numbers that there are of this history, in order; none if it is replaced."""

    async def sealed_to(self, view: Reading, scope: TenantScope) -> tuple[Place, int] | None:
        """Where the log ends, and how many segments are sealed of it; None if there is no log."""

    async def run(self, view: Reading, scope: TenantScope, number: int) -> Run | None:
        """What is known of the run of this number without reading its events; None if the log does not go so far."""

    async def keep_segment(self, tx: Tx, scope: TenantScope, segment: Segment, run: Run) -> None:
        """Keep a segment of the run, unless one is there or the log has another history by now.

        What is purged stays purged, and what a database has lost that another took over from is not brought back.
        """

    async def drop_segment(self, tx: Tx, scope: TenantScope, number: int) -> None:
        """Delete a segment; harmless if there is none."""

    async def held(self, view: Reading, scope: TenantScope, guids: Sequence[str]) -> Mapping[str, HeldEvent]:
        """Those of the events that the log holds, by guid."""

    async def read(
        self,
        view: Reading,
        scope: TenantScope,
        *,
        after: int,
        limit: int,
        epoch: str | None = None,
        most_bytes: int = MOST_PAGE_BYTES,
    ) -> Page:
        """The next events in position order; with an `epoch`, none if the log has another history by now."""

    async def read_at(
        self, view: Reading, scope: TenantScope, positions: Sequence[int], *, epoch: str | None = None
    ) -> Portion[DeliveredEvent]:
        """The events at these positions, in position order, up to `MOST_PAGE_BYTES`; with an `epoch`, none as in
        `read`."""

    async def position_at(self, view: Reading, scope: TenantScope, instant: Millis) -> int:
        """The first position recorded at `instant` or later; one behind the head if there is none."""

    async def read_rows(self, view: Reading, scope: TenantScope, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """The next whole rows in position order, up to `MOST_PAGE_BYTES`, whatever has been done to them: bytes of a
        text that are not UTF-8 come back escaped, one by one (`surrogateescape`). There are none only at the end of the
        log. Raises `RowUnreadable` at a value of the wrong kind.
        """

    async def head(self, view: Reading, scope: TenantScope) -> Head | None:
        """The tenant's head; None if it has no log. Raises `HeadUnreadable` at a value of the wrong kind."""
