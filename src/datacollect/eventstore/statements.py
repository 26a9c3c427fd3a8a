"""What both adapters do alike: the methods of `EventStore` that are the same on both engines, but for the words in which the
engine is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from datacollect.db import Reading, Tx
from datacollect.db.portions import Portion
from datacollect.eventstore.rows import (
    BODY,
    NOWHERE,
    delivered_from_rows,
    encode_figures,
    encode_scoping,
    head_from_row,
    page_from_rows,
    place_and_count,
    place_from_row,
    run_from_row,
    segment_values,
    segments_from_rows,
    start_from_row,
)
from datacollect.eventstore.segments import SIZE, Segment
from datacollect.eventstore.store import MOST_PAGE_BYTES, DeliveredEvent, Head, HeldEvent, Page, Place, Run, Scoping
from datacollect.kernel.clock import Millis
from datacollect.kernel.cursor import Cursor
from datacollect.kernel.identity import TenantScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """In the SQL of one engine; each takes the same parameters in the same order on both."""

    create: str
    set_closed: str
    set_scoping: str
    set_figures: str
    renew: str
    start: str
    resolve: str
    segments: str
    sealed_to: str
    run: str
    keep_segment: str
    drop_segment: str
    held: str
    read: str
    read_at: str
    position_at: str
    head: str


class StatementStore:
    """The part of an `EventStore` that these statements are enough for."""

    def __init__(self, statements: Statements) -> None:
        self._sql = statements

    async def create(self, tx: Tx, scope: TenantScope, *, epoch: str, now: Millis) -> None:
        await tx.run(self._sql.create, scope.tenant_id, now, epoch)

    async def close(self, tx: Tx, scope: TenantScope, *, now: Millis) -> None:
        await tx.run(self._sql.set_closed, now, scope.tenant_id)

    async def reopen(self, tx: Tx, scope: TenantScope) -> None:
        await tx.run(self._sql.set_closed, None, scope.tenant_id)

    async def set_scoping(self, tx: Tx, scope: TenantScope, scoping: Scoping) -> None:
        await tx.run(self._sql.set_scoping, encode_scoping(scoping), scope.tenant_id)

    async def set_figures(self, tx: Tx, scope: TenantScope, figures: Mapping[str, int]) -> None:
        await tx.run(self._sql.set_figures, encode_figures(figures), scope.tenant_id)

    async def renew(self, tx: Tx, scope: TenantScope, *, epoch: str, position: int) -> None:
        await tx.run(self._sql.renew, epoch, position, scope.tenant_id)

    async def resolve(self, view: Reading, scope: TenantScope, cursor: Cursor | None) -> int:
        return 0 if cursor is None else (await self.locate(view, scope, cursor)).position

    async def locate(self, view: Reading, scope: TenantScope, cursor: Cursor | None, *, reach: int = 0) -> Place:
        if cursor is None:
            rows = await view.fetch(self._sql.start, scope.tenant_id, (reach - 1) // SIZE)
            return start_from_row(rows[0]) if rows else NOWHERE
        rows = await view.fetch(self._sql.resolve, scope.tenant_id, cursor.occurred_at, cursor.event_guid, reach)
        return place_from_row(rows[0], cursor) if rows else NOWHERE

    async def segments(
        self, view: Reading, scope: TenantScope, *, epoch: str, first: int, last: int
    ) -> Sequence[Segment]:
        asked = (scope.tenant_id, first, epoch, last)
        found = await view.fetch_portion(self._sql.segments, *asked, texts=("packed",), most_bytes=MOST_PAGE_BYTES)
        return segments_from_rows(found.rows)

    async def sealed_to(self, view: Reading, scope: TenantScope) -> tuple[Place, int] | None:
        rows = await view.fetch(self._sql.sealed_to, scope.tenant_id)
        return place_and_count(rows[0]) if rows else None

    async def run(self, view: Reading, scope: TenantScope, number: int) -> Run | None:
        rows = await view.fetch(self._sql.run, scope.tenant_id, number * SIZE, (number + 1) * SIZE)
        return run_from_row(rows[0]) if rows else None

    async def keep_segment(self, tx: Tx, scope: TenantScope, segment: Segment, run: Run) -> None:
        end = (segment.number + 1) * SIZE
        await tx.run(self._sql.keep_segment, scope.tenant_id, run.epoch, run.chain_hash, end, *segment_values(segment))

    async def drop_segment(self, tx: Tx, scope: TenantScope, number: int) -> None:
        await tx.run(self._sql.drop_segment, scope.tenant_id, number)

    async def held(self, view: Reading, scope: TenantScope, guids: Sequence[str]) -> Mapping[str, HeldEvent]:
        rows = await view.fetch(self._sql.held, scope.tenant_id, view.listed(guids)) if guids else ()
        return {row[0]: HeldEvent(row[1], row[2]) for row in rows}

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
        asked = (scope.tenant_id, after, epoch, limit)
        found = await view.fetch_portion(self._sql.read, *asked, texts=BODY, most_bytes=most_bytes)
        return page_from_rows(found, after=after, limit=limit)

    async def read_at(
        self, view: Reading, scope: TenantScope, positions: Sequence[int], *, epoch: str | None = None
    ) -> Portion[DeliveredEvent]:
        if not positions:
            return Portion((), is_cut=False)
        asked = (scope.tenant_id, view.listed(positions), epoch)
        return delivered_from_rows(
            await view.fetch_portion(self._sql.read_at, *asked, texts=BODY, most_bytes=MOST_PAGE_BYTES)
        )

    async def position_at(self, view: Reading, scope: TenantScope, instant: Millis) -> int:
        rows = await view.fetch(self._sql.position_at, scope.tenant_id, instant)
        return int(rows[0][0]) if rows else 1

    async def head(self, view: Reading, scope: TenantScope) -> Head | None:
        rows = await view.fetch(self._sql.head, scope.tenant_id)
        return head_from_row(rows[0]) if rows else None
