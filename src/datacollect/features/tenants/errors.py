"""What this slice refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.kernel.errors import (
    DataCollectError,
    Forbidden,
    InvalidPayload,
    InvalidRequest,
    NotFound,
    TooManyRequests,
)


class InvalidConfig(InvalidPayload):
    """Invalid app config JSON"""

    code = "INVALID_CONFIG"


class InvalidConfigId(InvalidRequest):
    """Invalid config id. Use alphanumeric characters, hyphen or underscore."""

    code = "INVALID_CONFIG_ID"
    members: ClassVar[Mapping[str, Any]] = {"success": False}


class ConfigIdMismatch(InvalidRequest):
    """Config id mismatch between payload and URL"""

    code = "CONFIG_ID_MISMATCH"
    members: ClassVar[Mapping[str, Any]] = {"success": False}


class NoConfigUploaded(InvalidRequest):
    """No JSON file uploaded"""

    code = "NO_FILE"


class ProgramNotFound(NotFound):
    """Configuration not found"""

    code = "PROGRAM_NOT_FOUND"


class ArtifactNotFound(NotFound):
    """Config not found"""

    code = "ARTIFACT_NOT_FOUND"


class ProgramAccessDenied(Forbidden):
    """You do not have permission to view this program."""

    code = "TENANT_ACCESS_DENIED"


class ProgramChanged(DataCollectError):
    """The program has been changed since you read it. Read it again and repeat your change."""

    status, code = 412, "PROGRAM_CHANGED"


class TooManyReads(TooManyRequests):
    """Too many requests, please try again later"""


class BaseUrlUnknown(DataCollectError):
    """Set PUBLIC_BASE_URL to the address at which devices reach this hub."""

    status, code = 500, "BASE_URL_UNKNOWN"
