"""What this slice refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.kernel.errors import Conflict, InvalidPayload, InvalidRequest, NotFound, PayloadTooLarge, Unprocessable

_STATUS_ERROR: Mapping[str, Any] = {"status": "error"}


class QuarantinedNotFound(NotFound):
    """There is no such event in this program's quarantine."""

    code = "QUARANTINED_NOT_FOUND"
    help = "Take the id from the list, and check `configId`."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class QuarantinedClosed(Conflict):
    """This event has been replayed, discarded or accepted already."""

    code = "QUARANTINED_CLOSED"
    help = "Nothing is left to decide; the list shows who did what."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class ReplayRejected(Unprocessable):
    """The event still cannot be applied; it stays in quarantine."""

    code = "REPLAY_REJECTED"
    help = "See `failed` for what is wrong with the event; replay it corrected, or discard it."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class GuidChanged(InvalidRequest):
    """An edited event keeps its guid: it is what tells the device that its event has arrived."""

    code = "GUID_CHANGED"
    help = "Send the edited event with the guid it had."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class TooLargeTogether(PayloadTooLarge):
    """These events are too large to be decided about together."""

    code = "QUARANTINED_TOO_LARGE"
    help = "Name fewer of them at once."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidDecision(InvalidPayload):
    """Invalid payload"""

    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidQuarantineQuery(InvalidRequest):
    """`status` must be open, blocking, replayed, discarded, accepted or all, `limit` 1 to 1000, `cursor` one delivered."""

    code = "INVALID_QUARANTINE_QUERY"
    help = "Correct what the message names."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR
