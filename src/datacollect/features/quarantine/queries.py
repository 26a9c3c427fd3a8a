"""SQL of the quarantine."""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Select, and_, bindparam, case, func, null, or_, select, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.db.keys import rows_with
from datacollect.db.portions import Portion
from datacollect.eventstore.event import event_from_body
from datacollect.eventstore.tables import events
from datacollect.features.quarantine.model import GUID_REUSED, Kind, Quarantined, Status
from datacollect.features.quarantine.tables import quarantine
from datacollect.features.sync.errors import EventMalformed
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

_columns = quarantine.c
_GUIDS_PER_STATEMENT = 5000
_may_be_accepted = or_(_columns.status == Status.OPEN.value, _columns.status == Status.DISCARDED.value)

MOST_BYTES = 16 * 1024 * 1024
"""Of events in one page of a list; one more may be begun."""


async def keep(tx: Tx, scope: TenantScope, refused: Sequence[Quarantined]) -> None:
    """Store refused events; one that is there has come once more, and is otherwise left as it is, unless it was told as
    accepted because another event has its guid."""
    insert = insert_into(tx, quarantine)
    was_accepted = _columns.status == Status.ACCEPTED.value
    again = {
        "attempts": _columns.attempts + 1,
        "last_seen_ms": insert.excluded.last_seen_ms,
        "code": case((was_accepted, insert.excluded.code), else_=_columns.code),
        "closed_ms": case((was_accepted, null()), else_=_columns.closed_ms),
        "closed_by": case((was_accepted, null()), else_=_columns.closed_by),
        "status": case((was_accepted, Status.OPEN.value), else_=_columns.status),
    }
    upsert = insert.on_conflict_do_update(index_elements=["tenant_id", "id"], set_=again)
    # In the order in which decisions lock them, so that the two cannot wait for each other.
    await tx.execute(upsert, [_values(scope, one) for one in sorted(refused, key=lambda one: one.id)])


async def keep_blocking(tx: Tx, scope: TenantScope, refused: Quarantined) -> None:
    """Store an event that refused a whole push; of one that is there and that nobody has decided about, tell how it looks
    now."""
    insert = insert_into(tx, quarantine)
    now = ("last_seen_ms", "actor", "device_id", "code", "message", "path", "body", "entity_guid")
    newest = {name: insert.excluded[name] for name in now}
    upsert = insert.on_conflict_do_update(
        index_elements=["tenant_id", "id"],
        set_={"attempts": _columns.attempts + 1} | newest,
        where=_columns.status == Status.OPEN.value,
    )
    await tx.execute(upsert, _values(scope, refused))


async def find_discarded(view: Reading, scope: TenantScope, guids: Collection[str]) -> Sequence[str]:
    """The bodies of the events with these guids that an operator has discarded; also of those without the shape of one that
    were replayed, as their devices still send them so."""
    found: list[str] = []
    left = iter(guids)
    while some := list(islice(left, _GUIDS_PER_STATEMENT)):
        kept = rows_with(view, _columns.event_guid, some, _columns.tenant_id == scope.tenant_id).c
        is_replayed = and_(kept.status == Status.REPLAYED.value, kept.code == EventMalformed.code)
        wanted = select(kept.body).where(
            or_(and_(kept.status == Status.DISCARDED.value, kept.code != GUID_REUSED), is_replayed)
        )
        found += (await view.execute(wanted)).scalars()
    return found


class Decided(NamedTuple):
    """A quarantined event that an operator has decided about."""

    event_guid: str
    body: str
    status: Status
    code: str


async def find_decided(view: Reading, scope: TenantScope, guids: Collection[str]) -> Sequence[Decided]:
    """Those of the events that an operator has replayed or discarded."""
    found: list[Decided] = []
    left = iter(guids)
    while some := list(islice(left, _GUIDS_PER_STATEMENT)):
        kept = rows_with(view, _columns.event_guid, some, _columns.tenant_id == scope.tenant_id).c
        wanted = select(kept.event_guid, kept.body, kept.status, kept.code).where(
            kept.status.in_([Status.REPLAYED.value, Status.DISCARDED.value])
        )
        found += (Decided(row.event_guid, row.body, Status(row.status), row.code) for row in await view.execute(wanted))
    return found


async def find(view: Reading, scope: TenantScope, id: str) -> Quarantined | None:
    row = (await view.execute(_of(scope).where(_columns.id == id))).first()
    return None if row is None else _quarantined(row)


async def count_open(view: Reading, scope: TenantScope) -> int:
    """Those that nobody has decided about."""
    counted = select(func.count()).where(_columns.tenant_id == scope.tenant_id, _columns.status == Status.OPEN.value)
    return int((await view.execute(counted)).scalar_one())


async def bytes_of(view: Reading, scope: TenantScope, ids: Sequence[str]) -> int:
    """About how long the events are together, without reading them."""
    length = func.octet_length if view.dialect == "postgresql" else func.length
    wanted = select(func.coalesce(func.sum(length(_columns.body)), 0)).where(
        _columns.tenant_id == scope.tenant_id, _columns.id.in_(ids)
    )
    return int((await view.execute(wanted)).scalar_one())


