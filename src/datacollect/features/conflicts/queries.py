"""SQL of conflicts."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, func, or_, select, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.db.portions import Portion
from datacollect.features.conflicts.model import ConflictPlace, ConflictRecord, Resolution
from datacollect.features.conflicts.tables import conflicts
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

_columns = conflicts.c

MOST_BYTES = 64 * 1024 * 1024
"""Of what conflicts hold on one page."""


async def keep(tx: Tx, scope: TenantScope, found: Sequence[ConflictRecord]) -> None:
    """Store new conflicts; a known guid is left as it is."""
    insert = insert_into(tx, conflicts)
    await tx.execute(insert.on_conflict_do_nothing(), [_values(scope, conflict) for conflict in found])


async def find(view: Reading, scope: TenantScope, guid: str) -> ConflictRecord | None:
    row = (await view.execute(_of(scope).where(_columns.guid == guid))).first()
    return None if row is None else _conflict(row)


async def list_newest(
    view: Reading,
    scope: TenantScope,
    *,
    resolved: bool | None,
    entity_guid: str | None,
    after: ConflictPlace | None,
    limit: int,
) -> Portion[ConflictRecord]:
    """The conflicts found last, the latest first, up to `MOST_BYTES`; `resolved` None means both kinds."""
    wanted = _of(scope).order_by(_columns.detected_ms.desc(), _columns.guid.desc()).limit(limit)
    if resolved is not None:
        wanted = wanted.where(_columns.resolved_ms.is_not(None) if resolved else _columns.resolved_ms.is_(None))
    if entity_guid is not None:
        wanted = wanted.where(_columns.entity_guid == entity_guid)
    if after is not None:
        at, guid = after
        # In this form both engines begin at the page, and not at the newest row.
        wanted = wanted.where(_columns.detected_ms <= at, or_(_columns.detected_ms < at, _columns.guid < guid))
    texts = (_columns.local_version, _columns.remote_version, _columns.lost, _columns.merged_data)
    found = await view.execute_portion(wanted, texts=texts, most_bytes=MOST_BYTES)
    return Portion([_conflict(row) for row in found.rows], found.is_cut)


def guids_in_conflict(tenant: str) -> str:
    """An `EntityMark`: the SQL that gives the guids of entities with a conflict nobody has resolved."""
    return f"SELECT c.entity_guid FROM conflicts c WHERE c.tenant_id = {tenant} AND c.resolved_ms IS NULL"


async def count_unresolved(view: Reading, scope: TenantScope) -> int:
    open_ones = select(func.count()).where(_columns.tenant_id == scope.tenant_id, _columns.resolved_ms.is_(None))
    return int((await view.execute(open_ones)).scalar_one())


async def mark_resolved(
    tx: Tx,
    scope: TenantScope,
    guid: str,
    *,
    resolution: Resolution,
    resolved_by: str,
    merged_data: dict[str, Any] | None,
    now: Millis,
) -> bool:
    """Stamp the outcome; False if somebody else has, or there is no such conflict. Of concurrent calls one is True."""
    change = (
        update(conflicts)
        .where(_columns.tenant_id == scope.tenant_id, _columns.guid == guid, _columns.resolved_ms.is_(None))
        .values(
            resolved_ms=now,
            resolution=resolution.value,
            resolved_by=resolved_by,
            merged_data=None if merged_data is None else _json(merged_data),
        )
    )
    return (await tx.execute(change)).rowcount == 1


def _of(scope: TenantScope) -> Select[Any]:
    return select(conflicts).where(_columns.tenant_id == scope.tenant_id)


def _values(scope: TenantScope, conflict: ConflictRecord) -> dict[str, Any]:
    return {
        "tenant_id": scope.tenant_id,
        "guid": conflict.guid,
        "entity_guid": conflict.entity_guid,
        "entity_type": conflict.entity_type,
        "local_version": _json(conflict.local_version),
        "remote_version": _json(conflict.remote_version),
        "lost": _json(conflict.lost),
        "local_event_guid": conflict.local_event_guid,
        "remote_event_guid": conflict.remote_event_guid,
        "detected_ms": conflict.detected_at,
    }


def _conflict(row: Any) -> ConflictRecord:
    return ConflictRecord(
        guid=row.guid,
        entity_guid=row.entity_guid,
        entity_type=row.entity_type,
        local_version=msgspec.json.decode(row.local_version),
        remote_version=msgspec.json.decode(row.remote_version),
        lost=msgspec.json.decode(row.lost),
        local_event_guid=row.local_event_guid,
        remote_event_guid=row.remote_event_guid,
        detected_at=Millis(row.detected_ms),
        resolved_at=None if row.resolved_ms is None else Millis(row.resolved_ms),
        resolution=None if row.resolution is None else Resolution(row.resolution),
        resolved_by=row.resolved_by,
        merged_data=None if row.merged_data is None else msgspec.json.decode(row.merged_data),
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
