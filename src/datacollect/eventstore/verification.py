"""Verifying a log: everything about an event that follows from something else is derived again and compared.

From an event's `body` follow its guid, entity, type, time and content hash, and the body itself: it must be the very
text the hub writes for that event. From all bodies in order follow the positions, the chain hashes, the running latest
event time and the head. What replaces the chain from some event on, head included, is found by the anchors that are
kept outside the database (`anchors.py`), up to the last of them.

Not proven, because the contract's `v3` chain covers an event's wire form only: `actor`, `device_id`, `origin` and
`recorded_at`, of which just the order of `recorded_at` is checked; of the head, its running counts, epoch and closing
time. Texts that canonical JSON does not tell apart (`1` and `1.0`, the order of an object's keys) have the same hashes.

A finding's message holds positions, times, hashes and names of columns, never a text from the database: findings are
kept and shown, and what somebody wrote into a row may be about people.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import func, select

from datacollect.db import Reading
from datacollect.eventstore.anchors import Anchor, chain_text
from datacollect.eventstore.event import event_from_body, level_of
from datacollect.eventstore.integrity import EMPTY_CHAIN, hash_event
from datacollect.eventstore.lookup import guids_at
from datacollect.eventstore.segments import SIZE, Segment, digest_of
from datacollect.eventstore.store import EventStore, Head, HeadUnreadable, RowUnreadable, StoredEvent
from datacollect.eventstore.tables import events, log_heads
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.cursor import Cursor
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

BATCH = 2000
"""Rows held in memory at once."""

_BEFORE_ALL = -(2**63)


class FindingCode(StrEnum):
    """What is wrong, for programs. A code never changes its meaning."""

    POSITION_MISSING = "POSITION_MISSING"
    """No event has the position that comes next."""
    POSITION_UNEXPECTED = "POSITION_UNEXPECTED"
    """An event has a position that no event can have."""
    ROW_UNREADABLE = "ROW_UNREADABLE"
    """A column holds a value of the wrong kind."""
    BODY_UNREADABLE = "BODY_UNREADABLE"
    """The body is not an event."""
    CONTENT_CHANGED = "CONTENT_CHANGED"
    """Body and content hash do not belong together."""
    BODY_REWRITTEN = "BODY_REWRITTEN"
    """The body says the same as the hub's own text, but is not it."""
    COLUMN_DIFFERS = "COLUMN_DIFFERS"
    """A column says something else than the body."""
    CHAIN_BROKEN = "CHAIN_BROKEN"
    """The chain hash does not follow from this event and the chain before it."""
    RECORDED_FALLS = "RECORDED_FALLS"
    """The event was recorded before the one in front of it."""
    HEAD_DIFFERS = "HEAD_DIFFERS"
    """The head does not describe the log's end."""
    HEAD_UNREADABLE = "HEAD_UNREADABLE"
    """The head holds a value of the wrong kind."""
    ANCHOR_DIFFERS = "ANCHOR_DIFFERS"
    """An anchor does not agree with the log."""
    SEGMENT_DIFFERS = "SEGMENT_DIFFERS"
    """A sealed segment, from which pulls are served, does not hold the events of its positions."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A row beside the one a finding is about. Positions and guids are as stored, so possibly wrong themselves."""

    position: int
    guid: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The first thing in a log that is wrong."""

    code: FindingCode
    position: int
    guid: str | None
    """None if there is no event at that position."""
    message: str
    before: Neighbour | None = None
    after: Neighbour | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a log is known to be sound, and what must follow."""

    position: int = 0
    guid: str | None = None
    chain_hash: bytes = EMPTY_CHAIN
    max_occurred_at: Millis | None = None
    recorded_at: Millis | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of verifying one log."""

    sound: Reached
    """The last event up to which everything holds."""
    finding: Finding | None

    @property
    def ok(self) -> bool:
        return self.finding is None


BEGINNING = Reached()

Anchors = Mapping[int, Sequence[Anchor]]
"""Anchors by position."""


async def verify(
    view: Reading,
    store: EventStore,
    scope: TenantScope,
    *,
    anchors: Iterable[Anchor] = (),
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Verify a tenant's whole log, up to the first finding. Events may be appended meanwhile; they are verified too.

    `progress` is called with the number of events that are known to be sound, after each batch.
    """
    by_position, seals = _by_position(anchors), _Seals()
    reached, after = BEGINNING, _BEFORE_ALL
    while True:
        # The head before the rows: what it counts was committed, so the rows must be there.
        head = await read_head(view, store, scope)
        rows, finding = await _read_batch(view, store, scope, after, reached)
        for outcome in check(rows, reached, by_position):
            if isinstance(outcome, Finding):
                finding = outcome
            else:
                reached = outcome
        if finding is None:
            finding = await seals.check(view, store, scope, rows)
        if finding is None and not rows:
            finding = check_end(head, reached, by_position)
            break
        if finding is not None:
            break
        after = reached.position
        if progress is not None:
            progress(reached.position)
    return Verification(reached, finding and await _with_neighbours(view, store, scope, finding, reached))


class _Seals:
    """Compares sealed segments with the rows they are of."""

    def __init__(self) -> None:
        self._waiting: list[StoredEvent] = []
        """The rows behind the last whole run."""

    async def check(
        self, view: Reading, store: EventStore, scope: TenantScope, rows: Sequence[StoredEvent]
    ) -> Finding | None:
        """The next rows, which are sound themselves."""
        self._waiting.extend(rows)
        whole = len(self._waiting) // SIZE * SIZE
        if not whole:
            return None
        runs, self._waiting = self._waiting[:whole], self._waiting[whole:]
        first = (runs[0].position - 1) // SIZE
        sealed_to = await store.sealed_to(view, scope)
        if sealed_to is None:
            return None
        epoch, last = sealed_to[0].epoch, first + whole // SIZE - 1
        for number in range(first, last + 1):  # one by one: of several there may be too much to be read at once
            for segment in await store.segments(view, scope, epoch=epoch, first=number, last=number):
                begin = (number - first) * SIZE
                if not _is_sealed_of(segment, runs[begin : begin + SIZE]):
                    return _of(runs[begin], FindingCode.SEGMENT_DIFFERS, _UNLIKE)
        return None


_UNLIKE = (
    f"The sealed segment that begins here does not hold these {SIZE} events. The events are sound: delete the log's "
    "rows of log_segments and they are sealed anew."
)


def _is_sealed_of(segment: Segment, rows: Sequence[StoredEvent]) -> bool:
    if segment.is_left_to_table:
        return True
    bodies = [row.body.encode() for row in rows]
    last = Cursor(rows[-1].occurred_at, rows[-1].guid)
    text = b",".join(bodies)
    return (
        segment.is_sound()
        and segment.text == text
        and segment.digest == digest_of([text])
        and segment.last == last
        and [segment.between(index, index + 1) for index in range(SIZE)] == bodies
    )


async def history_of(view: Reading, scope: TenantScope) -> str | None:
    """Names the history that the log is of, which a program made anew under the id has not; None without a head."""
    found = select(log_heads.c.epoch).where(log_heads.c.tenant_id == scope.tenant_id)
    return (await view.execute(found)).scalar_one_or_none()


async def read_head(view: Reading, store: EventStore, scope: TenantScope) -> Head | HeadUnreadable | None:
    """The head, or that it cannot be read: what the rows say comes first."""
    try:
        return await store.head(view, scope)
    except HeadUnreadable as unreadable:
        return unreadable


async def logs(view: Reading) -> Sequence[TenantId]:
    """The tenants that have a log: a head, or events that lost theirs. For maintenance of the whole database only."""
    found = set((await view.execute(select(log_heads.c.tenant_id))).scalars())
    tenant: str | None = ""
    while tenant is not None:
        # From one tenant to the next by the key, not through all events.
        following = select(func.min(events.c.tenant_id)).where(events.c.tenant_id > tenant)
        tenant = (await view.execute(following)).scalar_one()
        if tenant is not None:
            found.add(tenant)
    return sorted(map(TenantId, found))


async def positions(view: Reading) -> Mapping[TenantId, int]:
    """Of every log that has a head: how many events it counts. For maintenance of the whole database only."""
    heads = await view.execute(select(log_heads.c.tenant_id, log_heads.c.position))
    return {TenantId(head.tenant_id): head.position for head in heads}


def check(
    rows: Iterable[StoredEvent], reached: Reached = BEGINNING, anchors: Anchors | None = None
) -> Iterator[Reached | Finding]:
    """Check rows in position order, the first being what must follow `reached`.

    Yields how far the log is sound after each row; ends with the first finding.
    """
    for row in rows:
        finding = _check_row(row, reached) or _check_anchors(row, anchors or {})
        if finding is not None:
            yield finding
            return
        reached = Reached(row.position, row.guid, row.chain_hash, row.max_occurred_at, row.recorded_at)
        yield reached


def check_end(head: Head | HeadUnreadable | None, reached: Reached, anchors: Anchors | None = None) -> Finding | None:
    """Check what is known about a log's end against the last of its rows."""
    if isinstance(head, HeadUnreadable):
        return Finding(FindingCode.HEAD_UNREADABLE, reached.position, reached.guid, head.message)
    if head is None:
        return _at_end(
            reached, "The log has no head." if reached.position else "There is no log: no head, and no events."
        )
    if head.position > reached.position:
        missing = _span(reached.position + 1, head.position)
        text = f"The head counts {head.position} events, but {missing} not there."
        return Finding(FindingCode.HEAD_DIFFERS, reached.position + 1, None, text)
    if head.position < reached.position:
        return _at_end(reached, f"The head counts {head.position} events, but the log goes on to {reached.position}.")
    if head.chain_hash != reached.chain_hash:
        return _at_end(reached, "The head's chain hash is not the last event's.")
    if head.max_occurred_at != reached.max_occurred_at:
        return _at_end(reached, "The head's latest event time is not the log's.")
    beyond = min((position for position in anchors or {} if position > reached.position), default=None)
    if beyond is not None:
        text = f"There is an anchor of this position, but the log ends at {reached.position}."
        return Finding(FindingCode.ANCHOR_DIFFERS, beyond, None, text)
    return None


