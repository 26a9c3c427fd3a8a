"""What each event type does to entities and memberships. Pure: the live path and a rebuild call the same functions.

Source: the contract's model, section 4.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from datacollect.eventstore.event import Event, Origin
from datacollect.eventstore.projection import Context
from datacollect.features.entities import attendance, enrolment, entitlements
from datacollect.features.entities.entity import (
    Kind,
    LostWrite,
    set_fields,
    stamp_of,
    text_in,
)
from datacollect.features.entities.errors import (
    EntityAbsent,
    InvalidForm,
    InvalidMemberData,
    KindMismatch,
    NestedTooDeep,
    UnknownEventType,
)
from datacollect.features.entities.reach import require_reach, require_to_stay
from datacollect.features.entities.states import Changes, States
from datacollect.features.entities.touched import DEEPEST_NESTING
from datacollect.features.entities.work import Path, Rules, Work
from datacollect.kernel.ids import LONGEST_GUID_BYTES, has_guids_length
from datacollect.kernel.tenancy import CUSTOM_EVENT_TYPES


def apply(states: States, event: Event, context: Context, rules: Rules | None = None) -> Changes:
    """What `event` changes in `states`, which stay as they are. Raises `EventRejected`."""
    if event.type not in _APPLIERS:
        raise UnknownEventType(event.type)
    if rules is not None and event.type in CUSTOM_EVENT_TYPES and event.type not in rules.custom_types:
        raise UnknownEventType(event.type)
    if context.origin is Origin.SNAPSHOT:
        return Changes()
    work = Work(states, stamp_of(event, context), context, rules or Rules())
    if work.rules.reach.is_bounded:
        require_reach(work.find, event, work.rules.reach, states.ended)
    do(work, event)
    if work.rules.reach.is_bounded:
        require_to_stay(event, work.changes.entities, states.entities.get, work.find, work.rules.reach, states.ended)
    return work.changes


def do(work: "Work", event: Event) -> None:
    """Let `work` do what the event says, whatever the rules for taking it are. Raises `EventRejected`."""
    _APPLIERS[event.type](work, event)


# -- the event types


def _upsert_individual(work: Work, event: Event) -> None:
    work.write(event.entity_guid, Kind.INDIVIDUAL, event.data)


def _upsert_record(work: Work, event: Event) -> None:
    work.write(event.entity_guid, Kind.RECORD, event.data)


def _upsert_group(work: Work, event: Event) -> None:
    _write_group(work, event.entity_guid, event.data, ["data"], 1)


def _write_group(work: Work, guid: str, data: Mapping[str, Any], path: Path, depth: int) -> None:
    members = data.get("members")
    if isinstance(members, list) and members:
        held = work.find(guid)
        if held is not None and held.is_live and held.kind is not Kind.GROUP:
            raise KindMismatch(path=path)
    work.write(guid, Kind.GROUP, _group_fields(data))
    if not isinstance(members, list):
        return
    joined = False
    for index, member in enumerate(members):
        at: Path = [*path, "members", index]
        member_guid, rest = _read_member(member, at)
        work.require_member(member_guid, at, of=guid)
        work.bury_if_outlived(guid, member_guid)
        _write_member(work, member_guid, rest, at, depth)
        joined |= work.join(guid, member_guid, at)
    if joined:
        work.note_change(guid)


def _group_fields(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a group event writes: `name` is the display name it gives; one without keeps the old name."""
    name = text_in(data, "_displayName") or text_in(data, "name")
    if name is not None and name == data.get("name") and "members" not in data:
        return data
    fields = {key: value for key, value in data.items() if key not in ("members", "name")}
    if name:
        fields["name"] = name
    return fields


def _read_member(member: Any, path: Path) -> tuple[str, dict[str, Any]]:
    """A member's guid, and the rest of its object. Raises `InvalidMemberData`."""
    guid = text_in(member, "guid") if isinstance(member, dict) else None
    if guid is None:
        raise InvalidMemberData("Every member needs a guid.", path=[*path, "guid"])
    _require_storable(guid, [*path, "guid"])
    return guid, {key: value for key, value in member.items() if key != "guid"}


def _require_storable(guid: str, path: Path) -> None:
    if not has_guids_length(guid):
        raise InvalidMemberData(f"A member's guid may have at most {LONGEST_GUID_BYTES} bytes.", path=path)


