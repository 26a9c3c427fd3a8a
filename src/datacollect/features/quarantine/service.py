"""Keeping refused events, and deciding about them. Source: our decisions 6 and 19."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from datacollect.db import Database, Reading, Tx
from datacollect.eventstore.event import Event, event_from_body
from datacollect.eventstore.log import EventLog, Rejection
from datacollect.features.audit.service import note_all
from datacollect.features.entities.reserved import as_taken_now
from datacollect.features.quarantine import queries
from datacollect.features.quarantine.errors import QuarantinedClosed, QuarantinedNotFound, TooLargeTogether
from datacollect.features.quarantine.model import (
    GUID_REUSED,
    Kind,
    Outcome,
    Quarantined,
    Status,
    Verdict,
    content_of,
    event_to_replay,
    quarantine_id,
)
from datacollect.features.sync.errors import EventMalformed
from datacollect.features.tenants.asked import hold
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import Tenant

DISCARDED = "quarantined-event-discarded"
"""In the audit trail."""

MOST_BYTES_AT_ONCE = 64 * 1024 * 1024
"""Of events that are decided about together; one alone may be as large as a push."""

count_open = queries.count_open

_log = structlog.get_logger(component="quarantine")

_CLOSED_MESSAGE = QuarantinedClosed().message
_NOT_FOUND_MESSAGE = QuarantinedNotFound().message
_REUSED_MESSAGE = "The log holds another event with this guid."


class QuarantineKeeper:
    """Where sync leaves what it refuses; implements `Quarantine`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(
        self, tx: Tx, scope: TenantScope, refused: Sequence[Rejection], *, device_id: str | None, now: Millis
    ) -> Collection[int]:
        rows = [_kept(scope, one, Kind.REFUSED, device_id, now) for one in refused]
        # What a device goes on sending after an operator has replayed it edited, or discarded it, asks for nothing new.
        decided = await queries.find_decided(tx, scope, {row.event_guid for row in rows})
        replayed = {one[:2] for one in decided if one.status is Status.REPLAYED}
        discarded = _contents_of(
            one.body for one in decided if one.status is Status.DISCARDED or one.code == EventMalformed.code
        )
        given_up = {one.index for one in refused if discarded.includes(one.event)}
        new = [
            row
            for row, one in zip(rows, refused, strict=True)
            if one.index not in given_up and (row.event_guid, row.body) not in replayed
        ]
        if new:
            await queries.keep(tx, scope, new)
        return given_up

    async def blocked(
        self,
        scope: TenantScope,
        rejection: Rejection,
        *,
        pushed: Sequence[Event],
        device_id: str | None,
        now: Millis,
    ) -> Collection[int]:
        guid = rejection.event.guid
        try:
            async with self._database.transaction(scope) as tx:
                if not await hold(tx, scope):
                    return ()
                discarded = await _discarded(tx, scope, [rejection.event])
                if discarded.includes(rejection.event):
                    discarded = await _discarded(tx, scope, pushed)
                    return {index for index, event in enumerate(pushed) if discarded.includes(event)}
                row = _kept(scope, rejection, Kind.BLOCKING, device_id, now)
                if discarded.contents:
                    # What was discarded is another event, and stays.
                    row = replace(row, id=quarantine_id(rejection.event, Kind.REFUSED))
                await queries.keep_blocking(tx, scope, row)
        except Exception as error:
            # The answer has been decided, and the device comes back with the event.
            _log.warning("quarantine.blocking_not_kept", event_guid=guid, exc_info=error)
        return ()


@dataclass(frozen=True, slots=True)
class QuarantinePage:
    """`rows` are what was asked for; `accepted` are others of that status that turned out to be accepted since."""

    rows: Sequence[Quarantined]
    accepted: Sequence[Quarantined]
    next_key: tuple[int, str] | None


async def list_newest(
    view: Reading,
    scope: TenantScope,
    *,
    status: Status | None,
    kind: Kind | None,
    filters: Mapping[str, str],
    before: tuple[int, str] | None,
    limit: int,
) -> QuarantinePage:
    """A page, the latest first. It is read on until it is full, so that accepted events leave no empty pages, unless they
    are large."""
    rows: list[Quarantined] = []
    accepted: list[Quarantined] = []
    while True:
        found, is_cut = await queries.list_newest(
            view, scope, status=status, kind=kind, filters=filters, before=before, limit=limit
        )
        for row in found:
            before = (row.received_at, row.id)
            if status is not None and row.status is not status:
                accepted.append(row)
            else:
                rows.append(row)
            if len(rows) == limit:
                return QuarantinePage(rows, accepted, before)
        if is_cut:
            return QuarantinePage(rows, accepted, before)
        if len(found) < limit:
            return QuarantinePage(rows, accepted, None)


async def close_accepted(tx: Tx, scope: TenantScope, accepted: Sequence[Quarantined]) -> None:
    """Keep what the log says of them, so that the next list need not find it out again."""
    await queries.close(tx, scope, accepted)


async def get(view: Reading, scope: TenantScope, id: str) -> Quarantined:
    """Raises `QuarantinedNotFound`."""
    row = await queries.find(view, scope, id)
    if row is None:
        raise QuarantinedNotFound()
    return row


