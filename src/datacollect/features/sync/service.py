"""Push and pull. Source: the contract's sync area, 3.1-3.3."""

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any

from datacollect.db import Reading, Tx
from datacollect.db.turns import in_turns
from datacollect.eventstore.checks import EventChecks, Mismatch
from datacollect.eventstore.event import Event, event_from_body
from datacollect.eventstore.integrity import EventHash, hash_event
from datacollect.eventstore.log import BatchRejected, EventLog, Rejection, Share
from datacollect.eventstore.lookup import bodies_of, entities_of
from datacollect.eventstore.pages import Pages
from datacollect.eventstore.store import Page
from datacollect.eventstore.together import Kept
from datacollect.features.forms.service import keep_findings, rejection, warning
from datacollect.features.sync.errors import (
    DeviceIdRequired,
    EventDiscarded,
    EventMalformed,
    GuidReused,
    InvalidCursor,
    PushRejected,
    ReservedKeyIgnored,
)
from datacollect.features.sync.parts import part_for, read_part
from datacollect.features.sync.payload import Push
from datacollect.features.sync.verdicts import Refusals, Refused, verdicts
from datacollect.kernel.canonical import as_doubles, holds_large_numbers
from datacollect.kernel.clock import Millis
from datacollect.kernel.cursor import parse_cursor
from datacollect.kernel.identity import MINIMUM_ROLE, Action, TenantScope
from datacollect.kernel.ids import is_device_id
from datacollect.kernel.sync_scope import Reach, SyncScope, effective_scope
from datacollect.kernel.tenancy import FormValidation, Tenant

_USUAL_BYTES = 4096
"""Of an event at most."""
MOST_COMPARED_BYTES = 1024 * 1024
"""Of events as sent, and of what the log holds under their guids, that are compared number by number: a twentieth of a
second's work, for which the log's turn waits."""
_TIMES_ROUNDED = 64
"""How many times as long a number may be as what a device with doubles makes of it: 309 digits come back as `1e308`."""
_REGISTERING = frozenset({"create-individual", "create-group"})
"""Events that need none before them."""

Mismatches = Mapping[int, Sequence[Mismatch]]
"""By index in the array as sent; only of events that have any."""


@dataclass(frozen=True, slots=True)
class PushResult:
    """What the answer tells. `failed` and `warnings` are in wire form."""

    applied: int
    failed: Sequence[dict[str, Any]] = ()
    warnings: Sequence[dict[str, Any]] = ()
    newest: Millis | None = None
    """The latest time of the events that were new."""


def sync_scope_of(scope: TenantScope, tenant: Tenant, *, now: Millis) -> SyncScope:
    """How far the caller's sync reaches in this program: what they may pull."""
    return effective_scope(tenant.sync_scope, scope.actor.assignments_in(scope.tenant_id), now=now)


def writable_reach(scope: TenantScope, tenant: Tenant, sync_scope: SyncScope, *, now: Millis) -> Reach:
    """What of that they may push to: all of it, but where one of their assignments only lets them read."""
    mine = scope.actor.assignments_in(scope.tenant_id, MINIMUM_ROLE[Action.CREATE])
    if len(mine) == len(scope.actor.assignments_in(scope.tenant_id)):
        return sync_scope.reach
    return effective_scope(tenant.sync_scope, mine, now=now).reach


def accept_device(sync_scope: SyncScope, header: str | None) -> str | None:
    """The device id to note with a call; None when none was given, or not in the form of one.

    Raises `DeviceIdRequired` when a limited scope makes it mandatory.
    """
    device_id = header if header and is_device_id(header) else None
    if device_id is None and sync_scope.is_bounded:
        raise DeviceIdRequired()
    return device_id


async def find_mismatches(checks: EventChecks, log: EventLog, tenant: Tenant, pushed: Push) -> Mismatches:
    """What the program's forms would not have let pass. To be asked before the log's turn: nobody waits for it."""
    check = await checks.of(tenant)
    if check is None:
        return {}
    found: dict[int, Sequence[Mismatch]] = {}
    async for some in in_turns(range(len(pushed.events))):
        for index in some:
            if index in pushed.malformed:
                continue
            # As it will be applied: forms are written for the current layout of events.
            if mismatches := check.mismatches(log.upcasters.upcast(pushed.events[index])):
                found[index] = mismatches
    return found


