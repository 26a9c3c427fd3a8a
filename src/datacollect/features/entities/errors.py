"""What this slice refuses: events that cannot be applied, and reads of what is not there."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.eventstore.event import EventRejected
from datacollect.kernel.errors import Conflict, NotFound


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


class EntityTooLarge(EventRejected):
    """With this event the entity would hold more than an entity may."""

    code = "ENTITY_TOO_LARGE"
    help = "Send photos and documents as attachments, and only their guids in the event."

    def __init__(self) -> None:
        super().__init__(path=["data"])


class KindMismatch(EventRejected):
    """Only a group can have members, and this entity is not a group."""

    code = "ENTITY_KIND_MISMATCH"
    help = "Choose the guid of a group, or leave `members` out."


class EntityAbsent(EventRejected):
    """The event's entity does not exist. Push the event that creates it first."""

    code = "ENTITY_NOT_FOUND"
    help = "Push the event that creates the entity first, or correct `entityGuid`."

    def __init__(self) -> None:
        super().__init__(path=["entityGuid"])


class InvalidProgramId(EventRejected):
    """`programId` must be a number, or a text that is a whole number."""

    code = "INVALID_PROGRAM_ID"
    help = "Send the number that the registry has for the programme."


class InvalidAttendance(EventRejected):
    """The event does not say which session it is about, when that was, or whether the person was there."""

    code = "INVALID_ATTENDANCE"
    help = "Fill in what `path` names: a session, a date as YYYY-MM-DD, and present, late, excused or absent."


class InvalidEntitlement(EventRejected):
    """Every entitlement needs an id and amounts that are numbers of at least 0."""

    code = "INVALID_ENTITLEMENT"
    help = "Correct what `path` names."


class InvalidQuantity(EventRejected):
    """`quantity` and `amount` must be numbers of at least 0."""

    code = "INVALID_QUANTITY"
    help = "Send a number of at least 0."


class NoEntitlements(EventRejected):
    """The entity has no entitlements. Grant one first."""

    code = "NO_ENTITLEMENTS"
    help = "Push a `grant-entitlement` event first."


class EntitlementNotFound(EventRejected):
    """The entity has no entitlement with this id."""

    code = "ENTITLEMENT_NOT_FOUND"
    help = "Choose one of the entity's entitlements."


class EntitlementNotYetValid(EventRejected):
    """The entitlement is not valid yet at the time of the event."""

    code = "ENTITLEMENT_NOT_YET_VALID"
    help = "Hand it out from `validFrom` on; check the device's clock."


class EntitlementExpired(EventRejected):
    """The entitlement was not valid any more at the time of the event."""

    code = "ENTITLEMENT_EXPIRED"
    help = "Grant a new entitlement; check the device's clock."


class InsufficientBalance(EventRejected):
    """The redemption is larger than what is left of the entitlement; see `details`."""

    code = "INSUFFICIENT_BALANCE"
    help = "Hand out what remains, or have more granted."

    def __init__(self, details: Mapping[str, Any]) -> None:
        super().__init__(path=["data", "quantity"])
        self.extra["details"] = details


class VoidUnauthorized(EventRejected):
    """A redemption is voided by a supervisor: `supervisorVerified` must be true, and who pushes the event must be one."""

    code = "UNAUTHORIZED"
    help = "Let a supervisor push the event."


class RedemptionNotFound(EventRejected):
    """The entitlement has no redemption that was made by this event."""

    code = "REDEMPTION_NOT_FOUND"
    help = "Send the guid of the `redeem-entitlement` event in `originalRedemptionGuid`."


class AlreadyVoided(EventRejected):
    """The redemption has been voided before."""

    code = "ALREADY_VOIDED"
    help = "Nothing is left to void: leave the event out."


class OutOfReach(EventRejected):
    """The event's entity is, or would be, outside of what the caller may touch."""

    code = "OUT_OF_SCOPE"
    help = "Ask an administrator whether your areas are right."
    members: ClassVar[Mapping[str, Any]] = {"reason": "out_of_scope"}


class EntityUnknownInReach(OutOfReach):
    """The event is about an entity that is not known, so that nobody can tell whether the caller may touch it."""

    code = "UNKNOWN_ENTITY"
    help = "Push the event that creates the entity first, or correct what `path` names."
    members: ClassVar[Mapping[str, Any]] = {"reason": "unknown_entity"}


class UnauthorizedMember(EventRejected):
    """The event touches an entity outside of what the caller may touch, as a member or as part of what it deletes."""

    code = "UNAUTHORIZED_MEMBER"
    help = "Leave out the member that `path` names, or let somebody do it who may touch all of them."


class EntityNotFound(NotFound):
    """Entity not found"""

    code = "ENTITY_NOT_FOUND"
    help = "Check the guid, and that it belongs to this program."

    def __init__(self, guid: str, **members: Any) -> None:
        super().__init__(guid=guid, **members)


class GroupNotFound(EntityNotFound):
    """Entity not found or is not a group"""


class RebuildTakenOver(Conflict):
    """Somebody else has begun to rebuild or check this program meanwhile."""

    code = "REBUILD_TAKEN_OVER"
    help = "Let the other one end, or begin again."
