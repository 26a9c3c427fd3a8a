"""Sealing: what stands behind the head of a log becomes segments, beside the work of the process.

A run is sealed when the log has grown past its end, or when somebody has read it from the table. Nobody waits for it, and
what is cut off by the end of the process is sealed when it is read.
"""

import asyncio
import contextlib
import contextvars
import time
from collections.abc import AsyncIterator

import structlog

from datacollect.db import Database, Reading
from datacollect.eventstore.segments import MOST_TEXT_BYTES, SIZE, Segment, left_to_table, seal
from datacollect.eventstore.store import EventStore, Head, Place
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId

_log = structlog.get_logger(component="segments")

_REST = 3
"""Times as long as a segment took, so that sealing takes a quarter of one core while others push."""
_MOST_TENANTS = 1000


class Sealer:
    """Seals the logs that have grown or been read, one segment at a time, the tenants in turn."""

    def __init__(self, database: Database, store: EventStore) -> None:
        self._database = database
        self._store = store
        self._waiting: dict[TenantId, None] = {}
        self._turn = asyncio.Lock()
        self._is_running = False
        self._work: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Seal what grows and what is read, until the block ends."""
        self._is_running = True
        try:
            yield
        finally:
            self._is_running = False
            if self._work is not None:
                self._work.cancel()
                await asyncio.wait([self._work])

    def committed(self, tenant_id: TenantId, before: Head, after: Head) -> None:
        """To be called when a log has grown from `before` to `after`."""
        if before.position // SIZE != after.position // SIZE:
            self.want(tenant_id)

    def want(self, tenant_id: TenantId) -> None:
        """There is a run of this log that is not sealed."""
        if not self._is_running or len(self._waiting) >= _MOST_TENANTS:
            return
        self._waiting[tenant_id] = None
        if self._work is None or self._work.done():
            # In a context of its own: it is not the work of the request that happened to start it.
            self._work = asyncio.get_running_loop().create_task(self._seal_all(), context=contextvars.Context())

    async def settle(self) -> None:
        """Seal all that is waiting now, without rest."""
        while await self._seal_next():
            pass

    async def _seal_all(self) -> None:
        while self._waiting:  # also what has come while it rested
            begun = time.perf_counter()
            try:
                await self._seal_next()
            except DataCollectError as error:  # the database is away: whoever reads next asks again
                _log.warning("segments.not_sealed", code=error.code)
            except Exception as error:
                _log.error("segments.not_sealed", exc_info=error)
            await asyncio.sleep(_REST * (time.perf_counter() - begun))

    async def _seal_next(self) -> bool:
        """False if nothing is waiting."""
        async with self._turn:
            tenant_id = next(iter(self._waiting), None)
            if tenant_id is None:
                return False
            del self._waiting[tenant_id]
            if await self._seal_one(system_scope(tenant_id)):
                self._waiting[tenant_id] = None  # behind the others
            return True

    async def _seal_one(self, scope: TenantScope) -> bool:
        """Seal the first run that is not; false if there is none."""
        async with self._database.reading(scope) as view:
            reached = await self._store.sealed_to(view, scope)
            if reached is None:
                return False
            end, number = reached
            if number >= end.head // SIZE:
                return False
            segment = await self._segment(view, scope, number)
        if segment is None:
            return False
        await self._keep(scope, segment, end)
        return True

    async def _segment(self, view: Reading, scope: TenantScope, number: int) -> Segment | None:
        """None if the run is not whole: purged meanwhile, or damaged."""
        begin, end = number * SIZE, (number + 1) * SIZE
        # A push may bring events of many megabytes: 500 of them must not meet in memory because somebody read ten.
        is_small = await self._store.text_bytes(view, scope, after=begin, limit=SIZE) <= MOST_TEXT_BYTES
        first = begin if is_small else end - 1
        page = await self._store.read(view, scope, after=first, limit=end - first)
        if len(page) != end - first or page.last_position != end or page.next_cursor is None:
            return None
        return seal(number, page.bodies, page.next_cursor) if is_small else left_to_table(number, page.next_cursor)

    async def _keep(self, scope: TenantScope, segment: Segment, end: Place) -> None:
        async with self._database.transaction(scope) as tx:
            await self._store.keep_segment(tx, scope, segment, epoch=end.epoch)
