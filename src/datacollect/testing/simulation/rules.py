"""What a simulation runs against: the hub, or a hub with one known fault, which the simulation has to find."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import and_, func, or_, select

from datacollect.assembly import event_store
from datacollect.db import Database, Reading, Tx
from datacollect.db.portions import Portion
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.pages import Pages
from datacollect.eventstore.projection import InlineProjection, ProjectionRun
from datacollect.eventstore.sealer import Sealer
from datacollect.eventstore.segments import Segment
from datacollect.eventstore.store import (
    MOST_PAGE_BYTES,
    DeliveredEvent,
    EventStore,
    Head,
    HeldEvent,
    OpenLog,
    Page,
    Place,
    Run,
    Scoping,
    StoredEvent,
)
from datacollect.eventstore.tables import events as stored_events
from datacollect.features.audit.service import keep_entries
from datacollect.features.conflicts.service import keep_conflicts
from datacollect.features.entities.projection import EntityProjection
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.cursor import Cursor
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import Tenant


class Rule(StrEnum):
    HUB = "hub"
    REFERENCE_TIMESTAMPS = "reference-timestamps"
    """Pages in the order of the devices' clocks, each strictly after the cursor."""
    LOAD_BEFORE_LOCK = "load-before-lock"
    """What a push decides on is read before it holds the tenant's lock."""


@dataclass(frozen=True, slots=True)
class Core:
    """What one process of the hub keeps between requests."""

    store: EventStore
    projections: Sequence[InlineProjection]
    clock: Clock
    pages: Pages

    def log(self, store: EventStore | None = None, projections: Sequence[InlineProjection] | None = None) -> EventLog:
        return EventLog(store or self.store, projections or self.projections, self.clock)


def new_core(database: Database, rule: Rule, clock: Clock) -> Core:
    store = event_store(database)
    if rule is Rule.REFERENCE_TIMESTAMPS:
        store = TimestampOrdered(store)
    pages = Pages(store, Sealer(database, store), clock=clock)
    return Core(store, [EntityProjection([keep_entries, keep_conflicts])], clock, pages)


class DelegatingStore:
    """Implements `EventStore` by another one; what differs is overridden."""

    def __init__(self, inner: EventStore) -> None:
        self._inner = inner

    def turn(self, scope: TenantScope) -> AbstractAsyncContextManager[None]:
        return self._inner.turn(scope)

    async def create(self, tx: Tx, scope: TenantScope, *, epoch: str, now: Millis) -> None:
        await self._inner.create(tx, scope, epoch=epoch, now=now)

    async def close(self, tx: Tx, scope: TenantScope, *, now: Millis) -> None:
        await self._inner.close(tx, scope, now=now)

    async def reopen(self, tx: Tx, scope: TenantScope) -> None:
        await self._inner.reopen(tx, scope)

    async def open(self, tx: Tx, scope: TenantScope, guids: Sequence[str]) -> OpenLog:
        return await self._inner.open(tx, scope, guids)

    async def hold(self, tx: Tx, scope: TenantScope) -> Head | None:
        return await self._inner.hold(tx, scope)

    async def set_figures(self, tx: Tx, scope: TenantScope, figures: Mapping[str, int]) -> None:
        await self._inner.set_figures(tx, scope, figures)

    async def renew(self, tx: Tx, scope: TenantScope, *, epoch: str, position: int) -> None:
        await self._inner.renew(tx, scope, epoch=epoch, position=position)

    async def append(self, tx: Tx, scope: TenantScope, events: Sequence[StoredEvent], head: Head) -> None:
        await self._inner.append(tx, scope, events, head)

    async def resolve(self, view: Reading, scope: TenantScope, cursor: Cursor | None) -> int:
        return (await self.locate(view, scope, cursor)).position

    async def locate(self, view: Reading, scope: TenantScope, cursor: Cursor | None, *, reach: int = 0) -> Place:
        return await self._inner.locate(view, scope, cursor, reach=reach)

    async def segments(
        self, view: Reading, scope: TenantScope, *, epoch: str, first: int, last: int
    ) -> Sequence[Segment]:
        return await self._inner.segments(view, scope, epoch=epoch, first=first, last=last)

    async def sealed_to(self, view: Reading, scope: TenantScope) -> tuple[Place, int] | None:
        return await self._inner.sealed_to(view, scope)

    async def run(self, view: Reading, scope: TenantScope, number: int) -> Run | None:
        return await self._inner.run(view, scope, number)

    async def keep_segment(self, tx: Tx, scope: TenantScope, segment: Segment, run: Run) -> None:
        await self._inner.keep_segment(tx, scope, segment, run)

    async def drop_segment(self, tx: Tx, scope: TenantScope, number: int) -> None:
        await self._inner.drop_segment(tx, scope, number)

    async def held(self, view: Reading, scope: TenantScope, guids: Sequence[str]) -> Mapping[str, HeldEvent]:
        return await self._inner.held(view, scope, guids)

    async def read(
        self,
        view: Reading,
        scope: TenantScope,
        *,
        after: int,
        limit: int,
        epoch: str | None = None,
        most_bytes: int = MOST_PAGE_BYTES,
    ) -> Page:
        return await self._inner.read(view, scope, after=after, limit=limit, epoch=epoch, most_bytes=most_bytes)

    async def read_at(
        self, view: Reading, scope: TenantScope, positions: Sequence[int], *, epoch: str | None = None
    ) -> Portion[DeliveredEvent]:
        return await self._inner.read_at(view, scope, positions, epoch=epoch)

    async def position_at(self, view: Reading, scope: TenantScope, instant: Millis) -> int:
        return await self._inner.position_at(view, scope, instant)

    async def set_scoping(self, tx: Tx, scope: TenantScope, scoping: Scoping) -> None:
        await self._inner.set_scoping(tx, scope, scoping)

    async def read_rows(self, view: Reading, scope: TenantScope, *, after: int, limit: int) -> Sequence[StoredEvent]:
        return await self._inner.read_rows(view, scope, after=after, limit=limit)

    async def head(self, view: Reading, scope: TenantScope) -> Head | None:
        return await self._inner.head(view, scope)


