"""`/api/potential-duplicates` through HTTP, on both engines: found, explained, decided, merged."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from httpx2 import AsyncClient

from datacollect.assembly import FOLLOWERS, create_importer, event_store
from datacollect.features.duplicates.detecting import BATCH, KIND
from datacollect.features.entities.links import service as links
from datacollect.features.entities.rebuilding import Rebuilder
from datacollect.http.hub import Hub
from datacollect.jobs import enqueue
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.accounts import Person, assert_refused, bearer, login, make_person
from tests.factories import make_event, make_program, new_id, pull, pull_all, pull_audit, push
from tests.features.conftest import Alone, Installation
from tests.states import stored_by_a_clock_ahead

pytestmark = pytest.mark.anyio

RUDO = {
    "entityName": "individual", "givenName": "Rudo", "familyName": "Moyo", "birthDate": "1990-04-02", "phone": "+263 77 123 4567",
}  # fmt: skip
TAPIWA = {"entityName": "individual", "givenName": "Tapiwa", "familyName": "Ncube", "birthDate": "1971-11-30"}


async def look(admin: AsyncClient, hub: Hub, program: str) -> None:
    """Let everything be compared that is there."""
    answer = await admin.post("/api/potential-duplicates/sweep", params={"configId": program})
    assert answer.status_code == 202, answer.text
    await hub.jobs.drain()


async def look_on(hub: Hub, program: str) -> None:
    """Let what has changed since be compared."""
    scope = system_scope(TenantId(program))
    async with hub.db.transaction(scope) as tx:
        await enqueue(tx, scope, KIND, {}, now=Millis(0))
    await hub.jobs.drain()


async def pairs_of(client: AsyncClient, program: str, **query: Any) -> Any:
    answer = await client.get("/api/potential-duplicates", params={"configId": program} | query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def resolve(client: AsyncClient, program: str, new: str, existing: str, **body: Any) -> Any:
    told = {"configId": program, "newItem": new, "existingItem": existing} | body
    return await client.post("/api/potential-duplicates/resolve", json=told)


async def entity(client: AsyncClient, program: str, guid: str) -> Any:
    return await client.get(f"/api/entities/{guid}", params={"configId": program})


async def registered_twice(admin: AsyncClient, hub: Hub, **config: Any) -> tuple[str, str, str]:
    """A program in which somebody is twice: its id, and the older and the newer guid."""
    program = await make_program(admin, **config)
    older, newer = new_id("a"), new_id("b")
    await push(admin, program, make_event(entity=older, data=RUDO), make_event(data=TAPIWA))
    await push(admin, program, make_event(entity=newer, data=RUDO | {"givenName": "Ruddo", "phone": "077 123 4567"}))
    await look(admin, hub, program)
    return program, older, newer


async def sign_in_as(client: AsyncClient, admin: AsyncClient, program: str, role: str) -> Person:
    """Somebody of that role in the program, whose requests `client` makes from now on."""
    person = await make_person(admin, tenantIds=[program], roleAssignments=[{"tenantId": program, "role": role}])
    client.headers.update(bearer((await login(client, person))["token"]))
    return person


async def test_somebody_who_is_registered_twice_is_found_with_reasons(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    [pair] = await pairs_of(admin, program)
    assert (pair["entityGuid"], pair["duplicateGuid"], pair["status"]) == (newer, older, "open")
    reasons = {reason["about"]: reason["found"] for reason in pair["reasons"]}
    assert reasons == {"givenName": "close", "familyName": "same", "birthDate": "same", "phone": "same"}
    assert pair["score"] == pytest.approx(sum(reason["bits"] for reason in pair["reasons"]))
    assert (pair["entity"]["guid"], pair["duplicate"]["guid"]) == (newer, older)
    listed = await admin.get("/api/entities", params={"configId": program, "hasDuplicate": "true"})
    assert {each["guid"] for each in listed.json()} == {older, newer}


async def test_what_has_just_arrived_is_compared_with_what_was_there(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push(admin, program, make_event(data=RUDO))
    await look(admin, hub, program)
    assert await pairs_of(admin, program) == []
    await push(admin, program, make_event(data=RUDO))
    await look(admin, hub, program)
    assert len(await pairs_of(admin, program)) == 1


async def test_a_pair_that_an_edit_takes_apart_is_not_told_any_more(admin: AsyncClient, hub: Hub) -> None:
    program, _, newer = await registered_twice(admin, hub)
    await push(admin, program, make_event("update-individual", entity=newer, data=TAPIWA | {"phone": "0911 222 333"}))
    await look(admin, hub, program)
    assert [{each["entityGuid"], each["duplicateGuid"]} & {newer} for each in await pairs_of(admin, program)] == [
        {newer}
    ]
    [pair] = await pairs_of(admin, program)
    assert pair["reasons"][0]["about"] == "birthDate"


@pytest.mark.parametrize("swapped", [False, True])
async def test_keeping_both_ends_a_pair_in_either_order_and_for_ever(
    admin: AsyncClient, hub: Hub, swapped: bool
) -> None:
    program, older, newer = await registered_twice(admin, hub)
    answer = await resolve(admin, program, *((older, newer) if swapped else (newer, older)), shouldDeleteNewItem=False)
    assert (answer.status_code, answer.json()["status"]) == (200, "success")
    assert await pairs_of(admin, program) == []
    await push(admin, program, make_event("update-individual", entity=newer, data={"village": "Pak"}))
    await look(admin, hub, program)
    assert await pairs_of(admin, program) == []
    [pair] = await pairs_of(admin, program, status="not-a-duplicate")
    assert pair["decidedBy"] and {pair["entityGuid"], pair["duplicateGuid"]} == {older, newer}


@pytest.mark.parametrize("which", ["older", "newer"])
async def test_exactly_the_one_that_is_named_is_deleted(admin: AsyncClient, hub: Hub, which: str) -> None:
    program, older, newer = await registered_twice(admin, hub)
    named, other = (older, newer) if which == "older" else (newer, older)
    assert (await resolve(admin, program, named, other, shouldDeleteNewItem=True)).status_code == 200
    assert (await entity(admin, program, named)).status_code == 404
    assert (await entity(admin, program, other)).status_code == 200
    assert await pairs_of(admin, program) == []
    told = (await pull_all(admin, program))[-1]
    assert (told["type"], told["entityGuid"], told["data"]["shouldDelete"]) == ("resolve-duplicate", named, True)
    assert {"entityGuid": older, "duplicateGuid": newer} in told["data"]["duplicates"]


@pytest.mark.parametrize("body", [{"shouldDeleteNewItem": True}, {"resolution": "merge"}])
async def test_what_is_decided_is_later_for_devices_where_it_is_for_the_hub(
    admin: AsyncClient, hub: Hub, body: Any
) -> None:
    """The hub's clock was ahead, and was set back: what it stores counts as later than all that is there."""
    program, older, newer = await registered_twice(admin, hub)
    at = await stored_by_a_clock_ahead(hub.db, system_scope(TenantId(program)), millis=3_600_000)
    assert (await resolve(admin, program, newer, older, **body)).status_code == 200
    told = [each for each in await pull_all(admin, program) if each["type"] == "resolve-duplicate"]
    assert [each["timestamp"] for each in told] == [format_timestamp(at)]
    late = make_event("update-individual", entity=newer, data={"village": "Pak"}, timestamp=format_timestamp(at))
    await push(admin, program, late)
    await look_on(hub, program)
    *_, told, again = await pull_all(admin, program)
    if body.get("resolution") == "merge":  # it is written to the one that stays, and the one that went goes again
        assert (told["entityGuid"], told["data"]) == (older, {"village": "Pak"})
        assert (again["type"], again["entityGuid"], again["timestamp"]) == (
            "resolve-duplicate",
            newer,
            late["timestamp"],
        )


