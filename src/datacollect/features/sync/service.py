"""Push and pull for callers whose scope is not limited. Source: the contract's sync area, 3.1-3.3."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.db import Reading, Tx
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import Appended, BatchRejected, EventLog, Rejection, stop_at_first
from datacollect.eventstore.store import Page
from datacollect.features.sync.errors import BoundedScopeUnsupported, DeviceIdRequired, InvalidCursor, PushRejected
from datacollect.features.sync.model import SyncScope, effective_scope
from datacollect.features.sync.payload import Push
from datacollect.features.sync.queries import Quarantined, keep_in_quarantine
from datacollect.kernel.clock import Millis
from datacollect.kernel.cursor import parse_cursor
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import is_device_id
from datacollect.kernel.tenancy import Tenant

_REUSED = "GUID_REUSED"
_REUSED_MESSAGE = "Another event with this guid but other content is stored already; this one is kept in quarantine."


_RESERVED = "RESERVED_KEY_IGNORED"
_RESERVED_MESSAGE = "The hub keeps this field by events made for it; the event was taken without it."


@dataclass(frozen=True, slots=True)
class PushResult:
    """What the answer tells. `failed` and `warnings` are in wire form."""

    applied: int
    failed: Sequence[dict[str, Any]] = ()
    warnings: Sequence[dict[str, Any]] = ()
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
    tx: Tx, log: EventLog, scope: TenantScope, tenant: Tenant, pushed: Push, *, device_id: str | None, now: Millis
) -> PushResult:
    """Append a push, oldest event first; all of it or nothing, unless it asks for a verdict on each event.

    Raises `PushRejected` for the first event that cannot be applied to an atomic push.
    """
    order = sorted(range(len(pushed.events)), key=lambda index: pushed.events[index].occurred_at)
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
        raise PushRejected(failed=[_failure(batch.rejection)]) from batch
    refused = _refused(appended, events, scope, device_id, now)
    if refused:
        await keep_in_quarantine(tx, scope, refused)
    newest = max((event.occurred_at for event in appended.stored), default=None)
    applied = len(appended.stored) + appended.known
    reused = [_verdict(order[i], events[i], _REUSED, _REUSED_MESSAGE) for i in appended.reused]
    warnings = [
        _verdict(index, pushed.events[index], _RESERVED, _RESERVED_MESSAGE, path=path)
        for index, paths in pushed.ignored.items()
        for path in paths
    ]
    if pushed.atomic:
        # A device that knows no verdicts is told that all is well, as for any known guid: it could do nothing else.
        return PushResult(applied + len(reused), warnings=reused + warnings, newest=newest)
    failed = reused + [
        _verdict(order[r.index], r.event, r.reason.error_code, r.reason.message, **r.reason.extra)
        for r in appended.rejections
    ]
    return PushResult(applied, sorted(failed, key=lambda verdict: verdict["index"]), warnings, newest)


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


def _refused(
    appended: Appended, events: Sequence[Event], scope: TenantScope, device_id: str | None, now: Millis
) -> list[Quarantined]:
    reasons = [(events[index], _REUSED, _REUSED_MESSAGE) for index in appended.reused]
    reasons += [(r.event, r.reason.error_code, r.reason.message) for r in appended.rejections]
    actor = scope.actor.event_user_id
    return [
        Quarantined(event.guid, now, actor, device_id, code, message, event.body()) for event, code, message in reasons
    ]


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
