"""Whatever is searched for, on both engines: no crash, no other program's entity, and what the oracle finds.

HUB_SEARCHED_CROWDS says how many crowds of people are searched on each."""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from datacollect.features.entities.finding import scanning
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.accounts import login, make_person
from tests.conftest import asgi_client
from tests.factories import make_config, make_event, make_program, new_id, push
from tests.features.entities.finding.oracle import meets

pytestmark = pytest.mark.anyio

CROWDS = int(os.environ.get("HUB_SEARCHED_CROWDS", "40"))

SEARCHABLE = {
    "components": [
        {"type": "textfield", "key": key, "input": True, "properties": {"searchable": "true"}}
        for key in ("village", "age", "born", "address.zip")
    ]
}

TEXTS = [
    *(
        "",
        "a",
        "A",
        "Smith",
        "smith",
        "O'Brien",
        'quo"te',
        "back\\slash",
        "100%",
        "_x_",
        "x" * 200,
        "Straße",
        "STRASSE",
    ),
    *(
        "Élan",
        "E\u0301lan",
        "ſmith",
        "\u212aelvin",
        "kelvin",
        "دُنْيا",
        "Ñandú",
        "日本",
        "İstanbul",
        "ISTANBUL",
        "ıstanbul",
        "true",
        "null",
    ),
    *("31", "031", "-2.5", "9007199254740993", "1e3", " 31", "31 ", "line\nbreak"),
]
TIMES = [
    *("2024-01-15", "2024-01-15T10:00:00Z", "2024-01-15T12:00:00+02:00", "2024-01-15T10:00:00.000Z", "2024-01-14"),
    *("2024-01-15 10:00", "2024-13-01", "0001-01-01", "9999-12-31T23:59:59Z", "2024-01-15T23:59:59-11:00"),
]
NUMBERS = [0, -0.0, 1, 31, 31.0, -2.5, 1e16, 1e22, 1e-7, 2**53, 2**53 + 1, -(2**53) - 1, 2**63, 10**25, 0.1, 1e300]
SCALARS = st.sampled_from([*TEXTS, *TIMES, *NUMBERS, True, False])
VALUES = st.one_of(
    SCALARS,
    st.none(),
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.sampled_from(["zip", "a"]), SCALARS, max_size=2),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)
KEYS = ("village", "age", "born", "address", "address.zip", "tags", "flag", "name", "entityName", "type", "4", "a..b")
DATA = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)

