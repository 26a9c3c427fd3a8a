"""Enrolment, attendance and entitlements: what they refuse, and that the order of arrival does not matter."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datacollect.eventstore.event import Event, EventRejected
from datacollect.eventstore.projection import Context
from datacollect.features.entities import attendance, enrolment, entitlements
from datacollect.features.entities.errors import EntitlementNotYetValid
from datacollect.features.entities.model import apply
from datacollect.features.entities.states import States
from datacollect.features.entities.work import Rules
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.sync_scope import NOWHERE
from datacollect.kernel.tenancy import CUSTOM_EVENT_TYPES

NOW = parse_timestamp("2026-06-01T00:00:00.000Z")
JUNE = "2026-05-{:02}T12:00:00.000Z"
EVERYTHING = Rules(CUSTOM_EVENT_TYPES)

Step = tuple[str, dict[str, Any], int]
"""Type, data, day of May 2026."""


def apply_all(steps: Sequence[tuple[str, Step]], rules: Rules | None = EVERYTHING) -> States:
    """A person at the beginning of May, then the steps, each a guid and what it is."""
    states = States()
    person = Event("person", "p", "create-individual", {"name": "Ana"}, parse_timestamp(JUNE.format(1)), "agent")
    states.accept(apply(states, person, Context(1, NOW)))
    for position, (guid, (event_type, data, day)) in enumerate(steps, 2):
        event = Event(guid, "p", event_type, data, parse_timestamp(JUNE.format(day)), "agent")
        states.accept(apply(states, event, Context(position, NOW), rules))
    return states


def data_after(*steps: Step, rules: Rules | None = EVERYTHING) -> dict[str, Any]:
    return dict(apply_all([(f"e{index}", step) for index, step in enumerate(steps)], rules).entities["p"].data)


def refusal(*steps: Step, rules: Rules | None = EVERYTHING) -> EventRejected:
    data_after(*steps[:-1], rules=rules)
    with pytest.raises(EventRejected) as refused:
        data_after(*steps, rules=rules)
    return refused.value


def grant(day: int = 2, **rice: Any) -> Step:
    return "grant-entitlement", {"entitlements": [{"id": "rice", "allocated": 10} | rice]}, day


def redeem(quantity: Any, day: int = 5, **said: Any) -> Step:
    return "redeem-entitlement", {"entitlementId": "rice", "quantity": quantity} | said, day


def void(original: str, day: int = 6, **said: Any) -> Step:
    data = {"supervisorVerified": True, "entitlementId": "rice", "originalRedemptionGuid": original}
    return "void-redemption", data | said, day


def attend(day: int = 3, **said: Any) -> Step:
    return "record-attendance", {"sessionId": "s", "date": f"2026-05-{day:02}", "status": "present"} | said, day


# -- switched on by the program


@pytest.mark.parametrize("step", [grant(), redeem(1), void("x"), attend()])
def test_a_custom_type_that_is_not_switched_on_is_unknown(step: Step) -> None:
    assert refusal(step, rules=Rules()).code == "UNKNOWN_EVENT_TYPE"
    other = Rules(CUSTOM_EVENT_TYPES - {step[0]})
    assert refusal(step, rules=other).code == "UNKNOWN_EVENT_TYPE"


def test_a_rebuild_applies_what_was_taken_whatever_is_switched_on_now() -> None:
    assert data_after(attend(), grant(), redeem(3), void("e2"), rules=None)["entitlements"][0]["redeemed"] == 0


# -- enrolment


@pytest.mark.parametrize("program", [None, "", "seven", "7.5", True, [7], "7 8", "٧"])
@pytest.mark.parametrize("event_type", ["enrol-in-program", "program-enrolment-applied", "program-enrolment-rejected"])
def test_a_program_is_named_by_a_number(event_type: str, program: Any) -> None:
    refused = refusal((event_type, {"programId": program, "x": 1}, 2))
    assert (refused.code, refused.extra["path"]) == ("INVALID_PROGRAM_ID", ["data", "programId"])


def test_one_program_does_not_touch_another() -> None:
    data = data_after(
        ("enrol-in-program", {"programId": 7}, 2),
        ("enrol-in-program", {"programId": " 8 "}, 3),
        ("program-enrolment-applied", {"programId": 7.0}, 4),
    )
    assert data["pendingProgramEnrolments"] == [{"programId": 8, "enrolledAt": JUNE.format(3)}]
    assert data["enrolledPrograms"] == [{"programId": 7.0, "appliedAt": JUNE.format(4)}]


def test_a_rejection_is_not_final() -> None:
    data = data_after(
        ("enrol-in-program", {"programId": 7}, 2),
        ("program-enrolment-rejected", {"programId": 7, "crId": "CR1", "rejectionReason": "age"}, 3),
        ("enrol-in-program", {"programId": 7}, 4),
    )
    assert [one["programId"] for one in data["pendingProgramEnrolments"]] == [7]
    assert [one["rejectionReason"] for one in data["rejectedPrograms"]] == ["age"]


def test_asking_again_that_comes_to_nothing_because_of_a_clock_is_kept_as_lost() -> None:
    """The device has seen the rejection, and says that it asked before it."""
    asked = ("enrol-in-program", {"programId": 7}, 2)
    rejected = ("program-enrolment-rejected", {"programId": 7, "crId": "CR1", "rejectedAt": JUNE.format(10)}, 10)
    states = apply_all([("a", asked), ("r", rejected)])
    again = Event("b", "p", "enrol-in-program", {"programId": 7}, parse_timestamp(JUNE.format(9)), "agent")
    changes = apply(states, again, Context(4, NOW), EVERYTHING)
    assert changes.entities == {}
    [lost] = changes.lost
    assert (lost.field, lost.kept, lost.lost) == ("pendingProgramEnrolments", [], {"programId": 7})
    assert lost.kept_stamp.position == 3, "of the rejection"


@pytest.mark.parametrize(
    "said",
    [
        ("program-enrolment-applied", {"programId": 7, "appliedAt": JUNE.format(10)}, 10),
        ("program-enrolment-rejected", {"programId": 8, "rejectedAt": JUNE.format(10)}, 10),
        ("enrol-in-program", {"programId": 7}, 3),
    ],
)
def test_asking_for_what_is_there_or_under_way_loses_nothing(said: Step) -> None:
    states = apply_all([("s", said)])
    event = Event("b", "p", "enrol-in-program", {"programId": 7}, parse_timestamp(JUNE.format(9)), "agent")
    assert apply(states, event, Context(3, NOW), EVERYTHING).lost == []


# -- attendance


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"status": "there"}, "status"),
        ({"status": None}, "status"),
        ({"status": []}, "status"),
        ({"date": "3 May"}, "date"),
        ({"date": 20260503}, "date"),
        ({"sessionId": ""}, "sessionId"),
        ({"sessionId": None}, "sessionId"),
        ({"groupGuid": {}}, "groupGuid"),
        ({"programId": [1]}, "programId"),
    ],
)
def test_an_attendance_that_says_too_little_is_refused(said: dict[str, Any], path: str) -> None:
    refused = refusal(attend(**said))
    assert (refused.code, refused.extra["path"]) == ("INVALID_ATTENDANCE", ["data", path])


def test_attendance_is_counted_by_status_group_and_program() -> None:
    attendance = data_after(
        attend(2, status="present", groupGuid="g", programId=1),
        attend(3, status="late", groupGuid="g"),
        attend(4, status="excused", groupGuid="h"),
        attend(5, status="absent", programId=1),
    )["attendance"]
    sessions = attendance.pop("sessions")
    assert [one["date"] for one in sessions] == ["2026-05-02", "2026-05-03", "2026-05-04", "2026-05-05"]
    assert attendance == {
        "totalSessions": 4,
        "attended": 2,
        "excused": 1,
        "absent": 1,
        "late": 1,
        "lastAttended": "2026-05-03",
        "byGroup": {
            "g": {"sessions": 2, "attended": 2, "excused": 0, "absent": 0, "late": 1},
            "h": {"sessions": 1, "attended": 0, "excused": 1, "absent": 0, "late": 0},
        },
        "byProgram": {"1": {"sessions": 2, "attended": 1, "excused": 0, "absent": 1, "late": 0}},
    }


# -- entitlements


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"x": 1}, ["entitlements"]),
        ({"entitlements": []}, ["entitlements"]),
        ({"entitlements": {"id": "rice"}}, ["entitlements"]),
        ({"entitlements": ["rice"]}, ["entitlements", 0]),
        ({"entitlements": [{"id": "a"}, {"allocated": 1}]}, ["entitlements", 1, "id"]),
        ({"entitlements": [{"id": []}]}, ["entitlements", 0, "id"]),
        ({"entitlements": [{"id": "a", "allocated": "10"}]}, ["entitlements", 0, "allocated"]),
        ({"entitlements": [{"id": "a", "allocated": -1}]}, ["entitlements", 0, "allocated"]),
        ({"entitlements": [{"id": "a", "redeemed": True}]}, ["entitlements", 0, "redeemed"]),
    ],
)
def test_a_grant_that_cannot_be_counted_is_refused(data: dict[str, Any], path: list[Any]) -> None:
    refused = refusal(("grant-entitlement", data, 2))
    assert (refused.code, refused.extra["path"]) == ("INVALID_ENTITLEMENT", ["data", *path])


def test_a_redemption_needs_entitlements_and_the_one_it_names() -> None:
    assert refusal(redeem(1)).code == "NO_ENTITLEMENTS"
    assert refusal(grant(), redeem(1, entitlementId="oil")).code == "ENTITLEMENT_NOT_FOUND"
    assert refusal(grant(), redeem(1, entitlementId=None)).code == "ENTITLEMENT_NOT_FOUND"


@pytest.mark.parametrize("quantity", [-1, "3", True, [1]])
def test_a_quantity_is_a_number_of_at_least_nothing(quantity: Any) -> None:
    refused = refusal(grant(), redeem(quantity))
    assert (refused.code, refused.extra["path"]) == ("INVALID_QUANTITY", ["data", "quantity"])


def test_no_more_is_handed_out_than_was_granted() -> None:
    refused = refusal(grant(), redeem(7), redeem(4))
    assert refused.code == "INSUFFICIENT_BALANCE"
    assert refused.extra["details"] == {"entitlementId": "rice", "allocated": 10, "remaining": 3, "requested": 4}
    assert data_after(grant(), redeem(7), redeem(3))["entitlements"][0]["redeemed"] == 10


def test_what_was_redeemed_elsewhere_counts_too() -> None:
    assert refusal(grant(redeemed=8), redeem(3)).code == "INSUFFICIENT_BALANCE"
    assert data_after(grant(redeemed=8), redeem(2))["entitlements"][0]["redeemed"] == 10


def test_amounts_are_added_exactly() -> None:
    assert data_after(grant(allocated=0.3), redeem(0.1), redeem(0.2))["entitlements"][0]["redeemed"] == 0.3


def test_the_largest_amounts_are_added_exactly_too() -> None:
    """Thirty digits, and sums that no double holds."""
    large = 123456789012345678901234567890
    assert refusal(grant(allocated=large + 1), redeem(large), redeem(1), redeem(1)).code == "INSUFFICIENT_BALANCE"
    largest = 17 * 10**307
    granted_again = grant(6, allocated=largest, redeemed=largest)
    assert refusal(grant(allocated=largest), redeem(largest), granted_again, redeem(1)).code == "INSUFFICIENT_BALANCE"


def test_an_amount_stands_in_for_a_quantity() -> None:
    assert data_after(grant(), redeem(None, amount=4))["entitlements"][0]["redeemed"] == 4
    assert data_after(grant(), redeem(None, amount=4), void("e1"))["entitlements"][0]["redeemed"] == 0


@pytest.mark.parametrize(
    ("validity", "code"),
    [
        ({"validFrom": "2026-05-06"}, "ENTITLEMENT_NOT_YET_VALID"),
        ({"validFrom": "2026-05-05T12:00:00.001Z"}, "ENTITLEMENT_NOT_YET_VALID"),
        ({"validUntil": "2026-05-04"}, "ENTITLEMENT_EXPIRED"),
        ({"validUntil": "2026-05-05T11:59:59Z"}, "ENTITLEMENT_EXPIRED"),
        ({"validUntil": "2026-05-05T13:00:00+02:00"}, "ENTITLEMENT_EXPIRED"),
        ({"validFrom": "2026-05-05", "validUntil": "2026-05-05"}, None),
        ({"validFrom": "2026-05-05T12:00:00.000Z", "validUntil": "2026-05-05T12:00:00.000Z"}, None),
        ({"validFrom": "soon", "validUntil": 7}, None),
        ({"validFrom": "0001-01-01", "validUntil": "9999-12-31"}, None),
    ],
)
def test_an_entitlement_is_valid_at_the_events_time_or_not(validity: dict[str, Any], code: str | None) -> None:
    if code is None:
        assert data_after(grant(**validity), redeem(1, day=5))["entitlements"][0]["redeemed"] == 1
    else:
        assert refusal(grant(**validity), redeem(1, day=5)).code == code


def test_a_void_takes_back_what_the_redemption_took_and_nothing_else() -> None:
    data = data_after(grant(), redeem(7), redeem(2), void("e1", quantity=1, amount=500))
    assert data["entitlements"][0]["redeemed"] == 2
    assert refusal(grant(), redeem(7), void("e1"), void("e1")).code == "ALREADY_VOIDED"
    assert refusal(grant(), redeem(7), void("e0")).code == "REDEMPTION_NOT_FOUND"
    assert refusal(grant(), redeem(7), void("e1", entitlementId="oil")).code == "ENTITLEMENT_NOT_FOUND"


@pytest.mark.parametrize("verified", [False, "true", 1, None])
def test_a_void_must_be_verified(verified: Any) -> None:
    assert refusal(grant(), redeem(1), void("e1", supervisorVerified=verified)).code == "UNAUTHORIZED"


def test_a_void_is_pushed_by_a_supervisor_whatever_it_says() -> None:
    agent = Rules(CUSTOM_EVENT_TYPES, supervised=NOWHERE)
    assert refusal(grant(), redeem(1), void("e1"), rules=agent).code == "UNAUTHORIZED"


def test_a_later_grant_replaces_an_earlier_one_whichever_arrives_first() -> None:
    more, less = grant(4, allocated=20, unit="kg"), grant(2, allocated=10)
    in_order = data_after(less, redeem(3), more)
    assert in_order["entitlements"] == [{"id": "rice", "allocated": 20, "unit": "kg", "redeemed": 3}]
    assert data_after(more, redeem(3), less)["entitlements"] == in_order["entitlements"]


def test_a_grant_from_a_clock_that_is_ahead_wins_nothing_by_it() -> None:
    states = apply_all([("a", grant(2, allocated=1))])
    for position, (at, arrives, allocated) in enumerate([("2099-01-01", 10, 1000), ("2026-05-12", 12, 10)], 3):
        data = {"entitlements": [{"id": "rice", "allocated": allocated}]}
        event = Event(f"g{position}", "p", "grant-entitlement", data, parse_timestamp(f"{at}T12:00:00.000Z"), "agent")
        arrived = parse_timestamp(JUNE.format(arrives))
        states.accept(apply(states, event, Context(position, arrived), EVERYTHING))
    held = states.entities["p"].data
    assert [item["allocated"] for item in held["entitlements"]] == [10]
    assert [entry["timestamp"] for entry in held["grantHistory"]][1] == JUNE.format(10)


def test_an_entitlement_that_is_not_valid_yet_is_not_redeemed_by_a_clock_that_is_ahead() -> None:
    states = apply_all([("a", grant(2, validFrom="2026-07-01"))])
    event = Event("r", "p", *redeem(1)[:2], parse_timestamp("2026-07-02T00:00:00.000Z"), "agent")
    with pytest.raises(EntitlementNotYetValid):
        apply(states, event, Context(3, NOW), EVERYTHING)


def test_what_a_seed_left_behind_breaks_nothing() -> None:
    states = States()
    broken = {
        "entitlements": ["x", {"id": [1]}, {"id": "rice", "allocated": "ten", "redeemed": {}}],
        "grantHistory": [{"entitlementIds": [[1]]}, {"entitlementIds": 7}, 7],
        "redemptionHistory": {"a": 1},
        "attendance": [1],
        "pendingProgramEnrolments": "none",
    }
    seed = Event("seed", "p", "create-individual", broken, Millis(0), "system")
    states.accept(apply(states, seed, Context(1, NOW)))
    for position, (event_type, data, day) in enumerate(
        [grant(), redeem(1), attend(), ("enrol-in-program", {"programId": 7}, 3)], 2
    ):
        event = Event(f"e{position}", "p", event_type, data, parse_timestamp(JUNE.format(day)), "agent")
        states.accept(apply(states, event, Context(position, NOW), EVERYTHING))
    data_now = states.entities["p"].data
    assert data_now["entitlements"] == [{"id": [1]}, {"id": "rice", "allocated": 10, "redeemed": 1}]


UNUSUAL = [*"2026-05-05T12:00:00.000Z"]
"""As long as a time, and in its places what a time has there."""


@pytest.mark.parametrize("decided", [UNUSUAL, {str(place): mark for place, mark in enumerate(UNUSUAL)}])
@pytest.mark.parametrize("said", ["applied", "rejected"])
def test_a_decision_at_what_is_no_time_leaves_the_program_open_to_be_asked_for_again(said: str, decided: Any) -> None:
    decision = (f"program-enrolment-{said}", {"programId": 7, f"{said}At": decided}, 3)
    data = data_after(decision, ("enrol-in-program", {"programId": 7}, 4))
    assert [one["programId"] for one in data["pendingProgramEnrolments"]] == [7]


@pytest.mark.parametrize("status", [["present"], {}, None])
def test_a_session_that_a_form_wrote_before_the_type_was_on_is_counted_as_nobodys(status: Any) -> None:
    before = ("update-individual", {"attendance": {"sessions": [{"date": "2026-05-01", "status": status}]}}, 2)
    assert data_after(before, attend(3))["attendance"] | {"sessions": []} == {
        "sessions": [],
        "totalSessions": 2,
        "attended": 1,
        "excused": 0,
        "absent": 0,
        "late": 0,
        "lastAttended": "2026-05-03",
        "byGroup": {},
        "byProgram": {},
    }


# -- order


def united(data: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {**attendance.united(data, other), **enrolment.united(data, other), **entitlements.united(data, other)}


@given(data=st.data())
@settings(max_examples=100)
def test_two_who_are_one_hold_what_one_would_have_been_counted_for(data: st.DataObject) -> None:
    """Whoever of the two it was; what redeems or decides comes to the one that was granted it or asked for it."""
    pairs: list[list[Step]] = [
        [grant(2), redeem(3, day=5), redeem(1, day=6), void("e1", day=7)],
        [grant(4, allocated=20, redeemed=2), redeem(5, day=8)],
        [("grant-entitlement", {"entitlements": [{"id": "oil", "allocated": 1}]}, 3)],
        [attend(3)],
        [attend(2, status="absent")],
        [("enrol-in-program", {"programId": 1}, 3)],
        [("enrol-in-program", {"programId": 1}, 4), ("program-enrolment-applied", {"programId": 1, "crId": 9}, 6)],
        [("enrol-in-program", {"programId": 2}, 2), ("program-enrolment-rejected", {"programId": 2, "crId": 8}, 5)],
    ]
    steps = [(f"e{number}", step) for number, step in enumerate(step for pair in pairs for step in pair)]
    halves: list[list[tuple[str, Step]]] = [[], []]
    for pair in pairs:
        half = halves[data.draw(st.integers(0, 1))]
        half += steps[sum(map(len, halves)) :][: len(pair)]
    one, other = (dict(apply_all(half).entities["p"].data) for half in halves)
    whole = dict(apply_all(sorted(steps, key=lambda each: each[1][2])).entities["p"].data)
    del whole["name"]
    together = one | united(one, other)
    del together["name"]
    assert {name: found for name, found in together.items() if found} == {
        name: found for name, found in whole.items() if found
    }
    assert one | united(one, one) == one


def test_two_may_have_been_handed_out_more_than_one_was_granted() -> None:
    one, other = (dict(apply_all([(f"{who}1", grant()), (f"{who}2", redeem(8))]).entities["p"].data) for who in "ab")
    [rice] = united(one, other)["entitlements"]
    assert (rice["allocated"], rice["redeemed"]) == (10, 16)


def test_a_delete_takes_along_what_events_have_counted() -> None:
    states = apply_all([("a", attend(10))])
    gone = Event("d", "p", "delete-entity", {"x": 1}, parse_timestamp(JUNE.format(5)), "agent")
    states.accept(apply(states, gone, Context(3, NOW)))
    assert not states.entities["p"].is_live


@pytest.mark.parametrize("day", [5, 11])
def test_an_event_about_somebody_who_is_deleted_is_taken_and_kept_as_lost(day: int) -> None:
    states = apply_all([("d", ("delete-entity", {"x": 1}, 10))])
    event = Event("a", "p", *attend(day)[:2], parse_timestamp(JUNE.format(day)), "agent")
    changes = apply(states, event, Context(3, NOW), EVERYTHING)
    assert changes.entities == {}
    assert {lost.field for lost in changes.lost} == {"sessionId", "date", "status"}


days = st.integers(3, 25)
some_steps = st.one_of(
    st.builds(attend, days, status=st.sampled_from(["present", "late", "absent"]), groupGuid=st.sampled_from("gh")),
    st.builds(grant, days, allocated=st.integers(1000, 1003)),
    st.builds(redeem, st.integers(1, 9), days),
    st.builds(lambda day, age: ("update-individual", {"age": age}, day), days, st.integers(0, 3)),
)


@given(steps=st.lists(some_steps, min_size=2, max_size=8, unique_by=lambda step: step[2]), data=st.data())
@settings(max_examples=400)
def test_the_order_of_arrival_does_not_matter(steps: list[Step], data: st.DataObject) -> None:
    named = [(f"e{index}", step) for index, step in enumerate(steps)]
    first = ("g", grant(2, allocated=1000))
    in_order = apply_all([first, *sorted(named, key=lambda one: one[1][2])]).entities["p"]
    shuffled = apply_all([first, *data.draw(st.permutations(named))]).entities["p"]
    assert shuffled.data == in_order.data
