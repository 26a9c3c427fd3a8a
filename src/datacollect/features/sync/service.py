"""Push and pull for callers whose scope is not limited. Source: the contract's sync area, 3.1-3.3."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.db import Reading, Tx
from datacollect.eventstore.event import Event, EventRejected
from datacollect.eventstore.log import Appended, BatchRejected, EventLog, Rejection, stop_at_first
from datacollect.eventstore.store import Page
from datacollect.features.sync.errors import BoundedScopeUnsupported, DeviceIdRequired, InvalidCursor, PushRejected
from datacollect.features.sync.model import SyncScope, effective_scope
from datacollect.features.sync.payload import Push
from datacollect.kernel.clock import Millis
from datacollect.kernel.cursor import parse_cursor
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import is_device_id
from datacollect.kernel.tenancy import Tenant

_REUSED = "GUID_REUSED"
_REUSED_MESSAGE = "Another event with this guid but other content is stored already; this one is kept in quarantine."

_DISCARDED = "EVENT_DISCARDED"
_DISCARDED_MESSAGE = "The hub could not apply this event, and an operator has decided to do without it."

_RESERVED = "RESERVED_KEY_IGNORED"
_RESERVED_MESSAGE = "The hub keeps this field by events made for it; the event was taken without it."


@dataclass(frozen=True, slots=True)
class PushResult:
    """What the answer tells. `failed` and `warnings` are in wire form."""

    applied: int
    failed: Sequence[dict[str, Any]] = ()
    warnings: Sequence[dict[str, Any]] = ()
    refused: Sequence[Rejection] = ()
    """What was left out while the push went on; the quarantine is to keep it."""
    newest: Millis | None = None
    """The latest time of the events that were new."""


def sync_scope_of(scope: TenantScope, tenant: Tenant, *, now: Millis) -> SyncScope:
    """How far the caller's sync reaches in this program."""
    mine = [a for a in scope.actor.assignments if a.tenant_id == scope.tenant_id]
    return effective_scope(tenant.sync_scope, mine, now=now)


def accept_device(sync_scope: SyncScope, header: str | None) -> str | None:
    """The device id to note with a call; None when none was given, or not in the form of one.

    Raises `DeviceIdRequired` when a limited scope makes it mandatory, and `BoundedScopeUnsupported` after that:
    serving such a caller everything would show them what they may not see.
    """
    device_id = header if header and is_device_id(header) else None
    if sync_scope.is_bounded:
        if device_id is None:
            raise DeviceIdRequired()
        raise BoundedScopeUnsupported()
    return device_id


async def push(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    pushed: Push,
    *,
    device_id: str | None,
    discarded: Collection[str] = (),
) -> PushResult:
    """Append a push, oldest event first; all of it or nothing, unless it asks for a verdict on each event.

    Events whose guid is among the `discarded` are left out and count as applied, with a warning. Raises `PushRejected`
    for the first event that cannot be applied to an atomic push.
    """
    kept = [index for index, event in enumerate(pushed.events) if event.guid not in discarded]
    order = sorted(kept, key=lambda index: pushed.events[index].occurred_at)
    events = [pushed.events[index] for index in order]
    try:
        appended = await log.append(
            tx,
            scope,
            tenant,
            events,
            device_id=device_id,
            on_rejection=stop_at_first if pushed.atomic else _go_on,
        )
    except BatchRejected as batch:
        raise PushRejected(batch.rejection, failed=[_failure(batch.rejection)]) from batch
    refused = [*_reused(appended, events), *appended.rejections]
    newest = max((event.occurred_at for event in appended.stored), default=None)
    left_out = [index for index, event in enumerate(pushed.events) if event.guid in discarded]
    applied = len(appended.stored) + appended.known + len(left_out)
    reused = [_verdict(order[i], events[i], _REUSED, _REUSED_MESSAGE) for i in appended.reused]
    warnings = [
        _verdict(index, pushed.events[index], _RESERVED, _RESERVED_MESSAGE, path=path)
        for index, paths in pushed.ignored.items()
        for path in paths
    ]
    warnings += [_verdict(index, pushed.events[index], _DISCARDED, _DISCARDED_MESSAGE) for index in left_out]
    if pushed.atomic:
        # A device that knows no verdicts is told that all is well, as for any known guid: it could do nothing else.
        return PushResult(applied + len(reused), warnings=reused + warnings, refused=refused, newest=newest)
    failed = reused + [
        _verdict(order[r.index], r.event, r.reason.error_code, r.reason.message, **r.reason.extra)
        for r in appended.rejections
    ]
    return PushResult(applied, sorted(failed, key=lambda verdict: verdict["index"]), warnings, refused, newest)


async def pull(view: Reading, log: EventLog, scope: TenantScope, since: str, *, limit: int) -> Page:
    """The next events for a reader that has come as far as `since`. Raises `InvalidCursor`."""
    try:
        cursor = parse_cursor(since)
    except ValueError as error:
        raise InvalidCursor() from error
    after = await log.resolve(view, scope, cursor)
    return await log.read(view, scope, after=after, limit=limit)


def _go_on(_rejection: Rejection) -> None:
    """Verdicts: the event is left out and the batch goes on."""


def _reused(appended: Appended, events: Sequence[Event]) -> list[Rejection]:
    reason = EventRejected(_REUSED_MESSAGE, code=_REUSED)
    return [Rejection(index, events[index], reason) for index in appended.reused]


def _failure(rejection: Rejection) -> dict[str, Any]:
    """`index` counts in the list sorted by time, as the reference does; `failed[].eventGuid` is unambiguous."""
    return {
        "index": rejection.index,
        "eventGuid": rejection.event.guid,
        "error": rejection.reason.message,
        "reason": "submit_failed",
        "code": rejection.reason.error_code,
        **rejection.reason.extra,
    }


def _verdict(index: int, event: Event, code: str, message: str, **members: Any) -> dict[str, Any]:
    """`index` counts in the array as sent."""
    return {
        "index": index,
        "guid": event.guid,
        "entityGuid": event.entity_guid,
        "type": event.type,
        "code": code,
        "message": message,
        **members,
    }
