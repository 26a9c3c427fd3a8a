"""Whoever has several assignments in a program reaches what each of them does, and nothing between them: by whatever
route, on both engines. Source: the contract's sync area, 2.3."""

from typing import Any

import pytest
from httpx2 import AsyncClient

from tests.accounts import PASSWORD, bearer, login, make_person
from tests.factories import make_event, make_program, push

pytestmark = pytest.mark.anyio

DEVICE = {"X-Device-Id": "tablet-07"}
GROUPS_HERE = {"syncScopeOverride": {"areaIds": ["A1"], "entityTypes": ["group"]}}
PEOPLE_THERE = {"syncScopeOverride": {"areaIds": ["A3"], "entityTypes": ["individual"]}}
ALL_PEOPLE = {"syncScopeOverride": {"entityTypes": ["individual"]}}
ALL_HERE = {"areaId": "A1"}

HERE = {"group-1", "of-group-1"}
THERE = {"person-3", "child-3", "of-person-3"}
CASES = {
    "groups of one area and people of another": ([GROUPS_HERE, PEOPLE_THERE], HERE | THERE),
    "all people, and all of one area": (
        [ALL_PEOPLE, ALL_HERE],
        HERE | THERE | {"person-1", "of-person-1", "person-2", "nowhere"},
    ),
    "all of one area, and people of another": ([ALL_HERE, PEOPLE_THERE], HERE | THERE | {"person-1", "of-person-1"}),
}
ENTITIES = {
    "group-1": "update-group",
    "group-2": "update-group",
    "group-3": "update-group",
    "person-1": "update-individual",
    "person-2": "update-individual",
    "person-3": "update-individual",
    "child-3": "update-individual",
    "nowhere": "update-individual",
    "of-group-1": "update-record",
    "of-group-3": "update-record",
    "of-person-1": "update-record",
    "of-person-3": "update-record",
    "orphan": "update-record",
}
"""And the event that edits each."""


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    program = await make_program(admin)
    events = [
        make_event(f"create-{kind}", entity=f"{name}-{area}", data={"name": "It", "area_id": f"A{area}"})
        for area in (1, 2, 3)
        for name, kind in (("group", "group"), ("person", "individual"))
    ]
    events += [
        make_event("create-record", entity=f"of-{parent}", data={"name": "It", "parentId": parent})
        for parent in ("group-1", "group-3", "person-1", "person-3")
    ]
    events += [
        make_event(entity="child-3", data={"name": "It", "parentId": "person-3"}),
        make_event(entity="nowhere", data={"name": "It"}),
        make_event("create-record", entity="orphan", data={"name": "It", "parentId": "nobody"}),
    ]
    assert (await push(admin, program, *events)).status_code == 200
    return program


async def signed_in(admin: AsyncClient, client: AsyncClient, program: str, *limits: dict[str, Any]) -> AsyncClient:
    assignments = [{"tenantId": program, "role": "supervisor"} | limit for limit in limits]
    person = await make_person(admin, tenantIds=[program], roleAssignments=assignments)
    client.headers.update(bearer((await login(client, person))["token"]) | DEVICE)
    return client


async def pulled(me: AsyncClient, program: str, **query: str) -> set[str]:
    found: set[str] = set()
    cursor: str | None = ""
    while cursor is not None:
        answer = await me.get("/api/sync/pull", params={"configId": program, "since": cursor, "limit": "5"} | query)
        assert answer.status_code == 200, answer.text
        found |= {event["entityGuid"] for event in answer.json()["events"]}
        cursor = answer.json()["nextCursor"]
    return found