async def replay(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    ids: Sequence[str],
    edited: Mapping[str, Event],
    *,
    now: Millis,
) -> Sequence[Verdict]:
    """Append quarantined events, oldest first, each as it is or as `edited`; those that cannot be applied stay open.

    The events are the caller's in the log; who sent them stays in the quarantine. One append for all of them. Raises
    `GuidChanged`, `TooLargeTogether`.
    """
    await _require_few(tx, scope, ids)
    # The log first, as every push does: who comes second finds the row closed.
    await log.lock(tx, scope)
    found = await queries.lock_rows(tx, scope, ids)
    events = {
        row.id: as_taken_now(event_to_replay(row, edited.get(row.id)), tenant)
        for row in found.values()
        if row.status is Status.OPEN
    }
    order = sorted(events, key=lambda id: events[id].occurred_at)
    appended = await log.append(tx, scope, tenant, [events[id] for id in order], on_rejection=_go_on)
    refused = {
        order[one.index]: Verdict(
            order[one.index],
            Outcome.REFUSED,
            one.reason.code,
            one.reason.message,
            one.reason.extra.get("path"),
        )
        for one in appended.rejections
    }
    for index in appended.reused:
        refused[order[index]] = Verdict(order[index], Outcome.REFUSED, GUID_REUSED, _REUSED_MESSAGE, ["guid"])
    done = [
        replace(
            found[id],
            status=Status.REPLAYED,
            closed_at=now,
            closed_by=scope.actor.label,
            replayed_body=None if events[id].body() == found[id].body else events[id].body(),
        )
        for id in order
        if id not in refused
    ]
    await queries.close(tx, scope, done)
    return _verdicts(ids, found, refused, {row.id for row in done}, Outcome.REPLAYED)


async def discard(
    tx: Tx, log: EventLog, scope: TenantScope, ids: Sequence[str], *, reason: str, now: Millis
) -> Sequence[Verdict]:
    """Decide that these are not to be applied, which the audit trail tells. A device they block gets past them with its next
    push. Raises `TooLargeTogether`."""
    await _require_few(tx, scope, ids)
    await log.lock(tx, scope)  # first, as in `replay`
    found = await queries.lock_rows(tx, scope, ids)
    done = [
        replace(row, status=Status.DISCARDED, closed_at=now, closed_by=scope.actor.label, reason=reason)
        for row in found.values()
        if row.status is Status.OPEN
    ]
    await queries.close(tx, scope, done)
    told = [(DISCARDED, row.entity_guid, {"eventGuid": row.event_guid, "reason": reason}) for row in done]
    await note_all(tx, log, scope, told, now=now)
    return _verdicts(ids, found, {}, {row.id for row in done}, Outcome.DISCARDED)


@dataclass(frozen=True, slots=True)
class _Discarded:
    """What an operator has discarded, by guid: a guid may be used for several events."""

    contents: Mapping[str, Collection[bytes]]

    def includes(self, event: Event) -> bool:
        return event.guid in self.contents and content_of(event) in self.contents[event.guid]


async def _discarded(view: Reading, scope: TenantScope, pushed: Sequence[Event]) -> _Discarded:
    return _contents_of(await queries.find_discarded(view, scope, {event.guid for event in pushed}))


def _contents_of(bodies: Iterable[str]) -> _Discarded:
    contents: dict[str, set[bytes]] = {}
    for body in bodies:
        event = event_from_body(body)
        contents.setdefault(event.guid, set()).add(content_of(event))
    return _Discarded(contents)


async def _require_few(tx: Tx, scope: TenantScope, ids: Sequence[str]) -> None:
    if len(ids) > 1 and await queries.bytes_of(tx, scope, ids) > MOST_BYTES_AT_ONCE:
        raise TooLargeTogether()


def _verdicts(
    ids: Sequence[str],
    found: Mapping[str, Quarantined],
    refused: Mapping[str, Verdict],
    done: Collection[str],
    outcome: Outcome,
) -> Sequence[Verdict]:
    def verdict(id: str) -> Verdict:
        if id not in found:
            return Verdict(id, Outcome.NOT_FOUND, QuarantinedNotFound.code, _NOT_FOUND_MESSAGE)
        if id in done:
            return Verdict(id, outcome)
        return refused.get(id) or Verdict(id, Outcome.CLOSED, QuarantinedClosed.code, _CLOSED_MESSAGE)

    return [verdict(id) for id in ids]


def _kept(scope: TenantScope, rejection: Rejection, kind: Kind, device_id: str | None, now: Millis) -> Quarantined:
    event, reason = rejection.event, rejection.reason
    return Quarantined(
        id=quarantine_id(event, kind),
        kind=kind,
        event_guid=event.guid,
        entity_guid=event.entity_guid,
        body=event.body(),
        actor=scope.actor.event_user_id,
        device_id=device_id,
        code=reason.code,
        message=reason.message,
        path=reason.extra.get("path"),
        received_at=now,
        last_seen_at=now,
    )


def _go_on(_rejection: Rejection) -> None:
    """The event stays in quarantine and the others go on."""
