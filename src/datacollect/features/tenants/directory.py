"""The tenant directory: what every request needs of its program, at most a second old."""

from collections.abc import Iterable
from functools import partial

from datacollect.db import Database
from datacollect.db.flights import Flights
from datacollect.features.tenants.queries import find_running
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant

_FRESH_MS = 1000
_MOST_ENTRIES = 10_000


class CachedTenantDirectory:
    """Implements `TenantDirectory`. Remembers strangers too: unknown ids must not cost a query each."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._entries: dict[TenantId, tuple[Millis, Tenant | None]] = {}
        self._flights = Flights[TenantId, Tenant | None]()
        self._changes = 0

    async def find(self, tenant_id: TenantId) -> Tenant | None:
        """The running program of that id; None if it is unknown or archived."""
        now = self._clock.now()
        entry = self._entries.get(tenant_id)
        if entry is not None and 0 <= now - entry[0] < _FRESH_MS:
            return entry[1]
        known = entry[1] if entry is not None else None
        return await self._flights.join(tenant_id, partial(self._read, tenant_id, known, now))

    async def _read(self, tenant_id: TenantId, known: Tenant | None, now: Millis) -> Tenant | None:
        changes = self._changes
        async with self._database.glancing() as view:
            tenant = await find_running(view, tenant_id, known=known)
        # A change made here meanwhile may be younger than what has just been read: then it is not kept.
        if changes == self._changes:
            if len(self._entries) >= _MOST_ENTRIES:
                self._entries.clear()
            self._entries[tenant_id] = (now, tenant)
        return tenant

    def forget(self, tenant_ids: Iterable[TenantId]) -> None:
        """Look these up afresh next time. To be called after the change is committed."""
        self._changes += 1
        self._flights.forget()
        for tenant_id in tenant_ids:
            self._entries.pop(tenant_id, None)