@pytest.mark.parametrize("case", CASES)
async def test_what_is_seen_is_what_one_of_them_reaches(
    admin: AsyncClient, client: AsyncClient, program: str, case: str
) -> None:
    limits, reached = CASES[case]
    me, asked = await signed_in(admin, client, program, *limits), {"configId": program}
    listed = await me.get("/api/entities", params=asked)
    searched = await me.post("/api/entities/search", json={"configId": program, "criteria": [{"name": "It"}]})
    forms = (await me.get("/api/entities/count-by-form", params=asked)).json()
    read = {guid for guid in ENTITIES if (await me.get(f"/api/entities/{guid}", params=asked)).status_code == 200}
    told = {guid for guid in ENTITIES if (await me.get(f"/api/entities/{guid}/events", params=asked)).json()}
    assert {entity["guid"] for entity in listed.json()} == reached
    assert {entity["guid"] for entity in searched.json()} == reached
    assert (len(listed.json()), len(searched.json()), sum(forms.values())) == (len(reached),) * 3
    assert (await me.get("/api/entities/count", params=asked)).json()["count"] == len(reached)
    assert read == told == reached
    assert await pulled(me, program) == reached
    hinted = {guid for guid in reached if guid.endswith(("-1", "-2"))}
    assert await pulled(me, program, areaIds="A1,A2") == hinted, "a hint narrows each of them"


@pytest.mark.parametrize("case", CASES)
async def test_what_is_pushed_is_taken_where_one_of_them_reaches(
    admin: AsyncClient, client: AsyncClient, program: str, case: str
) -> None:
    limits, reached = CASES[case]
    me = await signed_in(admin, client, program, *limits)
    edits = [make_event(type, entity=guid, data={"size": 3}) for guid, type in ENTITIES.items()]
    answer = await me.post("/api/sync/push", json={"events": edits, "configId": program})
    assert answer.status_code == 207, answer.text
    assert {one["entityGuid"]: one["code"] for one in answer.json()["failed"]} == dict.fromkeys(
        ENTITIES.keys() - reached, "OUT_OF_SCOPE"
    )
    assert answer.json()["applied"] == len(reached)
    for guid in ENTITIES:
        held = (await admin.get(f"/api/entities/{guid}", params={"configId": program})).json()
        assert held["data"].get("size") == (3 if guid in reached else None), guid


