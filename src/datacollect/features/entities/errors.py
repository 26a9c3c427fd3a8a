"""What this slice refuses: events that cannot be applied, and reads of what is not there."""

from typing import Any

from datacollect.eventstore.event import EventRejected
from datacollect.kernel.errors import NotFound
from datacollect.kernel.ids import TenantId


class UnknownEventType(EventRejected):
    """No event applier found for this event type."""

    code = "UNKNOWN_EVENT_TYPE"
    help = "Correct `type`, or switch the type on in the program's `customEventTypes`."

    def __init__(self, event_type: str) -> None:
        super().__init__(f"No event applier found for event type: {event_type}", path=["type"])


class InvalidForm(EventRejected):
    """The member is new, and nothing but its guid is given."""

    code = "INVALID_FORM"
    help = "Fill in what `path` names."


class InvalidGroup(EventRejected):
    """The event's entity is not an existing group."""

    code = "INVALID_GROUP"
    help = "Push the event that creates the group first, or correct `entityGuid`."


class InvalidMemberData(EventRejected):
    """The event does not say which member it is about."""

    code = "INVALID_MEMBER_DATA"
    help = "Give the guid at `path`."


class MemberCycle(EventRejected):
    """A group cannot be a member of itself, directly or through its members."""

    code = "MEMBER_CYCLE"
    help = "Leave the group out of its own members."


class NestedTooDeep(EventRejected):
    """Members are nested too deeply in this event."""

    code = "MEMBERS_NESTED_TOO_DEEP"
    help = "Send inner groups in events of their own."


class KindMismatch(EventRejected):
    """Only a group can have members, and this entity is not a group."""

    code = "ENTITY_KIND_MISMATCH"
    help = "Choose the guid of a group, or leave `members` out."


class TenantNotFound(NotFound):
    """Tenant not found"""

    code = "TENANT_NOT_FOUND"
    help = "Check `configId`; a program that is archived must be restored first."

    def __init__(self, tenant_id: TenantId) -> None:
        super().__init__(configId=tenant_id)


class EntityNotFound(NotFound):
    """Entity not found"""

    code = "ENTITY_NOT_FOUND"
    help = "Check the guid, and that it belongs to this program."

    def __init__(self, guid: str, **members: Any) -> None:
        super().__init__(guid=guid, **members)


class GroupNotFound(EntityNotFound):
    """Entity not found or is not a group"""
