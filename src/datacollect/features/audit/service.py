"""Keeping, taking and telling the audit trail. Source: the contract's sync area, 3.4 and 3.5, and our decision 6."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any

import msgspec

from datacollect.db import Reading, Tx
from datacollect.db.portions import Portion
from datacollect.eventstore.event import event_from_body
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.lookup import position_recorded_by
from datacollect.eventstore.store import Head
from datacollect.features.audit import queries
from datacollect.features.audit.errors import AuditGuidReserved, AuditGuidReused
from datacollect.features.audit.model import (
    BEGINNING,
    AuditEntry,
    Place,
    data_of_members,
    entries_of,
    is_hubs_own,
    next_pushed,
    own_guid,
    reached_by,
)
from datacollect.features.audit.queries import ENTRY_BYTES, Line, Source
from datacollect.features.entities.projection import Applied
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.errors import TenantUnknown, Unprocessable
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid


async def keep_entries(tx: Tx, scope: TenantScope, applied: Sequence[Applied]) -> None:
    """Keep what a batch of events made besides its own entries; no statement if that is nothing, else one."""
    entries = [entry for item in applied for entry in entries_of(item)]
    if entries:
        await queries.keep(tx, scope, entries)


count_notes = queries.count_notes

# -- taking


@dataclass(frozen=True, slots=True)
class Warned:
    """A pushed entry that is not stored, by its index as sent, and why."""

    index: int
    guid: str
    code: str
    message: str
    help: str


async def push(
    tx: Tx, log: EventLog, scope: TenantScope, sent: Sequence[AuditEntry], *, now: Millis
) -> Sequence[Warned]:
    """Store what a device has noted, each entry behind the last event there is now; all of it or nothing.

    An entry that is known is skipped. Gives those that are left out for another reason. `place` and `recorded_at` are
    set here. Raises `TenantUnknown` if the log is closed.
    """
    head = await log.lock(tx, scope)
    known = dict(await queries.find_known(tx, scope, {entry.guid for entry in sent}))
    warned: list[Warned] = []
    fresh: list[AuditEntry] = []
    for index, entry in enumerate(sent):
        held = known.get(entry.guid)
        if is_hubs_own(entry.guid):
            warned.append(_warned(index, entry, AuditGuidReserved()))
        elif held is None:
            known[entry.guid] = entry
            fresh.append(entry)
        elif not held.tells_the_same_as(entry):
            warned.append(_warned(index, entry, AuditGuidReused()))
    if fresh:
        await _keep_behind(tx, scope, head, fresh, now=now)
    return warned


async def note(
    tx: Tx, log: EventLog, scope: TenantScope, action: str, entity_guid: str, told: Mapping[str, Any], *, now: Millis
) -> str:
    """Store what the hub has seen the caller do, in the trail of a closed log too; gives the entry's guid. Raises
    `TenantUnknown` without a log."""
    [guid] = await note_all(tx, log, scope, [(action, entity_guid, told)], now=now)
    return guid


async def note_all(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    notes: Sequence[tuple[str, str, Mapping[str, Any]]],
    *,
    now: Millis,
) -> Sequence[str]:
    """As `note`, for several: each an action, an entity's guid, and what is told. Nothing for none."""
    if not notes:
        return ()
    head = await log.hold(tx, scope)
    if head is None:
        raise TenantUnknown()
    by = scope.actor.event_user_id
    entries = [
        AuditEntry(
            place=BEGINNING,
            guid=new_guid(),
            recorded_at=now,
            occurred_at=now,
            user_id=by,
            action=action,
            event_guid="",
            entity_guid=entity_guid,
            changes=told,
            actor=by,
        )
        for action, entity_guid, told in notes
    ]
    await _keep_behind(tx, scope, head, entries, now=now)
    return [entry.guid for entry in entries]


async def has_noted(view: Reading, scope: TenantScope, guid: str) -> bool:
    """Whether the trail has the entry: it went with its program if that was purged, whatever has its id now."""
    return guid in await queries.find_known(view, scope, [guid])


async def _keep_behind(tx: Tx, scope: TenantScope, head: Head, entries: Sequence[AuditEntry], *, now: Millis) -> None:
    """Store entries behind the last event."""
    recorded = max(now, head.recorded_at)
    first = next_pushed(recorded, await queries.last_ordinal(tx, scope, head.position))
    placed = [
        replace(entry, place=Place(head.position, ordinal), recorded_at=recorded)
        for ordinal, entry in enumerate(entries, first)
    ]
    await queries.keep(tx, scope, placed)


def _warned(index: int, entry: AuditEntry, reason: Unprocessable) -> Warned:
    return Warned(index, entry.guid, reason.code, reason.message, reason.help)


# -- telling

DEFAULT_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Told:
    """An entry as it is told; `changes` is JSON, and what the entry leaves to its event is filled in."""

    entry: AuditEntry
    changes: msgspec.Raw

    @property
    def size(self) -> int:
        """Bytes in wire form, about."""
        return ENTRY_BYTES + memoryview(self.changes).nbytes + len(self.entry.signature.encode())


def shown(told: Told) -> dict[str, Any]:
    """An entry in wire form."""
    entry = told.entry
    view: dict[str, Any] = {
        "guid": entry.guid,
        "timestamp": format_timestamp(entry.occurred_at),
        "userId": entry.user_id,
        "action": entry.action,
        "eventGuid": entry.event_guid,
        "entityGuid": entry.entity_guid,
        "changes": told.changes,
        "signature": entry.signature,
        "actor": entry.actor,
        "recordedAt": format_timestamp(entry.recorded_at),
        "deviceId": entry.device_id,
    }
    if entry.claimed_user_id is not None:
        view["claimedUserId"] = entry.claimed_user_id
    return view


