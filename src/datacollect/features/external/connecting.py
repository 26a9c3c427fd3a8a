"""The way from a program's config to its adapter."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from datacollect.adapters.configured import Configured, read_external_sync
from datacollect.adapters.errors import AdapterError, Failure, Misconfigured
from datacollect.adapters.kinds import Capability, Context
from datacollect.adapters.port import Adapter
from datacollect.adapters.registry import AdapterRegistry
from datacollect.db import Database
from datacollect.features.entities.links import service as links
from datacollect.features.external.codes import Trouble
from datacollect.features.tenants.asked import Bridge, bridge_of
from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.clock import Clock
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.sealing import CannotOpen, Seals
from datacollect.kernel.tenancy import Tenant, TenantDirectory
from datacollect.outgoing import GuardedClient

_log = structlog.get_logger(component="external")

_MOST_OPEN = 64
MOST_AT_ONCE = 200
"""Records that an adapter is handed at once, whatever its options say."""

NOT_CONFIGURED = Failure(
    code=Trouble.NOT_CONFIGURED.value,
    message="The program names no other system: `externalSync` has no `type` or no `url`.",
    retryable=False,
)
PROGRAM_STOPPED = Failure(
    code=Trouble.PROGRAM_STOPPED.value, message="The program is archived: nothing is exchanged for it.", retryable=False
)
SECRETS_LOCKED = Failure(
    code=Trouble.SECRETS_LOCKED.value,
    message="None of the hub's keys opens the settings of the other system. See `SECRETS_KEY_PREVIOUS`.",
    retryable=False,
)


class CannotConnect(Exception):
    """There is no way to the other system as things are."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.code)


@dataclass(frozen=True, slots=True)
class Connection:
    """A program's adapter, and what of its settings matters to whoever runs it."""

    configured: Configured
    adapter: Adapter
    system: str
    """A short name of the other system: where the settings that tell which it is change, it is another one."""
    version: str
    """Of the program's config that it was made from."""

    @property
    def name(self) -> str:
        return self.configured.kind.name

    @property
    def user(self) -> str:
        """The `userId` of events made of what it tells."""
        return self.configured.kind.event_user

    @property
    def selection(self) -> str:
        """Names what of records is exchanged, as the program's settings say."""
        kind, options = self.configured.kind, self.configured.options
        chosen = [_said(getattr(options, name, None)) for name in kind.selection]
        mapped = [asdict(one) for one in self.configured.mappings] if kind.uses_mappings else []
        return hashlib.blake2b(canonical_json([chosen, mapped]), digest_size=8).hexdigest()

    @property
    def at_once(self) -> int:
        wanted = getattr(self.configured.options, "batch_size", None)
        size = wanted if isinstance(wanted, int) and wanted > 0 else self.configured.kind.batch_size
        return max(1, min(size, MOST_AT_ONCE))

    def can(self, capability: Capability) -> bool:
        return capability in self.configured.kind.capabilities


def system_of(configured: Configured) -> str:
    values = [_said(getattr(configured.options, name, None)) for name in configured.kind.identity]
    return hashlib.blake2b(canonical_json([configured.kind.name, *values]), digest_size=8).hexdigest()


def _said(value: object) -> str:
    return str(value).strip().rstrip("/") if value is not None else ""


class Connections:
    """Makes adapters, and keeps those of runs under way in this process: they sign in once in a run."""

    def __init__(
        self,
        database: Database,
        tenants: TenantDirectory,
        seals: Seals,
        client: GuardedClient,
        clock: Clock,
        registry: Callable[[], AdapterRegistry],
    ) -> None:
        self._database = database
        self._tenants = tenants
        self._seals = seals
        self._client = client
        self._clock = clock
        self._registry = registry
        self._open: OrderedDict[str, Connection] = OrderedDict()

    async def tenant(self, scope: TenantScope) -> Tenant:
        """Raises `CannotConnect` for a program that does not run."""
        tenant = await self._tenants.find(scope.tenant_id)
        if tenant is None:
            raise CannotConnect(PROGRAM_STOPPED)
        return tenant

    async def of_run(self, scope: TenantScope, job_id: str) -> Connection:
        """The run's adapter; a new one where the program's config has changed since. Raises `CannotConnect`."""
        tenant = await self.tenant(scope)
        held = self._open.get(job_id)
        if held is not None and held.version == tenant.version:
            self._open.move_to_end(job_id)
            return held
        made = await self.make(scope, tenant)
        await self.close(job_id)
        self._open[job_id] = made
        while len(self._open) > _MOST_OPEN:
            await _close(self._open.popitem(last=False)[1])
        return made

    async def make(self, scope: TenantScope, tenant: Tenant) -> Connection:
        """A new adapter, for the caller to close. Raises `CannotConnect`."""
        configured, bridge = await self._read(scope)
        system = system_of(configured)

        async def owners(keys: Collection[str]) -> Mapping[str, str]:
            async with self._database.reading(scope) as view:
                found = await links.links_to(view, scope, system, keys)
            return {key: link.guid for key, link in found.items()}

        context = Context(
            client=self._client,
            clock=self._clock,
            mappings=configured.mappings,
            form_types=bridge.form_types,
            owners=owners,
        )
        try:
            adapter = configured.kind.create(configured.options, context)
        except AdapterError as error:
            raise CannotConnect(error.failure) from error
        return Connection(configured, adapter, system, tenant.version)

    async def system(self, scope: TenantScope) -> str:
        """The short name of the system that the program names now. Raises `CannotConnect`."""
        configured, _ = await self._read(scope)
        return system_of(configured)

    async def _read(self, scope: TenantScope) -> tuple[Configured, Bridge]:
        async with self._database.reading(scope) as view:
            try:
                bridge = await bridge_of(view, scope.tenant_id, seals=self._seals)
            except CannotOpen:
                raise CannotConnect(SECRETS_LOCKED) from None
        if bridge is None:
            raise CannotConnect(PROGRAM_STOPPED)
        try:
            configured = read_external_sync(bridge.external_sync, self._registry())
        except Misconfigured as error:
            raise CannotConnect(error.failure) from error
        if configured is None:
            raise CannotConnect(NOT_CONFIGURED)
        return configured, bridge

    async def close(self, job_id: str) -> None:
        """Let go of a run's adapter; harmless if there is none."""
        held = self._open.pop(job_id, None)
        if held is not None:
            await _close(held)

    def kinds(self) -> list[dict[str, Any]]:
        """Every kind of adapter as clients are told of it."""
        registry = self._registry()
        return [registry.describe(name).as_json() for name in registry.types()]

    async def aclose(self) -> None:
        for job_id in list(self._open):
            await self.close(job_id)


async def _close(connection: Connection) -> None:
    try:
        await connection.adapter.close()
    except Exception as error:  # whatever an adapter does: nothing depends on its end
        _log.warning("adapter.not_closed", adapter=connection.name, error=type(error).__name__)