async def test_a_group_between_two_assignments_is_neither_edited_nor_made_nor_moved_there(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    me = await signed_in(admin, client, program, GROUPS_HERE, PEOPLE_THERE)
    for event in (
        make_event("update-group", entity="group-3", data={"size": 3}),
        make_event("create-group", entity="new", data={"name": "New", "area_id": "A3"}),
        make_event("update-group", entity="group-1", data={"area_id": "A3"}),
        make_event("delete-entity", entity="group-3", data={"id": "group-3"}),
    ):
        answer = await me.post("/api/sync/push", json={"events": [event], "configId": program})
        assert answer.status_code == 422, answer.text
        assert answer.json()["failed"][0]["code"] == "OUT_OF_SCOPE"
    moved = make_event("update-individual", entity="person-3", data={"name": "It", "size": 3})
    joined = make_event("add-member", entity="group-1", data={"members": [{"guid": "person-3"}]})
    answer = await me.post("/api/sync/push", json={"events": [moved, joined], "configId": program})
    assert (answer.status_code, answer.json()["applied"]) == (200, 2), (
        "one assignment reaches the group, one the person"
    )


async def test_whoever_is_limited_only_by_several_together_is_limited(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    me = await signed_in(admin, client, program, ALL_PEOPLE, ALL_HERE)
    answer = await me.get("/api/sync/pull", params={"configId": program}, headers={"X-Device-Id": ""})
    assert (answer.status_code, answer.json()["code"]) == (400, "DEVICE_ID_REQUIRED")
    answer = await me.get("/api/conflicts", params={"configId": program})
    assert (answer.status_code, answer.json()["code"]) == (403, "BEYOND_REACH")


async def test_a_device_is_told_when_its_assignments_are_put_together_otherwise(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    """What is told of the areas and kinds stays, as it is the box around them; so it must be the hash that changes."""
    scopes = []
    for groups, people in (("A1", "A3"), ("A3", "A1")):
        limits = [
            {"syncScopeOverride": {"areaIds": [area], "entityTypes": [kind]}}
            for area, kind in ((groups, "group"), (people, "individual"))
        ]
        me = await signed_in(admin, client, program, *limits)
        answer = await me.get("/api/sync/pull", params={"configId": program})
        scopes.append(answer.json()["scope"])
        assert answer.headers["X-Sync-Scope-Hash"] == answer.json()["scope"]["hash"]
    assert [(scope["areaIds"], scope["entityTypes"]) for scope in scopes] == [
        (["A1", "A3"], ["group", "individual"])
    ] * 2
    assert scopes[0]["hash"] != scopes[1]["hash"]


async def test_the_programs_policy_narrows_each_of_them(admin: AsyncClient, client: AsyncClient, program: str) -> None:
    policy = {"syncScope": {"areaIds": ["A1", "A2"]}}
    answer = await admin.patch(f"/api/apps/{program}/syncScope", json=policy)
    assert answer.status_code == 200, answer.text
    me = await signed_in(admin, client, program, GROUPS_HERE, PEOPLE_THERE, ALL_PEOPLE)
    assert await pulled(me, program) == HERE | {"person-1", "of-person-1", "person-2"}


async def test_an_entity_that_moves_between_two_assignments_is_told_as_leaving(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    me = await signed_in(admin, client, program, GROUPS_HERE, PEOPLE_THERE)
    assert "group-1" in await pulled(me, program)
    leaves = make_event("update-group", entity="group-1", data={"area_id": "A3"})
    comes = make_event("update-individual", entity="person-1", data={"area_id": "A3"})
    later = make_event("update-group", entity="group-1", data={"size": 3})
    await push(admin, program, leaves, comes, later)
    page = (await me.get("/api/sync/pull", params={"configId": program, "limit": "100"})).json()
    guids = [event["guid"] for event in page["events"]]
    assert leaves["guid"] in guids
    assert later["guid"] not in guids
    assert "person-1" in {event["entityGuid"] for event in page["events"]}


EVERYTHING: dict[str, Any] = {}


async def test_a_role_counts_only_where_its_own_assignment_reaches(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    limits = [EVERYTHING | {"role": "viewer"}, ALL_HERE | {"role": "program-admin"}]
    me, asked = await signed_in(admin, client, program, *limits), {"configId": program}
    edits = [make_event(ENTITIES[guid], entity=guid, data={"size": 3}) for guid in ("person-1", "person-2")]
    before = await me.get("/api/sync/pull", params=asked)
    answer = await me.post("/api/sync/push", json={"events": edits, "configId": program})
    assert [one["entityGuid"] for one in answer.json()["failed"]] == ["person-2"], answer.text
    assert await pulled(me, program) >= ENTITIES.keys(), "all of it is read"
    after = await me.get("/api/sync/pull", params=asked)
    assert before.json()["scope"] == after.json()["scope"]
    assert after.json()["scope"]["areaIds"] is None, "what is pushed to is no scope of what is pulled"
    assert (await me.get("/api/entities/count", params=asked)).json()["count"] == len(ENTITIES)
    for refused in (
        await me.get("/api/entities/export", params=asked),
        await me.get("/api/sync/pull/audit-logs", params=asked),
        await me.post("/api/sync/external", json=asked),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "BEYOND_REACH"), refused.text


async def test_a_limited_reader_pushes_to_the_part_where_they_may(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    me = await signed_in(admin, client, program, ALL_HERE, {"areaId": "A2", "role": "viewer"})
    edits = [make_event(ENTITIES[guid], entity=guid, data={"size": 3}) for guid in ("person-1", "person-2")]
    answer = await me.post("/api/sync/push", json={"events": edits, "configId": program})
    assert [one["entityGuid"] for one in answer.json()["failed"]] == ["person-2"], answer.text
    assert await pulled(me, program) >= {"person-1", "person-2"}


async def test_whoever_supervises_a_part_of_where_they_push_voids_there_and_not_in_the_rest(
    admin: AsyncClient, client: AsyncClient
) -> None:
    program = await make_program(admin, customEventTypes=["void-redemption"])
    places = {"here": {"area_id": "A1"}, "below": {"parentId": f"here-{program}"}, "there": {"area_id": "A2"}}
    made = [make_event(entity=f"{name}-{program}", data={"name": "It"} | place) for name, place in places.items()]
    assert (await push(admin, program, *made)).status_code == 200
    voids = [
        make_event("void-redemption", entity=event["entityGuid"], data={"supervisorVerified": True}) for event in made
    ]
    # To void is the first thing that is asked about, what there is to void the next.
    for limits, codes in (
        ([ALL_HERE, {"areaId": "A2", "role": "viewer"}], ["NO_ENTITLEMENTS", "NO_ENTITLEMENTS", "OUT_OF_SCOPE"]),
        ([ALL_HERE, {"areaId": "A2", "role": "enumerator"}], ["NO_ENTITLEMENTS", "NO_ENTITLEMENTS", "UNAUTHORIZED"]),
        ([ALL_HERE, EVERYTHING | {"role": "enumerator"}], ["UNAUTHORIZED"] * 3),
    ):
        me = await signed_in(admin, client, program, *limits)
        pushed = {"events": voids, "configId": program, "atomic": False}
        answer = await me.post("/api/sync/push", json=pushed)
        assert [one["code"] for one in answer.json()["failed"]] == codes, answer.text


async def test_a_delegate_gives_no_role_where_they_only_have_a_lower_one(
    admin: AsyncClient, client: AsyncClient
) -> None:
    program = await make_program(admin)
    own = [{"tenantId": program, "role": "viewer"}, {"tenantId": program, "role": "program-admin"} | ALL_HERE]
    person = await make_person(admin, tenantIds=[program], roleAssignments=own)
    client.headers.update(bearer((await login(client, person))["token"]))
    given: list[tuple[dict[str, Any], int]] = [
        ({"role": "program-admin"} | ALL_HERE, 201),
        ({"role": "viewer"} | ALL_HERE, 201),
        ({"role": "program-admin"}, 403),
        ({"role": "viewer"}, 403),
    ]
    for number, (assignment, status) in enumerate(given):
        account = {
            "email": f"{program}-{number}@hub.test",
            "password": PASSWORD,
            "role": "USER",
            "roleAssignments": [{"tenantId": program} | assignment],
        }
        answer = await client.post("/api/users", json=account)
        assert answer.status_code == status, answer.text


async def test_a_delegate_gives_what_their_own_assignments_reach(admin: AsyncClient, client: AsyncClient) -> None:
    program = await make_program(admin)
    own = [{"tenantId": program, "role": "program-admin"} | limit for limit in (GROUPS_HERE, PEOPLE_THERE)]
    person = await make_person(admin, tenantIds=[program], roleAssignments=own)
    client.headers.update(bearer((await login(client, person))["token"]))
    crossed = {"syncScopeOverride": {"areaIds": ["A3"], "entityTypes": ["group"]}}
    for number, (limits, status) in enumerate(
        (
            ([GROUPS_HERE], 201),
            ([GROUPS_HERE, PEOPLE_THERE], 201),
            ([crossed], 403),
            ([GROUPS_HERE, crossed], 403),
            ([ALL_HERE], 403),
            ([{"syncScopeOverride": {"areaIds": ["A1", "A3"], "entityTypes": ["group", "individual"]}}], 403),
        )
    ):
        account = {
            "email": f"{program}-{number}@hub.test",
            "password": PASSWORD,
            "role": "USER",
            "roleAssignments": [{"tenantId": program, "role": "enumerator"} | limit for limit in limits],
        }
        answer = await client.post("/api/users", json=account)
        assert answer.status_code == status, answer.text
