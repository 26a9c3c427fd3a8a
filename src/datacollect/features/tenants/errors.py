"""What this slice refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.kernel.errors import (
    Conflict,
    DataCollectError,
    Forbidden,
    InvalidPayload,
    InvalidRequest,
    NotFound,
)


class InvalidConfig(InvalidPayload):
    """Invalid app config JSON"""

    code = "INVALID_CONFIG"
    help = "Correct every issue in `details` and upload the config again."


class InvalidConfigId(InvalidRequest):
    """Invalid config id. Use alphanumeric characters, hyphen or underscore."""

    code = "INVALID_CONFIG_ID"
    help = "Choose another `id`."
    members: ClassVar[Mapping[str, Any]] = {"success": False}


class ConfigIdMismatch(InvalidRequest):
    """Config id mismatch between payload and URL"""

    code = "CONFIG_ID_MISMATCH"
    help = "Use the address of the program that the config's `id` names."
    members: ClassVar[Mapping[str, Any]] = {"success": False}


class NoConfigUploaded(InvalidRequest):
    """No JSON file uploaded"""

    code = "NO_FILE"
    help = "Send the config as the body, or as the form field `config`."


class ProgramNotFound(NotFound):
    """Configuration not found"""

    code = "PROGRAM_NOT_FOUND"
    help = "List the programs to find the right id."


class ArtifactNotFound(NotFound):
    """Config not found"""

    code = "ARTIFACT_NOT_FOUND"
    help = "Read the program: its `artifactId` names the file."


class ProgramAccessDenied(Forbidden):
    """You do not have permission to view this program."""

    code = "TENANT_ACCESS_DENIED"
    help = "Ask an administrator to add your account to the program."


class ProgramChanged(DataCollectError):
    """The program has been changed since you read it. Read it again and repeat your change."""

    status, code = 412, "PROGRAM_CHANGED"
    help = "Read the program, repeat your change on it, and send the new ETag."


class ProgramExists(Conflict):
    """There is a program of this id already."""

    code = "PROGRAM_EXISTS"
    help = "Choose another `id`; or leave `If-None-Match` out to replace the program."


class ProgramNotArchived(Conflict):
    """The program is not archived, and only archived programs can be purged."""

    code = "PROGRAM_NOT_ARCHIVED"
    help = "Archive the program (`DELETE /api/apps/{id}`), make sure that nobody misses it, and purge it then."


class ProgramBeingPurged(Conflict):
    """The program that had this id is still being deleted."""

    code = "PROGRAM_BEING_PURGED"
    help = "Try again later, or choose another `id`. Purging it again tells how far that is."


class VersionNotFound(NotFound):
    """The program has no such version"""

    code = "VERSION_NOT_FOUND"
    help = "List the program's versions to find the right revision."


class InvalidRevision(InvalidRequest):
    """If-Match takes the ETag of the program as read, such as "3", or several, or *."""

    code = "INVALID_IF_MATCH"
    help = "Send the ETag as it was answered, or leave the header out."


class BaseUrlUnknown(DataCollectError):
    """Set PUBLIC_BASE_URL to the address at which devices reach this hub."""

    status, code = 500, "BASE_URL_UNKNOWN"
    help = "Set `PUBLIC_BASE_URL` and restart the hub."