@dataclass(frozen=True, slots=True)
class TrailPage:
    """Entries in their order. `next_cursor` is None unless the page was full, by their number or by `MOST_PAGE_BYTES`."""

    entries: Sequence[Told]
    next_cursor: Place | None


async def pull(
    view: Reading,
    log: EventLog,
    scope: TenantScope,
    *,
    since: Millis | None,
    after: Place,
    entity_guid: str | None,
    limit: int | None,
) -> TrailPage:
    """The next entries behind `after` that were recorded, or claim to be, later than `since`.

    Without a `limit` they are `DEFAULT_PAGE`, and what else was recorded in the millisecond of the last one, as far as
    `MOST_PAGE_BYTES` reach: whoever goes on from its time would miss that.

    What was recorded later is all that stands behind one place, which is found by halving; what only claims to be later
    has an index of its own. So a log that is pushed late is not missed, and nothing is scanned: three statements
    at most. Raises `BeyondReach`.
    """
    scope.require_everything()
    border = BEGINNING if since is None else reached_by(since, await position_recorded_by(view, scope, since))
    asked = partial(queries.read_trail, view, scope, border=border, since=since or Millis(0), entity_guid=entity_guid)
    lines, is_cut = await asked(after=after, limit=limit or DEFAULT_PAGE)
    is_full = is_cut or len(lines) == (limit or DEFAULT_PAGE)
    if limit is None and is_full and not is_cut:
        lines = await _with_rest_of_millisecond(asked, lines)
    sources = await _sources(view, scope, lines)
    # The events they come from may be larger than what they tell: the page ends where it has no room for the next.
    held = list(takewhile(lambda line: line.entry.is_pushed or line.entry.place.position in sources, lines))
    members = _Members(log, sources)
    told = list(_as_far_as_there_is_room(_told(line, sources, members) for line in held))
    return TrailPage(told, told[-1].entry.place if is_full or len(told) < len(lines) else None)


async def _with_rest_of_millisecond(
    asked: Callable[..., Awaitable[Portion[Line]]], lines: Sequence[Line]
) -> Sequence[Line]:
    """The lines with those behind them that were recorded in the same millisecond as the last one, as far as there is room."""
    found, last = list(lines), lines[-1].entry.recorded_at
    room = queries.MOST_PAGE_BYTES - sum(line.size for line in lines)
    while room > 0:
        following, is_cut = await asked(after=found[-1].entry.place, limit=DEFAULT_PAGE)
        rest = list(takewhile(lambda line: line.entry.recorded_at == last, following))
        found += rest
        room -= sum(line.size for line in rest)
        if is_cut or len(rest) < DEFAULT_PAGE:
            break
    return found


async def _sources(view: Reading, scope: TenantScope, lines: Iterable[Line]) -> Mapping[int, Source]:
    """The events that lines of the page come from, by position; asked for only if the page does not hold them."""
    sources: dict[int, Source] = {}
    wanted: set[int] = set()
    for line in lines:
        entry = line.entry
        if line.body is not None:
            sources[entry.place.position] = Source(entry.actor or "", entry.device_id, line.body)
        elif not entry.is_pushed:
            wanted.add(entry.place.position)
    wanted -= sources.keys()
    return {**sources, **await queries.find_sources(view, scope, wanted)} if wanted else sources


class _Body(msgspec.Struct):
    """What an event's own entry takes from the event's body."""

    data: msgspec.Raw
    userId: str


_body = msgspec.json.Decoder(_Body)


def _told(line: Line, sources: Mapping[int, Source], members: "_Members") -> Told:
    entry = line.entry
    if line.body is not None:
        body = _body.decode(line.body)
        guid = own_guid(entry.event_guid, entry.entity_guid)
        return Told(replace(entry, guid=guid, user_id=body.userId), body.data)
    if not entry.is_pushed:
        source = sources[entry.place.position]
        entry = replace(entry, actor=source.actor, device_id=source.device_id)
    changes = members.data_of(entry) if entry.changes is None else entry.changes
    return Told(entry, msgspec.Raw(msgspec.json.encode(changes)))


def _as_far_as_there_is_room(told: Iterable[Told]) -> Iterator[Told]:
    """Entries up to the one with which they come to `MOST_PAGE_BYTES`: what members' events write is known only now."""
    room = queries.MOST_PAGE_BYTES
    for one in told:
        yield one
        room -= one.size
        if room <= 0:
            return


class _Members:
    """What the events of a page write of their members; each event is read once."""

    def __init__(self, log: EventLog, sources: Mapping[int, Source]) -> None:
        self._log = log
        self._sources = sources
        self._read: dict[int, Mapping[str, Mapping[str, Any]]] = {}

    def data_of(self, entry: AuditEntry) -> Mapping[str, Any]:
        position = entry.place.position
        if position not in self._read:
            event = self._log.upcasters.upcast(event_from_body(self._sources[position].body))
            self._read[position] = data_of_members(event.data)
        return self._read[position].get(entry.entity_guid, {})


# -- which events touched an entity

list_reads = queries.list_reads
MOST_BODIES, MOST_BODIES_BYTES = queries.MOST_BODIES, queries.MOST_BODIES_BYTES
bodies_touching = queries.read_touching_bodies
events_touching = queries.read_touching
are_cut = queries.are_cut
touched_by = queries.find_touched
