"""`POST /api/entities/search`: the contract's answers and refusals, and how long it may take."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response

from datacollect.features.entities.finding import scanning
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.accounts import assert_refused
from tests.factories import make_config, make_event, make_program, new_id, pull_audit, push
from tests.features.conftest import Alone, Installation
from tests.features.entities.finding.test_search_properties import SEARCHABLE, limited_to

pytestmark = pytest.mark.anyio


async def search(client: AsyncClient, program: str, *criteria: Any, **more: Any) -> Response:
    body = {"configId": program, "criteria": list(criteria)} | more
    return await client.post("/api/entities/search", json=body)


async def names(client: AsyncClient, program: str, *criteria: Any, **more: Any) -> list[str]:
    answer = await search(client, program, *criteria, **more)
    assert answer.status_code == 200, answer.text
    return [entity["name"] for entity in answer.json()]


PEOPLE: list[dict[str, Any]] = [
    {"name": "John", "age": 25, "score": 80.5, "born": "1999-05-17"},
    {"name": "Bob Ray", "age": 39, "score": 79, "address": {"zip": "9000"}},
    {"name": "Bobby", "age": "unknown", "score": "90.25", "born": "2001-01-01T00:30:00+01:00"},
    {"name": "Ann Smith", "age": 31, "married": True, "tags": ["Farmer", "leader"], "cardNumber": "X-7"},
]


@pytest.fixture
async def program(admin: AsyncClient, hub: Hub) -> str:
    """Of two of its people the index has not come by."""
    program = await make_program(admin)
    events = [make_event(entity=f"p-{n}", data=data) for n, data in enumerate(PEOPLE)]
    group = {"name": "Smith Family", "entityName": "household"}
    for some in (events[:-2], [*events[-2:], make_event("create-group", entity="g", data=group)]):
        await hub.indexes.catch_up(system_scope(TenantId(program)))
        answer = await push(admin, program, *some)
        assert answer.status_code == 200, answer.text
    return program


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ([], ["Smith Family", "Ann Smith", "Bobby", "Bob Ray", "John"]),
        # As the reference's tests have it.
        ([{"name": "john"}], ["John"]),
        ([{"age": {"$gte": 30}}], ["Ann Smith", "Bob Ray"]),
        ([{"name": {"$regex": "bob"}}, {"age": {"$lt": 40}}], ["Bob Ray"]),
        ([{"score": {"$gt": 80}}], ["Bobby", "John"]),
        ([{"age": 25}], ["John"]),
        ([{"name": {"$regex": "Smith"}}], ["Smith Family", "Ann Smith"]),
        ([{"name": "nobody"}], []),
        # What ours adds.
        ([{"data.age": {"$lte": "25"}}], ["John"]),
        ([{"address.zip": "9000"}], ["Bob Ray"]),
        ([{"data.address.zip": {"$exists": True}}], ["Bob Ray"]),
        ([{"type": "GROUP"}], ["Smith Family"]),
        ([{"guid": "p-3"}], ["Ann Smith"]),
        ([{"guid": {"$in": ["p-3", "g", "none"]}}], ["Smith Family", "Ann Smith"]),
        ([{"cardNumber": "x-7"}], ["Ann Smith"]),
        ([{"entityName": "Household"}], ["Smith Family"]),
        ([{"married": True}], ["Ann Smith"]),
        ([{"age": {"$ne": 25}}], ["Ann Smith", "Bobby", "Bob Ray"]),
        ([{"age": {"$in": [25, "UNKNOWN"]}}], ["Bobby", "John"]),
        ([{"age": {"$exists": False}}], ["Smith Family"]),
        ([{"tags": {"$contains": "farm"}}], ["Ann Smith"]),
        ([{"tags": "Farmer"}], []),
        ([{"name": {"$contains": "(a+)+"}}], []),
        ([{"born": {"$gte": "2000-12-31T23:30:00Z"}}], ["Bobby"]),
        ([{"born": {"$lt": "2000-12-31T23:30:00.001Z"}}], ["Bobby", "John"]),
        ([{"lastUpdated": {"$gt": "2999-01-01"}}], []),
        ([{"lastUpdated": {"$gte": "2000-01-01"}}, {"age": 25}], ["John"]),
        # Only the first key, only the first operator.
        ([{"age": 25, "name": "nobody"}], ["John"]),
        ([{"age": {"$gt": 30, "$lt": 0}}], ["Ann Smith", "Bob Ray"]),
        # What matches nothing.
        ([{"age": {"$near": 25}}], []),
        ([{"age": {}}], []),
        ([{"age": [25]}], []),
        ([{"name": {"first": "John"}}], []),
    ],
)
async def test_what_is_found(admin: AsyncClient, program: str, criteria: list[Any], expected: list[str]) -> None:
    assert await names(admin, program, *criteria) == expected


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ({}, "must be an array with at most 10 items"),
        ("name", "must be an array with at most 10 items"),
        (None, "must be an array with at most 10 items"),
        ([{"a": 1}] * 11, "must be an array with at most 10 items"),
        ([{"a": "x" * 201}], "string values must be at most 200 characters"),
        ([{"a": {"$regex": "x" * 201}}], "string values must be at most 200 characters"),
        ([{"a": {"$in": ["x" * 201]}}], "string values must be at most 200 characters"),
        (["x" * 201], "string values must be at most 200 characters"),
        ([{"no spaces": 1}], "the key of item 0"),
        ([{"a'; DROP": 1}], "the key of item 0"),
        ([{"": 1}], "the key of item 0"),
        ([{"a": 1}, {}], "item 1 must be an object"),
        ([1], "item 0 must be an object"),
        ([{"a": None}], "a has no value"),
        ([{"a": {"$gt": "much"}}], "$gt takes a number"),
        ([{"a": {"$lte": True}}], "$lte takes a number"),
        ([{"a": {"$gt": None}}], "$gt takes a number"),
        ([{"a": {"$eq": None}}], "$eq takes"),
        ([{"a": {"$in": "x"}}], "$in takes an array"),
        ([{"a": {"$exists": 1}}], "$exists takes true or false"),
        ([{"a": {"$contains": ["x"]}}], "$contains takes"),
        ([{"a": {"$regex": 1}}], "$regex takes a text"),
        ([{"a": {"$regex": "x" * 101}}], "$regex must be at most 100 characters"),
        ([{"a": {"$regex": "(a+)+"}}], "$regex must not repeat what repeats"),
        ([{"a": {"$regex": "(a*b)*$"}}], "$regex must not repeat what repeats"),
        ([{"a": {"$regex": "Smith ("}}], "$regex is no regular expression"),
        ([{"a": {"$regex": "(?=a)"}}], "$regex is no regular expression"),
        ([{"a": {"$regex": "(a)\\1"}}], "$regex is no regular expression"),
        ([{"a": {"$regex": "a{1001}"}}], "$regex is no regular expression"),
    ],
)
async def test_what_is_refused(admin: AsyncClient, program: str, criteria: Any, message: str) -> None:
    answer = await admin.post("/api/entities/search", json={"configId": program, "criteria": criteria})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (400, "INVALID_CRITERIA")
    assert body["error"].startswith(f"Invalid criteria: {message}"), body["error"]


@pytest.mark.parametrize(
    ("limit", "count"),
    [(1, 1), (0, 1), (-5, 1), ("2", 2), ("abc", 5), (None, 5), (2.9, 2), (True, 5), (10**30, 5), ([], 5), ("", 5)],
)
async def test_the_limit_is_lenient(admin: AsyncClient, program: str, limit: Any, count: int) -> None:
    assert len(await names(admin, program, limit=limit)) == count


async def test_at_most_500_are_found_and_50_without_a_limit(admin: AsyncClient) -> None:
    program = await make_program(admin)
    await push(admin, program, *(make_event() for _ in range(510)))
    assert len(await names(admin, program)) == 50
    assert len(await names(admin, program, limit=1000)) == 500


async def test_pages_of_a_search_follow_each_other(admin: AsyncClient, program: str) -> None:
    found, cursor = list[str](), None
    while True:
        answer = await search(admin, program, {"name": {"$regex": "."}}, limit=2, cursor=cursor, fields="guid")
        found += [entity["guid"] for entity in answer.json()]
        assert all(set(entity) == {"guid"} for entity in answer.json())
        cursor = answer.headers.get("X-Next-Cursor")
        if cursor is None:
            break
    assert found == ["g", "p-3", "p-2", "p-1", "p-0"]
    for bad in ({"cursor": "x"}, {"cursor": 1}, {"fields": "no"}, {"fields": 1}):
        assert (await search(admin, program, **bad)).status_code == 400


@pytest.mark.parametrize("latest", [0, 9, 20_000])
async def test_what_was_changed_last_comes_first_wherever_it_is_come_by(
    admin: AsyncClient, monkeypatch: pytest.MonkeyPatch, latest: int
) -> None:
    """By its place in lists, or by its key: PostgreSQL goes through what is further back by that."""
    monkeypatch.setattr(scanning, "LATEST", latest)
    monkeypatch.setattr(scanning, "_LONGEST_PAGE", 4)
    program = await make_program(admin)
    await push(admin, program, *(make_event(entity=f"e-{n}", data={"name": f"N {n}", "n": n}) for n in range(23)))
    for n in (7, 3, 21, 11, 7, 0):
        await push(admin, program, make_event("update-individual", entity=f"e-{n}", data={"edited": True}))
    listed = (await admin.get("/api/entities", params={"configId": program})).json()
    for criterion in ({"name": {"$regex": "n"}}, {"edited": True}, {"n": {"$gte": 5}}, {"edited": {"$exists": False}}):
        expected = [
            one["guid"]
            for one in listed
            if {"name": True, "n": one["data"]["n"] >= 5}.get(next(iter(criterion)), False)
            or (criterion == {"edited": True} and "edited" in one["data"])
            or (criterion == {"edited": {"$exists": False}} and "edited" not in one["data"])
        ]
        for limit in (1, 3, 50):
            found, cursor = list[str](), None
            while cursor or not found:
                answer = await search(admin, program, criterion, limit=limit, cursor=cursor)
                found += [entity["guid"] for entity in answer.json()]
                cursor = answer.headers.get("X-Next-Cursor")
                if cursor is None:
                    break
            assert found == expected, (criterion, limit)


async def test_only_the_current_state_is_found(admin: AsyncClient, program: str) -> None:
    await push(admin, program, make_event("update-individual", entity="p-0", data={"age": 26}))
    assert await names(admin, program, {"age": 25}) == []
    await push(admin, program, make_event("delete-entity", entity="p-0", data={"id": "p-0"}))
    assert await names(admin, program, {"age": 26}) == []


# -- who may


async def test_query_and_body_must_name_one_program(admin: AsyncClient, program: str) -> None:
    other = await make_program(admin)
    answer = await admin.post(f"/api/entities/search?configId={other}", json={"configId": program, "criteria": []})
    assert (answer.status_code, answer.json()["code"]) == (400, "TENANT_MISMATCH")
    same = await admin.post(f"/api/entities/search?configId={program}", json={"criteria": [{"age": 25}]})
    assert [entity["name"] for entity in same.json()] == ["John"]


async def test_strangers_and_unknown_programs_come_before_criteria(
    app: FastAPI, admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    other = await make_program(admin)
    body = {"configId": other, "criteria": 1}
    assert (await client.post("/api/entities/search", json=body)).status_code == 401
    async with limited_to(app, admin, program, "A1") as member:
        refused = await member.post("/api/entities/search", json=body)
        assert_refused(refused, 403, "Forbidden: No access to this tenant")
        # The program of the query is not looked at in the place of that in the body.
        mixed = await member.post(f"/api/entities/search?configId={program}", json=body)
        assert mixed.status_code == 400
    unknown = await admin.post("/api/entities/search", json={"configId": "none", "criteria": 1})
    assert_refused(unknown, 404, "Tenant not found")
    assert unknown.json()["configId"] == "none"


@pytest.mark.parametrize("body", ["[]", "1", '"x"', "null", "{", ""])
async def test_a_body_that_is_no_object_is_refused(admin: AsyncClient, body: str) -> None:
    answer = await admin.post("/api/entities/search?configId=none", content=body)
    assert answer.status_code == 400


async def test_a_search_of_a_limited_reader_stays_within_reach(app: FastAPI, admin: AsyncClient) -> None:
    program = await make_program(admin)
    people = [make_event(data={"name": f"P{n}", "area_id": f"A{n % 2}", "age": n}) for n in range(6)]
    await push(admin, program, *people)
    async with limited_to(app, admin, program, "A1") as reader:
        assert await names(reader, program) == ["P5", "P3", "P1"]
        assert await names(reader, program, {"age": {"$gte": 2}}) == ["P5", "P3"]
        assert await names(reader, program, {"name": "P2"}) == []
        assert await names(reader, program, {"guid": people[2]["entityGuid"]}) == []


async def test_the_trail_names_what_was_searched_by_and_not_what_for(admin: AsyncClient) -> None:
    program = await make_program(admin, auditReads=True)
    await push(admin, program, make_event(data={"name": "Secret"}))
    await search(admin, program, {"data.name": "Secret"}, {"age": {"$exists": False}})
    trail = (await pull_audit(admin, program)).json()
    logs = [
        log for log in (trail if isinstance(trail, list) else trail["auditLogs"]) if log["action"] == "search-entities"
    ]
    assert [(log["entityGuid"], log["changes"]) for log in logs] == [("*", {"criteria": ["name", "age"], "count": 1})]


# -- how


async def test_an_indexed_field_is_found_by_the_index(admin: AsyncClient, hub: Hub) -> None:
    program = new_id()
    forms = [{"id": "f1", "name": "individual", "title": "Person", "formio": SEARCHABLE}]
    await admin.post("/api/apps", json=make_config(program, entityForms=forms))
    await push(admin, program, *(make_event(data={"name": f"P{n}", "age": n, "height": n}) for n in range(20)))
    await hub.indexes.catch_up(system_scope(TenantId(program)))
    for key, by_index in (("age", True), ("height", False), ("address.zip", True)):
        with hub.db.statements.record() as statements:
            assert await names(admin, program, {key: {"$gt": 18}}) == (["P19"] if key != "address.zip" else [])
        assert any("search_terms" in sql for sql in statements) == by_index, key


@pytest.mark.parametrize("criterion", [{"name": {"$regex": "x+y"}}, {"other": {"$gt": 5}}])
async def test_a_search_that_takes_too_long_is_stopped_and_others_go_on(
    installation: Installation, criterion: dict[str, Any]
) -> None:
    async with installation.running(SEARCH_SECONDS=0.0001) as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        program = await make_program(admin)
        await push(admin, program, *(make_event(data={"name": "N", "text": "x" * 500}) for _ in range(300)))
        answers = await asyncio.gather(*(search(admin, program, criterion) for _ in range(8)))
        assert {answer.status_code for answer in answers} == {504}
        assert {answer.json()["code"] for answer in answers} == {"SEARCH_TOO_SLOW"}
        assert (await admin.get("/api/entities/count", params={"configId": program})).json() == {"count": 300}
        assert (await admin.get("/health/ready")).status_code == 200