async def lock_rows(tx: Tx, scope: TenantScope, ids: Sequence[str]) -> Mapping[str, Quarantined]:
    """Those that are there, by id; nobody else decides about them until `tx` ends."""
    wanted = _of(scope).where(_columns.id.in_(ids)).order_by(_columns.id).with_for_update(of=quarantine)
    return {row.id: _quarantined(row) for row in await tx.execute(wanted)}


async def list_newest(
    view: Reading,
    scope: TenantScope,
    *,
    status: Status | None,
    kind: Kind | None,
    filters: Mapping[str, str],
    before: tuple[int, str] | None,
    limit: int,
) -> Portion[Quarantined]:
    """The latest first, up to `MOST_BYTES`. Events that have been accepted meanwhile come as such, also when open ones are asked for."""
    wanted = _of(scope).order_by(_columns.received_ms.desc(), _columns.id.desc()).limit(limit)
    if status is not None:
        wanted = wanted.where(_columns.status == status.value)
    if kind is not None:
        wanted = wanted.where(_columns.kind == kind.value)
    for name, value in filters.items():
        wanted = wanted.where(_columns[name] == value)
    if before is not None:
        received, id = before
        # In this form both engines begin at the page, and not at the newest row.
        wanted = wanted.where(_columns.received_ms <= received, or_(_columns.received_ms < received, _columns.id < id))
    found = await view.execute_portion(wanted, texts=(_columns.body, _columns.replayed_body), most_bytes=MOST_BYTES)
    return Portion([_quarantined(row) for row in found.rows], found.is_cut)


async def close(tx: Tx, scope: TenantScope, rows: Sequence[Quarantined]) -> None:
    """Note how these ended."""
    change = (
        update(quarantine)
        .where(
            _columns.tenant_id == scope.tenant_id,
            _columns.id == bindparam("row_id"),
            _may_be_accepted,
        )
        .values(
            status=bindparam("new_status"),
            closed_ms=bindparam("new_closed_ms"),
            closed_by=bindparam("new_closed_by"),
            reason=bindparam("new_reason"),
            replayed_body=bindparam("new_body"),
        )
    )
    values = [
        {
            "row_id": row.id,
            "new_status": row.status.value,
            "new_closed_ms": row.closed_at,
            "new_closed_by": row.closed_by,
            "new_reason": row.reason,
            "new_body": row.replayed_body,
        }
        for row in sorted(rows, key=lambda row: row.id)
    ]
    if values:
        await tx.execute(change, values)


def _of(scope: TenantScope) -> Select[Any]:
    """Rows with, for those that can have been accepted, the event of their guid that the log has."""
    taken = and_(
        events.c.tenant_id == scope.tenant_id,
        events.c.guid == _columns.event_guid,
        _may_be_accepted,
        _columns.code != GUID_REUSED,
    )
    of_log = (events.c.recorded_ms, events.c.actor, events.c.entity_guid, events.c.type)
    return (
        select(quarantine, *(column.label(f"log_{column.name}") for column in of_log))
        .select_from(quarantine.outerjoin(events, taken))
        .where(_columns.tenant_id == scope.tenant_id)
    )


def _values(scope: TenantScope, one: Quarantined) -> dict[str, Any]:
    return {
        "tenant_id": scope.tenant_id,
        "id": one.id,
        "event_guid": one.event_guid,
        "entity_guid": one.entity_guid,
        "received_ms": one.received_at,
        "last_seen_ms": one.last_seen_at,
        "actor": one.actor,
        "device_id": one.device_id,
        "code": one.code,
        "message": one.message,
        "path": None if one.path is None else msgspec.json.encode(one.path).decode(),
        "body": one.body,
        "kind": one.kind.value,
        "status": one.status.value,
        "attempts": one.attempts,
    }


def _quarantined(row: Any) -> Quarantined:
    is_held = row.log_recorded_ms is not None
    accepted = is_held and _is_of(row)
    closed_ms = row.log_recorded_ms if accepted else row.closed_ms
    return Quarantined(
        id=row.id,
        kind=Kind(row.kind),
        event_guid=row.event_guid,
        entity_guid=row.entity_guid,
        body=row.body,
        actor=row.actor,
        device_id=row.device_id,
        # Sent now, that is what it would be told; what it was told is in `message`.
        code=GUID_REUSED if is_held and not accepted else row.code,
        message=row.message,
        path=None if row.path is None else msgspec.json.decode(row.path),
        received_at=Millis(row.received_ms),
        last_seen_at=Millis(row.last_seen_ms),
        attempts=row.attempts,
        status=Status.ACCEPTED if accepted else Status(row.status),
        closed_at=None if closed_ms is None else Millis(closed_ms),
        closed_by=row.log_actor if accepted else row.closed_by,
        reason=row.reason,
        replayed_body=row.replayed_body,
    )


def _is_of(row: Any) -> bool:
    """Whether the log's event is the one that was refused, or what its device has made of it: a guid may be used for several."""
    if row.entity_guid != row.log_entity_guid:
        return False
    stopped_a_device = row.kind == Kind.BLOCKING.value and row.status == Status.OPEN.value
    if stopped_a_device or row.code == EventMalformed.code:
        return True
    return bool(event_from_body(row.body).type == row.log_type)
