"""What sync refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.eventstore.log import Rejection
from datacollect.kernel.errors import DataCollectError, InvalidPayload, InvalidRequest, Unprocessable

_STATUS_ERROR: Mapping[str, Any] = {"status": "error"}


class InvalidPush(InvalidPayload):
    """Invalid payload"""

    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidCursor(InvalidRequest):
    """`since` must be empty, an ISO-8601 UTC timestamp, or `timestamp|eventGuid` as delivered."""

    code = "INVALID_CURSOR"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidLimit(InvalidRequest):
    """`limit` must be a whole number from 1 to 5000."""

    code = "INVALID_LIMIT"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class TooManyAreas(InvalidRequest):
    """`areaIds` may name at most 1000 areas."""

    code = "TOO_MANY_AREAS"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class DeviceIdRequired(InvalidRequest):
    """Your sync scope is limited, so every call needs an X-Device-Id header (1-64 of A-Z a-z 0-9 _ -)."""

    code = "DEVICE_ID_REQUIRED"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class BoundedScopeUnsupported(DataCollectError):
    """Your sync scope is limited to areas or entity types, which this release cannot serve yet."""

    status, code = 501, "BOUNDED_SCOPE_UNSUPPORTED"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class PushRejected(Unprocessable):
    """An event cannot be applied; nothing of this push was stored."""

    code = "PUSH_REJECTED"
    members: ClassVar[Mapping[str, Any]] = {"status": "error", "applied": 0}

    def __init__(self, rejection: Rejection, **members: Any) -> None:
        super().__init__(**members)
        self.rejection = rejection
