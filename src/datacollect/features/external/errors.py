"""What this slice refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.kernel.errors import Conflict, InvalidPayload, InvalidRequest, NotFound, TooManyRequests

_STATUS_ERROR: Mapping[str, Any] = {"status": "error"}


class ConfigIdRequired(InvalidRequest):
    """configId query parameter is required"""

    code = "CONFIG_ID_REQUIRED"
    help = "Name the program as `configId` in the query."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidStart(InvalidPayload):
    """Invalid external sync payload"""

    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class SyncInProgress(Conflict):
    """A sync is already in progress for this configuration."""

    code = "SYNC_IN_PROGRESS"
    help = "Wait until it has ended, or cancel it: `GET /api/sync/status` tells how far it is."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InstanceNotFound(NotFound):
    """App instance not found"""

    code = "APP_INSTANCE_NOT_FOUND"
    help = "Check `configId`; a program that is archived must be restored first."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class SyncJobNotFound(NotFound):
    """Sync job not found"""

    code = "SYNC_JOB_NOT_FOUND"
    help = "Take the id from the answer to the start, or from `GET /api/sync/events`."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class OriginalJobNotFound(NotFound):
    """Original sync job not found"""

    code = "ORIGINAL_JOB_NOT_FOUND"
    help = "Take the id from `GET /api/sync/events`."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class NoActiveJob(NotFound):
    """No active sync job found with that ID"""

    code = "NO_ACTIVE_SYNC_JOB"
    help = "There is nothing to cancel: it has ended, or there never was one of that id."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidSyncList(InvalidRequest):
    """`limit` must be 1 to 200 (1 to 100 for events), `cursor` one that was delivered."""

    code = "INVALID_SYNC_LIST"
    help = "Correct what the message names, or leave it out."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class TooManyConnectionTests(TooManyRequests):
    """The connection has been tested often just now. Wait before the next test."""

    code = "TOO_MANY_CONNECTION_TESTS"
    help = "Wait as long as the header `Retry-After` says: other systems lock out who signs in too often."
