"""What this slice refuses: events that cannot be applied, and reads of what is not there."""

from typing import Any

from datacollect.eventstore.event import EventRejected
from datacollect.kernel.errors import NotFound
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


class EntityAbsent(EventRejected):
    """The event's entity does not exist. Push the event that creates it first."""

    code = "ENTITY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__(path=["entityGuid"])


class InvalidProgramId(EventRejected):
    """`programId` must be a number, or a text that is a whole number."""

    code = "INVALID_PROGRAM_ID"


class InvalidAttendance(EventRejected):
    """The event does not say which session it is about, when that was, or whether the person was there."""

    code = "INVALID_ATTENDANCE"


class InvalidEntitlement(EventRejected):
    """Every entitlement needs an id and amounts that are numbers of at least 0."""

    code = "INVALID_ENTITLEMENT"


class InvalidQuantity(EventRejected):
    """`quantity` and `amount` must be numbers of at least 0."""

    code = "INVALID_QUANTITY"


class NoEntitlements(EventRejected):
    """The entity has no entitlements. Grant one first."""

    code = "NO_ENTITLEMENTS"


class EntitlementNotFound(EventRejected):
    """The entity has no entitlement with this id."""

    code = "ENTITLEMENT_NOT_FOUND"


class EntitlementNotYetValid(EventRejected):
    """The entitlement is not valid yet at the time of the event."""

    code = "ENTITLEMENT_NOT_YET_VALID"


class EntitlementExpired(EventRejected):
    """The entitlement was not valid any more at the time of the event."""

    code = "ENTITLEMENT_EXPIRED"


class InsufficientBalance(EventRejected):
    """The redemption is larger than what is left of the entitlement; see `details`."""

    code = "INSUFFICIENT_BALANCE"


class VoidUnauthorized(EventRejected):
    """A redemption is voided by a supervisor: `supervisorVerified` must be true, and who pushes the event must be one."""

    code = "UNAUTHORIZED"


class RedemptionNotFound(EventRejected):
    """The entitlement has no redemption that was made by this event."""

    code = "REDEMPTION_NOT_FOUND"


class AlreadyVoided(EventRejected):
    """The redemption has been voided before."""

    code = "ALREADY_VOIDED"


class OutOfReach(EventRejected):
    """The event's entity is, or would be, outside of what the caller may touch."""

    code = "OUT_OF_SCOPE"


class EntityUnknownInReach(OutOfReach):
    """The event is about an entity that is not known, so that nobody can tell whether the caller may touch it."""

    code = "UNKNOWN_ENTITY"


class UnauthorizedMember(EventRejected):
    """The event touches an entity outside of what the caller may touch, as a member or as part of what it deletes."""

    code = "UNAUTHORIZED_MEMBER"


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
