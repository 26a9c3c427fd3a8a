"""Reading a part of a program's log.

Nobody pays for it who does not use it: a log is filed by place (`places.py`) from the first reader on whose scope is
limited, by a time window too: who was made inside a group's event has no history that could come by itself. What was
there before is filed as one snapshot of each entity, in batches, by the pulls of such readers: a small program's first
one does it all, a large one's are told to come again. Each batch is a transaction under the log's lock and notes how far
it has come, so that several processes, or a restart in the middle, file nothing twice.
"""

from dataclasses import replace

from datacollect.db import Database, Reading, Tx
from datacollect.eventstore.event import Origin
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.store import Head, Scoping
from datacollect.features.entities.service import entities_after, snapshots_of
from datacollect.features.sync.errors import ScopeBeingPrepared
from datacollect.kernel.clock import Clock, Millis, parse_timestamp
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid
from datacollect.kernel.sync_scope import SyncScope
from datacollect.kernel.tenancy import Tenant

_BATCH = 500
_MOST_BATCHES = 20
"""In one request; a few seconds' work."""


async def is_filed_for(view: Reading, log: EventLog, scope: TenantScope, sync_scope: SyncScope) -> bool:
    """Whether a reader of this scope can be served from what is filed."""
    head = await log.head(view, scope)
    scoping = head.scoping if head else None
    return scoping is not None and scoping.is_ready and _with_window(scoping, sync_scope) == scoping


async def begin_filing(
    database: Database, log: EventLog, clock: Clock, scope: TenantScope, tenant: Tenant, sync_scope: SyncScope
) -> None:
    """Have what is pushed from now on filed by place: a limited sender will want to read it."""
    async with database.glancing(scope) as view:
        head = await log.head(view, scope)
    if head is not None and head.scoping is None:
        async with log.turn(scope), database.transaction(scope) as tx:
            await _file_batch(tx, log, scope, tenant, sync_scope, now=clock.now())


async def begin_places(database: Database, log: EventLog, scope: TenantScope) -> None:
    """Have what is pushed from now on filed by place, and leave what is there to readers whose scope is limited: nobody
    who may have everything waits for that, or has others pull a snapshot of each entity, by wishing for less."""
    async with database.glancing(scope) as view:
        head = await log.head(view, scope)
    if head is not None and head.scoping is None:
        async with log.turn(scope), database.transaction(scope) as tx:
            head = await log.lock(tx, scope)
            if head.scoping is None:
                await log.set_scoping(tx, scope, _new())


async def file_for(
    database: Database, log: EventLog, clock: Clock, scope: TenantScope, tenant: Tenant, sync_scope: SyncScope
) -> None:
    """File the log by place as far as one request may. Raises `ScopeBeingPrepared` when there is more to do."""
    for _ in range(_MOST_BATCHES):
        async with log.turn(scope), database.transaction(scope) as tx:
            if await _file_batch(tx, log, scope, tenant, sync_scope, now=clock.now()):
                return
    raise ScopeBeingPrepared()


async def _file_batch(
    tx: Tx, log: EventLog, scope: TenantScope, tenant: Tenant, sync_scope: SyncScope, *, now: Millis
) -> bool:
    """File the next entities; true when all are."""
    head = await log.lock(tx, scope)
    scoping = _widened(head, sync_scope)
    if scoping.prepared_to is None:
        await log.set_scoping(tx, scope, scoping)
        return True
    entities = await entities_after(tx, scope, scoping.prepared_to, limit=_BATCH)
    done = len(entities) < _BATCH
    await log.set_scoping(tx, scope, replace(scoping, prepared_to=None if done else entities[-1].guid))
    snapshots = await snapshots_of(tx, scope, entities, source=scoping.id, now=now)
    if snapshots:
        await log.append(tx, scope, tenant, snapshots, origin=Origin.SNAPSHOT)
    return done


def _widened(head: Head, sync_scope: SyncScope) -> Scoping:
    return _with_window(head.scoping or _new(), sync_scope)


def _new() -> Scoping:
    return Scoping(id=new_guid(), prepared_to="")


def _with_window(scoping: Scoping, sync_scope: SyncScope) -> Scoping:
    """The scoping that also heeds this reader's time window."""
    window = sync_scope.time_window
    if window is None:
        return scoping
    if window["type"] == "fixed":
        floor = parse_timestamp(window["floor"])
        return replace(scoping, window_floor=max(floor, scoping.window_floor or floor))
    days = window["days"]
    return replace(scoping, window_days=min(days, scoping.window_days or days))
