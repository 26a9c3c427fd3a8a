"""Push and pull. Source: the contract's sync area, 3.1-3.3."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.db import Reading, Tx
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import Appended, BatchRejected, EventLog, Rejection, stop_at_first
from datacollect.eventstore.store import Page
from datacollect.features.entities.errors import EntityUnknownInReach, OutOfReach
from datacollect.features.sync.errors import DeviceIdRequired, InvalidCursor, PushRejected
from datacollect.features.sync.model import SyncScope, effective_scope
from datacollect.features.sync.parts import part_for, read_part
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


def sync_scope_of(scope: TenantScope, tenant: Tenant, *, now: Millis) -> SyncScope:
    """How far the caller's sync reaches in this program."""
    mine = [a for a in scope.actor.assignments if a.tenant_id == scope.tenant_id]
    return effective_scope(tenant.sync_scope, mine, now=now)


def accept_device(sync_scope: SyncScope, header: str | None) -> str | None:
    """The device id to note with a call; None when none was given, or not in the form of one.

    Raises `DeviceIdRequired` when a limited scope makes it mandatory.
    """
    device_id = header if header and is_device_id(header) else None
    if device_id is None and sync_scope.is_bounded:
        raise DeviceIdRequired()
    return device_id


async def push(
    tx: Tx, log: EventLog, scope: TenantScope, tenant: Tenant, pushed: Push, *, device_id: str | None, now: Millis
) -> PushResult:
    """Append a push, oldest event first; all of it or nothing, unless it asks for a verdict on each event.

    Raises `PushRejected` for the first event that cannot be applied to an atomic push.
    """
    order = sorted(range(len(pushed.events)), key=lambda index: pushed.events[index].occurred_at)
    events = [pushed.events[index] for index in order]
    refusals = _Refusals(atomic=pushed.atomic)
    try:
        appended = await log.append(tx, scope, tenant, events, device_id=device_id, on_rejection=refusals.note)
    except BatchRejected as batch:
        failure = _failure(batch.rejection, index=batch.rejection.index - len(refusals.out_of_reach))
        raise PushRejected(failed=[failure, *refusals.to_wire()]) from batch
    refused = _refused(appended, events, scope, device_id, now)
    if refused:
        await keep_in_quarantine(tx, scope, refused)
    applied = len(appended.stored) + appended.known
    reused = [_verdict(order[i], events[i], _REUSED, _REUSED_MESSAGE) for i in appended.reused]
    warnings = [
        _verdict(index, pushed.events[index], _RESERVED, _RESERVED_MESSAGE, path=path)
        for index, paths in pushed.ignored.items()
        for path in paths
    ]
    if pushed.atomic:
        # A device that knows no verdicts is told that all is well, as for any known guid: it could do nothing else.
        return PushResult(applied + len(reused), refusals.to_wire(), reused + warnings)
    failed = reused + [
        _verdict(order[r.index], r.event, r.reason.error_code, r.reason.message, **r.reason.extra)
        for r in appended.rejections
    ]
    return PushResult(applied, sorted(failed, key=lambda verdict: verdict["index"]), warnings)


async def pull(
    view: Reading,
    log: EventLog,
    scope: TenantScope,
    sync_scope: SyncScope,
    since: str,
    *,
    areas: Sequence[str],
    limit: int,
    now: Millis,
) -> Page:
    """The next events for a reader that has come as far as `since`. Raises `InvalidCursor`.

    `areas` is the reader's own hint, empty for none: it narrows what is delivered, never widens.
    """
    try:
        cursor = parse_cursor(since)
    except ValueError as error:
        raise InvalidCursor() from error
    after = await log.resolve(view, scope, cursor)
    part = part_for(sync_scope, areas)
    begins = sync_scope.begins(now)
    if part.is_whole and begins is None:
        return await log.read(view, scope, after=after, limit=limit)
    return await read_part(view, log, scope, part, after=after, limit=limit, begins=begins)


class _Refusals:
    """What a push does about events that cannot be applied.

    Out of reach of the sender: the others are applied, as the contract says. Anything else ends an atomic push; with
    verdicts the event is left out.
    """

    def __init__(self, *, atomic: bool) -> None:
        self._atomic = atomic
        self.out_of_reach: list[Rejection] = []

    def note(self, rejection: Rejection) -> None:
        if isinstance(rejection.reason, OutOfReach):
            self.out_of_reach.append(rejection)
        elif self._atomic:
            stop_at_first(rejection)

    def to_wire(self) -> list[dict[str, Any]]:
        refused = {one.event.entity_guid for one in self.out_of_reach if one.event.type.startswith("create-")}
        return [self._wire(one, refused) for one in self.out_of_reach]

    @staticmethod
    def _wire(one: Rejection, refused: Collection[str]) -> dict[str, Any]:
        """An event about an entity whose creation was refused is out of scope, not about something unknown."""
        unknown = isinstance(one.reason, EntityUnknownInReach) and one.event.entity_guid not in refused
        return {
            "guid": one.event.guid,
            "entityGuid": one.event.entity_guid,
            "type": one.event.type,
            "reason": "unknown_entity" if unknown else "out_of_scope",
            "code": "UNKNOWN_ENTITY" if unknown else "OUT_OF_SCOPE",
            "message": one.reason.message,
            **one.reason.extra,
        }


def _refused(
    appended: Appended, events: Sequence[Event], scope: TenantScope, device_id: str | None, now: Millis
) -> list[Quarantined]:
    reasons = [(events[index], _REUSED, _REUSED_MESSAGE) for index in appended.reused]
    reasons += [(r.event, r.reason.error_code, r.reason.message) for r in appended.rejections]
    actor = scope.actor.event_user_id
    return [
        Quarantined(event.guid, now, actor, device_id, code, message, event.body()) for event, code, message in reasons
    ]


def _failure(rejection: Rejection, *, index: int) -> dict[str, Any]:
    """`index` counts in the list sorted by time and without what was out of scope, as the reference does; the
    `eventGuid` is unambiguous."""
    return {
        "index": index,
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