def _check_row(row: StoredEvent, reached: Reached) -> Finding | None:
    expected = reached.position + 1
    if row.position > expected:
        text = f"The next event has position {row.position}: {_span(expected, row.position - 1)} not there."
        return Finding(FindingCode.POSITION_MISSING, expected, None, text)
    if row.position < expected:
        return _of(row, FindingCode.POSITION_UNEXPECTED, f"The position should be {expected}.")
    try:
        event = event_from_body(row.body)
        # No hash holds the level; where the event came from tells it.
        hashed, body = hash_event(event), replace(event, sync_level=level_of(row.origin)).body()
    except (ValueError, RecursionError):
        return _of(row, FindingCode.BODY_UNREADABLE, "The body is not an event.")
    if row.content_hash != hashed.content:
        return _of(row, FindingCode.CONTENT_CHANGED, "Body and content hash do not belong together.")
    if row.body != body:
        return _of(row, FindingCode.BODY_REWRITTEN, "The body is not the text the hub writes for this event.")
    latest = event.occurred_at if reached.max_occurred_at is None else max(reached.max_occurred_at, event.occurred_at)
    for column, stored, derived in (
        ("guid", row.guid, event.guid),
        ("entity_guid", row.entity_guid, event.entity_guid),
        ("type", row.type, event.type),
        ("occurred_ms", row.occurred_at, event.occurred_at),
        ("max_occurred_ms", row.max_occurred_at, latest),
    ):
        if stored != derived:
            return _of(row, FindingCode.COLUMN_DIFFERS, f"The column {column} contradicts the body.")
    if row.chain_hash != hashed.chained_to(reached.chain_hash):
        text = "The chain hash does not follow from this event and the chain before it."
        return _of(row, FindingCode.CHAIN_BROKEN, text)
    if reached.recorded_at is not None and row.recorded_at < reached.recorded_at:
        return _of(row, FindingCode.RECORDED_FALLS, "The event was recorded before the one in front of it.")
    return None


def _check_anchors(row: StoredEvent, anchors: Anchors) -> Finding | None:
    for anchor in anchors.get(row.position, ()):
        if anchor.chain_hash != row.chain_hash:
            sound = max((position for position in anchors if position < row.position), default=0)
            text = (
                f"The anchor written {format_timestamp(anchor.recorded_at)} has {chain_text(anchor.chain_hash)} here, "
                f"the log {chain_text(row.chain_hash)}: {_span(sound + 1, row.position)} not all as they were."
            )
            return _of(row, FindingCode.ANCHOR_DIFFERS, text)
    return None


def _of(row: StoredEvent, code: FindingCode, message: str) -> Finding:
    return Finding(code, row.position, row.guid, message)


def _at_end(reached: Reached, message: str) -> Finding:
    return Finding(FindingCode.HEAD_DIFFERS, reached.position, reached.guid, message)


def _span(first: int, last: int) -> str:
    return f"position {first} is" if first == last else f"positions {first} to {last} are"


def _by_position(anchors: Iterable[Anchor]) -> Anchors:
    grouped: dict[int, list[Anchor]] = {}
    for anchor in anchors:
        grouped.setdefault(anchor.position, []).append(anchor)
    return grouped


async def _read_batch(
    view: Reading, store: EventStore, scope: TenantScope, after: int, reached: Reached
) -> tuple[Sequence[StoredEvent], Finding | None]:
    """The next rows; and, if one of them cannot be read, those before it and a finding."""
    try:
        return await store.read_rows(view, scope, after=after, limit=BATCH), None
    except RowUnreadable as unreadable:
        position = unreadable.position
        if not isinstance(position, int):
            position = (unreadable.sound[-1].position if unreadable.sound else reached.position) + 1
        return unreadable.sound, Finding(FindingCode.ROW_UNREADABLE, position, _guid(unreadable), unreadable.message)


async def _with_neighbours(
    view: Reading, store: EventStore, scope: TenantScope, finding: Finding, reached: Reached
) -> Finding:
    """The finding with the nearest rows before and after it."""
    before = after = None
    if finding.position > reached.position > 0:
        before = Neighbour(reached.position, reached.guid or "")
    elif finding.position > 1:
        position = finding.position - 1
        before = Neighbour(position, (await guids_at(view, scope, [position])).get(position, ""))
    try:
        for row in await store.read_rows(view, scope, after=finding.position, limit=1):
            after = Neighbour(row.position, row.guid)
    except RowUnreadable as unreadable:
        after = _neighbour(unreadable)
    return replace(finding, before=before, after=after)


def _neighbour(unreadable: RowUnreadable) -> Neighbour:
    position = unreadable.position if isinstance(unreadable.position, int) else 0
    return Neighbour(position, _guid(unreadable) or "")


def _guid(unreadable: RowUnreadable) -> str | None:
    return unreadable.guid if isinstance(unreadable.guid, str) else None