def _write_member(work: Work, guid: str, data: dict[str, Any], path: Path, depth: int) -> None:
    if not data:
        raise InvalidForm(path=path)
    if depth >= DEEPEST_NESTING:
        raise NestedTooDeep(path=path)
    if data.get("type") == Kind.GROUP:
        _write_group(work, guid, data, path, depth + 1)
    else:
        work.write(guid, Kind.INDIVIDUAL, data)


def _add_member(work: Work, event: Event) -> None:
    group = event.entity_guid
    work.require_group(group)
    members = event.data.get("members")
    if not isinstance(members, list) or not members:
        raise InvalidMemberData("`members` must name at least one member.", path=["data", "members"])
    joined = False
    for index, member in enumerate(members):
        path: Path = ["data", "members", index]
        guid, rest = _read_member(member, path)
        work.require_member(guid, path, of=group)
        work.bury_if_outlived(group, guid)
        if not work.knows(guid, rest):
            # Only a new member takes the data along: of a known one, others may know better.
            _write_member(work, guid, rest, path, 1)
        joined |= work.join(group, guid, path)
    if joined:
        work.note_change(group)


def _remove_member(work: Work, event: Event) -> None:
    group, member = event.entity_guid, text_in(event.data, "memberId")
    if member is None:
        raise InvalidMemberData("`memberId` must name the member to remove.", path=["data", "memberId"])
    _require_storable(member, ["data", "memberId"])
    work.require_group(group)
    if work.outlived(group):
        return
    work.require_member(member, ["data", "memberId"], of=group)
    before = work.leave(group, member)
    if before is not None and before.stamp > work.stamp:
        return
    held = work.find(member)
    # A group that was no member here is somebody else's: it must not go.
    was_member = before is not None and before.present
    if was_member and held is not None and held.kind is Kind.GROUP and not any(work.live_groups_of(member)):
        delete_with_members(work, member)
    work.note_change(group)


def _delete_entity(work: Work, event: Event) -> None:
    delete_with_members(work, event.entity_guid)


def _resolve_duplicate(work: Work, event: Event) -> None:
    """The pairs themselves are the duplicates' business."""
    if is_merge(event, work.context.origin):
        work.changes.merges.add(work.context.position)
    if event.data.get("shouldDelete"):
        delete_with_members(work, event.entity_guid)


def is_merge(event: Event, origin: Origin) -> bool:
    """Whether the hub has merged the event's entity into another one. No device says so."""
    is_own = origin is Origin.DERIVED and event.type == "resolve-duplicate" and bool(event.data.get("shouldDelete"))
    return is_own and text_in(event.data, "mergedInto") is not None


def delete_with_members(work: Work, guid: str) -> None:
    """Delete an entity and all below it, members first. What is also in another group stays: it is not only ours.

    A write or membership later than the delete stays as well. What has been merged into another one is not deleted once
    more: whoever comes late belongs where that is.
    """
    held = work.find(guid)
    if held is not None and not held.is_live and work.was_merged(guid):
        return
    doomed = _doomed_by(work, guid)
    for entity in doomed:
        work.require_member(entity, ["entityGuid"])
    for entity in reversed(doomed):
        for member in work.members_before(entity):
            work.leave(entity, member)
        work.delete(entity)


def _doomed_by(work: Work, guid: str) -> list[str]:
    """What goes with `guid`, itself first, a group before its members. Walked without recursion, each entity once.

    A member goes when all groups it is in go, and not with one that was gone when it was put there: that only leaves it.
    """
    doomed = {guid: None}
    level = [guid]
    while level:
        below = dict.fromkeys(member for entity in level for member in _members_going_with(work, entity))
        level = [
            member
            for member in below
            if member not in doomed and all(group in doomed for group in work.live_groups_of(member))
        ]
        doomed.update(dict.fromkeys(level))
    return list(doomed)


def _members_going_with(work: Work, guid: str) -> list[str]:
    held = work.find(guid)
    return work.members_before(guid) if held is not None and held.is_live else []


def _enrol(work: Work, event: Event) -> None:
    if work.context.origin is Origin.DERIVED:  # somebody has decided that it counts: it is asked for now
        event = replace(event, occurred_at=work.context.recorded_at)
    _compute(work, event, enrolment.enrol)
    held = work.find(event.entity_guid)
    if held is None or not held.is_live or work.outlived(held.guid):
        return
    if enrolment.is_rejected_since(held.data, _bounded(event, work.context)):
        by = held.stamp_of_field(enrolment.PENDING)
        kept = held.data.get(enrolment.PENDING)
        work.changes.lost.append(LostWrite(held.guid, enrolment.PENDING, kept, by, event.data, work.stamp))


