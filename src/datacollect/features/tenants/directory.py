"""The tenant directory: what every request needs of its program, at most a second old."""

from collections.abc import Iterable

from datacollect.db import Database
from datacollect.db.lookups import LookUps
from datacollect.features.tenants.queries import find_running
from datacollect.kernel.clock import Clock
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant

_MOST_ENTRIES = 10_000
_STRANGERS_MS = 100
"""A program may be made, or restored, by another process meanwhile, and who is told that there is none stops for good."""


class CachedTenantDirectory:
    """Implements `TenantDirectory`. Remembers strangers too, for a moment: unknown ids must not cost a query each."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._tenants = LookUps[TenantId, Tenant | None](self._read, clock, most=_MOST_ENTRIES, absent_ms=_STRANGERS_MS)
        self._known: dict[TenantId, Tenant] = {}
        """As they were at last: a config that is still the same is not read once more."""

    async def find(self, tenant_id: TenantId) -> Tenant | None:
        """The running program of that id; None if it is unknown or archived."""
        return await self._tenants.find(tenant_id)

    async def _read(self, tenant_id: TenantId) -> Tenant | None:
        async with self._database.glancing() as view:
            tenant = await find_running(view, tenant_id, known=self._known.get(tenant_id))
        self._know(tenant_id, tenant)
        return tenant

    def _know(self, tenant_id: TenantId, tenant: Tenant | None) -> None:
        self._known.pop(tenant_id, None)
        if tenant is not None:
            if len(self._known) >= _MOST_ENTRIES:
                self._known.clear()
            self._known[tenant_id] = tenant

    def forget(self, tenant_ids: Iterable[TenantId]) -> None:
        """Look these up afresh next time. To be called after the change is committed."""
        forgotten = frozenset(tenant_ids)
        self._tenants.forget(forgotten.__contains__)
        for tenant_id in forgotten:
            self._known.pop(tenant_id, None)
