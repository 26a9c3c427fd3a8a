"""What this slice refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.kernel.errors import Forbidden, InvalidPayload, InvalidRequest, NotFound

_STATUS_ERROR: Mapping[str, Any] = {"status": "error"}


class InvalidAuditLogs(InvalidPayload):
    """Invalid audit log payload"""

    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class AuditProgramNotFound(NotFound):
    """App instance not found"""

    code = "PROGRAM_NOT_FOUND"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidAuditQuery(InvalidRequest):
    """`since` must be an ISO-8601 UTC timestamp, `limit` a whole number from 1 to 5000, `cursor` as delivered."""

    code = "INVALID_AUDIT_QUERY"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class AuditBeyondReach(Forbidden):
    """The audit trail tells of the whole program, and your access is limited to a part of it."""

    code = "AUDIT_BEYOND_REACH"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR
