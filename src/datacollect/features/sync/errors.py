"""What sync refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.eventstore.event import EventRejected
from datacollect.eventstore.log import Rejection
from datacollect.kernel.errors import DataCollectError, InvalidPayload, InvalidRequest, Issue, Unprocessable

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


class ScopeBeingPrepared(DataCollectError):
    """The program is being prepared for limited sync scopes. Try again in a moment."""

    status, code = 503, "SCOPE_BEING_PREPARED"
    help = "Send the same again after `Retry-After` seconds."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class EventMalformed(EventRejected):
    """The event does not have the shape of one."""

    code = "INVALID_EVENT"
    help = "Correct the member that `path` names, and push the event again."

    def __init__(self, issue: Issue) -> None:
        """`issue` is the first there is, its path from the root of a push."""
        super().__init__(issue["message"], path=issue["path"][2:])


class GuidReused(EventRejected):
    """Another event with this guid but other content is stored already; this one is kept in quarantine."""

    code = "GUID_REUSED"
    help = "Give the event a new guid and push it again, unless it is a copy that was changed by mistake."

    def __init__(self) -> None:
        super().__init__(path=["guid"])


class ReservedKeyIgnored(EventRejected):
    """The hub keeps this field by events made for it; the event was taken without it."""

    code = "RESERVED_KEY_IGNORED"
    help = "Leave the field out of forms; push the event that is made for it."


class PushRejected(Unprocessable):
    """An event cannot be applied; nothing of this push was stored."""

    code = "PUSH_REJECTED"
    help = 'Correct the event in `failed` or leave it out, then push again; or push with `"atomic": false`.'
    members: ClassVar[Mapping[str, Any]] = {"status": "error", "applied": 0}

    def __init__(self, rejection: Rejection, **members: Any) -> None:
        super().__init__(**members)
        self.rejection = rejection


class EventDiscarded(EventRejected):
    """The hub could not apply this event, and an operator has decided to do without it."""

    code = "EVENT_DISCARDED"
    help = "Nothing: the device goes on without it; the operator's reason is in the quarantine."


class PushOutOfScope(Unprocessable):
    """None of these events is within your sync scope; nothing of this push was stored."""

    code = "PUSH_OUT_OF_SCOPE"
    help = "Ask an administrator whether your areas are right; an operator finds the events in quarantine."
    members: ClassVar[Mapping[str, Any]] = {"status": "error", "applied": 0, "errors": []}
