"""`/api/admin/devices`: what syncs, and shutting it out."""

import re
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from datacollect.features.devices import service
from datacollect.features.devices.errors import ConfigIdRequired, InvalidDevice, InvalidDeviceQuery
from datacollect.features.devices.model import Device, Revocation
from datacollect.features.devices.schemas import DeviceOut, RevocationReply
from datacollect.http.current import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InSync
from datacollect.http.tenant import NamedConfigId
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import Action, TenantScope
from datacollect.kernel.ids import is_device_id
from datacollect.kernel.permission import Callers

router = APIRouter(prefix="/api/admin/devices", tags=["Synchronization"])

MOST_LISTED = 1000
_CURSOR = re.compile(r"([0-9]*)\.([A-Za-z0-9_-]{1,64})")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,4}")
_USER_ID = re.compile(r"[0-9]{1,9}")

_PAGE_HEADERS = {
    "X-Next-Cursor": {
        "description": "Send it as `cursor` for the next page; absent on the last one.",
        "schema": {"type": "string"},
    },
    "Link": {"description": "The next page, as `rel=next`.", "schema": {"type": "string"}},
}


class _ByAdmin(InSync):
    """For administrators, who say which program they mean."""

    must_name = "configId"

    def __init__(self, action: Action) -> None:
        super().__init__(action, callers=Callers.ADMIN)

    async def __call__(self, request: Request, hub: CurrentHub, _: NamedConfigId = None) -> Entered:
        return await self.enter(request, hub)

    def require_named(self, request: Request) -> None:
        if not request.query_params.get("configId"):
            raise ConfigIdRequired()


Reader = Annotated[Entered, Depends(_ByAdmin(Action.READ))]
Manager = Annotated[Entered, Depends(_ByAdmin(Action.MANAGE_CONFIG))]
DeviceId = Annotated[str, Path(alias="deviceId", description="What the device calls itself.")]
UserId = Annotated[
    str | None, Query(alias="userId", description="Only for this account; without it for whoever signs in on it.")
]


@router.get(
    "",
    summary="List devices",
    response_model=list[DeviceOut],
    responses={200: {"headers": _PAGE_HEADERS}, **errors(400)},
)
async def list_devices(
    response: Response,
    hub: CurrentHub,
    reader: Reader,
    limit: Annotated[str, Query(description="At most this many, 1-1000.")] = str(MOST_LISTED),
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
) -> list[dict[str, Any]]:
    """The devices that have synced with the program, by user and device id; up to a second old.

    Only calls with a valid `X-Device-Id` that succeeded are counted. A user who signs in on two devices has two rows, a
    device two users sign in on has two as well. Of each user at most 50 new devices a day are noted; others sync all the
    same.
    """
    scope = reader.scope
    after = None if cursor is None else _CURSOR.fullmatch(cursor)
    if (
        not _WHOLE_NUMBER.fullmatch(limit)
        or not 1 <= int(limit) <= MOST_LISTED
        or (cursor is not None and after is None)
    ):
        raise InvalidDeviceQuery()
    async with hub.db.reading(scope) as view:
        devices, more = await service.list_devices(
            view, scope, after=(after[1], after[2]) if after else None, limit=int(limit)
        )
    if more:
        last = devices[-1].key
        following = f"{last.user_id}.{last.device_id}"
        query = urlencode({"configId": scope.tenant_id, "limit": limit, "cursor": following})
        response.headers["X-Next-Cursor"] = following
        response.headers["Link"] = f'</api/admin/devices?{query}>; rel="next"'
    return [_view(device) for device in devices]


@router.post(
    "/{deviceId}/revoke",
    summary="Shut a device out",
    response_model=RevocationReply,
    responses=errors(400),
)
async def revoke_device(
    hub: CurrentHub,
    manager: Manager,
    device_id: DeviceId,
    user_id: UserId = None,
) -> dict[str, Any]:
    """From now on its requests about the program answer 403 `DEVICE_REVOKED`: at once here, within a second in other
    processes.

    The id is what the device sends. One that sends no id or another one is not recognised: end its user's sessions by a
    new password when it is in wrong hands.
    """
    scope = manager.scope
    _require_device(device_id, user_id)
    async with hub.db.transaction(scope) as tx:
        revocations = await service.revoke(tx, scope, device_id, user_id, now=hub.clock.now())
    hub.devices.forget(scope.tenant_id)
    return _reply(scope, device_id, revocations)


@router.post(
    "/{deviceId}/restore",
    summary="Let a device in again",
    response_model=RevocationReply,
    responses=errors(400),
)
async def restore_device(
    hub: CurrentHub,
    manager: Manager,
    device_id: DeviceId,
    user_id: UserId = None,
) -> dict[str, Any]:
    """Lifts every revocation of the device; with `userId` only the one for that account."""
    scope = manager.scope
    _require_device(device_id, user_id)
    async with hub.db.transaction(scope) as tx:
        revocations = await service.restore(tx, scope, device_id, user_id, now=hub.clock.now())
    hub.devices.forget(scope.tenant_id)
    return _reply(scope, device_id, revocations)


def _require_device(device_id: str, user_id: str | None) -> None:
    if not is_device_id(device_id) or (user_id is not None and not _USER_ID.fullmatch(user_id)):
        raise InvalidDevice()


def _reply(scope: TenantScope, device_id: str, revocations: Sequence[Revocation]) -> dict[str, Any]:
    return {
        "status": "success",
        "tenantId": scope.tenant_id,
        "deviceId": device_id,
        "revocations": [
            {
                "userId": one.user_id or None,
                "revokedAt": format_timestamp(one.revoked_at),
                "revokedBy": one.revoked_by,
            }
            for one in revocations
        ],
    }


def _view(device: Device) -> dict[str, Any]:
    revocation = device.revocation
    return {
        "tenantId": device.key.tenant_id,
        "userId": device.key.user_id,
        "deviceId": device.key.device_id,
        "lastPullAt": _text(device.last_pull_at),
        "lastPushAt": _text(device.last_push_at),
        "totalPulled": device.total_pulled,
        "totalPushed": device.total_pushed,
        "lastScopeHash": device.last_scope_hash,
        "firstSeenAt": format_timestamp(device.first_seen_at),
        "clockSkewMs": device.clock.skew_millis,
        "clockAhead": device.clock_ahead,
        "revokedAt": None if revocation is None else format_timestamp(revocation.revoked_at),
        "revokedBy": None if revocation is None else revocation.revoked_by,
    }


def _text(instant: Millis | None) -> str | None:
    return None if instant is None else format_timestamp(instant)