async def test_the_same_decision_told_twice_is_one_and_another_is_too_late(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    answers = await asyncio.gather(*(resolve(admin, program, newer, older, resolution="merge") for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert [each["type"] for each in await pull_all(admin, program)].count("resolve-duplicate") == 1
    late = await resolve(admin, program, older, newer, shouldDeleteNewItem=True)
    assert (late.status_code, late.json()["code"]) == (404, "DUPLICATE_PAIR_NOT_FOUND")
    assert (await entity(admin, program, older)).status_code == 200


async def test_that_the_other_one_was_deleted_is_not_told_as_done(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    assert (await resolve(admin, program, newer, older, shouldDeleteNewItem=True)).status_code == 200
    late = await resolve(admin, program, older, newer, shouldDeleteNewItem=True)
    assert (late.status_code, late.json()["code"]) == (404, "DUPLICATE_PAIR_NOT_FOUND")
    again = await resolve(admin, program, newer, older, shouldDeleteNewItem=True)
    assert (again.status_code, again.json()["pair"]["status"]) == (200, "deleted")
    assert (await entity(admin, program, older)).status_code == 200


async def test_what_is_no_pair_is_refused_and_nothing_is_deleted(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    one, other = new_id("a"), new_id("b")
    await push(admin, program, make_event(entity=one, data=RUDO), make_event(entity=other, data=TAPIWA))
    answer = await resolve(admin, program, one, other, shouldDeleteNewItem=True)
    assert (answer.status_code, answer.json()["message"]) == (404, "Duplicate pair not found")
    assert (await entity(admin, program, one)).status_code == 200


async def test_a_program_that_is_not_there_is_told_with_its_id(admin: AsyncClient) -> None:
    listed = await admin.get("/api/potential-duplicates", params={"configId": "no-such-program"})
    for answer in (listed, await resolve(admin, "no-such-program", "a", "b")):
        assert_refused(answer, 404, "App instance not found", "TENANT_NOT_FOUND")
        assert (answer.json()["status"], answer.json()["configId"]) == ("error", "no-such-program")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "DUPLICATE_GUIDS_REQUIRED"),
        ({"newItem": "a"}, "DUPLICATE_GUIDS_REQUIRED"),
        ({"newItem": "a", "existingItem": "a"}, "DUPLICATE_GUIDS_REQUIRED"),
        ({"newItem": 1, "existingItem": "a"}, "INVALID_PAYLOAD"),
        ({"newItem": "a", "existingItem": "b", "resolution": "eat"}, "INVALID_PAYLOAD"),
    ],
)
async def test_a_wrong_decision_is_refused_with_a_clear_error(admin: AsyncClient, body: Any, code: str) -> None:
    program = await make_program(admin)
    answer = await admin.post("/api/potential-duplicates/resolve", json=body | {"configId": program})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_a_merge_takes_what_is_missing_and_moves_what_hangs_on_the_one_that_goes(
    admin: AsyncClient, hub: Hub
) -> None:
    program, older, newer = await registered_twice(admin, hub)
    group, visit = new_id("g"), new_id("v")
    await push(
        admin,
        program,
        make_event("update-individual", entity=newer, data={"village": "Pak", "phone": "0999 111 222"}),
        make_event("create-group", entity=group, data={"name": "Moyo", "members": [{"guid": newer, **RUDO}]}),
        make_event("create-record", entity=visit, data={"entityName": "visit", "parentId": newer}),
    )
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    kept = (await entity(admin, program, older)).json()["data"]
    assert (kept["village"], kept["phone"], kept["givenName"]) == ("Pak", RUDO["phone"], "Rudo")
    assert (await entity(admin, program, newer)).status_code == 404
    assert (await entity(admin, program, group)).json()["memberIds"] == [older]
    assert (await entity(admin, program, visit)).json()["data"]["parentId"] == older
    [pair] = await pairs_of(admin, program, status="merged")
    assert pair["survivorGuid"] == older


async def test_a_merge_hands_over_attachments(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    file = ("card.txt", b"the card of Rudo", "text/plain")
    form = {"configId": program, "entityGuid": newer}
    uploaded = await admin.post("/api/attachments/upload", data=form, files={"file": file})
    assert uploaded.status_code == 201, uploaded.text
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    listed = await admin.get(f"/api/attachments/entity/{older}", params={"configId": program})
    assert [each["guid"] for each in listed.json()["attachments"]] == [uploaded.json()["attachment"]["guid"]]


async def photo_of(client: AsyncClient, program: str, entity: str, **form: str) -> tuple[int, Any]:
    """The answer to a photo: its status, and the entity that it is attached to or why it is not."""
    body = {"configId": program, "entityGuid": entity} | form
    file = ("card.txt", b"the card of Rudo", "text/plain")
    answer = await client.post("/api/attachments/upload", data=body, files={"file": file})
    told = answer.json()
    return answer.status_code, told["attachment"]["entityGuid"] if answer.is_success else told["code"]


async def test_a_photo_of_somebody_who_was_merged_is_one_of_who_stays(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    """Taken offline it would stay on the phone for ever, whether it had arrived before and nobody heard of it or not."""
    program = await make_program(admin)
    first, second, third = people = [new_id(letter) for letter in "abc"]
    await push(admin, program, *(make_event(entity=guid, data=RUDO | {"area_id": "north"}) for guid in people))
    await look(admin, hub, program)
    sent = str(uuid4())
    assert await photo_of(admin, program, third, guid=sent) == (201, third)
    for merged, kept in ((third, second), (second, first)):
        assert (await resolve(admin, program, merged, kept, resolution="merge")).status_code == 200
    assert await photo_of(admin, program, third, guid=sent) == (200, first)
    assert await photo_of(admin, program, third) == (201, first)
    assert await photo_of(admin, program, first, guid=sent) == (200, first)
    for area, expected in (("north", (201, first)), ("south", (404, "ATTACHMENT_ENTITY_UNKNOWN"))):
        role = {"tenantId": program, "role": "enumerator", "syncScopeOverride": {"areaIds": [area]}}
        person = await make_person(admin, tenantIds=[program], roleAssignments=[role])
        client.headers.update(bearer((await login(client, person))["token"]))
        assert await photo_of(client, program, second) == expected
    await push(admin, program, make_event("delete-entity", entity=first, data={"why": "error"}))
    assert await photo_of(admin, program, third) == (409, "ATTACHMENT_ENTITY_DELETED")


async def test_a_merge_with_chosen_fields_writes_those_and_no_others(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    chosen = {"givenName": "Ruddo", "familyName": "Moyo", "externalId": "stolen"}
    assert (await resolve(admin, program, newer, older, resolution="merge", mergedData=chosen)).status_code == 200
    kept = (await entity(admin, program, older)).json()
    assert kept["data"]["givenName"] == "Ruddo" and kept["data"]["phone"] == RUDO["phone"]
    assert "externalId" not in kept["data"]


async def test_a_name_that_the_hub_has_filled_in_gives_way_to_one_that_was_told(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    await push(admin, program, make_event("update-individual", entity=newer, data={"name": "Rudo Moyo"}))
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    assert (await entity(admin, program, older)).json()["data"]["name"] == "Rudo Moyo"


def grant(guid: str, name: str, **more: str) -> dict[str, Any]:
    granted = {"entitlements": [{"id": name, "allocated": 3}]}
    return make_event("grant-entitlement", entity=guid, data=granted, **more)


async def test_a_balance_is_taken_where_there_is_none_and_not_chosen_and_what_is_granted_later_is_added(
    admin: AsyncClient, hub: Hub
) -> None:
    program, older, newer = await registered_twice(admin, hub, customEventTypes=["grant-entitlement"])
    assert (await push(admin, program, grant(newer, "cash"))).status_code == 200
    chosen = {"givenName": "Ruddo", "entitlements": [{"id": "stolen", "allocated": 99}], "redemptionHistory": []}
    assert (await resolve(admin, program, newer, older, resolution="merge", mergedData=chosen)).status_code == 200
    taken = (await entity(admin, program, older)).json()["data"]
    assert taken["givenName"] == "Ruddo" and "redemptionHistory" not in taken
    assert ([one["id"] for one in taken["entitlements"]], len(taken["grantHistory"])) == (["cash"], 1)
    later = {"timestamp": "2999-01-01T00:00:00.000Z"}
    back = make_event("update-individual", entity=newer, data={"school": "yes"}, **later)
    assert (await push(admin, program, back, grant(newer, "food", **later))).status_code == 200
    await look(admin, hub, program)
    assert (await entity(admin, program, newer)).status_code == 404
    kept = (await entity(admin, program, older)).json()["data"]
    counted = ("entitlements", "grantHistory")
    assert kept == taken | {"school": "yes"} | {field: kept[field] for field in counted}
    assert ([one["id"] for one in kept["entitlements"]], len(kept["grantHistory"])) == (["cash", "food"], 2)


async def test_what_either_has_been_counted_for_counts_for_the_one_that_stays(admin: AsyncClient, hub: Hub) -> None:
    types = ["record-attendance", "grant-entitlement", "redeem-entitlement"]
    program, older, newer = await registered_twice(admin, hub, customEventTypes=types)
    came = {"date": "2026-01-01", "status": "present"}
    taken = {"entitlementId": "cash", "quantity": 3}
    for event in (
        make_event("enrol-in-program", entity=older, data={"programId": 1}),
        make_event("enrol-in-program", entity=newer, data={"programId": 2}),
        make_event("record-attendance", entity=older, data=came | {"sessionId": "s-1"}),
        make_event("record-attendance", entity=newer, data=came | {"sessionId": "s-2"}),
        grant(older, "cash"),
        grant(newer, "cash"),
        make_event("redeem-entitlement", entity=newer, data=taken),
    ):
        assert (await push(admin, program, event)).status_code == 200
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    data = (await entity(admin, program, older)).json()["data"]
    assert [one["programId"] for one in data["pendingProgramEnrolments"]] == [1, 2]
    assert {one["sessionId"] for one in data["attendance"]["sessions"]} == {"s-1", "s-2"}
    assert (data["attendance"]["totalSessions"], len(data["grantHistory"])) == (2, 2)
    assert data["entitlements"] == [{"id": "cash", "allocated": 3, "redeemed": 3}]
    again = await push(admin, program, make_event("redeem-entitlement", entity=older, data=taken))
    assert again.json()["failed"][0]["code"] == "INSUFFICIENT_BALANCE", "handed out once already"


async def test_households_are_merged_with_their_members(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    older, newer, ana, ben = (new_id(letter) for letter in "ghab")
    household = {"name": "Moyo of Pak", "phone": "077 123 4567", "entityName": "household", "area_id": "pak"}
    await push(
        admin,
        program,
        make_event("create-group", entity=older, data=household | {"members": [{"guid": ana, "name": "Ana Moyo"}]}),
        make_event("create-group", entity=newer, data=household | {"members": [{"guid": ben, "name": "Ben Moyo"}]}),
    )
    await look(admin, hub, program)
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    assert (await entity(admin, program, older)).json()["memberIds"] == [ana, ben]
    assert (await entity(admin, program, ben)).status_code == 200
    assert (await entity(admin, program, newer)).status_code == 404


async def two_households_and_a_village(admin: AsyncClient, hub: Hub) -> tuple[str, list[str], list[str], str]:
    """A program in which a household is twice: its id, both guids, the member of each, and the village."""
    program, village = await make_program(admin), new_id("v")
    houses, people = [new_id("g"), new_id("g")], [new_id("a"), new_id("b")]
    await push(
        admin,
        program,
        make_event("create-group", entity=village, data={"name": "Pak"}),
        *(
            make_event("create-group", entity=house, data=HOUSEHOLD | {"members": [{"guid": member, "name": "Ana"}]})
            for house, member in zip(houses, people, strict=True)
        ),
    )
    await look(admin, hub, program)
    return program, houses, people, village


async def test_who_is_in_a_household_that_is_in_a_village_is_not_deleted_with_it(admin: AsyncClient, hub: Hub) -> None:
    program, [older, newer], people, village = await two_households_and_a_village(admin, hub)
    members = {"members": [{"guid": newer}]}
    assert (await push(admin, program, make_event("add-member", entity=village, data=members))).status_code == 200
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    assert (await entity(admin, program, older)).json()["memberIds"] == people
    assert (await entity(admin, program, village)).json()["memberIds"] == [older]
    assert [(await entity(admin, program, guid)).status_code for guid in (newer, *people)] == [404, 200, 200]


@pytest.mark.parametrize("is_village_first", [False, True])
async def test_who_is_put_into_a_household_that_went_stays_where_that_is_put_into_a_village(
    admin: AsyncClient, hub: Hub, is_village_first: bool
) -> None:
    program, [older, newer], people, village = await two_households_and_a_village(admin, hub)
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    known, late = new_id("k"), "2999-01-01T00:00:00.000Z"
    await push(admin, program, make_event(entity=known, data=TAPIWA))
    await look_on(hub, program)
    back = [
        make_event("update-group", entity=newer, data={"note": "visited"}, timestamp=late),
        make_event("add-member", entity=newer, data={"members": [{"guid": known}]}, timestamp=late),
    ]
    settled = make_event("add-member", entity=village, data={"members": [{"guid": newer}]}, timestamp=late)
    # Far apart, the job meets one of them steps before the other.
    others = [make_event(data={"name": f"P{number}"}) for number in range(BATCH)]
    await push(admin, program, *([settled, *others, *back] if is_village_first else [*back, *others, settled]))
    await look_on(hub, program)
    assert (await entity(admin, program, older)).json()["memberIds"] == [*people, known]
    assert (await entity(admin, program, village)).json()["memberIds"] == [older]
    assert (await entity(admin, program, known)).status_code == 200


async def test_who_was_put_into_a_household_before_it_went_and_arrives_later_is_in_the_one_that_stays(
    admin: AsyncClient, hub: Hub
) -> None:
    program, [older, newer], people, _ = await two_households_and_a_village(admin, hub)
    known, baby, twin = new_id("k"), new_id("b"), new_id("t")
    await push(admin, program, make_event(entity=known, data=TAPIWA))
    await look_on(hub, program)
    monday = [
        make_event("add-member", entity=newer, data={"members": [{"guid": known}, {"guid": baby, "name": "Tariro"}]}),
        make_event("update-group", entity=newer, data={"members": [{"guid": twin, "name": "Tendai"}]}),
        make_event("add-member", entity=newer, data={"members": [{"guid": older}]}),
        make_event("add-member", entity=older, data={"members": [{"guid": newer}]}),
    ]
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    answer = await push(admin, program, *monday)
    assert (answer.status_code, answer.json()["applied"]) == (200, len(monday))
    await look_on(hub, program)
    assert (await entity(admin, program, older)).json()["memberIds"] == [*people, known, baby, twin]
    assert (await entity(admin, program, baby)).json()["data"] == {"name": "Tariro"}
    assert (await entity(admin, program, newer)).status_code == 404
    rebuilder = Rebuilder(hub.db, event_store(hub.db), hub.clock, followers=FOLLOWERS, batch=4)
    assert (await rebuilder.check(system_scope(TenantId(program)))).ok
    history = await admin.get(f"/api/entities/{newer}/history", params={"configId": program})
    assert history.status_code == 200, history.text


@pytest.mark.parametrize("is_deleted_first", [True, False])
async def test_a_delete_of_what_was_merged_takes_nobody_along_who_arrives_later(
    admin: AsyncClient, hub: Hub, is_deleted_first: bool
) -> None:
    program, [older, newer], people, _ = await two_households_and_a_village(admin, hub)
    baby = new_id("b")
    monday = make_event("add-member", entity=newer, data={"members": [{"guid": baby, "name": "Tariro"}]})
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    deleted = make_event("delete-entity", entity=newer, data={"why": "twice"}, timestamp="2999-01-01T00:00:00.000Z")
    for event in [deleted, monday] if is_deleted_first else [monday, deleted]:
        assert (await push(admin, program, event)).status_code == 200
    await look_on(hub, program)
    assert (await entity(admin, program, older)).json()["memberIds"] == [*people, baby]
    rebuilder = Rebuilder(hub.db, event_store(hub.db), hub.clock, followers=FOLLOWERS, batch=4)
    assert (await rebuilder.check(system_scope(TenantId(program)))).ok


async def test_a_merge_that_only_a_device_tells_of_is_a_delete_to_whoever_arrives_later(
    admin: AsyncClient, hub: Hub
) -> None:
    program, [older, newer], people, _ = await two_households_and_a_village(admin, hub)
    baby, pair = new_id("b"), {"entityGuid": newer, "duplicateGuid": older}
    monday = make_event("add-member", entity=newer, data={"members": [{"guid": baby, "name": "Tariro"}]})
    forged = {"duplicates": [pair], "shouldDelete": True, "mergedInto": older}
    for event in (make_event("resolve-duplicate", entity=newer, data=forged), monday):
        assert (await push(admin, program, event)).status_code == 200
    await look_on(hub, program)
    assert [(await entity(admin, program, guid)).status_code for guid in (baby, people[1], newer)] == [404] * 3


HOUSEHOLD = {"name": "Moyo of Pak", "phone": "077 123 4567", "entityName": "household"}


@pytest.mark.parametrize("count", [2, 3])
async def test_who_is_put_into_a_household_that_went_later_is_in_the_one_that_stays(
    admin: AsyncClient, hub: Hub, count: int
) -> None:
    """They were there, and in no household, until somebody put them into one."""
    program, guids = await make_program(admin), [new_id("g") for _ in range(count)]
    await push(admin, program, *(make_event("create-group", entity=guid, data=HOUSEHOLD) for guid in guids))
    await look(admin, hub, program)
    for kept, merged in reversed([*pairwise(guids)]):
        assert (await resolve(admin, program, merged, kept, resolution="merge")).status_code == 200
    baby, known, dead, late = new_id("b"), new_id("k"), new_id("d"), "2999-01-01T00:00:00.000Z"
    await push(
        admin, program, make_event(entity=known, data=TAPIWA), make_event("delete-entity", entity=dead, data={"x": 1})
    )
    members = [{"guid": known}, {"guid": baby, "name": "Tariro"}, {"guid": dead}]
    await push(admin, program, make_event("add-member", entity=guids[-1], data={"members": members}, timestamp=late))
    await look(admin, hub, program)
    assert (await entity(admin, program, guids[0])).json()["memberIds"] == [known, baby]
    # Who comes back later is looked at, too; and who is taken out of it on purpose is not put back.
    await push(admin, program, make_event(entity=dead, data={"name": "Dudzai"}, timestamp=late))
    await push(admin, program, make_event("remove-member", entity=guids[0], data={"memberId": known}, timestamp=late))
    await look(admin, hub, program)
    assert (await entity(admin, program, guids[0])).json()["memberIds"] == [baby, dead]
    before = len(await pull_all(admin, program, limit=1000))
    await look(admin, hub, program)
    assert len(await pull_all(admin, program, limit=1000)) == before


@pytest.mark.parametrize(("both", "again", "stay"), [(False, False, False), (True, False, True), (False, True, True)])
async def test_where_the_one_that_went_is_taken_out_later_the_one_that_took_its_place_is(
    admin: AsyncClient, hub: Hub, both: bool, again: bool, stay: bool
) -> None:
    """Not if it was there before, of itself, or is put there once more: that one is not meant."""
    program, older, newer = await registered_twice(admin, hub)
    group, late = new_id("g"), "2999-01-01T00:00:00.000Z"
    members = [{"guid": guid} for guid in ([older, newer] if both else [newer])]
    created = make_event("create-group", entity=group, data={"name": "Moyo"})
    await push(admin, program, created, make_event("add-member", entity=group, data={"members": members}))
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    if again:
        members = [{"guid": newer}]
        await push(admin, program, make_event("add-member", entity=group, data={"members": members}, timestamp=late))
        await look(admin, hub, program)
    else:
        taken = make_event("remove-member", entity=group, data={"memberId": newer}, timestamp=late)
        await push(admin, program, taken)
        await look(admin, hub, program)
    assert (await entity(admin, program, group)).json()["memberIds"] == ([older] if stay else [])
    # Who is put back on purpose stays.
    await push(
        admin, program, make_event("add-member", entity=group, data={"members": [{"guid": older}]}, timestamp=late)
    )
    await look(admin, hub, program)
    assert (await entity(admin, program, group)).json()["memberIds"] == [older]


async def test_a_limited_device_puts_somebody_into_a_household_that_was_merged_into_one_elsewhere(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    program, baby, merged, kept = await make_program(admin), new_id("b"), new_id("g"), new_id("g")
    devices = {}
    for area in ("north", "south"):
        assignment = {"tenantId": program, "role": "enumerator", "syncScopeOverride": {"areaIds": [area]}}
        person = await make_person(admin, tenantIds=[program], roleAssignments=[assignment])
        devices[area] = bearer((await login(client, person))["token"]) | {"X-Device-Id": area}

    async def pulled(area: str) -> list[Any]:
        answer = await client.get("/api/sync/pull", params={"configId": program}, headers=devices[area])
        return [(one["entityGuid"], one["type"], one["data"]) for one in answer.json()["events"]]

    assert await pulled("south") == []
    for guid, area in ((kept, "north"), (merged, "south")):
        await push(admin, program, make_event("create-group", entity=guid, data=HOUSEHOLD | {"area_id": area}))
    await look(admin, hub, program)
    assert (await resolve(admin, program, merged, kept, resolution="merge")).status_code == 200
    members = [{"guid": baby, "name": "Tariro", "area_id": "south"}]
    late = make_event("add-member", entity=merged, data={"members": members}, timestamp="2999-01-01T00:00:00.000Z")
    answer = await client.post("/api/sync/push", json={"configId": program, "events": [late]}, headers=devices["south"])
    assert answer.status_code == 200, answer.text
    await look(admin, hub, program)
    assert (await entity(admin, program, kept)).json()["memberIds"] == [baby]
    assert (await pulled("north"))[-1] == (kept, "add-member", {"members": [{"guid": baby}]})
    assert {guid for guid, *_ in await pulled("south")} == {merged, baby}


async def test_what_a_device_writes_later_to_the_one_that_went_comes_to_the_one_that_stays(
    admin: AsyncClient, hub: Hub
) -> None:
    program, older, newer = await registered_twice(admin, hub)
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    later = "2999-01-01T00:00:00.000Z"
    await push(admin, program, make_event("update-individual", entity=newer, data={"school": "yes"}, timestamp=later))
    assert (await entity(admin, program, newer)).status_code == 200
    await look(admin, hub, program)
    assert (await entity(admin, program, newer)).status_code == 404
    assert (await entity(admin, program, older)).json()["data"]["school"] == "yes"


async def test_what_a_device_writes_to_the_one_that_went_is_not_written_over_later_words(
    alone: Alone,
) -> None:
    admin, hub, clock = await alone.admin(), alone.hub, alone.clock
    program, older, newer = await registered_twice(admin, hub)
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    at = [format_timestamp(Millis(clock.now() + seconds * 1000)) for seconds in (60, 120, 180)]
    clock.turn(seconds=300)
    told = {"village": "Stale", "school": "yes", "phone": "1"}
    for event in (
        make_event("update-individual", entity=older, data={"phone": "0"}, timestamp=at[0]),
        make_event("update-individual", entity=older, data={"village": "Newest"}, timestamp=at[2]),
        make_event("update-individual", entity=newer, data=told, timestamp=at[1]),
    ):
        assert (await push(admin, program, event)).status_code == 200
    await look_on(hub, program)
    assert (await entity(admin, program, newer)).status_code == 404
    data = (await entity(admin, program, older)).json()["data"]
    assert (data["village"], data["school"], data["phone"]) == ("Newest", "yes", "1")


async def test_a_decision_that_a_device_has_made_is_a_decision(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    data = {"duplicates": [{"entityGuid": newer, "duplicateGuid": older}], "shouldDelete": False}
    assert (await push(admin, program, make_event("resolve-duplicate", entity=newer, data=data))).status_code == 200
    assert await pairs_of(admin, program) == []


@pytest.mark.parametrize("is_found_before", [True, False])
async def test_whoever_may_not_decide_decides_nothing_by_a_push(
    admin: AsyncClient, client: AsyncClient, hub: Hub, is_found_before: bool
) -> None:
    program = await make_program(admin)
    older, newer = new_id("a"), new_id("b")
    registering = [make_event(entity=guid, data=RUDO) for guid in (older, newer)]
    data = {"duplicates": [{"entityGuid": newer, "duplicateGuid": older}], "shouldDelete": False}
    decision = make_event("resolve-duplicate", entity=newer, data=data)
    await push(admin, program, *registering)
    if is_found_before:
        await look(admin, hub, program)
    await sign_in_as(client, admin, program, "enumerator")
    answer = await push(client, program, decision)
    assert answer.status_code == 200, "their device has decided it for itself, and is not to be stuck with it"
    assert decision["guid"] in {each["guid"] for each in await pull_all(admin, program)}
    await look(admin, hub, program)
    before = await pairs_of(admin, program)
    assert [pair["status"] for pair in before] == ["open"]
    rebuilder = Rebuilder(hub.db, event_store(hub.db), hub.clock, followers=FOLLOWERS)
    assert (await rebuilder.rebuild(system_scope(TenantId(program)))).ok
    assert await pairs_of(admin, program) == before, "when it is applied again neither"


async def test_whoever_supervises_a_part_of_where_they_push_decides_there_and_not_in_the_rest(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    program = await make_program(admin)
    pairs = {area: (new_id("a"), new_id("b")) for area in ("A1", "A2")}
    people = {"A1": RUDO, "A2": TAPIWA}
    for area, pair in pairs.items():
        await push(admin, program, *(make_event(entity=guid, data=people[area] | {"area_id": area}) for guid in pair))
    await look(admin, hub, program)
    assert len(await pairs_of(admin, program)) == 2
    roles = {"A1": "supervisor", "A2": "enumerator"}
    assignments = [{"tenantId": program, "role": role, "areaId": area} for area, role in roles.items()]
    person = await make_person(admin, tenantIds=[program], roleAssignments=assignments)
    client.headers.update(bearer((await login(client, person))["token"]) | {"X-Device-Id": "tablet-07"})
    decisions = [make_event("resolve-duplicate", entity=one, data=told_apart(one, two)) for one, two in pairs.values()]
    assert (await push(client, program, *decisions)).status_code == 200
    [decided] = await pairs_of(admin, program, status="not-a-duplicate")
    assert {decided["entityGuid"], decided["duplicateGuid"]} == set(pairs["A1"])
    assert decided["decidedBy"] == str(person.id)
    rebuilder = Rebuilder(hub.db, event_store(hub.db), hub.clock, followers=FOLLOWERS)
    assert (await rebuilder.rebuild(system_scope(TenantId(program)))).ok
    assert await pairs_of(admin, program, status="not-a-duplicate") == [decided], "when they are applied again as well"


async def test_what_decides_nothing_decides_nothing_where_its_program_is_imported(
    admin: AsyncClient, client: AsyncClient, hub: Hub, tmp_path: Path
) -> None:
    program, older, newer = await registered_twice(admin, hub)
    third = new_id("c")
    await push(admin, program, make_event(entity=third, data=RUDO))
    decided = make_event("resolve-duplicate", entity=third, data=told_apart(third, older))
    await push(admin, program, decided)
    await sign_in_as(client, admin, program, "enumerator")
    await push(client, program, make_event("resolve-duplicate", entity=newer, data=told_apart(newer, older)))
    file = tmp_path / "export.json"
    exported = await admin.get("/api/entities/export", params={"configId": program, "what": "all"})
    file.write_bytes(exported.content)
    told = {each["guid"]: each["hub"].get("decides", True) for each in exported.json()["events"]}
    assert [guid for guid, decides in told.items() if not decides] == [list(told)[-1]]
    copy = (await create_importer(hub.db).take_in(file, tenant_id=TenantId(new_id("copy")))).tenant_id
    assert [
        {pair["entityGuid"], pair["duplicateGuid"]} for pair in await pairs_of(admin, copy, status="not-a-duplicate")
    ] == [{third, older}]
    rebuilder = Rebuilder(hub.db, event_store(hub.db), hub.clock, followers=FOLLOWERS)
    assert (await rebuilder.rebuild(system_scope(copy))).ok
    assert len(await pairs_of(admin, copy, status="not-a-duplicate")) == 1, "when it is applied again neither"


def told_apart(one: str, other: str) -> dict[str, Any]:
    return {"duplicates": [{"entityGuid": one, "duplicateGuid": other}], "shouldDelete": False}


async def test_a_pushed_decision_is_that_of_the_account_it_came_from(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    program, older, newer = await registered_twice(admin, hub)
    supervisor = await sign_in_as(client, admin, program, "supervisor")
    data = {"duplicates": [{"entityGuid": newer, "duplicateGuid": older}], "shouldDelete": False}
    forged = make_event("resolve-duplicate", entity=newer, data=data) | {"userId": "1"}
    assert (await push(client, program, forged)).status_code == 200
    [pair] = await pairs_of(admin, program, status="not-a-duplicate")
    assert pair["decidedBy"] == str(supervisor.id) != "1"


async def test_a_pair_ends_with_one_of_the_two_and_begins_again_with_it(admin: AsyncClient, hub: Hub) -> None:
    program, _, newer = await registered_twice(admin, hub)
    await push(admin, program, make_event("delete-entity", entity=newer, data={"why": "error"}))
    assert await pairs_of(admin, program) == []
    later = "2999-01-01T00:00:00.000Z"
    await push(admin, program, make_event("update-individual", entity=newer, data=RUDO, timestamp=later))
    await look(admin, hub, program)
    assert len(await pairs_of(admin, program)) == 1


@pytest.mark.parametrize("kind", ["delete-entity", "resolve-duplicate"])
async def test_a_rebuild_forgets_nobody_who_came_back(admin: AsyncClient, hub: Hub, kind: str) -> None:
    """It tells of the delete once more; nobody would be looked at again for it."""
    program, older, newer = await registered_twice(admin, hub)
    ended = {"duplicates": [{"entityGuid": newer, "duplicateGuid": older}], "shouldDelete": True}
    await push(admin, program, make_event(kind, entity=newer, data=ended))
    later = "2999-01-01T00:00:00.000Z"
    await push(admin, program, make_event("update-individual", entity=newer, data=RUDO, timestamp=later))
    await look(admin, hub, program)
    before = await pairs_of(admin, program)
    assert len(before) == 1
    rebuilder = Rebuilder(hub.db, event_store(hub.db), hub.clock, followers=FOLLOWERS)
    assert (await rebuilder.rebuild(system_scope(TenantId(program)))).ok
    assert await pairs_of(admin, program) == before
    asked = {"configId": program, "data": RUDO}
    found = (await admin.post("/api/potential-duplicates/check", json=asked)).json()["matches"]
    assert {each["guid"] for each in found} == {older, newer}


async def test_pages_follow_each_other_to_the_end(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push(admin, program, *(make_event(data=RUDO) for _ in range(4)))
    await look(admin, hub, program)
    seen, cursor = [], None
    while True:
        query = {"configId": program, "limit": 4} | ({"cursor": cursor} if cursor else {})
        answer = await admin.get("/api/potential-duplicates", params=query)
        assert answer.headers["X-Total-Count"] == "6"
        seen += [frozenset((each["entityGuid"], each["duplicateGuid"])) for each in answer.json()]
        cursor = answer.headers.get("X-Next-Cursor")
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 6


async def test_somebody_is_found_before_they_are_saved(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    asked = {"configId": program, "data": {**RUDO, "givenName": "RUDO "}}
    answer = await admin.post("/api/potential-duplicates/check", json=asked)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert {match["guid"] for match in told["matches"]} == {older, newer} and not told["elsewhere"]
    assert told["matches"][0]["guid"] == older and told["matches"][0]["likelihood"] == "probable"
    same = await admin.post("/api/potential-duplicates/check", json=asked | {"guid": older})
    assert [match["guid"] for match in same.json()["matches"]] == [newer]
    other = await admin.post("/api/potential-duplicates/check", json=asked | {"data": {"name": "Nobody Else"}})
    assert other.json() == {"status": "success", "matches": [], "elsewhere": False}


async def test_whom_the_caller_may_not_see_is_not_shown_and_that_somebody_asked_is_noted(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    """That there is somebody of that number, in whichever area, is something that can be found out by asking."""
    program = await make_program(admin, auditReads=True)
    await push(admin, program, make_event(data=RUDO | {"area_id": "north"}))
    await look(admin, hub, program)
    assignment = {"tenantId": program, "role": "enumerator", "syncScopeOverride": {"areaIds": ["south"]}}
    person = await make_person(admin, tenantIds=[program], roleAssignments=[assignment])
    token = (await login(client, person))["token"]
    asked = {"configId": program, "data": RUDO | {"area_id": "south"}}
    answer = await client.post("/api/potential-duplicates/check", json=asked, headers=bearer(token))
    assert answer.json() == {"status": "success", "matches": [], "elsewhere": True}
    trail = (await admin.get("/api/sync/pull/audit-logs", params={"configId": program, "limit": 500})).json()
    [noted] = [entry for entry in trail if entry["action"] == "check-duplicates"]
    assert noted["changes"] == {"count": 0, "elsewhere": True}


async def test_another_program_is_neither_compared_nor_shown(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    other = await make_program(admin)
    await push(admin, other, make_event(data=RUDO))
    await look(admin, hub, other)
    assert await pairs_of(admin, other) == []
    answer = await resolve(admin, other, newer, older, shouldDeleteNewItem=True)
    assert answer.status_code == 404
    assert (await entity(admin, program, newer)).status_code == 200


async def test_what_names_the_one_that_went_later_names_the_one_that_stays(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    group, visit = new_id("g"), new_id("v")
    await push(
        admin,
        program,
        make_event("create-group", entity=group, data={"name": "Moyo"}),
        make_event("add-member", entity=group, data={"members": [{"guid": newer}]}),
        make_event("create-record", entity=visit, data={"entityName": "visit", "parentId": newer}),
    )
    await look(admin, hub, program)
    assert (await entity(admin, program, visit)).json()["data"]["parentId"] == older
    assert (await entity(admin, program, group)).json()["memberIds"] == [older]


async def test_a_week_that_a_device_was_offline_while_one_was_deleted_and_one_merged_is_taken(
    admin: AsyncClient, hub: Hub
) -> None:
    program, older, newer = await registered_twice(admin, hub, customEventTypes=["record-attendance"])
    gone, group, child, late = new_id("g"), new_id("g"), new_id("c"), "2999-01-01T00:00:00.000Z"
    await push(
        admin,
        program,
        make_event("create-group", entity=gone, data={"name": "Moyo", "members": [{"guid": child, "name": "Chipo"}]}),
        make_event("create-group", entity=group, data={"name": "Banda"}),
        make_event("delete-entity", entity=gone, data={"why": "moved away"}),
    )
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    baby = new_id("b")
    week = [
        make_event("add-member", entity=gone, data={"members": [{"guid": baby, "name": "Tariro"}]}, timestamp=late),
        make_event("remove-member", entity=gone, data={"memberId": child}, timestamp=late),
        make_event("add-member", entity=group, data={"members": [{"guid": newer}]}, timestamp=late),
        make_event(
            "record-attendance",
            entity=newer,
            data={"sessionId": "s", "date": "2026-01-01", "status": "present"},
            timestamp=late,
        ),
        make_event("update-individual", entity=child, data={"school": "yes"}, timestamp=late),
    ]
    await push(admin, program, *week)
    await look(admin, hub, program)
    assert (await entity(admin, program, baby)).json()["name"] == "Tariro"
    assert (await entity(admin, program, child)).json()["data"]["school"] == "yes"
    assert (await entity(admin, program, group)).json()["memberIds"] == [older]
    assert [(await entity(admin, program, guid)).status_code for guid in (gone, newer)] == [404, 404]
    pulled = await admin.get("/api/sync/pull", params={"configId": program, "since": "", "limit": 100})
    assert {event["guid"] for event in week} <= {event["guid"] for event in pulled.json()["events"]}
    kept = (await admin.get("/api/conflicts", params={"configId": program})).json()
    assert newer in str(kept)


async def test_nobody_hangs_on_who_was_merged_into_them_nor_on_themselves(admin: AsyncClient, hub: Hub) -> None:
    """Where they are follows from their parent, and so who is told of them."""
    program, older, newer = await registered_twice(admin, hub)
    house = new_id("h")
    await push(
        admin,
        program,
        make_event("create-group", entity=house, data={"name": "Moyo", "area_id": "north"}),
        make_event("update-individual", entity=newer, data={"parentId": house}),
        make_event("update-individual", entity=older, data={"parentId": newer}),
    )
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    assert (await entity(admin, program, older)).json()["data"]["parentId"] == house
    later = "2999-01-01T00:00:00.000Z"
    back = make_event("update-individual", entity=newer, data={"parentId": older, "school": "yes"}, timestamp=later)
    await push(admin, program, back)
    await look(admin, hub, program)
    kept = (await entity(admin, program, older)).json()["data"]
    assert (kept["parentId"], kept["school"]) == (house, "yes")


async def test_one_who_was_merged_twice_is_found_at_the_end(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    first, second, third = (new_id(letter) for letter in "abc")
    await push(admin, program, *(make_event(entity=guid, data=RUDO) for guid in (first, second, third)))
    await look(admin, hub, program)
    assert (await resolve(admin, program, third, second, resolution="merge")).status_code == 200
    assert (await resolve(admin, program, second, first, resolution="merge")).status_code == 200
    await push(admin, program, make_event("create-record", entity="v", data={"parentId": third}))
    await look(admin, hub, program)
    assert (await entity(admin, program, "v")).json()["data"]["parentId"] == first


@pytest.mark.parametrize("is_last_first", [False, True])
async def test_two_who_were_merged_one_after_the_other_both_go_to_the_end_again(
    admin: AsyncClient, hub: Hub, is_last_first: bool
) -> None:
    program = await make_program(admin)
    first, second, third = (new_id(letter) for letter in "abc")
    await push(admin, program, *(make_event(entity=guid, data=RUDO) for guid in (first, second, third)))
    await look(admin, hub, program)
    assert (await resolve(admin, program, third, second, resolution="merge")).status_code == 200
    assert (await resolve(admin, program, second, first, resolution="merge")).status_code == 200
    later = "2999-01-01T00:00:00.000Z"
    edits = [
        make_event("update-individual", entity=second, data={"school": "yes"}, timestamp=later),
        make_event("update-individual", entity=third, data={"village": "Pak"}, timestamp=later),
    ]
    await push(admin, program, *(reversed(edits) if is_last_first else edits))
    await look(admin, hub, program)
    assert [(await entity(admin, program, guid)).status_code for guid in (second, third)] == [404, 404]
    data = (await entity(admin, program, first)).json()["data"]
    assert (data["school"], data["village"]) == ("yes", "Pak")


async def test_a_device_decides_about_its_own_entity_and_names_no_survivor(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    pair = {"entityGuid": newer, "duplicateGuid": older}
    forged = {"duplicates": [pair], "shouldDelete": True, "mergedInto": older}
    other = new_id("o")
    await push(admin, program, make_event(entity=other, data=TAPIWA))
    await push(admin, program, make_event("resolve-duplicate", entity=other, data=forged))
    assert len(await pairs_of(admin, program)) == 1
    await push(admin, program, make_event("resolve-duplicate", entity=newer, data=forged))
    [decided] = await pairs_of(admin, program, status="deleted")
    assert decided["survivorGuid"] is None
    assert await pairs_of(admin, program, status="merged") == []


async def test_somebody_who_does_not_know_of_a_merge_does_not_undo_it(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    late = {"duplicates": [{"entityGuid": older, "duplicateGuid": newer}], "shouldDelete": False}
    assert (await push(admin, program, make_event("resolve-duplicate", entity=older, data=late))).status_code == 200
    assert len(await pairs_of(admin, program, status="merged")) == 1


async def test_a_merge_keeps_the_twin_in_the_other_system(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    scope = system_scope(TenantId(program))
    async with hub.db.transaction(scope) as tx:
        await links.keep_links(tx, scope, "mock", [links.StoredLink(newer, "registry-7")])
    assert (await resolve(admin, program, newer, older, resolution="merge")).status_code == 200
    async with hub.db.reading(scope) as view:
        held = await links.links_to(view, scope, "mock", ["registry-7"])
    assert held["registry-7"].guid == older


async def test_the_one_that_changed_later_is_told_first_also_by_a_sweep(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    older, newer = new_id("z"), new_id("a")
    await push(admin, program, make_event(entity=older, data=RUDO))
    others = [make_event(data={"entityName": "individual", "name": f"Filler {n}"}) for n in range(70)]
    await push(admin, program, *others)
    await push(admin, program, make_event(entity=newer, data=RUDO))
    await look(admin, hub, program)
    [pair] = await pairs_of(admin, program)
    assert (pair["entityGuid"], pair["duplicateGuid"]) == (newer, older)


async def test_any_guid_can_be_paged_by(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push(admin, program, *(make_event(entity=f"{n}|é\n", data=RUDO) for n in range(3)))
    await look(admin, hub, program)
    query = {"configId": program, "limit": 2}
    first = await admin.get("/api/potential-duplicates", params=query)
    second = await admin.get("/api/potential-duplicates", params=query | {"cursor": first.headers["X-Next-Cursor"]})
    assert len(first.json() + second.json()) == 3
    wrong = await admin.get("/api/potential-duplicates", params=query | {"cursor": "1|a|b"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "INVALID_DUPLICATES_QUERY")


async def test_the_trail_tells_what_was_found(admin: AsyncClient, hub: Hub) -> None:
    program, older, newer = await registered_twice(admin, hub)
    await look(admin, hub, program)
    entries = (await pull_audit(admin, program, limit=100)).json()
    [flagged] = [entry for entry in entries if entry["action"] == "flag-potential-duplicate"]
    assert (flagged["userId"], flagged["entityGuid"]) == ("system", newer)
    assert flagged["changes"] == {"entityId": newer, "duplicateId": older}


async def test_what_is_pushed_is_looked_at_by_itself_and_a_pull_warns(installation: Installation) -> None:
    async with installation.running(DUPLICATE_DETECTION=True) as (app, client):
        alone = Alone(app, client, installation.clock)
        admin = await alone.admin()
        program = await make_program(admin)
        await push(admin, program, make_event(data=RUDO))
        await looked(alone.hub)
        assert "warnings" not in (await pull(admin, program)).json()
        await push(admin, program, make_event(data=RUDO))
        await looked(alone.hub)
        assert len(await pairs_of(admin, program)) == 1
        installation.clock.turn(seconds=11)
        page = (await pull(admin, program)).json()
        assert len(page["events"]) == 2 and "duplicates" in page["warnings"][0]


async def test_what_was_pushed_before_a_crash_is_looked_at_after_it(installation: Installation) -> None:
    async with installation.running() as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        program = await make_program(admin)
        await push(admin, program, make_event(data=RUDO), make_event(data=RUDO))
    async with installation.running(DUPLICATE_DETECTION=True) as (app, client):
        alone = Alone(app, client, installation.clock)
        await alone.hub.jobs.drain()
        assert len(await pairs_of(await alone.admin(), program)) == 1


async def looked(hub: Hub) -> None:
    """Wait until everything that was pushed has been compared."""
    await hub.duplicates.tell()
    await hub.jobs.drain()
