"""The devices of a program. Source: the contract's sync area, 3.8."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from datacollect.db import Database, Reading, Tx
from datacollect.db.lookups import LookUps
from datacollect.features.devices import queries
from datacollect.features.devices.errors import DeviceRevoked
from datacollect.features.devices.model import ANYBODY, Activity, Device, DeviceKey, Revocation, Route, device_time
from datacollect.features.devices.recorder import DeviceRecorder
from datacollect.features.tenants.asked import hold
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, is_device_id

_MOST_TENANTS = 10_000


async def list_devices(
    view: Reading, scope: TenantScope, *, after: tuple[str, str] | None, limit: int
) -> tuple[Sequence[Device], bool]:
    """A page of devices, by user and device id, and whether there are more. Revocations are told with them."""
    found = await queries.list_devices(view, scope, after=after, limit=limit + 1)
    revoked = {(one.device_id, one.user_id): one for one in await queries.list_revocations(view, scope)}
    page = [
        replace(device, revocation=revoked.get((key.device_id, ANYBODY)) or revoked.get((key.device_id, key.user_id)))
        for device in found[:limit]
        for key in (device.key,)
    ]
    return page, len(found) > limit


async def revoke(
    tx: Tx, scope: TenantScope, device_id: str, user_id: str | None, *, now: Millis
) -> Sequence[Revocation]:
    """Shut a device out, for everybody or for one user; harmless when it is. Gives its revocations in force.

    Raises `TenantUnknown` for a program that has just been taken away.
    """
    if not await hold(tx, scope):
        raise TenantUnknown(scope.tenant_id)
    await queries.revoke(tx, scope, Revocation(device_id, user_id or ANYBODY, now, scope.actor.label))
    return await _in_force(tx, scope, device_id)


async def restore(
    tx: Tx, scope: TenantScope, device_id: str, user_id: str | None, *, now: Millis
) -> Sequence[Revocation]:
    """Let a device in again, entirely or for one user; harmless when it is. Gives its revocations still in force."""
    await queries.restore(tx, scope, device_id, user_id, by=scope.actor.label, now=now)
    return await _in_force(tx, scope, device_id)


async def _in_force(tx: Tx, scope: TenantScope, device_id: str) -> Sequence[Revocation]:
    return [one for one in await queries.list_revocations(tx, scope) if one.device_id == device_id]


@dataclass(frozen=True, slots=True)
class DeviceCall:
    """A sync call under way, by a device that may make it. Implements the port; without a device id it notes nothing."""

    recorder: DeviceRecorder
    clock: Clock
    key: DeviceKey | None
    told: int | None

    def pulled(self, events: int, *, scope_hash: str) -> None:
        self._note("pull", events, scope_hash, None)

    def pushed(self, applied: int, *, scope_hash: str, newest: Millis | None) -> None:
        self._note("push", applied, scope_hash, newest)

    def _note(self, route: Route, events: int, scope_hash: str, newest: Millis | None) -> None:
        if self.key is not None:
            now = self.clock.now()
            self.recorder.note(
                Activity(self.key, route, events, scope_hash, now),
                newest=None if newest is None else newest - now,
                told=self.told,
            )


class DeviceRegistry:
    """What requests and sync see of devices; implements `Devices`.

    Which devices are shut out is remembered for at most a second: a revocation holds at once here, and within a second
    in other processes.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self.recorder = DeviceRecorder(database, clock)
        self._database = database
        self._clock = clock
        self._revoked = LookUps[TenantId, frozenset[tuple[str, str]]](self._revoked_in, clock, most=_MOST_TENANTS)

    async def require_admitted(self, scope: TenantScope, headers: Mapping[str, str]) -> None:
        device_id = headers.get("x-device-id")
        revoked = await self._revoked.find(scope.tenant_id) if device_id else None
        if revoked and device_id and not revoked.isdisjoint({(device_id, ANYBODY), (device_id, _user_of(scope))}):
            raise DeviceRevoked()

    def call(self, scope: TenantScope, headers: Mapping[str, str]) -> DeviceCall:
        device_id = headers.get("x-device-id")
        if not device_id or not is_device_id(device_id):
            return DeviceCall(self.recorder, self._clock, None, None)
        told = device_time(headers.get("x-device-time"), headers.get("date"))
        return DeviceCall(
            self.recorder,
            self._clock,
            DeviceKey(scope.tenant_id, _user_of(scope), device_id),
            None if told is None else told - self._clock.now(),
        )

    def running(self) -> AbstractAsyncContextManager[None]:
        return self.recorder.running()

    async def flush(self) -> None:
        await self.recorder.flush()

    def forget(self, tenant_id: TenantId) -> None:
        self._revoked.forget(tenant_id.__eq__)

    async def _revoked_in(self, tenant_id: TenantId) -> frozenset[tuple[str, str]]:
        scope = system_scope(tenant_id)
        async with self._database.reading(scope) as view:  # they may be many
            found = await queries.list_revocations(view, scope)
        return frozenset((one.device_id, one.user_id) for one in found)


def _user_of(scope: TenantScope) -> str:
    return "" if scope.actor.user_id is None else str(scope.actor.user_id)
