"""Custom event types through HTTP, on both engines: switched on per program, and nobody writes around them."""

from typing import Any

import pytest
from httpx2 import AsyncClient

from tests.accounts import bearer, login, make_person
from tests.factories import make_event, make_program, pull_all, push

pytestmark = pytest.mark.anyio

ALL = ["record-attendance", "grant-entitlement", "redeem-entitlement", "void-redemption", "made-up"]
RICE = {"entitlements": [{"id": "rice", "allocated": 10}]}


async def data_of(admin: AsyncClient, program: str, entity: str = "e") -> Any:
    return (await admin.get(f"/api/entities/{entity}", params={"configId": program})).json()["data"]


async def make_entitled(admin: AsyncClient) -> str:
    """A program with one person, who is entitled to rice."""
    program = await make_program(admin, customEventTypes=ALL)
    await push(admin, program, make_event(entity="e"), make_event("grant-entitlement", entity="e", data=RICE))
    return program


def redeem(quantity: int, **changes: Any) -> dict[str, Any]:
    data = {"entitlementId": "rice", "quantity": quantity}
    return make_event("redeem-entitlement", entity="e", data=data, **changes)


async def test_the_program_says_which_types_there_are(admin: AsyncClient) -> None:
    plain, custom = await make_program(admin), await make_program(admin, customEventTypes=ALL)
    for program, status in ((plain, 422), (custom, 200)):
        await push(admin, program, make_event(entity="e"))
        answer = await push(admin, program, make_event("grant-entitlement", entity="e", data=RICE))
        assert answer.status_code == status, answer.text
    assert (await push(admin, custom, make_event("made-up", entity="e"))).status_code == 422


async def test_a_balance_follows_from_the_events_and_every_device_gets_them(admin: AsyncClient) -> None:
    program = await make_entitled(admin)
    first, too_much = redeem(4), redeem(7)
    assert (await push(admin, program, first)).status_code == 200
    refused = (await push(admin, program, too_much)).json()
    [failure] = refused["failed"]
    assert (failure["code"], failure["eventGuid"]) == ("INSUFFICIENT_BALANCE", too_much["guid"])
    assert failure["path"] == ["data", "quantity"]
    assert failure["details"] == {"entitlementId": "rice", "allocated": 10, "remaining": 6, "requested": 7}
    assert (await push(admin, program, first)).json()["applied"] == 1
    assert (await data_of(admin, program))["entitlements"] == [{"id": "rice", "allocated": 10, "redeemed": 4}]
    assert [event["type"] for event in await pull_all(admin, program)] == [
        "create-individual",
        "grant-entitlement",
        "redeem-entitlement",
    ]


async def test_of_two_devices_that_hand_out_the_last_of_it_one_is_told(admin: AsyncClient) -> None:
    program = await make_entitled(admin)
    answer = (await push(admin, program, redeem(6), redeem(6), atomic=False)).json()
    assert answer["applied"] == 1
    [verdict] = answer["failed"]
    assert (verdict["index"], verdict["code"], verdict["path"]) == (1, "INSUFFICIENT_BALANCE", ["data", "quantity"])
    assert (await data_of(admin, program))["entitlements"][0]["redeemed"] == 6


async def test_nobody_plants_a_balance_before_the_program_keeps_any(admin: AsyncClient) -> None:
    program = await make_program(admin)
    planted = make_event(entity="e", data={"entityName": "individual", "attendance": "yes"} | RICE)
    answer = (await push(admin, program, planted)).json()
    assert [(warning["code"], warning["path"]) for warning in answer["warnings"]] == [
        ("RESERVED_KEY_IGNORED", ["data", "entitlements"])
    ]
    assert (await data_of(admin, program))["attendance"] == "yes", "an answer of that name is one"
    await make_program(admin, config_id=program, customEventTypes=ALL)
    refused = (await push(admin, program, redeem(4))).json()
    assert [failure["code"] for failure in refused["failed"]] == ["NO_ENTITLEMENTS"]


async def test_a_form_cannot_write_a_balance_and_is_told_so(admin: AsyncClient) -> None:
    program = await make_entitled(admin)
    forged = {"age": 3, "entitlements": [{"id": "rice", "allocated": 99}], "attendance": {"attended": 99}}
    edit = make_event("update-individual", entity="e", data=forged)
    answer = (await push(admin, program, edit)).json()
    assert answer["status"] == "success"
    assert [(warning["code"], warning["path"]) for warning in answer["warnings"]] == [
        ("RESERVED_KEY_IGNORED", ["data", "entitlements"]),
        ("RESERVED_KEY_IGNORED", ["data", "attendance"]),
    ]
    assert {warning["guid"] for warning in answer["warnings"]} == {edit["guid"]}
    data = await data_of(admin, program)
    assert (data["age"], data["entitlements"]) == (3, [{"id": "rice", "allocated": 10}])
    # The same event again is the same event.
    again = (await push(admin, program, edit)).json()
    assert (again["applied"], {warning["code"] for warning in again["warnings"]}) == (1, {"RESERVED_KEY_IGNORED"})


async def test_a_program_without_attendance_may_ask_for_it_in_a_form(admin: AsyncClient) -> None:
    program = await make_program(admin)
    answer = (await push(admin, program, make_event(entity="e", data={"attendance": "daily"}))).json()
    assert "warnings" not in answer
    assert (await data_of(admin, program))["attendance"] == "daily"


async def test_an_enumerator_does_not_void_whatever_their_device_says(admin: AsyncClient, client: AsyncClient) -> None:
    program = await make_entitled(admin)
    given = redeem(4)
    await push(admin, program, given)
    data = {"supervisorVerified": True, "entitlementId": "rice", "originalRedemptionGuid": given["guid"]}
    void = make_event("void-redemption", entity="e", data=data)
    for role, status in (("enumerator", 422), ("supervisor", 200)):
        assignment = {"configId": program, "tenantId": program, "role": role}
        person = await make_person(admin, tenantIds=[program], roleAssignments=[assignment])
        client.headers.update(bearer((await login(client, person))["token"]))
        answer = await push(client, program, void)
        assert answer.status_code == status, answer.text
        if status == 422:
            assert answer.json()["failed"][0]["code"] == "UNAUTHORIZED"
    assert (await data_of(admin, program))["entitlements"][0]["redeemed"] == 0