ASKED = st.sampled_from(
    [*KEYS, "data.age", "data.address.zip", "data.type", "guid", "lastUpdated", "no.such", "address.0", "."]
)
OPERANDS = st.one_of(SCALARS, st.text(max_size=8).filter(lambda text: "\0" not in text))
SPELT = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(["31", " 31", "-2.5", "1e3"]),
    st.sampled_from(TIMES).filter(lambda t: "13-01" not in t),
)
PATTERNS = st.sampled_from(
    ["smith", "^a", "31$", "s.*h", "O'B", "[a-f]+", "x{3}", "a|b", "日", "é", "$", "", "k", 'quo"', "0"]
)
CONDITIONS = st.one_of(
    OPERANDS,
    st.fixed_dictionaries({"$eq": OPERANDS}),
    st.fixed_dictionaries({"$ne": OPERANDS}),
    st.fixed_dictionaries({"$in": st.lists(OPERANDS, max_size=4)}),
    *(st.fixed_dictionaries({name: SPELT}) for name in ("$gt", "$gte", "$lt", "$lte")),
    st.fixed_dictionaries({"$contains": OPERANDS}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.just({}),
    st.just({"$no": 1}),
    st.lists(SCALARS, max_size=2),
)
CRITERIA = st.lists(
    st.builds(lambda key, wanted: {key: wanted}, ASKED, CONDITIONS)
    | st.builds(lambda key, pattern: {key: {"$regex": pattern}}, st.sampled_from(("village", "tags", "age")), PATTERNS),
    max_size=3,
)
AREAS = st.sampled_from(["A1", "A2", None])
PEOPLE = st.lists(st.tuples(DATA, AREAS), min_size=1, max_size=12)


@contextlib.asynccontextmanager
async def limited_to(
    app: FastAPI, admin: AsyncClient, program: str, area: str, *others: dict[str, Any]
) -> AsyncIterator[AsyncClient]:
    """Somebody with an assignment to an area, and with others to what their `syncScopeOverride` says."""
    role = {"tenantId": program, "role": "enumerator"}
    assignments = [role | {"areaId": area}, *(role | {"syncScopeOverride": other} for other in others)]
    person = await make_person(admin, tenantIds=[program], roleAssignments=assignments)
    async with asgi_client(app) as client:
        token = (await login(client, person))["token"]
    async with asgi_client(app, token) as client:
        yield client


async def listed(client: AsyncClient, program: str) -> list[dict[str, Any]]:
    answer = await client.get("/api/entities", params={"configId": program, "limit": 1000})
    assert answer.status_code == 200, answer.text
    entities: list[dict[str, Any]] = answer.json()
    return entities


@settings(max_examples=CROWDS, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    people=PEOPLE,
    searches=st.lists(CRITERIA, min_size=1, max_size=10),
    followed=st.integers(0, 30),
    latest=st.sampled_from([0, 4, 20_000]),
)
@example(
    people=[({"village": 1e300}, "A1")],
    searches=[[{"village": {"$gt": 0}}], [{"village": 1e300}]],
    followed=0,
    latest=0,
)
@example(people=[({"village": -1e300}, None)], searches=[[{"village": {"$lt": 0}}], [{"n": 0}]], followed=1, latest=9)
async def test_a_search_finds_what_meets_the_criteria(
    app: FastAPI,
    admin: AsyncClient,
    people: list[tuple[dict[str, Any], str | None]],
    searches: list[list[dict[str, Any]]],
    followed: int,
    latest: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the index and without: `indexed` has the fields of `SEARCHABLE`, `plain` has the three that all have. The
    index has come by so many of the people as `followed` says. What changed beyond `latest` is come by by its key."""
    monkeypatch.setattr(scanning, "LATEST", latest)
    forms = [{"id": "f1", "name": "individual", "title": "Person", "formio": SEARCHABLE}]
    indexed, plain, other = new_id(), new_id(), new_id()
    await admin.post("/api/apps", json=make_config(indexed, entityForms=forms))
    for program in (plain, other):
        await make_program(admin, config_id=program)
    for program in (indexed, plain, other):
        events = []
        for number, (data, area) in enumerate(people):
            placed = data if area is None else data | {"area_id": area}
            events.append(make_event(entity=f"e-{number}", data=placed | {"n": number, "program": program}))
        for some in filter(None, (events[:followed], events[followed:])):
            answer = await push(admin, program, *some)
            assert answer.status_code == 200, answer.text
            if len(some) == followed:
                await app.state.hub.indexes.catch_up(system_scope(TenantId(program)))
    for program in (indexed, plain):
        everything = await listed(admin, program)
        for criteria in searches:
            answer = await admin.post(
                "/api/entities/search", json={"configId": program, "criteria": criteria, "limit": 500}
            )
            assert answer.status_code == 200, (criteria, answer.text)
            found = answer.json()
            expected = [entity for entity in everything if meets(entity, criteria)]
            assert [one["guid"] for one in found] == [one["guid"] for one in expected], (program == indexed, criteria)
            assert found == expected
    async with limited_to(app, admin, indexed, "A1") as reader:
        near = await listed(reader, indexed)
        for criteria in searches[:3]:
            answer = await reader.post(
                "/api/entities/search", json={"configId": indexed, "criteria": criteria, "limit": 500}
            )
            assert answer.status_code == 200
            assert answer.json() == [entity for entity in near if meets(entity, criteria)]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
OPERATORS = st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$regex", "$contains", "$exists", "$x"])
WILD = st.lists(
    JSON
    | st.builds(lambda key, operator, value: {key: {operator: value}}, ASKED, OPERATORS, JSON)
    | st.builds(lambda key, value: {key: value}, ASKED | st.text(max_size=6), JSON),
    max_size=3,
)


@pytest.fixture(scope="session")
async def held(app: FastAPI, admin_token: str) -> str:
    """A program with a value of every kind under one key."""
    async with asgi_client(app, admin_token) as admin:
        program = await make_program(admin)
        values: list[Any] = [*TEXTS, *TIMES, *NUMBERS, True, None, [1, "a"], {"zip": 1}]
        await push(admin, program, *(make_event(data={"age": value, "4": value, "name": "N"}) for value in values))
        return program


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    criteria=WILD | JSON, limit=JSON, cursor=st.none() | st.text(max_size=10), fields=st.none() | st.text(max_size=10)
)
async def test_no_search_is_a_crash(
    admin: AsyncClient, held: str, criteria: Any, limit: Any, cursor: Any, fields: Any
) -> None:
    body = {"configId": held, "criteria": criteria, "limit": limit, "cursor": cursor, "fields": fields}
    answer = await admin.post("/api/entities/search", json=body)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert answer.json()["code"] != "INTERNAL_ERROR"


async def test_every_text_finds_its_like_whatever_the_database_makes_of_its_letters(admin: AsyncClient) -> None:
    program = await make_program(admin)
    texts = [text for text in (*TEXTS, *TIMES) if text]
    await push(admin, program, *(make_event(data={"name": "N", "other": text}) for text in texts))
    everything = await listed(admin, program)
    for text in texts:
        for wanted in (text, {"$contains": text}, {"$in": [text, "no"]}, {"$ne": text}):
            criteria = [{"other": wanted}]
            body = {"configId": program, "criteria": criteria, "limit": 500}
            found = (await admin.post("/api/entities/search", json=body)).json()
            assert found == [entity for entity in everything if meets(entity, criteria)], criteria
