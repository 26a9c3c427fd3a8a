"""Keeping, listing and resolving conflicts. Source: the contract's sync area, 3.7, and our decision 21."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from datacollect.db import Reading, Tx
from datacollect.eventstore.event import Origin
from datacollect.eventstore.log import BatchRejected, EventLog
from datacollect.eventstore.lookup import event_of, guids_at
from datacollect.features.audit.service import note
from datacollect.features.conflicts import queries
from datacollect.features.conflicts.errors import ConflictNotFound, ConflictResolved
from datacollect.features.conflicts.model import (
    ConflictPage,
    ConflictPlace,
    ConflictRecord,
    Resolution,
    outcome_event,
    rejoining,
)
from datacollect.features.entities.entity import Kind, LostWrite
from datacollect.features.entities.projection import Applied
from datacollect.features.entities.reserved import as_taken_now
from datacollect.features.entities.service import current_data
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import derived_guid
from datacollect.kernel.tenancy import Tenant

DECIDED = "conflict-decided"
"""In the audit trail, where no event tells it."""

guids_in_conflict = queries.guids_in_conflict


async def keep_conflicts(tx: Tx, scope: TenantScope, applied: Sequence[Applied]) -> None:
    """Keep a conflict for each event and entity that values were lost of; two statements however many."""
    overruled = [(item, guid, lost) for item in applied for guid, lost in _by_entity(item.changes.lost).items()]
    if not overruled:
        return
    winners = await guids_at(tx, scope, {_winning_position(lost) for _, _, lost in overruled})
    await queries.keep(tx, scope, [_record(*one, winners) for one in overruled])


def _by_entity(writes: Sequence[LostWrite]) -> Mapping[str, Sequence[LostWrite]]:
    found: dict[str, list[LostWrite]] = {}
    for lost in writes:
        found.setdefault(lost.entity_guid, []).append(lost)
    return found


def _winning_position(writes: Sequence[LostWrite]) -> int:
    return max(lost.kept_stamp for lost in writes).position


def _record(item: Applied, guid: str, writes: Sequence[LostWrite], winners: Mapping[int, str]) -> ConflictRecord:
    event, entity = item.event, item.after[guid]
    lost = {write.field: write.lost for write in writes}
    own = guid == event.entity_guid
    return ConflictRecord(
        guid=derived_guid(event.guid, "conflict", guid),
        entity_guid=guid,
        entity_type=entity.kind.value if entity.kind else event.type.rpartition("-")[2] if own else _kind_told(lost),
        local_version=entity.data,
        # Of a member inside a group's event only what was lost is told apart from the group's data.
        remote_version=event.data if own else lost,
        lost=lost,
        local_event_guid=winners.get(_winning_position(writes), ""),
        remote_event_guid=event.guid,
        detected_at=item.context.recorded_at,
    )


def _kind_told(lost: Mapping[str, Any]) -> str:
    """The kind of a member of whom only the end is known, by what its group's event says."""
    return Kind.GROUP if lost.get("type") == Kind.GROUP else Kind.INDIVIDUAL


async def list_conflicts(
    view: Reading,
    scope: TenantScope,
    *,
    resolved: bool | None,
    entity_guid: str | None,
    after: ConflictPlace | None,
    limit: int,
) -> ConflictPage:
    """The next conflicts behind `after`, or those found last, the latest first."""
    found = await queries.list_newest(
        view, scope, resolved=resolved, entity_guid=entity_guid, after=after, limit=limit + 1
    )
    page = found.rows[:limit]
    has_more = found.is_cut or len(found.rows) > limit
    ends_at = (page[-1].detected_at, page[-1].guid) if has_more else None
    return ConflictPage(page, ends_at, await queries.count_unresolved(view, scope))


async def get_conflict(view: Reading, scope: TenantScope, guid: str) -> ConflictRecord:
    """Raises `ConflictNotFound`."""
    conflict = await queries.find(view, scope, guid)
    if conflict is None:
        raise ConflictNotFound()
    return conflict


async def resolve(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    guid: str,
    resolution: Resolution,
    merged: Mapping[str, Any] | None,
    *,
    now: Millis,
) -> ConflictRecord:
    """Decide a conflict, and append the event that brings every device to the outcome, in one transaction.

    As a form's, it is taken without the keys that events of their own keep. Raises `ConflictNotFound`,
    `ConflictEntityDeleted`, or `ConflictResolved` when somebody has decided before; of concurrent calls one wins.
    """
    conflict = await get_conflict(tx, scope, guid)
    merged_data = dict(merged or {}) if resolution is Resolution.MERGED else None
    # The log first, as every push does: what the entity holds must not change between reading it and the event.
    at = log.time_now(await log.lock(tx, scope))
    by = scope.actor.label
    if not await queries.mark_resolved(
        tx, scope, guid, resolution=resolution, resolved_by=by, merged_data=merged_data, now=now
    ):
        raise ConflictResolved()
    current = await current_data(tx, scope, conflict.entity_guid)
    overruled = await event_of(tx, scope, conflict.remote_event_guid)
    user_id = scope.actor.event_user_id
    event = outcome_event(conflict, overruled, resolution, merged_data, current, user_id=user_id, now=at)
    event = as_taken_now(event, tenant) if event is not None else None
    if event is not None and event.data:
        try:
            await log.append(tx, scope, tenant, [event], origin=Origin.DERIVED)
        except BatchRejected as batch:
            raise batch.rejection.reason from batch
    if resolution is Resolution.REMOTE and current is None:
        joining = rejoining(conflict, user_id=user_id, now=at)
        if joining is not None:
            # Meanwhile one of them may stand above the group. That must not keep anybody from deciding.
            await log.append(tx, scope, tenant, [joining], origin=Origin.DERIVED, on_rejection=lambda _: None)
    if event is None or not event.data:
        told = {"conflictGuid": guid, "resolution": resolution.value}
        await note(tx, log, scope, DECIDED, conflict.entity_guid, told, now=now)  # no event tells it
    return replace(conflict, resolution=resolution, resolved_by=by, resolved_at=now, merged_data=merged_data)
