"""Who is limited to areas or kinds sees nothing else here either, by whatever route."""

import tracemalloc
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from tests.accounts import bearer, login, make_person
from tests.factories import make_event, make_program, push

pytestmark = pytest.mark.anyio


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    """A household of two areas, a visit to each of its members, and a person without an area."""
    program = await make_program(admin)
    members = [
        {"guid": "near", "name": "Near", "area_id": "A1"},
        {"guid": "far", "name": "Far", "area_id": "A2"},
        {"guid": "child", "name": "Child", "parentGuid": "near"},
    ]
    await push(
        admin,
        program,
        make_event("create-group", entity="g", data={"entityName": "household", "area_id": "A1", "members": members}),
        make_event("create-record", entity="visit", data={"entityName": "visit", "parentId": "near"}),
        make_event("create-record", entity="far-visit", data={"entityName": "visit", "parentId": "far"}),
        make_event("create-record", entity="answer", data={"entityName": "answer", "parentId": "visit"}),
        make_event(entity="nowhere", data={"name": "N"}),
    )
    return program


async def reader(admin: AsyncClient, client: AsyncClient, program: str, *overrides: dict[str, Any]) -> AsyncClient:
    assignments = [
        {"tenantId": program, "role": "supervisor", "syncScopeOverride": override}
        if override
        else {"tenantId": program, "role": "supervisor"}
        for override in overrides
    ]
    person = await make_person(admin, tenantIds=[program], roleAssignments=assignments)
    client.headers.update(bearer((await login(client, person))["token"]))
    return client


async def seen(client: AsyncClient, program: str) -> dict[str, Any]:
    async def get(path: str) -> Any:
        return await client.get(f"/api/entities{path}", params={"configId": program})

    everybody = ("g", "near", "far", "child", "visit", "far-visit", "answer", "nowhere")
    members = await get("/g/members")
    return {
        "listed": {entity["guid"] for entity in (await get("")).json()},
        "read": {guid for guid in everybody if (await get(f"/{guid}")).status_code == 200},
        "events": {guid for guid in everybody if (await get(f"/{guid}/events")).json()},
        "members": [member["guid"] for member in members.json()] if members.status_code == 200 else None,
        "count": (await get("/count")).json()["count"],
        "forms": (await get("/count-by-form")).json(),
    }


async def test_of_two_areas_one_is_seen(admin: AsyncClient, client: AsyncClient, program: str) -> None:
    me = await reader(admin, client, program, {"areaIds": ["A1"]})
    assert await seen(me, program) == {
        # What is two steps below somebody is read by its guid only.
        "listed": {"g", "near", "child", "visit"},
        "read": {"g", "near", "child", "visit", "answer"},
        # Who is a member has their group's event, which is theirs to see.
        "events": {"g", "near", "child", "visit", "answer"},
        "members": ["near", "child"],
        "count": 4,
        "forms": {"household": 1, "Unknown": 2, "visit": 1},
    }


async def test_an_event_of_somebody_elses_group_is_not_shown(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    me = await reader(admin, client, program, {"areaIds": ["A2"]})
    got = await seen(me, program)
    assert (got["read"], got["events"]) == ({"far", "far-visit"}, {"far-visit"})
    history = await me.get("/api/entities/far/history", params={"configId": program})
    assert [step["change"] for step in history.json()["history"]] == ["created"]
    assert "Near" not in history.text
    for guid in ("near", "g", "nowhere"):
        answer = await me.get(f"/api/entities/{guid}/history", params={"configId": program})
        assert answer.status_code == 404, guid


async def members_told(me: AsyncClient, program: str, group: str) -> list[Any]:
    events = (await me.get(f"/api/entities/{group}/events", params={"configId": program})).json()
    return [event["data"]["members"] for event in events]


async def test_a_groups_events_tell_of_members_elsewhere_who_and_where_they_are(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    far = {"guid": "far-2", "name": "Far", "area_id": "A2"}
    more = [
        {"guid": "sub", "type": "group", "area_id": "A1", "members": [far, {"guid": "loose", "name": "Loose"}]},
        {"guid": "sub-2", "type": "group", "area_id": "A2", "members": [{"guid": "deep", "name": "Deep"}]},
        {"guid": "far", "phone": "555"},
    ]
    added = make_event("add-member", entity="g", data={"members": more})
    assert (await push(admin, program, added)).status_code == 200
    whole = await members_told(admin, program, "g")
    assert whole[1] == more
    assert await members_told(await reader(admin, client, program, {"areaIds": ["A1"]}), program, "g") == [
        [whole[0][0], {"guid": "far", "area_id": "A2"}, whole[0][2]],
        [
            more[0] | {"members": [{"guid": "far-2", "area_id": "A2"}, {"guid": "loose", "name": "Loose"}]},
            {"guid": "sub-2", "area_id": "A2"},
            {"guid": "far"},
        ],
    ], "who is nowhere is with their group, and where somebody is counts, not what an event says of it"
    of_groups = await members_told(await reader(admin, client, program, {"entityTypes": ["group"]}), program, "g")
    assert of_groups[0] == [
        {"guid": "near", "area_id": "A1"},
        {"guid": "far", "area_id": "A2"},
        {"guid": "child", "parentGuid": "near"},
    ]
    assert await members_told(await reader(admin, client, program, {}), program, "g") == whole


async def test_a_groups_events_are_told_without_loading_what_its_members_hold(
    admin: AsyncClient, client: AsyncClient, hub: Hub, program: str
) -> None:
    many = [{"guid": f"m-{n}", "name": "M", "area_id": "A1" if n % 2 else "A2"} for n in range(600)]
    await push(admin, program, make_event("add-member", entity="g", data={"members": many}))
    for n in range(100):
        note = make_event("update-individual", entity=f"m-{n}", data={"note": f"{n}" * 30_000})
        assert (await push(admin, program, note)).status_code == 200
    me = await reader(admin, client, program, {"areaIds": ["A1"]})
    told = await members_told(me, program, "g")
    assert told[1] == [
        member if member["area_id"] == "A1" else {"guid": member["guid"], "area_id": "A2"} for member in many
    ]
    with hub.db.statements.record() as statements:
        assert await members_told(me, program, "g") == told
    assert sum("WITH RECURSIVE above (guid, height)" in sql for sql in statements) == 2, "one for each 500"
    # The hub may be writing the search index beside the first ones.
    memory = [await memory_of_a_telling(me, program, "g") for _ in range(3)]
    assert min(memory) < 3_000_000, "a hundred members hold 5 MB"


async def memory_of_a_telling(me: AsyncClient, program: str, group: str) -> int:
    """The most bytes that Python held meanwhile."""
    tracemalloc.start()
    try:
        await members_told(me, program, group)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_a_members_life_before_is_not_told_by_its_group_either(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    await push(admin, program, make_event("delete-entity", entity="far", data={"id": "far"}))
    anew = make_event(entity="far", data={"name": "Mine", "area_id": "A1"})
    assert (await push(admin, program, anew)).status_code == 200
    me = await reader(admin, client, program, {"areaIds": ["A1"]})
    [members] = await members_told(me, program, "g")
    assert members[1] == {"guid": "far", "area_id": "A2"}


async def test_whoever_makes_a_deleted_entity_anew_does_not_see_its_life_before(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    await push(admin, program, make_event("update-individual", entity="far", data={"secret": "of A2"}))
    await push(admin, program, make_event("delete-entity", entity="far", data={"x": 1}))
    me = await reader(admin, client, program, {"areaIds": ["A1"]})
    anew = make_event(entity="far", data={"name": "Mine", "area_id": "A1"})
    body = {"events": [anew], "configId": program}
    assert (await me.post("/api/sync/push", json=body, headers={"X-Device-Id": "t"})).status_code == 200
    await push(admin, program, make_event("update-individual", entity="far", data={"age": 3}))
    parameters = {"configId": program}
    events = (await me.get("/api/entities/far/events", params=parameters)).json()
    assert [event["data"] for event in events] == [{"name": "Mine", "area_id": "A1"}, {"age": 3}]
    history = await me.get("/api/entities/far/history", params=parameters)
    assert [step["change"] for step in history.json()["history"]] == ["recreated", "updated"]
    assert "of A2" not in history.text
    assert len((await admin.get("/api/entities/far/events", params=parameters)).json()) == 5


async def test_of_the_kinds_one_is_seen(admin: AsyncClient, client: AsyncClient, program: str) -> None:
    me = await reader(admin, client, program, {"entityTypes": ["group"]})
    got = await seen(me, program)
    assert (got["listed"], got["read"], got["members"], got["count"]) == ({"g"}, {"g"}, [], 1)


@pytest.mark.parametrize("overrides", [({},), ({"areaIds": ["A1"]}, {}), ()])
async def test_an_assignment_without_limits_lifts_them(
    admin: AsyncClient, client: AsyncClient, program: str, overrides: tuple[dict[str, Any], ...]
) -> None:
    me = await reader(admin, client, program, *overrides)
    got = await seen(me, program)
    assert (len(got["listed"]), got["count"]) == (8, 8)


async def test_what_tells_of_the_whole_program_is_closed_to_them(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    me = await reader(admin, client, program, {"areaIds": ["A1"]})
    for path in ("/api/conflicts", "/api/sync/pull/audit-logs", "/api/sync/form-findings"):
        answer = await me.get(path, params={"configId": program})
        assert (answer.status_code, answer.json()["code"]) == (403, "BEYOND_REACH"), path


async def test_a_record_is_where_its_person_is_whatever_area_it_names(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    claims = make_event("create-record", entity="claims", data={"parentId": "far", "area_id": "A1"})
    await push(admin, program, claims, make_event("create-record", entity="below", data={"parentId": "claims"}))
    me = await reader(admin, client, program, {"areaIds": ["A1"]})
    assert (await seen(me, program))["listed"] == {"g", "near", "child", "visit"}


async def test_people_may_have_more_areas_than_a_statement_has_parameters(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    me = await reader(admin, client, program, {"areaIds": ["A1", *(f"B{number}" for number in range(20_000))]})
    for path in ("", "/count", "/count-by-form"):
        assert (await me.get(f"/api/entities{path}", params={"configId": program})).status_code == 200
    assert (await seen(me, program))["listed"] == {"g", "near", "child", "visit"}