def _apply_enrolment(work: Work, event: Event) -> None:
    _compute(work, event, enrolment.apply_enrolment)


def _reject_enrolment(work: Work, event: Event) -> None:
    _compute(work, event, enrolment.reject_enrolment)


def _record_attendance(work: Work, event: Event) -> None:
    _compute(work, event, attendance.record)


def _grant(work: Work, event: Event) -> None:
    _compute(work, event, entitlements.grant)


def _redeem(work: Work, event: Event) -> None:
    _compute(work, event, entitlements.redeem)


def _void(work: Work, event: Event) -> None:
    by_supervisor = work.rules.is_by_supervisor(event, work.find)
    _compute(work, event, partial(entitlements.void, by_supervisor=by_supervisor))


def _compute(work: Work, event: Event, rule: Callable[[Mapping[str, Any], Event], Mapping[str, Any]]) -> None:
    """Set the fields that follow from what the entity holds and the event.

    Raises `EntityAbsent` if nobody has ever heard of the entity. One that is deleted will do, as for groups: what the
    event says is lost with it, and kept as a conflict. It would be lost as well if the delete came later.
    """
    held = work.find(event.entity_guid)
    if held is None:
        raise EntityAbsent()
    deleted = work.outlived(event.entity_guid) or (None if held.is_live else held.deleted)
    if deleted is not None:
        lost = (LostWrite(held.guid, name, None, deleted, value, work.stamp) for name, value in event.data.items())
        work.changes.lost += lost
        return
    fields = rule(held.data, _as_counted(_bounded(event, work.context), work.context))
    if fields:
        work.changes.put(set_fields(held, fields, stamp=work.stamp, context=work.context))


def _as_counted(event: Event, context: Context) -> Event:
    """Under the guid of the event that a decision counts: a device that made it speaks of it by that."""
    counted = text_in(event.data, COUNTED_AS) if context.origin is Origin.DERIVED else None
    return event if counted is None else replace(event, guid=counted)


def _bounded(event: Event, context: Context) -> Event:
    """The event as made when it arrived, if it is from the future: see `stamp_of`."""
    if event.occurred_at <= context.recorded_at:
        return event
    return replace(event, occurred_at=context.recorded_at)


_APPLIERS: Mapping[str, Callable[[Work, Event], None]] = {
    "create-individual": _upsert_individual,
    "update-individual": _upsert_individual,
    "create-group": _upsert_group,
    "update-group": _upsert_group,
    "create-record": _upsert_record,
    "update-record": _upsert_record,
    "add-member": _add_member,
    "remove-member": _remove_member,
    "delete-entity": _delete_entity,
    "resolve-duplicate": _resolve_duplicate,
    "enrol-in-program": _enrol,
    "program-enrolment-applied": _apply_enrolment,
    "program-enrolment-rejected": _reject_enrolment,
    "record-attendance": _record_attendance,
    "grant-entitlement": _grant,
    "redeem-entitlement": _redeem,
    "void-redemption": _void,
}
EVENT_TYPES = frozenset(_APPLIERS)
COUNTED_AS = "countedAs"
"""In an event of the hub's own that counts what a decision has taken: the guid of the event that had come to nothing."""
COUNTING_TYPES = CUSTOM_EVENT_TYPES | {"enrol-in-program", "program-enrolment-applied", "program-enrolment-rejected"}
"""Those whose data are no fields: what follows from them is computed from what the entity holds."""
_COMPUTED_BY = {
    "record-attendance": attendance.FIELDS,
    "grant-entitlement": entitlements.FIELDS,
    "redeem-entitlement": entitlements.FIELDS,
    "void-redemption": entitlements.FIELDS,
}
assert frozenset(_COMPUTED_BY) == CUSTOM_EVENT_TYPES


def reserved_keys(custom_types: Collection[str]) -> frozenset[str]:
    """Keys of an entity's data that only the events made for them write: nobody's form may overwrite a balance."""
    return enrolment.FIELDS.union(*(_COMPUTED_BY[name] for name in custom_types if name in _COMPUTED_BY))
