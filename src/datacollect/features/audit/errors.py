"""What this slice refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.kernel.errors import InvalidPayload, InvalidRequest, NotFound, Unprocessable

_STATUS_ERROR: Mapping[str, Any] = {"status": "error"}


class InvalidAuditLogs(InvalidPayload):
    """Invalid audit log payload"""

    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class AuditProgramNotFound(NotFound):
    """App instance not found"""

    code = "PROGRAM_NOT_FOUND"
    help = "Check `configId`; a program that is archived must be restored first."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidAuditQuery(InvalidRequest):
    """`since` must be an ISO-8601 UTC timestamp, `limit` a whole number from 1 to 5000, `cursor` as delivered."""

    code = "INVALID_AUDIT_QUERY"
    help = "Send `X-Next-Cursor` as it was delivered, or leave `since` and `cursor` out to begin anew."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class AuditGuidReserved(Unprocessable):
    """Guids of version 5 are those of the hub's own entries; this one is not stored."""

    code = "GUID_RESERVED"
    help = "Give the entry a random guid (version 4)."


class AuditGuidReused(Unprocessable):
    """Another entry with this guid but other content is stored already; this one is not."""

    code = "GUID_REUSED"
    help = "Give the entry a guid of its own."