@dataclass(frozen=True, slots=True)
class Prepared:
    """A push, ready for the log: oldest event first, without those that are discarded or have not the shape of an event."""

    pushed: Push
    order: Sequence[int]
    """Where each event is in the push as sent."""
    events: Sequence[Event]
    hashed: deque[EventHash]
    left_out: Sequence[int]

    def share(self, scope: TenantScope, device_id: str | None) -> Share:
        """As a part of a batch."""
        return Share(scope, self.events, self.hashed, device_id)

    @property
    def weight(self) -> int:
        """How many events of the usual size are as much work."""
        return max(len(self.events), sum(len(one.canonical) for one in self.hashed) // _USUAL_BYTES)


async def prepare(log: EventLog, pushed: Push, *, now: Millis, discarded: Collection[int] = ()) -> Prepared:
    """To be asked before the log's turn, likewise. The `discarded` events, by index, are left out and count as
    applied, with a warning."""
    kept = [index for index in range(len(pushed.events)) if index not in discarded and index not in pushed.malformed]
    order = sorted(kept, key=lambda index: pushed.events[index].occurred_at)
    if order and pushed.events[order[-1]].occurred_at > now:
        order = _registered_first(pushed.events, order, now)
    events = [pushed.events[index] for index in order]
    left_out = sorted(discarded)
    return Prepared(pushed, order, events, await log.hash_ahead(events), left_out)


def _registered_first(events: Sequence[Event], order: Sequence[int], now: Millis) -> list[int]:
    """The order in which whoever was registered by a clock that was ahead comes before what was said of them after it had
    been set right. All else stays where its time puts it."""
    ahead = {events[index].entity_guid: index for index in reversed(order) if _is_registered_ahead(events[index], now)}
    found: dict[int, None] = {}
    for index in order:
        registered = ahead.get(events[index].entity_guid)
        if registered is not None:
            found.setdefault(registered)
        found.setdefault(index)
    return list(found)


def _is_registered_ahead(event: Event, now: Millis) -> bool:
    return event.occurred_at > now and event.type in _REGISTERING


async def push(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    prepared: Prepared,
    *,
    mismatches: Mismatches,
    device_id: str | None,
    keep: Callable[[Sequence[Rejection]], Awaitable[Collection[int]]],
) -> PushResult:
    """Append a push; all of it or nothing, unless it asks for a verdict on each event.

    What is left out while it goes on is given to `keep`, which gives the indexes of those that an operator has discarded:
    they count as applied, with a warning. Raises `PushRejected` for the first event that cannot be applied to an atomic push.
    """
    pushed, order, events = prepared.pushed, prepared.order, prepared.events
    found = {at: mismatches[index] for at, index in enumerate(order) if index in mismatches} if mismatches else {}
    strict = tenant.form_validation is FormValidation.REJECT
    refusals = Refusals(atomic=pushed.atomic)
    try:
        appended = await log.append(
            tx,
            scope,
            tenant,
            events,
            device_id=device_id,
            refused={at: rejection(one) for at, one in found.items()} if strict else None,
            on_rejection=refusals.note,
            hashed=prepared.hashed,
        )
    except BatchRejected as batch:
        raise PushRejected(batch.rejection, failed=refusals.ending_with(batch.rejection)) from batch
    held_as_sent = await _held_as_sent(tx, log, scope, prepared, appended.reused)
    reused = [Rejection(at, events[at], GuidReused()) for at in appended.reused if at not in held_as_sent]
    refused = [*reused, *(replace(one, reason=refusals.judged(one)) for one in appended.rejections)]
    malformed = [index for index in pushed.malformed if index not in prepared.left_out]
    if malformed:
        held = await held_malformed(tx, scope, pushed)
        judged = [_malformed(at, index, pushed, index in held) for at, index in enumerate(malformed, len(order))]
        reused += [one for one in judged if isinstance(one.reason, GuidReused)]
        refused += judged
        order = [*order, *malformed]
    flagged = [] if strict or not found else [(at, found[at]) for at in appended.indexes if at in found]
    await keep_findings(tx, scope, appended, [(events[at].guid, one) for at, one in flagged])
    discarded = await keep(refused) if refused else ()
    left_out = [*prepared.left_out, *(order[at] for at in discarded)]
    applied = len(appended.stored) + appended.known + len(held_as_sent) + len(left_out)
    warnings: list[Refused] = [(order[at], warning(mismatch)) for at, one in flagged for mismatch in one]
    warnings += _reserved_keys(prepared)
    warnings += [(index, EventDiscarded()) for index in left_out]
    newest = max((event.occurred_at for event in appended.stored), default=None)
    if pushed.atomic:
        # A device that knows no verdicts is told that all is well, as for any known guid: it could do nothing else.
        told = [one for one in reused if one.index not in discarded]
        warnings += [(order[one.index], one.reason) for one in told]
        failed = refusals.to_wire(without=discarded)
        return PushResult(applied + len(told), failed, verdicts(warnings, pushed), newest)
    failed = verdicts([(order[one.index], one.reason) for one in refused if one.index not in discarded], pushed)
    return PushResult(applied, failed, verdicts(warnings, pushed), newest)


async def held_malformed(view: Reading, scope: TenantScope, pushed: Push) -> Collection[int]:
    """Those without the shape of an event whose guid the log has, of the same entity: their device has made them of that
    one, or the other way round."""
    sent = {index: pushed.events[index] for index in pushed.malformed}
    entities = await entities_of(view, scope, dict.fromkeys(event.guid for event in sent.values()))
    return {index for index, event in sent.items() if entities.get(event.guid) == event.entity_guid}


def _malformed(at: int, index: int, pushed: Push, is_held: bool) -> Rejection:
    return Rejection(at, pushed.events[index], GuidReused() if is_held else EventMalformed(pushed.malformed[index][0]))


async def _held_as_sent(
    tx: Tx, log: EventLog, scope: TenantScope, prepared: Prepared, reused: Sequence[int]
) -> Collection[int]:
    """Those that the log holds with keys that have become reserved since, or with integers that a device has rounded to
    doubles: it is the same event that comes again."""
    found: set[int] = set()
    as_sent = {at: prepared.pushed.as_sent.get(prepared.order[at]) for at in reused}
    sent = {at: event for at, event in as_sent.items() if event is not None}
    if sent:
        held = await log.held(tx, scope, [event.guid for event in sent.values()])
        found = {at for at, event in sent.items() if hash_event(event).content == held[event.guid].content_hash}
    others = _with_large_numbers({at: sent.get(at, prepared.events[at]) for at in reused if at not in found})
    if others:
        found.update(await _held_rounded(tx, scope, others))
    return found


def _with_large_numbers(events: Mapping[int, Event]) -> Mapping[int, Event]:
    """Those that a device with doubles may have made of others; of many the first."""
    found: dict[int, Event] = {}
    left = MOST_COMPARED_BYTES
    for at, event in events.items():
        length = len(event.body())
        if length <= left:
            left -= length
            if holds_large_numbers(event.data):
                found[at] = event
    return found


async def _held_rounded(tx: Tx, scope: TenantScope, events: Mapping[int, Event]) -> Collection[int]:
    """Those that are what a device whose numbers are doubles makes of what the log holds under their guids."""
    guids = dict.fromkeys(event.guid for event in events.values())
    bodies = await bodies_of(tx, scope, guids, most_bytes=MOST_COMPARED_BYTES)
    rounded: dict[str, bytes] = {}
    found: set[int] = set()
    for at, event in events.items():
        body = bodies.get(event.guid)
        if body is None or len(body) > min(MOST_COMPARED_BYTES, _TIMES_ROUNDED * len(event.body())):
            continue
        if event.guid not in rounded:
            held = event_from_body(body)
            rounded[event.guid] = hash_event(replace(held, data=as_doubles(held.data))).content
        if hash_event(event).content == rounded[event.guid]:
            found.add(at)
    return found


def kept_together(prepared: Prepared, kept: Kept) -> PushResult:
    """What to tell of a push that was appended as one with others: nothing stood in its way."""
    pushed = prepared.pushed
    warnings = verdicts(_reserved_keys(prepared), pushed)
    return PushResult(len(prepared.events), (), warnings, kept.newest)


def _reserved_keys(prepared: Prepared) -> list[Refused]:
    ignored = prepared.pushed.ignored
    return [(index, ReservedKeyIgnored(path=path)) for index in prepared.order for path in ignored.get(index, ())]


async def pull(
    opening: Callable[[], AbstractAsyncContextManager[Reading]],
    log: EventLog,
    pages: Pages,
    scope: TenantScope,
    version: str,
    sync_scope: SyncScope,
    since: str,
    *,
    areas: Sequence[str],
    limit: int,
    now: Millis,
) -> Page:
    """The next events for a reader that has come as far as `since`. Raises `InvalidCursor`.

    A view is only opened if the database has to be asked. `version` is that of the program's config. `areas` is the
    reader's own hint, empty for none: it narrows what is delivered, never widens.
    """
    try:
        cursor = parse_cursor(since)
    except ValueError as error:
        raise InvalidCursor() from error
    part = part_for(sync_scope, areas)
    begins = sync_scope.begins(now)
    if part.is_whole and begins is None:
        page = pages.at_once(scope, version, cursor, limit=limit)
        if page is None:
            async with opening() as view:
                page = await pages.read(view, scope, version, cursor, limit=limit)
        return page
    async with opening() as view:
        place = await pages.locate(view, scope, cursor)
        page = await read_part(view, log, scope, part, place=place, limit=limit, begins=begins)
    return replace(page, next_cursor=place.give_out(page.next_cursor))
