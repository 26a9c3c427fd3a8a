"""Sealing: what stands behind the head of a log becomes segments, beside the work of the process.

A run is sealed when the log has grown past its end, or when somebody has read it from the table. Nobody waits for it, and
what is cut off by the end of the process is sealed when it is read. A segment that is missing among others or damaged is
made anew when a reader meets it.
"""

import asyncio
import time
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import structlog

from datacollect.db import Database, Reading
from datacollect.eventstore.beside import Beside
from datacollect.eventstore.segments import MOST_TEXT_BYTES, SIZE, Segment, is_sound, left_to_table, seal
from datacollect.eventstore.store import EventStore, Head, Run
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId

_log = structlog.get_logger(component="segments")

_REST = 3
"""Times as long as a segment took, so that sealing takes a quarter of one core while others push."""
_MOST_TENANTS = 1000
_AT_ONCE_BYTES = 256 * 1024
"""Of the text of a run, about so much is brought here in one go: others want their turn."""


class Sealer:
    """Seals the logs that have grown or been read, one segment at a time, the tenants in turn."""

    def __init__(self, database: Database, store: EventStore) -> None:
        self._database = database
        self._store = store
        self._waiting: dict[TenantId, set[int]] = {}
        """With the numbers of segments that are known to be missing or damaged."""
        self._turn = asyncio.Lock()
        self._beside = Beside(self._seal_all)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Seal what grows and what is read, until the block ends."""
        return self._beside.running()

    def committed(self, tenant_id: TenantId, before: Head, after: Head) -> None:
        """To be called when a log has grown from `before` to `after`."""
        if before.position // SIZE != after.position // SIZE:
            self.want(tenant_id)

    def want(self, tenant_id: TenantId, numbers: Iterable[int] = ()) -> None:
        """There is a run of this log that is not sealed; these may be, and have to be made anew."""
        if not self._beside.is_running or (len(self._waiting) >= _MOST_TENANTS and tenant_id not in self._waiting):
            return
        self._waiting.setdefault(tenant_id, set()).update(numbers)
        self._beside.wake()

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
            numbers = self._waiting.pop(tenant_id)
            if await self._seal_one(system_scope(tenant_id), numbers):
                self._waiting.setdefault(tenant_id, set()).update(numbers)  # behind the others
            return True

    async def _seal_one(self, scope: TenantScope, numbers: set[int]) -> bool:
        """Seal one run, of those numbers first, and take it out of them; false if all there is has been sealed."""
        async with self._database.reading(scope) as view:
            reached = await self._store.sealed_to(view, scope)
            if reached is None:
                return False
            _, count = reached
            numbers.intersection_update(range(count))  # the others come in their turn
            number = numbers.pop() if numbers else count
            run = await self._store.run(view, scope, number)
            if run is None:
                return bool(numbers)
            kept = await self._store.segments(view, scope, epoch=run.epoch, first=number, last=number)
            if kept and await is_sound(kept[0]):
                return True  # somebody was faster
            segment = await self._segment(view, scope, number, run)
        if segment is None:
            return bool(numbers)
        async with self._database.transaction(scope) as tx:
            if kept:
                await self._store.drop_segment(tx, scope, number)
            await self._store.keep_segment(tx, scope, segment, run)
        if kept:
            _log.info("segments.made_anew", tenant_id=scope.tenant_id, number=number)
        return True

    async def _segment(self, view: Reading, scope: TenantScope, number: int, run: Run) -> Segment | None:
        """None if the run is not whole: purged meanwhile, or damaged."""
        reached, end = number * SIZE, (number + 1) * SIZE
        # A push may bring events of many megabytes: 500 of them must not meet in memory because somebody read ten.
        is_small = run.text_bytes <= MOST_TEXT_BYTES
        if not is_small:
            reached = end - 1
        begin, bodies, last = reached, list[str](), None
        step = max(1, SIZE * _AT_ONCE_BYTES // max(run.text_bytes, 1))
        while reached < end:
            page = await self._store.read(view, scope, after=reached, limit=min(step, end - reached), epoch=run.epoch)
            if page.next_cursor is None:
                return None
            bodies += page.bodies
            reached, last = page.last_position, page.next_cursor
        if len(bodies) != end - begin or reached != end or last is None:
            return None
        return await asyncio.to_thread(seal, number, bodies, last) if is_small else left_to_table(number, last)
