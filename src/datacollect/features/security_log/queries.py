"""SQL of the security log: it is added to and, at its old end, forgotten. There is no update."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, insert, select, tuple_

from datacollect.db import Reading, Tx
from datacollect.features.security_log.model import Entry, Filters, Mark
from datacollect.features.security_log.tables import security_log
from datacollect.kernel.clock import Millis

_columns = security_log.c


# Made once: building one costs more than running it.
_INSERT = insert(security_log)
_OLDEST = (
    select(_columns.id)
    .where(_columns.recorded_ms < bindparam("instant"))
    .order_by(_columns.recorded_ms)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_DELETE_OLDEST = delete(security_log).where(_columns.id.in_(_OLDEST))


async def insert_entry(tx: Tx, *, details: Any, **columns: Any) -> None:
    await tx.execute(_INSERT, {"details": msgspec.json.encode(details).decode(), **columns})


async def delete_before(tx: Tx, instant: Millis, *, most: int) -> None:
    """Forget some of what is older, without waiting for others who do the same."""
    await tx.execute(_DELETE_OLDEST, {"instant": instant, "most": most})


async def list_newest(view: Reading, filters: Filters, *, before: Mark | None, limit: int) -> Sequence[Entry]:
    """The newest first, by the time they were noted at; those before `before`."""
    wanted = select(security_log).order_by(_columns.recorded_ms.desc(), _columns.id.desc()).limit(limit)
    for column in (_columns.action, _columns.actor_user_id, _columns.subject_user_id, _columns.tenant_id):
        value = getattr(filters, column.name)
        if value is not None:
            wanted = wanted.where(column == value)
    if filters.since is not None:
        wanted = wanted.where(_columns.recorded_ms >= filters.since)
    if filters.until is not None:
        wanted = wanted.where(_columns.recorded_ms < filters.until)
    if before is not None:
        wanted = wanted.where(tuple_(_columns.recorded_ms, _columns.id) < (before.recorded_at, before.id))
    return [
        Entry(
            id=row.id,
            recorded_at=row.recorded_ms,
            action=row.action,
            actor_user_id=row.actor_user_id,
            subject_user_id=row.subject_user_id,
            subject_hint=row.subject_hint,
            tenant_id=row.tenant_id,
            origin=row.origin,
            request_id=row.request_id,
            details=msgspec.json.decode(row.details),
        )
        for row in await view.execute(wanted)
    ]
