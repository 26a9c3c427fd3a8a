"""Fields that events of their own keep cannot be written by a form."""

from typing import Any

import pytest

from datacollect.features.entities.model import reserved_keys
from datacollect.features.entities.reserved import without_reserved

ENROLMENT = {"pendingProgramEnrolments", "enrolledPrograms", "rejectedPrograms"}
BALANCES = {"entitlements", "grantHistory", "redemptionHistory"}


@pytest.mark.parametrize(
    ("custom_types", "keys"),
    [
        ([], ENROLMENT),
        (["record-attendance"], ENROLMENT | {"attendance"}),
        (["redeem-entitlement"], ENROLMENT | BALANCES),
        (["void-redemption", "record-attendance", "unheard-of"], ENROLMENT | BALANCES | {"attendance"}),
    ],
)
def test_keys_are_reserved_where_the_events_that_keep_them_are_on(custom_types: list[str], keys: set[str]) -> None:
    assert reserved_keys(custom_types) == keys


@pytest.mark.parametrize(
    ("type", "data", "kept", "paths"),
    [
        ("update-individual", {"a": 1, "attendance": {}}, {"a": 1}, [["data", "attendance"]]),
        ("create-record", {"attendance": 1}, {}, [["data", "attendance"]]),
        (
            "add-member",
            {"members": [{"guid": "m", "attendance": 1}, "x", {"guid": "n"}]},
            {"members": [{"guid": "m"}, "x", {"guid": "n"}]},
            [["data", "members", 0, "attendance"]],
        ),
        (
            "create-group",
            {"members": [{"guid": "s", "members": [{"guid": "m", "attendance": 1, "name": "M"}]}]},
            {"members": [{"guid": "s", "members": [{"guid": "m", "name": "M"}]}]},
            [["data", "members", 0, "members", 0, "attendance"]],
        ),
        # A form's own answer.
        ("update-individual", {"school": {"attendance": 80}}, {"school": {"attendance": 80}}, []),
        # The payload of an event that keeps it, not a field of an entity.
        ("record-attendance", {"attendance": 1}, {"attendance": 1}, []),
        ("update-individual", {"members": 7}, {"members": 7}, []),
        # Nothing keeps balances here; what would be one on the day on which something does is no answer either.
        (
            "update-individual",
            {"entitlements": "food", "grantHistory": ["a"]},
            {"entitlements": "food", "grantHistory": ["a"]},
            [],
        ),
        ("create-individual", {"entitlements": [{"id": "cash", "allocated": 9}]}, {}, [["data", "entitlements"]]),
        ("update-record", {"redemptionHistory": ["a", {"entitlementId": "cash"}]}, {}, [["data", "redemptionHistory"]]),
        (
            "create-group",
            {"members": [{"guid": "m", "grantHistory": [{"entitlementIds": ["x"]}]}]},
            {"members": [{"guid": "m"}]},
            [["data", "members", 0, "grantHistory"]],
        ),
    ],
)
def test_reserved_keys_are_left_out_of_what_becomes_a_field(
    type: str, data: dict[str, Any], kept: dict[str, Any], paths: list[list[Any]]
) -> None:
    given = repr(data)
    assert without_reserved(type, data, frozenset({"attendance"})) == (kept, paths)
    assert repr(data) == given


def test_sessions_that_nobody_recorded_are_no_answer() -> None:
    planted = {"attendance": {"sessions": [{"status": "present"}]}}
    assert without_reserved("update-individual", planted, frozenset()) == ({}, [["data", "attendance"]])


@pytest.mark.parametrize(
    "data",
    [
        {"attendance": value}
        for value in ("yes", 3, ["mon"], {"monday": True}, {"sessions": 4}, {"sessions": ["a"]}, [{"day": "mon"}], None)
    ]
    + [
        {"entitlements": [{"name": "food"}]},
        {"entitlements": {"id": 1, "allocated": 2}},
        {"grantHistory": [{"id": 1}]},
    ],
)
def test_an_answer_of_that_name_stays_where_nothing_counts(data: dict[str, Any]) -> None:
    assert without_reserved("update-individual", data, frozenset()) == (data, [])
