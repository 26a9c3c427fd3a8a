"""What this slice refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.kernel.errors import Conflict, Forbidden, InvalidPayload, InvalidRequest, NotFound, Unprocessable

_STATUS_ERROR: Mapping[str, Any] = {"status": "error"}


class QuarantinedNotFound(NotFound):
    """There is no such event in this program's quarantine."""

    code = "QUARANTINED_NOT_FOUND"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class QuarantinedClosed(Conflict):
    """This event has been replayed, discarded or accepted already."""

    code = "QUARANTINED_CLOSED"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class ReplayRejected(Unprocessable):
    """The event still cannot be applied; it stays in quarantine."""

    code = "REPLAY_REJECTED"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class GuidChanged(InvalidRequest):
    """An edited event keeps its guid: it is what tells the device that its event has arrived."""

    code = "GUID_CHANGED"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidDecision(InvalidPayload):
    """Invalid payload"""

    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidQuarantineQuery(InvalidRequest):
    """`status` must be open, blocking, replayed, discarded, accepted or all, `limit` 1 to 1000, `cursor` one delivered."""

    code = "INVALID_QUARANTINE_QUERY"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class WholeProgramRequired(Forbidden):
    """Quarantined events may be about anybody, so an account that is limited to areas or entity types cannot see them."""

    code = "WHOLE_PROGRAM_REQUIRED"
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR
