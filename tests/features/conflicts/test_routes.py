"""`/api/conflicts` through HTTP, on both engines: what lost is kept, and a decision reaches every device."""

import asyncio
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.features.conflicts import queries
from datacollect.http.hub import Hub
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.cursor import write_place
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId, derived_guid
from tests.accounts import bearer, login, make_person
from tests.factories import make_event, make_program, new_id, pull_all, pull_audit, push
from tests.statements import hot
from tests.states import stored_by_a_clock_ahead

pytestmark = pytest.mark.anyio

EARLY, LATE = "2025-01-01T08:00:00.000Z", "2025-01-01T09:00:00.000Z"


async def collide(admin: AsyncClient, program: str, entity: str = "e", **late: Any) -> tuple[Any, Any]:
    """Two devices write the same field; the older edit arrives last. Gives the winning and the losing event."""
    created = make_event(entity=entity, data={"name": "Ana", "age": 1, "village": "Pak"}, timestamp=EARLY)
    won = make_event("update-individual", entity=entity, data={"age": 3}, timestamp=LATE)
    lost = make_event("update-individual", entity=entity, data={"age": 2, "phone": "7"}, timestamp=EARLY) | late
    for event in (created, won, lost):
        assert (await push(admin, program, event)).status_code == 200
    return won, lost


