"""What this slice refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.kernel.errors import Conflict, InvalidPayload, InvalidRequest, NotFound, TenantNotFound

_STATUS_ERROR: Mapping[str, Any] = {"status": "error"}


class PairsProgramNotFound(TenantNotFound):
    """App instance not found"""

    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class PairNotFound(NotFound):
    """Duplicate pair not found"""

    code = "DUPLICATE_PAIR_NOT_FOUND"
    help = "List the pairs of this program: somebody may have decided about it, or one of the two was deleted."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class GuidsRequired(InvalidRequest):
    """newItem and existingItem are required"""

    code = "DUPLICATE_GUIDS_REQUIRED"
    help = "Send the guids of both entities of the pair, and two different ones."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidDecision(InvalidPayload):
    """Invalid payload"""

    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidCheck(InvalidPayload):
    """Invalid payload"""

    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class CannotMerge(Conflict):
    """The two cannot be merged."""

    code = "DUPLICATES_NOT_MERGEABLE"
    help = "Do what the message says, or keep both, or delete one of them."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR


class InvalidPairsQuery(InvalidRequest):
    """`status` must be open, not-a-duplicate, merged, deleted or all, `limit` 1 to 1000, and `cursor` the one of a page."""

    code = "INVALID_DUPLICATES_QUERY"
    help = "Correct what the message names."
    members: ClassVar[Mapping[str, Any]] = _STATUS_ERROR
