"""What this slice refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.kernel.errors import Forbidden, InvalidRequest

_STATUS_ERROR: Mapping[str, Any] = {"status": "error"}


class DeviceRevoked(Forbidden):
    """This device has been shut out of the program. Ask an administrator."""

    code = "DEVICE_REVOKED"
    help = "Ask an administrator to restore the device."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class ConfigIdRequired(InvalidRequest):
    """configId is required"""

    code = "CONFIG_ID_REQUIRED"
    help = "Send `configId` in the query."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidDeviceQuery(InvalidRequest):
    """`limit` must be a whole number from 1 to 1000, and `cursor` one that was delivered."""

    code = "INVALID_DEVICE_QUERY"
    help = "Correct what the message names."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidDevice(InvalidRequest):
    """A device id has 1-64 of A-Z a-z 0-9 _ -, and a userId is an account's number."""

    code = "INVALID_DEVICE"
    help = "Correct what the message names."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR
