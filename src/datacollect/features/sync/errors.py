"""What sync refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.eventstore.event import EventRejected
from datacollect.kernel.errors import DataCollectError, InvalidPayload, InvalidRequest, Unprocessable

_STATUS_ERROR: Mapping[str, Any] = {"status": "error"}


class InvalidPush(InvalidPayload):
    """Invalid payload"""

    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidCursor(InvalidRequest):
    """`since` must be empty, an ISO-8601 UTC timestamp, or `timestamp|eventGuid` as delivered."""

    code = "INVALID_CURSOR"
    help = "Send `nextCursor` as it was delivered, or leave `since` empty to begin anew."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidLimit(InvalidRequest):
    """`limit` must be a whole number from 1 to 5000."""

    code = "INVALID_LIMIT"
    help = "Send a number from 1 to 5000, or leave `limit` out."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class TooManyAreas(InvalidRequest):
    """`areaIds` may name at most 1000 areas."""

    code = "TOO_MANY_AREAS"
    help = "Name fewer areas, or none."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class DeviceIdRequired(InvalidRequest):
    """Your sync scope is limited, so every call needs an X-Device-Id header (1-64 of A-Z a-z 0-9 _ -)."""

    code = "DEVICE_ID_REQUIRED"
    help = "Send the header `X-Device-Id` with every call."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class BoundedScopeUnsupported(DataCollectError):
    """Your sync scope is limited to areas or entity types, which this release cannot serve yet."""

    status, code = 501, "BOUNDED_SCOPE_UNSUPPORTED"
    help = "Ask an administrator to lift the limits of your scope."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class GuidReused(EventRejected):
    """Another event with this guid but other content is stored already; this one is kept in quarantine."""

    code = "GUID_REUSED"
    help = "Give the event a new guid and push it again, unless it is a copy that was changed by mistake."

    def __init__(self) -> None:
        super().__init__(path=["guid"])


class PushRejected(Unprocessable):
    """An event cannot be applied; nothing of this push was stored."""

    code = "PUSH_REJECTED"
    help = 'Correct the event in `failed` or leave it out, then push again; or push with `"atomic": false`.'
    members: ClassVar[Mapping[str, Any]] = {"status": "error", "applied": 0}
