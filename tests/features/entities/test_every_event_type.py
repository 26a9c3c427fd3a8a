"""Every event type on an entity that is absent, present, of another kind, in an area that is not the sender's; repeated,
and arriving after what was done later. Each cell of the table says what the event gives, exactly.

The event is always made at 20; what was there before it at 10 and 11, what was done later but arrived before it at 30.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from datacollect.eventstore.event import Event, EventRejected
from datacollect.eventstore.projection import Context
from datacollect.features.entities.model import EVENT_TYPES, apply
from datacollect.features.entities.states import States
from datacollect.features.entities.work import Rules
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.sync_scope import Box, Reach
from datacollect.kernel.tenancy import CUSTOM_EVENT_TYPES

NOW = Millis(1_000_000)
MINE = Rules(CUSTOM_EVENT_TYPES, Reach((Box(area_ids=frozenset({"mine"})),)))
ANYBODY = Rules(CUSTOM_EVENT_TYPES)
AT = {time: format_timestamp(Millis(time)) for time in (10, 11, 20, 30)}

Data = dict[str, Any]
Step = tuple[int, str, str, Data]
"""Time, type, entity, data."""


def shown(states: States, *guids: str) -> Data:
    """What the table compares: kind, version and data of each entity, and the members of groups."""
    found: Data = {}
    for guid in guids:
        entity = states.entities.get(guid)
        if entity is None:
            found[guid] = "absent"
        elif not entity.is_live:
            found[guid] = "deleted"
        else:
            found[guid] = [str(entity.kind), entity.version, copy.deepcopy(dict(entity.data))]
            members = [held for held in states.members_of(guid).values() if held.present]
            if members:
                found[guid].append([held.member_guid for held in sorted(members, key=lambda held: held.ordinal)])
    return found


@dataclass(frozen=True)
class Row:
    """One event type: the event, what is there before it, and what it gives in each situation."""

    data: Data
    present: Sequence[Step]
    wrong_kind: Sequence[Step]
    foreign: Sequence[Step]
    later: Sequence[Step]
    gives: Mapping[str, Any]
    """Situation -> the states, or the code of the error."""
    watched: Sequence[str] = field(default=("e",))


def run(row: Row, event_type: str, situation: str) -> Any:
    states, position = States(), 0

    def do(step: Step, guid: str, rules: Rules) -> None:
        nonlocal position
        position += 1
        time, type, entity, data = step
        event = Event(guid, entity, type, data, Millis(time), "agent")
        states.accept(apply(states, event, Context(position, NOW), rules))

    before = {
        "absent": (),
        "present": row.present,
        "wrong kind": row.wrong_kind,
        "foreign": row.foreign,
        "repeated": row.present,
        "late": (*row.present, *row.later),
    }[situation]
    for step in before:
        do(step, f"before-{position}", ANYBODY)
    held = shown(states, *row.watched)
    the_event: Step = (20, event_type, "e", row.data)
    try:
        do(the_event, "event", MINE if situation == "foreign" else ANYBODY)
        if situation == "repeated":
            do(the_event, "event-again", ANYBODY)
    except EventRejected as refused:
        assert shown(states, *row.watched) == held or situation == "repeated"
        return refused.code
    return shown(states, *row.watched)


def upsert_row(kind: str, other: str, gives: Mapping[str, Any]) -> Row:
    """`create-<kind>` and `update-<kind>`, which do the same."""
    parent = [(10, "create-group", "p", {"name": "P", "area_id": "theirs"})] if kind == "record" else []
    placed = {"parentId": "p"} if kind == "record" else {"area_id": "theirs"}
    return Row(
        data={"age": 2, "sex": "f"},
        present=[(10, f"create-{kind}", "e", {"name": "Ana", "age": 1})],
        wrong_kind=[(10, f"create-{other}", "e", {"name": "Ana", "age": 1})],
        foreign=[*parent, (11, f"create-{kind}", "e", {"name": "Ana", "age": 1} | placed)],
        later=[(30, f"update-{kind}", "e", {"age": 9})],
        gives=gives,
    )


GROUP = (10, "create-group", "e", {"name": "G", "members": [{"guid": "a", "name": "A"}]})
THEIR_GROUP = (10, "create-group", "e", {"name": "G", "area_id": "theirs", "members": [{"guid": "a", "name": "A"}]})
PERSON = (10, "create-individual", "e", {"name": "Ana"})
THEIR_PERSON = (10, "create-individual", "e", {"name": "Ana", "area_id": "theirs"})
RICE = {"id": "rice", "allocated": 10}
GRANT = (10, "grant-entitlement", "e", {"entitlements": [RICE]})
REDEEM = (11, "redeem-entitlement", "e", {"entitlementId": "rice", "quantity": 4})


def on_person(data: Data, gives: Mapping[str, Any], *, before: Sequence[Step] = (), later: Sequence[Step]) -> Row:
    """An event about a person, whatever that is; a household takes part in programmes as well."""
    return Row(
        data=data,
        present=[PERSON, *before],
        wrong_kind=[(10, "create-group", "e", {"name": "G"}), *before],
        foreign=[THEIR_PERSON, *before],
        later=later,
        gives=gives,
    )


def person(version: int, **data: Any) -> Data:
    return {"e": ["individual", version, {"name": "Ana"} | data]}


def household(version: int, **data: Any) -> Data:
    return {"e": ["group", version, {"name": "G"} | data]}


def enrolment_rows() -> dict[str, Row]:
    pending = {"pendingProgramEnrolments": [{"programId": 7, "programName": "Cash", "enrolledAt": AT[20]}]}
    nothing_pending: Data = {"pendingProgramEnrolments": []}
    applied = {"programId": 7, "appliedAt": AT[20], "crId": "CR1", "crName": "CR/1"}
    rejected = {"programId": 7, "rejectedAt": AT[20], "crId": "CR1", "crName": "CR/1", "rejectionReason": "age"}
    enrolled, refused = (
        nothing_pending | {"enrolledPrograms": [applied]},
        nothing_pending | {"rejectedPrograms": [rejected]},
    )
    later_applied = {"enrolledPrograms": [{"programId": 7, "appliedAt": AT[30], "crId": "CR2"}]}
    later_rejected = {"rejectedPrograms": [{"programId": 7, "rejectedAt": AT[30], "crId": "CR2"}]}
    asked = (11, "enrol-in-program", "e", {"programId": 7})
    apply_later = (30, "program-enrolment-applied", "e", {"programId": 7, "crId": "CR2"})
    reject_later = (30, "program-enrolment-rejected", "e", {"programId": 7, "crId": "CR2"})
    return {
        "enrol-in-program": on_person(
            {"programId": "7", "programName": "Cash"},
            later=[apply_later],
            gives={
                "absent": "ENTITY_NOT_FOUND",
                "present": person(2, **pending),
                "wrong kind": household(2, **pending),
                "foreign": "OUT_OF_SCOPE",
                "repeated": person(2, **pending),
                "late": person(2, **nothing_pending, **later_applied),
            },
        ),
        "program-enrolment-applied": on_person(
            {"programId": 7, "crId": "CR1", "crName": "CR/1"},
            before=[asked],
            later=[reject_later],
            gives={
                "absent": "ENTITY_NOT_FOUND",
                "present": person(3, **enrolled),
                "wrong kind": household(3, **enrolled),
                "foreign": "OUT_OF_SCOPE",
                "repeated": person(4, **enrolled),
                "late": person(4, **enrolled, **later_rejected),
            },
        ),
        "program-enrolment-rejected": on_person(
            {"programId": 7, "crId": "CR1", "crName": "CR/1", "rejectionReason": "age"},
            before=[asked],
            later=[apply_later],
            gives={
                "absent": "ENTITY_NOT_FOUND",
                "present": person(3, **refused),
                "wrong kind": household(3, **refused),
                "foreign": "OUT_OF_SCOPE",
                "repeated": person(4, **refused),
                "late": person(4, **refused, **later_applied),
            },
        ),
    }


def attendance_row() -> Row:
    def attended(*sessions: Data, **counts: int) -> Data:
        own = [one for one in sessions if "groupGuid" in one]
        group = {"sessions": len(own), "attended": len(own), "excused": 0, "absent": 0, "late": len(own)}
        return {
            "attendance": {
                "sessions": list(sessions),
                "totalSessions": len(sessions),
                "excused": 0,
                "absent": 0,
                "lastAttended": "2026-02-02",
                "byGroup": {"g": group},
                "byProgram": {},
            }
            | counts
        }

    first = {"sessionId": "s1", "date": "2026-02-01", "status": "present"}
    late = {"sessionId": "s2", "groupGuid": "g", "date": "2026-02-02", "status": "late"}
    missed = {"sessionId": "s3", "date": "2026-02-03", "status": "absent"}
    before, event = first | {"formGuid": "before-1"}, late | {"formGuid": "event"}
    again, after = late | {"formGuid": "event-again"}, missed | {"formGuid": "before-2"}
    both = attended(before, event, attended=2, late=1)
    return on_person(
        late,
        before=[(11, "record-attendance", "e", first)],
        later=[(30, "record-attendance", "e", missed)],
        gives={
            "absent": "ENTITY_NOT_FOUND",
            "present": person(3, **both),
            "wrong kind": household(3, **both),
            "foreign": "OUT_OF_SCOPE",
            # Another event about the same session counts: who corrects something would have to say so.
            "repeated": person(4, **attended(before, event, again, attended=3, late=2)),
            "late": person(4, **attended(before, event, after, attended=2, late=1, absent=1)),
        },
    )


def entitlement_rows() -> dict[str, Row]:
    def entry(guid: str, time: int, **said: Any) -> Data:
        said = {"type": "redemption"} | said
        return {
            "formGuid": guid,
            "entitlementId": "rice",
            "timestamp": AT[time],
            "userId": "agent",
            "synced": False,
        } | said

    def granted(guid: str, time: int) -> Data:
        return {"formGuid": guid, "timestamp": AT[time], "entitlementIds": ["rice"]}

    def held(rice: Data, grants: list[Data], *history: Data) -> Data:
        return {"entitlements": [{"id": "rice"} | rice], "grantHistory": grants, "redemptionHistory": list(history)}

    first_grant, first = granted("before-1", 10), entry("before-2", 11, quantity=4)
    receipt = entry("event", 20, quantity=3, receiptNumber="R1")
    second = entry("before-3", 30, quantity=2)
    voided = entry("event", 20, type="void", quantity=4, originalRedemptionGuid="before-2")

    more = held({"allocated": 10, "unit": "kg", "redeemed": 4}, [first_grant, granted("event", 20)], first)
    seven = held({"allocated": 10, "redeemed": 7}, [first_grant], first, receipt)
    nothing = held({"allocated": 10, "redeemed": 0}, [first_grant], first, voided)
    return {
        "grant-entitlement": on_person(
            {"entitlements": [RICE | {"unit": "kg"}]},
            before=[(10, "grant-entitlement", "e", {"entitlements": [{"id": "rice", "allocated": 5}]}), REDEEM],
            later=[(30, "grant-entitlement", "e", {"entitlements": [{"id": "rice", "allocated": 6}]})],
            gives={
                "absent": "ENTITY_NOT_FOUND",
                "present": person(4, **more),
                "wrong kind": household(4, **more),
                "foreign": "OUT_OF_SCOPE",
                "repeated": person(5, **more | {"grantHistory": [*more["grantHistory"], granted("event-again", 20)]}),
                "late": person(
                    5,
                    **held(
                        {"allocated": 6, "redeemed": 4},
                        [first_grant, granted("event", 20), granted("before-3", 30)],
                        first,
                    ),
                ),
            },
        ),
        "redeem-entitlement": on_person(
            {"entitlementId": "rice", "quantity": 3, "receiptNumber": "R1"},
            before=[GRANT, REDEEM],
            later=[(30, "redeem-entitlement", "e", {"entitlementId": "rice", "quantity": 2})],
            gives={
                "absent": "ENTITY_NOT_FOUND",
                "present": person(4, **seven),
                "wrong kind": household(4, **seven),
                "foreign": "OUT_OF_SCOPE",
                "repeated": person(
                    5,
                    **held(
                        {"allocated": 10, "redeemed": 10},
                        [first_grant],
                        first,
                        receipt,
                        receipt | {"formGuid": "event-again"},
                    ),
                ),
                "late": person(5, **held({"allocated": 10, "redeemed": 9}, [first_grant], first, receipt, second)),
            },
        ),
        "void-redemption": on_person(
            # What the device says of the quantity does not count.
            {
                "supervisorVerified": True,
                "entitlementId": "rice",
                "originalRedemptionGuid": "before-2",
                "quantity": 1,
            },
            before=[GRANT, REDEEM],
            later=[(30, "redeem-entitlement", "e", {"entitlementId": "rice", "quantity": 2})],
            gives={
                "absent": "ENTITY_NOT_FOUND",
                "present": person(4, **nothing),
                "wrong kind": household(4, **nothing),
                "foreign": "OUT_OF_SCOPE",
                "repeated": "ALREADY_VOIDED",
                "late": person(5, **held({"allocated": 10, "redeemed": 2}, [first_grant], first, voided, second)),
            },
        ),
    }


def upsert_rows() -> dict[str, Row]:
    rows = {}
    for kind, other in (("individual", "group"), ("group", "individual"), ("record", "individual")):
        gives = {
            "absent": {"e": [kind, 1, {"name": f"Unnamed {kind.title()}", "age": 2, "sex": "f"}]},
            "present": {"e": [kind, 2, {"name": "Ana", "age": 2, "sex": "f"}]},
            "wrong kind": {"e": [other, 2, {"name": "Ana", "age": 2, "sex": "f"}]},
            "foreign": "OUT_OF_SCOPE",
            "repeated": {"e": [kind, 3, {"name": "Ana", "age": 2, "sex": "f"}]},
            "late": {"e": [kind, 3, {"name": "Ana", "age": 9, "sex": "f"}]},
        }
        for verb in ("create", "update"):
            rows[f"{verb}-{kind}"] = upsert_row(kind, other, gives)
    return rows


def member_rows() -> dict[str, Row]:
    ana, ben = {"a": ["individual", 1, {"name": "A"}]}, {"b": ["individual", 1, {"name": "B"}]}
    return {
        "add-member": Row(
            data={"members": [{"guid": "b", "name": "B"}]},
            present=[GROUP],
            wrong_kind=[PERSON],
            foreign=[THEIR_GROUP],
            later=[(30, "remove-member", "e", {"memberId": "b"})],
            watched=("e", "b"),
            gives={
                "absent": "INVALID_GROUP",
                "present": {"e": ["group", 2, {"name": "G"}, ["a", "b"]]} | ben,
                "wrong kind": "INVALID_GROUP",
                "foreign": "OUT_OF_SCOPE",
                "repeated": {"e": ["group", 2, {"name": "G"}, ["a", "b"]]} | ben,
                "late": {"e": ["group", 2, {"name": "G"}, ["a"]]} | ben,
            },
        ),
        "remove-member": Row(
            data={"memberId": "a"},
            present=[GROUP],
            wrong_kind=[PERSON],
            foreign=[THEIR_GROUP],
            later=[(30, "add-member", "e", {"members": [{"guid": "a"}]})],
            watched=("e", "a"),
            gives={
                "absent": "INVALID_GROUP",
                "present": {"e": ["group", 2, {"name": "G"}]} | ana,
                "wrong kind": "INVALID_GROUP",
                "foreign": "OUT_OF_SCOPE",
                "repeated": {"e": ["group", 3, {"name": "G"}]} | ana,
                "late": {"e": ["group", 1, {"name": "G"}, ["a"]]} | ana,
            },
        ),
    }


def delete_rows() -> dict[str, Row]:
    gives = {
        "absent": {"e": "deleted", "a": "absent"},
        "present": {"e": "deleted", "a": "deleted"},
        "wrong kind": {"e": "deleted", "a": "absent"},
        "foreign": "OUT_OF_SCOPE",
        "repeated": {"e": "deleted", "a": "deleted"},
        "late": {"e": ["group", 3, {"name": "Unnamed Group", "size": 3}], "a": "deleted"},
    }
    deleting = {
        "delete-entity": {"reason": "gone"},
        "resolve-duplicate": {"duplicates": [{"entityGuid": "x", "duplicateGuid": "e"}], "shouldDelete": True},
    }
    return {
        name: Row(
            data=data,
            present=[GROUP],
            wrong_kind=[PERSON],
            foreign=[THEIR_GROUP],
            later=[(30, "update-group", "e", {"size": 3})],
            watched=("e", "a"),
            gives=gives,
        )
        for name, data in deleting.items()
    }


TABLE: Mapping[str, Row] = {
    **upsert_rows(),
    **member_rows(),
    **delete_rows(),
    **enrolment_rows(),
    "record-attendance": attendance_row(),
    **entitlement_rows(),
}
SITUATIONS = ("absent", "present", "wrong kind", "foreign", "repeated", "late")


def test_the_table_has_every_event_type_in_every_situation() -> None:
    assert set(TABLE) == EVENT_TYPES
    assert all(tuple(row.gives) == SITUATIONS for row in TABLE.values())


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_what_each_event_type_gives(event_type: str, situation: str) -> None:
    row = TABLE[event_type]
    assert run(row, event_type, situation) == row.gives[situation]
