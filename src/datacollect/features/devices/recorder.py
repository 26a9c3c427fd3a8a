"""Collects what devices do in memory and writes it down a moment later, so that no sync waits for it or fails by it."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from itertools import groupby, islice

import structlog

from datacollect.db import Database, Tx
from datacollect.features.devices import queries
from datacollect.features.devices.model import Activity, ClockSamples, DeviceKey, Tally
from datacollect.features.tenants.asked import hold
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId

_log = structlog.get_logger(component="devices")

_MOST_ACTIVITY = 10_000
_MOST_DEVICES = 100_000
"""Devices counted between two flushes that succeed. A bound for memory only: with a database that answers it is not
reached."""

_PER_TRANSACTION = 500
_ACTIVITY_MILLIS = Millis(90 * 24 * 3600 * 1000)
_PRUNE_EVERY_MILLIS = 3600 * 1000
_PRUNE_AT_ONCE = 500

_DAY_MILLIS = 24 * 3600 * 1000
_MOST_NEW = 50
_MOST_NEW_WITHOUT_ACCOUNT = 1000
"""New devices a day: device ids are what callers claim, and a row is kept for each. Callers without an account here
share one user id."""


class DeviceRecorder:
    """Counts merge per device, so that a burst of calls becomes one row to write.

    What is collected and not yet flushed is lost when the process is killed: these are figures for people, and waiting
    for them to be on disk is what a sync must not do.
    """

    def __init__(self, database: Database, clock: Clock, *, flush_seconds: float = 1) -> None:
        self.flush_seconds = flush_seconds
        self._database = database
        self._clock = clock
        self._tallies: dict[DeviceKey, Tally] = {}
        self._activity: deque[Activity] = deque()
        self._dropped = 0
        self._pruned: dict[TenantId, Millis] = {}
        self._flushing = asyncio.Lock()

    def note(self, activity: Activity, *, newest: int | None = None, told: int | None = None) -> None:
        """Collect one call. No I/O; never raises."""
        tally = self._tallies.get(activity.key)
        if tally is None:
            if len(self._tallies) >= _MOST_DEVICES:
                return
            tally = self._tallies[activity.key] = Tally(first_at=activity.occurred_at)
        tally.count(activity, newest=newest, told=told)
        if len(self._activity) < _MOST_ACTIVITY:
            self._activity.append(activity)
        else:
            self._dropped += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Flush every so often until the block ends, and then once more."""
        flusher = asyncio.create_task(self._flush_for_ever())
        try:
            yield
        finally:
            flusher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await flusher
            await self.flush()

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.flush_seconds)
            # To the end, even when the hub stops meanwhile: half of a flush would be counted twice or not at all.
            await asyncio.shield(asyncio.ensure_future(self.flush()))

    async def flush(self) -> None:
        """Write down all that has been collected. What cannot be written now stays for the next time."""
        async with self._flushing:
            tallies, self._tallies = self._tallies, {}
            activity, self._activity = self._activity, deque()
            dropped, self._dropped = self._dropped, 0
            if dropped:
                _log.warning("devices.activity_dropped", rows=dropped)
            for tenant_id, keys in groupby(sorted(tallies), key=lambda key: key.tenant_id):
                rows = [row for row in activity if row.key.tenant_id == tenant_id]
                await self._flush_tenant(tenant_id, {key: tallies[key] for key in keys}, rows)

    async def _flush_tenant(
        self, tenant_id: TenantId, tallies: dict[DeviceKey, Tally], activity: Sequence[Activity]
    ) -> None:
        """A transaction per program: none ever spans two of them."""
        scope = system_scope(tenant_id)
        keys = iter(sorted(tallies))
        while some := list(islice(keys, _PER_TRANSACTION)):
            part = {key: tallies[key] for key in some}
            rows = [row for row in activity if row.key in part]
            try:
                async with self._database.transaction(scope, events=len(part)) as tx:
                    # A moment later than what it tells of: the program may be gone, and nothing of it may stay.
                    if await hold(tx, scope):
                        await self._write(tx, scope, part, rows)
            except Exception as error:
                _log.warning("devices.flush_failed", tenant_id=tenant_id, devices=len(part), exc_info=error)
                self._put_back(part, rows)

    async def _write(
        self, tx: Tx, scope: TenantScope, tallies: dict[DeviceKey, Tally], activity: Sequence[Activity]
    ) -> None:
        known = await queries.find_clocks(tx, scope, list(tallies))
        recorded = known.keys() | await self._new_ones(tx, scope, [key for key in tallies if key not in known])
        if recorded:
            clocks = {
                key: known.get(key, ClockSamples()).with_more(tallies[key].newest, tallies[key].told)
                for key in recorded
            }
            await queries.add_tallies(tx, scope, {key: tallies[key] for key in recorded}, clocks)
        rows = [row for row in activity if row.key in recorded]
        if rows:
            await queries.add_activity(tx, scope, rows)
        await self._prune(tx, scope)

    async def _new_ones(self, tx: Tx, scope: TenantScope, keys: Sequence[DeviceKey]) -> set[DeviceKey]:
        """Those of the unknown devices that get a row: of each user only so many a day."""
        if not keys:
            return set()
        now, users = self._clock.now(), {key.user_id for key in keys}
        # Those of later days were seen by a clock that has been set back since.
        counts = dict(
            await queries.count_new(tx, scope, users, after=Millis(now - _DAY_MILLIS), before=Millis(now + _DAY_MILLIS))
        )
        taken: set[DeviceKey] = set()
        for key in keys:
            counts[key.user_id] = counts.get(key.user_id, 0) + 1
            if counts[key.user_id] <= (_MOST_NEW if key.user_id else _MOST_NEW_WITHOUT_ACCOUNT):
                taken.add(key)
        if len(taken) < len(keys):
            _log.warning("devices.too_many", tenant_id=scope.tenant_id, ignored=len(keys) - len(taken))
        return taken

    async def _prune(self, tx: Tx, scope: TenantScope) -> None:
        now = self._clock.now()
        if 0 <= now - self._pruned.get(scope.tenant_id, Millis(0)) < _PRUNE_EVERY_MILLIS:
            return
        before = Millis(now - _ACTIVITY_MILLIS)
        deleted = await queries.delete_old_activity(tx, scope, before=before, limit=_PRUNE_AT_ONCE)
        if deleted < _PRUNE_AT_ONCE:
            self._pruned[scope.tenant_id] = now

    def _put_back(self, tallies: dict[DeviceKey, Tally], activity: Sequence[Activity]) -> None:
        for key, tally in tallies.items():
            later = self._tallies.get(key)
            self._tallies[key] = tally if later is None else tally.continued_by(later)
        room = max(0, _MOST_ACTIVITY - len(self._activity))
        self._dropped += max(0, len(activity) - room)
        self._activity.extendleft(reversed(activity[:room]))