_UNKNOWN_HEAD = 2**62


class TimestampOrdered(DelegatingStore):
    """The reference's rule: pages in the order of the devices' clocks, a cursor is a place in that order."""

    async def locate(self, view: Reading, scope: TenantScope, cursor: Cursor | None, *, reach: int = 0) -> Place:
        """How many events are not after the cursor: strictly after it is where the next page begins."""
        if cursor is None:
            return Place(0, _UNKNOWN_HEAD, "")
        e = stored_events.c
        passed = e.occurred_ms <= cursor.occurred_at
        if cursor.event_guid is not None:
            at_it = and_(e.occurred_ms == cursor.occurred_at, e.guid <= cursor.event_guid)
            passed = or_(e.occurred_ms < cursor.occurred_at, at_it)
        counted = await view.execute(select(func.count()).where(e.tenant_id == scope.tenant_id, passed))
        return Place(int(counted.scalar_one()), _UNKNOWN_HEAD, "")

    async def read(
        self,
        view: Reading,
        scope: TenantScope,
        *,
        after: int,
        limit: int,
        epoch: str | None = None,
        most_bytes: int = MOST_PAGE_BYTES,
    ) -> Page:
        e = stored_events.c
        by_time = select(e.occurred_ms, e.guid, e.body).where(e.tenant_id == scope.tenant_id)
        found = await view.execute(by_time.order_by(e.occurred_ms, e.guid).offset(after).limit(limit))
        rows: Sequence[Any] = found.all()
        cursor = Cursor(Millis(rows[-1][0]), rows[-1][1]) if len(rows) == limit else None
        return Page([row[2] for row in rows], cursor, after + len(rows))


class Preloaded:
    """A projection whose states were loaded earlier than the log was locked."""

    def __init__(self, run: ProjectionRun) -> None:
        self._run = run

    async def start(
        self, tx: Tx, scope: TenantScope, tenant: Tenant, events: Sequence[Event], *, scoping: Scoping | None
    ) -> ProjectionRun:
        return self._run


async def preload(
    view: Reading,
    projections: Sequence[InlineProjection],
    scope: TenantScope,
    tenant: Tenant,
    events: Sequence[Event],
) -> list[Preloaded]:
    """The same projections, as a store has them that loads before it locks."""
    # Loading only reads, so a view will do.
    return [
        Preloaded(await projection.start(cast(Tx, view), scope, tenant, events, scoping=None))
        for projection in projections
    ]