async def conflicts_of(admin: AsyncClient, program: str, **query: Any) -> Any:
    answer = await admin.get("/api/conflicts", params={"configId": program} | query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def data_of(admin: AsyncClient, program: str, entity: str = "e") -> Any:
    return (await admin.get(f"/api/entities/{entity}", params={"configId": program})).json()["data"]


async def decide(client: AsyncClient, program: str, guid: str, **body: Any) -> Any:
    return await client.post(f"/api/conflicts/{guid}/resolve", params={"configId": program}, json=body)


async def test_a_lost_value_is_kept_with_both_events(admin: AsyncClient) -> None:
    program = await make_program(admin)
    won, lost = await collide(admin, program)
    listed = await conflicts_of(admin, program)
    [conflict] = listed["conflicts"]
    assert listed["unresolvedCount"] == 1
    assert (conflict["localEventGuid"], conflict["remoteEventGuid"]) == (won["guid"], lost["guid"])
    assert conflict["localVersion"] == {"name": "Ana", "age": 3, "village": "Pak", "phone": "7"}
    assert conflict["remoteVersion"] == {"age": 2, "phone": "7"}
    assert conflict["fields"] == ["age"]
    assert (conflict["resolution"], conflict["resolvedAt"], conflict["mergedData"]) == (None, None, None)
    one = await admin.get(f"/api/conflicts/{conflict['guid']}", params={"configId": program})
    assert one.json() == {"conflict": conflict}


async def test_edits_of_different_fields_are_no_conflict(admin: AsyncClient) -> None:
    program = await make_program(admin)
    await collide(admin, program, data={"phone": "7"})
    assert await conflicts_of(admin, program) == {"conflicts": [], "unresolvedCount": 0, "nextCursor": None}


async def test_a_pushed_again_event_is_no_second_conflict(admin: AsyncClient) -> None:
    program = await make_program(admin)
    _, lost = await collide(admin, program)
    await push(admin, program, lost)
    assert (await conflicts_of(admin, program))["unresolvedCount"] == 1


@pytest.mark.parametrize(
    ("body", "age"),
    [
        ({"resolution": "local"}, 3),
        ({"resolution": "remote"}, 2),
        ({"resolution": "merged", "mergedData": {"age": 5, "name": "Ana", "village": "Pak"}}, 5),
    ],
)
async def test_a_decision_reaches_the_entity_and_every_device(admin: AsyncClient, body: Any, age: int) -> None:
    program = await make_program(admin)
    await collide(admin, program)
    moved = make_event("update-individual", entity="e", data={"village": "Nong"}, timestamp="2025-01-02T08:00:00.000Z")
    await push(admin, program, moved)
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    answer = await decide(admin, program, conflict["guid"], **body)
    assert answer.status_code == 200, answer.text
    decided = answer.json()["conflict"]
    assert (decided["resolution"], decided["mergedData"]) == (body["resolution"], body.get("mergedData"))
    assert decided["resolvedAt"] and "@" in decided["resolvedBy"]
    # What others changed since the conflict was found stays, whatever was merged.
    assert await data_of(admin, program) == {"name": "Ana", "age": age, "village": "Nong", "phone": "7"}
    last = (await pull_all(admin, program))[-1]
    assert (last["type"], last["entityGuid"], last["data"]) == ("update-individual", "e", {"age": age})
    assert await conflicts_of(admin, program) == {"conflicts": [], "unresolvedCount": 0, "nextCursor": None}
    assert (await conflicts_of(admin, program, status="resolved"))["conflicts"] == [decided]


async def test_a_decision_is_later_for_devices_where_it_is_for_the_hub(admin: AsyncClient, hub: Hub) -> None:
    """The hub's clock was ahead, and was set back: what it stores counts as later than all that is there."""
    program = await make_program(admin)
    await collide(admin, program)
    at = await stored_by_a_clock_ahead(hub.db, system_scope(TenantId(program)), millis=3_600_000)
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    assert (await decide(admin, program, conflict["guid"], resolution="remote")).status_code == 200
    now = format_timestamp(hub.clock.now())
    await push(admin, program, make_event("update-individual", entity="e", data={"age": 7}, timestamp=now))
    told = await pull_all(admin, program)
    by_device = max((each for each in told if "age" in each["data"]), key=lambda each: each["timestamp"])
    assert (await data_of(admin, program))["age"] == by_device["data"]["age"] == 2
    assert by_device["timestamp"] == format_timestamp(at)


async def test_a_write_that_came_after_the_delete_can_be_taken_or_left(admin: AsyncClient) -> None:
    for resolution, status in (("local", 404), ("remote", 200)):
        program = await make_program(admin)
        await push(admin, program, make_event(entity="e", timestamp=EARLY))
        await push(admin, program, make_event("delete-entity", entity="e", data={"why": "gone"}, timestamp=LATE))
        await push(admin, program, make_event("update-individual", entity="e", data={"age": 4}, timestamp=EARLY))
        [conflict] = (await conflicts_of(admin, program))["conflicts"]
        assert conflict["localVersion"] == {}
        assert (await decide(admin, program, conflict["guid"], resolution=resolution)).status_code == 200
        found = await admin.get("/api/entities/e", params={"configId": program})
        assert found.status_code == status
        assert (await pull_all(admin, program))[-1]["type"] == (
            "delete-entity" if resolution == "local" else "update-individual"
        )


@pytest.mark.parametrize("is_above", [False, True])
async def test_a_group_that_is_taken_back_has_its_members_and_writes_nothing_over_them(
    admin: AsyncClient, is_above: bool
) -> None:
    """Where one of them stands above the group by now, it comes back without them."""
    program, later = await make_program(admin), "2025-01-01T10:00:00.000Z"
    member = {"guid": "m", "name": "Mai", "type": "group", "phone": "111"}
    made = make_event("create-group", entity="g", data={"name": "G", "members": [member]}, timestamp=EARLY)
    other = make_event("create-group", entity="h", data={"name": "H", "members": [member]}, timestamp=EARLY)
    ended = make_event("delete-entity", entity="g", data={"why": "gone"}, timestamp=LATE)
    edited = make_event("update-group", entity="m", data={"phone": "222"}, timestamp=later)
    told = {"name": "G2", "members": [{"guid": "m", "type": "group", "name": "Mai", "phone": "000"}]}
    late = make_event("update-group", entity="g", data=told, timestamp=EARLY)
    above = make_event("add-member", entity="m", data={"members": [{"guid": "g"}]}, timestamp=later)
    for event in (made, other, ended, edited, late, *([above] if is_above else [])):
        assert (await push(admin, program, event)).status_code == 200
    listed = (await conflicts_of(admin, program, entityGuid="g"))["conflicts"]
    assert (await decide(admin, program, listed[0]["guid"], resolution="remote")).status_code == 200
    assert (await data_of(admin, program, "m"))["phone"] == "222"
    group = (await admin.get("/api/entities/g", params={"configId": program})).json()
    assert (group["name"], group["memberIds"]) == ("G2", [] if is_above else ["m"])
    before = {conflict["guid"] for conflict in listed}
    assert {
        each["guid"] for each in (await conflicts_of(admin, program, entityGuid="g", status="all"))["conflicts"]
    } == before


async def test_of_two_decisions_one_holds(admin: AsyncClient) -> None:
    program = await make_program(admin)
    await collide(admin, program)
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    answers = await asyncio.gather(
        *(decide(admin, program, conflict["guid"], resolution=r) for r in ("local", "remote", "local", "remote"))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    refused = next(answer.json() for answer in answers if answer.status_code == 409)
    assert refused["status"] == "error"
    assert "already resolved" in refused["message"]
    assert len(await pull_all(admin, program)) == 4


@pytest.mark.parametrize(
    "body",
    [{}, {"resolution": "mine"}, {"resolution": "merged"}, {"resolution": "merged", "mergedData": None}, []],
)
async def test_a_decision_that_says_nothing_is_refused(admin: AsyncClient, body: Any) -> None:
    program = await make_program(admin)
    await collide(admin, program)
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    path = f"/api/conflicts/{conflict['guid']}/resolve"
    answer = await admin.post(path, params={"configId": program}, json=body)
    assert answer.status_code == 400
    assert answer.json()["message"] == "Invalid payload"
    assert answer.json()["errors"]
    assert (await conflicts_of(admin, program))["unresolvedCount"] == 1


async def test_another_program_knows_nothing_of_it(admin: AsyncClient) -> None:
    program, other = await make_program(admin), await make_program(admin)
    await collide(admin, program)
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    found = await admin.get(f"/api/conflicts/{conflict['guid']}", params={"configId": other})
    decided = await decide(admin, other, conflict["guid"], resolution="remote")
    assert found.status_code == decided.status_code == 404
    assert found.json()["message"] == "Conflict not found"
    assert "not found" in decided.json()["message"]
    assert (await conflicts_of(admin, program))["unresolvedCount"] == 1


async def test_merged_data_cannot_choose_the_external_record(admin: AsyncClient) -> None:
    program = await make_program(admin)
    await collide(admin, program)
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    merged = {"age": 9, "externalId": "12", "papers": {"identifierType": "x"}}
    assert (await decide(admin, program, conflict["guid"], resolution="merged", mergedData=merged)).status_code == 200
    data = await data_of(admin, program)
    assert data["papers"] == {"identifierType": "x"}
    assert "externalId" not in data


async def test_a_decision_writes_no_balance(admin: AsyncClient) -> None:
    """Only events of their own do: of a grant that came after the delete, too, and of a person who was not deleted."""
    program = await make_program(admin, customEventTypes=["grant-entitlement"])
    await push(admin, program, make_event(entity="e", data={"name": "Ana", "age": 1}, timestamp=EARLY))
    ended = make_event("delete-entity", entity="e", data={"why": "gone"}, timestamp=LATE)
    granted = {"entitlements": [{"id": "food", "allocated": 3}], "age": 2}
    late = make_event("grant-entitlement", entity="e", data=granted, timestamp=EARLY)
    for event in (ended, late):
        assert (await push(admin, program, event)).status_code == 200
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    merged = granted | {"grantHistory": [], "redemptionHistory": [], "pendingProgramEnrolments": []}
    assert (await decide(admin, program, conflict["guid"], resolution="merged", mergedData=merged)).status_code == 200
    assert await data_of(admin, program) == {"name": "Unnamed Individual", "age": 2}
    assert (await pull_all(admin, program))[-1]["data"] == {"age": 2}


async def test_an_attendance_of_somebody_of_whom_only_the_end_is_known_can_be_decided(admin: AsyncClient) -> None:
    program = await make_program(admin, customEventTypes=["record-attendance"])
    ended = make_event("delete-entity", entity="e", data={"why": "gone"}, timestamp=LATE)
    came = {"sessionId": "s-1", "date": "2025-01-01", "status": "present"}
    for event in (ended, make_event("record-attendance", entity="e", data=came, timestamp=EARLY)):
        assert (await push(admin, program, event)).status_code == 200
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    answer = await decide(admin, program, conflict["guid"], resolution="merged", mergedData={"name": "Ana"})
    assert answer.status_code == 200, answer.text
    assert await data_of(admin, program) == {"name": "Ana"}


COUNTED = [
    ("record-attendance", {"sessionId": "s-1", "date": "2025-01-01", "status": "present"}, "attendance"),
    ("grant-entitlement", {"entitlements": [{"id": "food", "allocated": 3}]}, "grantHistory"),
    ("enrol-in-program", {"programId": 7}, "pendingProgramEnrolments"),
]


@pytest.mark.parametrize(("type", "data", "counted"), COUNTED)
async def test_what_counts_and_lost_is_counted_once_there_is_somebody_to_count_it_for(
    admin: AsyncClient, type: str, data: dict[str, Any], counted: str
) -> None:
    program = await make_program(admin, customEventTypes=["record-attendance", "grant-entitlement"])
    person = {"name": "Ana", "status": "married", "date": "1990-04-02"}
    await push(admin, program, make_event(entity="e", data=person, timestamp=EARLY))
    ended = make_event("delete-entity", entity="e", data={"why": "gone"}, timestamp=LATE)
    late = make_event(type, entity="e", data=data, timestamp=EARLY, userId="agent-9")
    for event in (ended, late):
        assert (await push(admin, program, event)).status_code == 200
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    answer = await decide(admin, program, conflict["guid"], resolution="remote")
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT_ENTITY_DELETED")
    assert (await conflicts_of(admin, program))["unresolvedCount"] == 1
    back = make_event(entity="e", data=person, timestamp="2025-01-01T10:00:00.000Z")
    assert (await push(admin, program, back)).status_code == 200
    assert (await decide(admin, program, conflict["guid"], resolution="remote")).status_code == 200
    held = await data_of(admin, program)
    assert held[counted] and held == {**held, **person}
    last = (await pull_all(admin, program))[-1]
    told = data | {"countedAs": late["guid"]}
    assert (last["type"], last["data"], last["timestamp"], last["userId"]) == (type, told, EARLY, "agent-9")


async def test_what_a_decision_counts_is_known_by_the_guid_that_its_device_knows(admin: AsyncClient) -> None:
    program = await make_program(admin, customEventTypes=["grant-entitlement", "redeem-entitlement", "void-redemption"])
    granted = {"entitlements": [{"id": "food", "allocated": 3}]}
    later = "2025-01-01T10:00:00.000Z"
    redeemed = make_event(
        "redeem-entitlement", entity="e", data={"entitlementId": "food", "quantity": 2}, timestamp=EARLY
    )
    for event in (
        make_event(entity="e", data={"name": "Ana"}, timestamp=EARLY),
        make_event("delete-entity", entity="e", data={"why": "gone"}, timestamp=LATE),
        redeemed,
        make_event(entity="e", data={"name": "Ana"}, timestamp=later),
        make_event("grant-entitlement", entity="e", data=granted, timestamp=later),
    ):
        assert (await push(admin, program, event)).status_code == 200
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    assert (await decide(admin, program, conflict["guid"], resolution="remote")).status_code == 200
    assert (await data_of(admin, program))["entitlements"] == [{"id": "food", "allocated": 3, "redeemed": 2}]
    taken_back = {
        "entitlementId": "food", "originalRedemptionGuid": redeemed["guid"], "supervisorVerified": True, "reason": "x",
    }  # fmt: skip
    answer = await push(admin, program, make_event("void-redemption", entity="e", data=taken_back, timestamp=later))
    assert answer.status_code == 200, answer.text
    assert (await data_of(admin, program))["entitlements"] == [{"id": "food", "allocated": 3, "redeemed": 0}]


async def test_a_request_that_a_rejection_overtook_is_made_when_somebody_decides_so(admin: AsyncClient) -> None:
    program = await make_program(admin)
    rejected = {"programId": 7, "crId": "CR1", "rejectedAt": LATE}
    for event in (
        make_event(entity="e", data={"name": "Ana"}, timestamp=EARLY),
        make_event("program-enrolment-rejected", entity="e", data=rejected, timestamp=LATE),
        make_event("enrol-in-program", entity="e", data={"programId": 7}, timestamp=EARLY),
    ):
        assert (await push(admin, program, event)).status_code == 200
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    assert conflict["fields"] == ["pendingProgramEnrolments"]
    assert (await decide(admin, program, conflict["guid"], resolution="remote")).status_code == 200
    assert [one["programId"] for one in (await data_of(admin, program))["pendingProgramEnrolments"]] == [7]
    assert (await conflicts_of(admin, program))["unresolvedCount"] == 0


async def test_leaving_out_what_counts_writes_nothing(admin: AsyncClient) -> None:
    program = await make_program(admin, customEventTypes=["record-attendance"])
    came = {"sessionId": "s-1", "date": "2025-01-01", "status": "present"}
    person = {"name": "Ana", "status": "married"}
    for event in (
        make_event("delete-entity", entity="e", data={"why": "gone"}, timestamp=LATE),
        make_event("record-attendance", entity="e", data=came, timestamp=EARLY),
        make_event(entity="e", data=person, timestamp="2025-01-01T10:00:00.000Z"),
    ):
        assert (await push(admin, program, event)).status_code == 200
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    assert (await decide(admin, program, conflict["guid"], resolution="local")).status_code == 200
    assert len(await pull_all(admin, program)) == 3
    told = (await pull_audit(admin, program, entityGuid="e")).json()[-1]
    assert (told["action"], told["entityGuid"]) == ("conflict-decided", "e")
    assert told["changes"] == {"conflictGuid": conflict["guid"], "resolution": "local"}


async def test_a_group_inside_another_one_of_which_only_the_end_is_known_is_taken_as_a_group(
    admin: AsyncClient,
) -> None:
    program = await make_program(admin)
    inner = {"guid": "h", "type": "group", "name": "H", "members": [{"guid": "m", "name": "Mai"}]}
    for event in (
        make_event("delete-entity", entity="h", data={"why": "gone"}, timestamp=LATE),
        make_event("create-group", entity="g", data={"name": "G", "members": [inner]}, timestamp=EARLY),
    ):
        assert (await push(admin, program, event)).status_code == 200
    [conflict] = (await conflicts_of(admin, program, entityGuid="h"))["conflicts"]
    assert (await decide(admin, program, conflict["guid"], resolution="remote")).status_code == 200
    assert (await admin.get("/api/entities/h", params={"configId": program})).json()["type"] == "group"


async def test_a_decision_for_nothing_but_a_balance_brings_nothing(admin: AsyncClient) -> None:
    program = await make_program(admin, customEventTypes=["grant-entitlement"])
    await push(admin, program, make_event(entity="e", timestamp=EARLY))
    ended = make_event("delete-entity", entity="e", data={"why": "gone"}, timestamp=LATE)
    granted = {"entitlements": [{"id": "food", "allocated": 3}]}
    late = make_event("grant-entitlement", entity="e", data=granted, timestamp=EARLY)
    for event in (ended, late):
        assert (await push(admin, program, event)).status_code == 200
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    assert (await decide(admin, program, conflict["guid"], resolution="merged", mergedData=granted)).status_code == 200
    assert len(await pull_all(admin, program)) == 3
    assert (await conflicts_of(admin, program))["unresolvedCount"] == 0


@pytest.mark.parametrize("number", [1e22, 10**22, [{"x": -2.5e30}]])
async def test_the_same_number_is_no_conflict_however_large(admin: AsyncClient, number: Any) -> None:
    program = await make_program(admin)
    later = make_event(entity="e", data={"size": number}, timestamp=LATE)
    earlier = make_event("update-individual", entity="e", data={"size": number}, timestamp=EARLY)
    assert (await push(admin, program, later)).status_code == 200
    assert (await push(admin, program, earlier)).status_code == 200
    assert await conflicts_of(admin, program) == {"conflicts": [], "unresolvedCount": 0, "nextCursor": None}


async def test_a_batch_of_many_conflicts_takes_a_constant_number_of_statements(admin: AsyncClient, hub: Any) -> None:
    program = await make_program(admin)
    counts = []
    for size in (2, 40):
        entities = [new_id("e") for _ in range(size)]
        await push(admin, program, *(make_event(entity=e, data={"a": 1}, timestamp=LATE) for e in entities))
        losers = [make_event("update-individual", entity=e, data={"a": 2}, timestamp=EARLY) for e in entities]
        with hub.db.statements.record() as statements:
            assert (await push(admin, program, *losers)).status_code == 200
        counts.append(len(hot(statements)))
    assert counts[0] == counts[1]
    assert (await conflicts_of(admin, program))["unresolvedCount"] == 42


async def test_deciding_needs_a_supervisor(admin: AsyncClient, client: AsyncClient) -> None:
    program = await make_program(admin)
    await collide(admin, program)
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    for role, status in (("enumerator", 403), ("supervisor", 200)):
        assignments = [{"tenantId": program, "role": role}]
        person = await make_person(admin, tenantIds=[program], roleAssignments=assignments)
        headers = bearer((await login(client, person))["token"])
        listed = await client.get("/api/conflicts", params={"configId": program}, headers=headers)
        assert listed.status_code == 200
        answer = await client.post(
            f"/api/conflicts/{conflict['guid']}/resolve",
            params={"configId": program},
            json={"resolution": "remote"},
            headers=headers,
        )
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "query",
    [
        {"status": "new"},
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "x"},
        {"cursor": ""},
        {"cursor": "x"},
        {"cursor": write_place([1])},
        {"cursor": write_place([10**18, "g"])},
        {"cursor": write_place([True, "g"])},
        {"cursor": write_place([1, 2])},
        {"cursor": write_place([1, "a\0b"])},
    ],
)
async def test_a_list_that_cannot_be_is_refused(admin: AsyncClient, query: Any) -> None:
    program = await make_program(admin)
    answer = await admin.get("/api/conflicts", params={"configId": program} | query)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CONFLICT_QUERY")


async def contested(admin: AsyncClient, program: str, count: int) -> None:
    """So many conflicts, all found in one moment."""
    entities = [new_id("e") for _ in range(count)]
    await push(admin, program, *(make_event(entity=e, data={"a": 1}, timestamp=LATE) for e in entities))
    losers = [make_event("update-individual", entity=e, data={"a": 2}, timestamp=EARLY) for e in entities]
    assert (await push(admin, program, *losers)).status_code == 200


async def pages_of(admin: AsyncClient, program: str, **query: Any) -> list[list[str]]:
    pages, more = [], {}
    while True:
        listed = await conflicts_of(admin, program, **query, **more)
        pages.append([one["guid"] for one in listed["conflicts"]])
        if listed["nextCursor"] is None:
            return pages
        more = {"cursor": listed["nextCursor"]}


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 1000])
async def test_pages_hold_every_conflict_once(admin: AsyncClient, limit: int) -> None:
    program = await make_program(admin)
    for count in (5, 2):
        await contested(admin, program, count)
    [whole] = await pages_of(admin, program)
    for guid in whole[::2]:
        assert (await decide(admin, program, guid, resolution="local")).status_code == 200
    for status, wanted in (("all", whole), ("resolved", whole[::2]), ("unresolved", whole[1::2])):
        pages = await pages_of(admin, program, status=status, limit=limit)
        assert [guid for page in pages for guid in page] == wanted
        assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert pages[-1], "the last page is not empty"


async def test_what_comes_and_goes_meanwhile_moves_nothing_on_later_pages(admin: AsyncClient) -> None:
    program = await make_program(admin)
    await contested(admin, program, 6)
    [whole] = await pages_of(admin, program)
    first = await conflicts_of(admin, program, limit=2)
    await contested(admin, program, 3)
    for guid in whole[:3]:
        assert (await decide(admin, program, guid, resolution="remote")).status_code == 200
    second = await conflicts_of(admin, program, limit=2, cursor=first["nextCursor"])
    assert [one["guid"] for one in second["conflicts"]] == whole[3:5]
    assert second["unresolvedCount"] == 6


async def test_a_page_that_is_full_by_its_bytes_says_that_there_are_more(
    admin: AsyncClient, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = await make_program(admin)
    await contested(admin, program, 5)
    [whole] = await pages_of(admin, program)
    monkeypatch.setattr(queries, "MOST_BYTES", 1)
    counts = []
    for cursor in ({}, {"cursor": (await conflicts_of(admin, program))["nextCursor"]}):
        with hub.db.statements.record() as statements:
            await conflicts_of(admin, program, **cursor)
        counts.append(len(hot(statements)))
    assert counts[0] == counts[1] <= 2
    assert [guid for page in await pages_of(admin, program) for guid in page] == whole


async def test_nobody_can_stand_in_the_way_of_a_decision_by_taking_its_events_guid(admin: AsyncClient) -> None:
    program = await make_program(admin)
    await collide(admin, program)
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    taken = make_event(entity="other") | {"guid": derived_guid(conflict["guid"], "resolution", "e")}
    assert (await push(admin, program, taken)).status_code == 200
    assert (await decide(admin, program, conflict["guid"], resolution="remote")).status_code == 200
    assert (await data_of(admin, program))["age"] == 2
