"""SQL of devices."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import delete, func, or_, select, tuple_, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.features.devices.model import (
    Activity,
    ClockSamples,
    Device,
    DeviceKey,
    Revocation,
    Tally,
)
from datacollect.features.devices.tables import device_revocations, device_sync_summary, sync_activity
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid

_summary = device_sync_summary.c
_activity = sync_activity.c
_revoked = device_revocations.c


async def find_clocks(view: Reading, scope: TenantScope, keys: Sequence[DeviceKey]) -> Mapping[DeviceKey, ClockSamples]:
    """What is known of the clocks of those devices that have a row."""
    named = tuple_(_summary.user_id, _summary.device_id).in_([(key.user_id, key.device_id) for key in keys])
    wanted = select(_summary.user_id, _summary.device_id, _summary.clock_samples)
    rows = await view.execute(wanted.where(_summary.tenant_id == scope.tenant_id, named))
    return {DeviceKey(scope.tenant_id, row.user_id, row.device_id): _clock(row.clock_samples) for row in rows}


async def count_new(
    view: Reading, scope: TenantScope, user_ids: Collection[str], *, after: Millis, before: Millis
) -> Mapping[str, int]:
    """How many devices of each of these users were first seen between."""
    counted = (
        select(_summary.user_id, func.count().label("devices"))
        .where(_summary.tenant_id == scope.tenant_id, _summary.user_id.in_(user_ids))
        .where(_summary.first_seen_ms > after, _summary.first_seen_ms < before)
        .group_by(_summary.user_id)
    )
    return {row.user_id: row.devices for row in await view.execute(counted)}


async def add_tallies(
    tx: Tx, scope: TenantScope, tallies: Mapping[DeviceKey, Tally], clocks: Mapping[DeviceKey, ClockSamples]
) -> None:
    """Add to the totals; a device without a row gets one."""
    insert = insert_into(tx, device_sync_summary)
    new = insert.excluded
    upsert = insert.on_conflict_do_update(
        index_elements=["tenant_id", "user_id", "device_id"],
        set_={
            "last_pull_ms": func.coalesce(new.last_pull_ms, _summary.last_pull_ms),
            "last_push_ms": func.coalesce(new.last_push_ms, _summary.last_push_ms),
            "total_pulled": _summary.total_pulled + new.total_pulled,
            "total_pushed": _summary.total_pushed + new.total_pushed,
            "last_scope_hash": func.coalesce(new.last_scope_hash, _summary.last_scope_hash),
            "clock_samples": new.clock_samples,
            "clock_ahead": or_(_summary.clock_ahead, new.clock_ahead),
        },
    )
    # In order of the key, so that two processes that flush the same devices wait for each other in one direction only.
    await tx.execute(upsert, [_tally_values(scope, key, tallies[key], clocks[key]) for key in sorted(tallies)])


async def add_activity(tx: Tx, scope: TenantScope, rows: Sequence[Activity]) -> None:
    values = [
        {
            "tenant_id": scope.tenant_id,
            "occurred_ms": row.occurred_at,
            "id": new_guid(),
            "user_id": row.key.user_id,
            "device_id": row.key.device_id,
            "route": row.route,
            "event_count": row.events,
            "scope_hash": row.scope_hash,
        }
        for row in rows
    ]
    await tx.execute(sync_activity.insert(), values)


async def delete_old_activity(tx: Tx, scope: TenantScope, *, before: Millis, limit: int) -> int:
    """Delete the oldest rows, at most `limit`; how many it were."""
    mine = _activity.tenant_id == scope.tenant_id
    oldest = (
        select(_activity.occurred_ms, _activity.id)
        .where(mine, _activity.occurred_ms < before)
        .order_by(_activity.occurred_ms, _activity.id)
        .limit(limit)
    )
    found = [(row.occurred_ms, row.id) for row in await tx.execute(oldest)]
    if found:
        named = tuple_(_activity.occurred_ms, _activity.id).in_(found)
        await tx.execute(delete(sync_activity).where(mine, named))
    return len(found)


async def list_devices(
    view: Reading, scope: TenantScope, *, after: tuple[str, str] | None, limit: int
) -> Sequence[Device]:
    """By user and device id."""
    wanted = select(device_sync_summary).where(_summary.tenant_id == scope.tenant_id)
    if after is not None:
        user_id, device_id = after
        # In this form both engines begin at the page, and not at the first row.
        wanted = wanted.where(
            _summary.user_id >= user_id, or_(_summary.user_id > user_id, _summary.device_id > device_id)
        )
    rows = await view.execute(wanted.order_by(_summary.user_id, _summary.device_id).limit(limit))
    return [
        Device(
            key=DeviceKey(scope.tenant_id, row.user_id, row.device_id),
            first_seen_at=Millis(row.first_seen_ms),
            last_pull_at=_millis(row.last_pull_ms),
            last_push_at=_millis(row.last_push_ms),
            total_pulled=row.total_pulled,
            total_pushed=row.total_pushed,
            last_scope_hash=row.last_scope_hash,
            clock=_clock(row.clock_samples),
            clock_ahead=row.clock_ahead,
        )
        for row in rows
    ]


async def list_revocations(view: Reading, scope: TenantScope) -> Sequence[Revocation]:
    """Those in force."""
    in_force = select(device_revocations).where(_revoked.tenant_id == scope.tenant_id, _revoked.restored_ms.is_(None))
    return [
        Revocation(row.device_id, row.user_id, Millis(row.revoked_ms), row.revoked_by)
        for row in await view.execute(in_force)
    ]


async def revoke(tx: Tx, scope: TenantScope, revocation: Revocation) -> None:
    """Put a revocation in force; one that is keeps its when and who."""
    insert = insert_into(tx, device_revocations)
    upsert = insert.on_conflict_do_update(
        index_elements=["tenant_id", "device_id", "user_id"],
        set_={
            "revoked_ms": insert.excluded.revoked_ms,
            "revoked_by": insert.excluded.revoked_by,
            "restored_ms": None,
            "restored_by": None,
        },
        where=_revoked.restored_ms.is_not(None),
    )
    await tx.execute(
        upsert,
        {
            "tenant_id": scope.tenant_id,
            "device_id": revocation.device_id,
            "user_id": revocation.user_id,
            "revoked_ms": revocation.revoked_at,
            "revoked_by": revocation.revoked_by,
        },
    )


async def restore(tx: Tx, scope: TenantScope, device_id: str, user_id: str | None, *, by: str, now: Millis) -> None:
    """Lift the device's revocations; with a user, only the one for that user."""
    lifted = update(device_revocations).where(
        _revoked.tenant_id == scope.tenant_id, _revoked.device_id == device_id, _revoked.restored_ms.is_(None)
    )
    if user_id is not None:
        lifted = lifted.where(_revoked.user_id == user_id)
    await tx.execute(lifted.values(restored_ms=now, restored_by=by))


def _tally_values(scope: TenantScope, key: DeviceKey, tally: Tally, clock: ClockSamples) -> dict[str, Any]:
    return {
        "tenant_id": scope.tenant_id,
        "user_id": key.user_id,
        "device_id": key.device_id,
        "first_seen_ms": tally.first_at,
        "last_pull_ms": tally.last_pull_at,
        "last_push_ms": tally.last_push_at,
        "total_pulled": tally.pulled,
        "total_pushed": tally.pushed,
        "last_scope_hash": tally.scope_hash,
        "clock_samples": msgspec.json.encode(clock).decode(),
        "clock_ahead": tally.clock_ahead,
    }


def _clock(text: str) -> ClockSamples:
    return msgspec.json.decode(text, type=ClockSamples)


def _millis(value: int | None) -> Millis | None:
    return None if value is None else Millis(value)
