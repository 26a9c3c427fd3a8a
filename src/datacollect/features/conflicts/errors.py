"""What this slice refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.kernel.errors import Conflict, InvalidPayload, InvalidRequest, NotFound

_STATUS_ERROR: Mapping[str, Any] = {"status": "error"}


class ConflictNotFound(NotFound):
    """Conflict not found"""

    code = "CONFLICT_NOT_FOUND"
    help = "List the conflicts of this program."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class ConflictResolved(Conflict):
    """Conflict already resolved"""

    code = "CONFLICT_ALREADY_RESOLVED"
    help = "Read the conflict: it holds the decision."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class ConflictEntityDeleted(Conflict):
    """What the event counts cannot be taken: who it is about is deleted."""

    code = "CONFLICT_ENTITY_DELETED"
    help = "Bring the entity back first, with a create or an update of it, or decide `local`."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidResolution(InvalidPayload):
    """Invalid payload"""

    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidConflictQuery(InvalidRequest):
    """`status` must be unresolved, resolved or all, `limit` a whole number from 1 to 1000, and `cursor` a `nextCursor`."""

    code = "INVALID_CONFLICT_QUERY"
    help = "Correct `status` or `limit`; send as `cursor` what came as `nextCursor`, or begin anew without it."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR
