"""What this slice refuses: events that cannot be applied, and reads of what is not there."""

from typing import Any

from datacollect.eventstore.event import EventRejected
from datacollect.kernel.errors import Conflict, NotFound
from datacollect.kernel.ids import TenantId


class UnknownEventType(EventRejected):
    """No event applier found for this event type."""

    code = "UNKNOWN_EVENT_TYPE"

    def __init__(self, event_type: str) -> None:
        super().__init__(f"No event applier found for event type: {event_type}", path=["type"])


class InvalidForm(EventRejected):
    """The member is new, and nothing but its guid is given."""

    code = "INVALID_FORM"


class InvalidGroup(EventRejected):
    """The event's entity is not an existing group."""

    code = "INVALID_GROUP"


class InvalidMemberData(EventRejected):
    """The event does not say which member it is about."""

    code = "INVALID_MEMBER_DATA"


class MemberCycle(EventRejected):
    """A group cannot be a member of itself, directly or through its members."""

    code = "MEMBER_CYCLE"


class NestedTooDeep(EventRejected):
    """Members are nested too deeply in this event."""

    code = "MEMBERS_NESTED_TOO_DEEP"


class KindMismatch(EventRejected):
    """Only a group can have members, and this entity is not a group."""

    code = "ENTITY_KIND_MISMATCH"


class TenantNotFound(NotFound):
    """Tenant not found"""

    code = "TENANT_NOT_FOUND"

    def __init__(self, tenant_id: TenantId) -> None:
        super().__init__(configId=tenant_id)


class EntityNotFound(NotFound):
    """Entity not found"""

    code = "ENTITY_NOT_FOUND"

    def __init__(self, guid: str, **members: Any) -> None:
        super().__init__(guid=guid, **members)


class GroupNotFound(EntityNotFound):
    """Entity not found or is not a group"""


class RebuildTakenOver(Conflict):
    """Somebody else has begun to rebuild or check this program meanwhile."""

    code = "REBUILD_TAKEN_OVER"
