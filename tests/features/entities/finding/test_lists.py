"""Lists with filters, orders and pages."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response

from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.clock import TurnableClock
from tests.conftest import asgi_client
from tests.factories import make_event, make_program, new_id, push
from tests.features.entities.finding.test_search_properties import limited_to

pytestmark = pytest.mark.anyio


async def ask(client: AsyncClient, program: str, **query: Any) -> Response:
    return await client.get("/api/entities", params={"configId": program} | query)


async def guids(client: AsyncClient, program: str, **query: Any) -> list[str]:
    answer = await ask(client, program, **query)
    assert answer.status_code == 200, answer.text
    return [entity["guid"] for entity in answer.json()]


def person(guid: str, name: str, **data: Any) -> dict[str, Any]:
    return make_event(entity=guid, data={"name": name, "entityName": "individual"} | data)


@pytest.fixture
async def village(admin: AsyncClient, hub: Hub) -> str:
    """Two households, three people, and a record of one of them; changed in the order of `EVERYBODY`."""
    return await make_village(admin, hub)


@pytest.fixture(scope="session")
async def settled(app: FastAPI, hub: Hub, admin_token: str) -> str:
    """A village that tests look at, one after the other."""
    async with asgi_client(app, admin_token) as admin:
        return await make_village(admin, hub)


@pytest.fixture
async def same_village(settled: str, admin: AsyncClient, hub: Hub) -> str:
    """A village for those who only look at it: as in a new one, the index has not come by all of them."""
    await hub.indexes.catch_up(system_scope(TenantId(settled)))
    assert (await push(admin, settled, *latecomers("update-record"))).status_code == 200
    return settled


@pytest.fixture(scope="session")
async def neighbour(app: FastAPI, admin_token: str, settled: str) -> AsyncIterator[AsyncClient]:
    """Somebody who sees one area of that village."""
    async with asgi_client(app, admin_token) as admin, limited_to(app, admin, settled, "A2") as reader:
        yield reader


async def make_village(admin: AsyncClient, hub: Hub) -> str:
    program = await make_program(admin)
    first = [
        make_event("create-group", entity="g-1", data={"name": "Pérez", "entityName": "household", "area_id": "A1"}),
        make_event("create-group", entity="g-2", data={"name": "Brown", "entityName": "household", "area_id": "A2"}),
        person("in-bob", "bob Brown", area_id="A2"),
        person("in-zoe", "Zoë O'Neill", parentId="in-bob"),
    ]
    for some in (first, latecomers()):  # of those the index has come by, of these it has not
        await hub.indexes.catch_up(system_scope(TenantId(program)))
        answer = await push(admin, program, *some)
        assert answer.status_code == 200, answer.text
    return program


def latecomers(verb: str = "create-record") -> list[dict[str, Any]]:
    members = [{"guid": "in-ana", "name": "Ana Pérez", "area_id": "A1", "entityName": "individual"}]
    return [
        make_event(verb, entity="visit", data={"entityName": "visit", "parentId": "in-bob"}),
        make_event("add-member", entity="g-1", data={"members": members}),
    ]


EVERYBODY = ["g-2", "in-bob", "in-zoe", "visit", "g-1", "in-ana"]
NEWEST = ["in-ana", "g-1", "visit", "in-zoe", "in-bob", "g-2"]


async def test_a_list_is_of_the_newest_first(admin: AsyncClient, village: str) -> None:
    assert sorted(NEWEST) == sorted(await guids(admin, village))
    assert await guids(admin, village) == await guids(admin, village, sort="-lastUpdated")
    assert await guids(admin, village, sort="lastUpdated") == list(reversed(await guids(admin, village)))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"type": "group"}, {"g-1", "g-2"}),
        ({"type": ["group", "record"]}, {"g-1", "g-2", "visit"}),
        ({"entityName": "household"}, {"g-1", "g-2"}),
        ({"entityName": ["visit", "individual"]}, {"visit", "in-ana", "in-bob", "in-zoe"}),
        ({"entityName": "Household"}, set()),
        ({"area": "A1"}, {"g-1", "in-ana"}),
        ({"area": ["A1", "A2"]}, {"g-1", "in-ana", "g-2", "in-bob"}),
        ({"area": "A1", "type": "individual"}, {"in-ana"}),
        ({"parent": "g-1"}, {"in-ana"}),
        ({"parent": "in-bob"}, {"in-zoe", "visit"}),
        ({"parent": "in-bob", "type": "record"}, {"visit"}),
        ({"parent": "nobody"}, set()),
        ({"q": "perez"}, {"g-1", "in-ana"}),
        ({"q": "PÉR"}, {"g-1", "in-ana"}),
        ({"q": "ana per"}, {"in-ana"}),
        ({"q": "brown b"}, {"in-bob", "g-2"}),
        ({"q": "oneill"}, {"in-zoe"}),
        ({"q": "  "}, set(EVERYBODY)),
        ({"q": "???"}, set()),
        ({"q": "😀"}, set()),
        ({"q": "rown"}, set()),
        ({"hasConflict": "false"}, set(EVERYBODY)),
        ({"hasConflict": "true"}, set()),
        ({"updatedSince": "2000-01-01T00:00:00Z"}, set(EVERYBODY)),
        ({"updatedSince": "2999-01-01T00:00:00Z"}, set()),
    ],
)
@pytest.mark.parametrize("sort", ["-lastUpdated", "name", "entityName", "guid"])
async def test_filters_leave_what_they_say(
    admin: AsyncClient, same_village: str, query: dict[str, Any], expected: set[str], sort: str
) -> None:
    answer = await ask(admin, same_village, sort=sort, **query)
    found = [entity["guid"] for entity in answer.json()]
    assert (len(found), set(found)) == (len(expected), expected)
    exact = await ask(admin, same_village, sort=sort, count="exact", limit=1, **query)
    assert exact.headers["X-Total-Count"] == str(len(expected))


async def test_an_entity_in_conflict_is_found(admin: AsyncClient, village: str) -> None:
    late = make_event("update-individual", entity="in-bob", data={"name": "B"}, timestamp="2020-01-01T00:00:00.000Z")
    assert (await push(admin, village, late)).status_code == 200
    for sort in ("-lastUpdated", "name"):
        assert await guids(admin, village, hasConflict="true", sort=sort) == ["in-bob"]
        assert set(await guids(admin, village, hasConflict="false", sort=sort)) == set(EVERYBODY) - {"in-bob"}


async def test_what_changed_since_is_found(admin: AsyncClient, village: str, clock: TurnableClock) -> None:
    clock.turn(seconds=60)
    now = format_timestamp(Millis(clock.now()))
    await push(admin, village, make_event("update-individual", entity="in-zoe", data={"age": 4}))
    for sort in ("-lastUpdated", "name"):
        assert await guids(admin, village, updatedSince=now, sort=sort) == ["in-zoe"]
    changed = (await ask(admin, village, limit=1)).json()[0]["lastUpdated"]
    assert await guids(admin, village, updatedSince=changed) == ["in-zoe"]


async def test_names_are_sorted_without_case_and_accents(admin: AsyncClient) -> None:
    program = await make_program(admin)
    names = ["Zed", "ähnlich", "Alma", "äpfel", "alma", "Échelle", "elm"]
    await push(admin, program, *(person(f"p-{n}", name) for n, name in enumerate(names)))
    rising = [entity["name"] for entity in (await ask(admin, program, sort="name")).json()]
    assert rising == ["ähnlich", "Alma", "alma", "äpfel", "Échelle", "elm", "Zed"]
    falling = [entity["name"] for entity in (await ask(admin, program, sort="-name")).json()]
    assert falling == rising[::-1]


async def test_a_long_name_and_a_long_form_are_stored_and_found(admin: AsyncClient) -> None:
    program = await make_program(admin)
    first, second = "ж" * 5000 + "1", "ж" * 5000 + "2"
    await push(admin, program, person("a", first, entityName=first), person("b", second, entityName=second))
    assert await guids(admin, program, sort="name") == ["a", "b"]
    found = await ask(admin, program, entityName=first[:1000])
    assert found.json() == []
    assert len((await ask(admin, program, sort="entityName")).json()) == 2


async def test_forms_that_begin_alike_are_told_apart(admin: AsyncClient) -> None:
    program = await make_program(admin)
    first, second = "f" * 150 + "1", "f" * 150 + "2"
    await push(admin, program, person("a", "A", entityName=first), person("b", "B", entityName=second))
    assert await guids(admin, program, entityName=first) == ["a"]
    assert set(await guids(admin, program, entityName=[first, second])) == {"a", "b"}


# -- pages


async def follow(client: AsyncClient, address: str) -> list[list[str]]:
    """The guids of each page, by the links."""
    pages = []
    following: str | None = address
    while following is not None:
        answer = await client.get(following)
        assert answer.status_code == 200, answer.text
        pages.append([entity["guid"] for entity in answer.json()])
        link = answer.headers.get("Link")
        assert (link is None) == ("X-Next-Cursor" not in answer.headers)
        following = None if link is None else link.removeprefix("<").removesuffix('>; rel="next"')
    return pages


async def test_a_number_in_groups_is_found_however_it_is_written(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push(admin, program, person("one", "A", nationalId="0912345678"), person("two", "B", nationalId="0912 777"))
    for _ in range(2):  # before the index has come by them, and then by the index
        for asked, found in (
            ("0912 345 678", {"one"}),
            ("(0912) 345-6", {"one"}),
            ("0912345", {"one"}),
            ("0912777", {"two"}),
            ("777 0912", {"two"}),
            ("0912", {"one", "two"}),
            ("345 0912", set()),
        ):
            assert set(await guids(admin, program, q=asked)) == found, asked
        await hub.indexes.catch_up(system_scope(TenantId(program)))


@pytest.mark.parametrize("sort", ["-lastUpdated", "lastUpdated", "name", "-name", "entityName", "-entityName", "guid"])
@pytest.mark.parametrize("more", ["", "&area=A1&area=A2", "&q=p", "&type=individual"])
async def test_pages_follow_each_other_to_the_end(admin: AsyncClient, sort: str, more: str) -> None:
    program = await make_program(admin)
    people = [person(f"p-{n:02}", f"P {n % 3}", entityName=f"f{n % 2}", area_id=f"A{n % 2 + 1}") for n in range(23)]
    await push(admin, program, *people)
    address = f"/api/entities?configId={program}&sort={sort}{more}"
    whole = [entity["guid"] for entity in (await admin.get(address)).json()]
    assert len(whole) == 23
    for size in (1, 7, 22, 23, 24):
        pages = await follow(admin, f"{address}&limit={size}")
        assert [guid for page in pages for guid in page] == whole
        assert all(len(page) == size for page in pages[:-1]) and pages[-1]
    assert await guids(admin, program, sort=sort, offset=20, **_query(more)) == whole[20:]
    assert await guids(admin, program, sort=sort, offset=5, limit=3, **_query(more)) == whole[5:8]


def _query(more: str) -> dict[str, list[str]]:
    query: dict[str, list[str]] = {}
    for pair in filter(None, more.split("&")):
        query.setdefault(pair.partition("=")[0], []).append(pair.partition("=")[2])
    return query


@pytest.mark.parametrize("sort", ["-lastUpdated", "lastUpdated", "name", "entityName", "guid"])
async def test_what_does_not_change_is_on_exactly_one_page_while_others_push(admin: AsyncClient, sort: str) -> None:
    program = await make_program(admin)
    await push(admin, program, *(person(f"p-{n:02}", f"N{n % 5}") for n in range(30)))
    touched, seen = set[str](), list[str]()
    following: str | None = f"/api/entities?configId={program}&sort={sort}&limit=4"
    step = 0
    while following is not None:
        answer = await admin.get(following)
        seen += [entity["guid"] for entity in answer.json()]
        link = answer.headers.get("Link")
        following = None if link is None or step > 60 else link.removeprefix("<").partition(">")[0]
        step += 1
        changed = f"p-{(step * 7) % 30:02}"
        touched.add(changed)
        if step < 9:
            await push(admin, program, make_event("update-individual", entity=changed, data={"name": f"M{step}"}))
            await push(admin, program, make_event("delete-entity", entity=f"p-{step * 3:02}", data={"id": "x"}))
            await push(admin, program, person(f"new-{step:02}", f"N{step}"))
            touched.add(f"p-{step * 3:02}")
    untouched = {f"p-{n:02}" for n in range(30)} - touched
    assert untouched
    assert [guid for guid in seen if guid in untouched] == sorted(
        untouched, key=lambda guid: [one for one in seen if one in untouched].index(guid)
    )
    assert all(seen.count(guid) == 1 for guid in untouched)


async def test_the_total_comes_where_it_is_cheap(admin: AsyncClient, village: str) -> None:
    async def total(**query: Any) -> str | None:
        return (await ask(admin, village, limit=1, **query)).headers.get("X-Total-Count")

    assert await total() == "6"
    assert await total(entityName=["household", "visit"]) == "3"
    assert await total(area="A1") == "2"
    assert await total(area="A1", type="group") == "1"
    assert await total(type="group", sort="name") == "2"
    assert await total(parent="in-bob") == "2"
    assert await total(count="none") is None
    assert await total(offset=3) == "6"
    cursor = (await ask(admin, village, limit=1)).headers["X-Next-Cursor"]
    assert await total(cursor=cursor) is None
    assert await total(cursor=cursor, count="exact") == "6"


# -- what is shown


async def test_fields_show_no_more_than_what_they_name(admin: AsyncClient) -> None:
    program = await make_program(admin)
    group = make_event(
        "create-group",
        entity="g",
        data={"name": "G", "a": {"b": 1, "c": [1, 2]}, "d": None, "members": [{"guid": "m", "name": "M"}]},
    )
    await push(admin, program, group)

    async def show(fields: str) -> Any:
        return (await ask(admin, program, fields=fields, type="group")).json()[0]

    assert await show("guid,name") == {"guid": "g", "name": "G"}
    assert await show("data.a.b, data.d,data.no,data.name.x") == {"data": {"a": {"b": 1}, "d": None}}
    assert await show("data.a.b,data.a") == {"data": {"a": {"b": 1, "c": [1, 2]}}}
    assert await show("data.a,data.a.b") == {"data": {"a": {"b": 1, "c": [1, 2]}}}
    assert await show("memberIds,id,type") == {"id": "g", "type": "group", "memberIds": ["m"]}
    assert (await show("data,data.a.b,entityName"))["data"]["name"] == "G"


# -- what is refused


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("type", "person"),
        ("type", ["group", "Group"]),
        ("parent", ["a", "b"]),
        ("parent", "x" * 1001),
        ("updatedSince", "yesterday"),
        ("updatedSince", "2026-02-30T00:00:00Z"),
        ("hasConflict", "yes"),
        ("q", "x" * 201),
        ("q", ["a", "b"]),
        ("sort", "age"),
        ("sort", "--name"),
        ("cursor", "abc"),
        ("cursor", "é"),
        ("cursor", "WyItbGFzdFVwZGF0ZWQiXQ"),
        ("offset", "-1"),
        ("offset", "1.5"),
        ("offset", "100001"),
        ("count", "yes"),
        ("fields", "guid,secret"),
        ("fields", "data."),
        ("fields", "data.a b"),
        ("fields", ","),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(
    admin: AsyncClient, settled: str, parameter: str, value: Any
) -> None:
    answer = await ask(admin, settled, **{parameter: value})
    body = answer.json()
    assert (answer.status_code, body["code"], body["parameter"]) == (400, "INVALID_LIST_PARAMETER", parameter)


async def test_a_cursor_belongs_to_its_order(admin: AsyncClient, village: str) -> None:
    cursor = (await ask(admin, village, limit=1)).headers["X-Next-Cursor"]
    for query in ({"sort": "name"}, {"sort": "lastUpdated"}, {"offset": 1}):
        assert (await ask(admin, village, cursor=cursor, **query)).status_code == 400


async def test_strangers_and_unknown_programs_come_before_parameters(app: FastAPI, admin: AsyncClient) -> None:
    program, other = await make_program(admin), await make_program(admin)
    async with limited_to(app, admin, program, "A1") as member:
        assert (await ask(member, other, sort="x")).status_code == 403
    assert (await ask(admin, new_id(), sort="x")).status_code == 404


async def test_a_browser_may_read_the_headers(admin: AsyncClient, village: str, installation: Any) -> None:
    del village
    async with installation.running(CORS_ORIGINS="https://admin.example") as (_, client):
        answer = await client.get("/api/entities", headers={"Origin": "https://admin.example"})
        exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert {"Link", "X-Total-Count", "X-Next-Cursor"} <= exposed


# -- limited readers


@pytest.mark.parametrize("sort", ["-lastUpdated", "name", "-entityName", "guid"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {"g-2", "in-bob", "in-zoe", "visit"}),
        ({"area": "A1"}, set()),
        ({"area": ["A1", "A2"]}, {"g-2", "in-bob"}),
        ({"parent": "g-1"}, set()),
        ({"parent": "in-bob"}, {"in-zoe", "visit"}),
        ({"q": "perez"}, set()),
        ({"q": "brown"}, {"g-2", "in-bob"}),
        ({"type": "individual"}, {"in-bob", "in-zoe"}),
        ({"entityName": "household"}, {"g-2"}),
    ],
)
async def test_a_limited_reader_finds_what_is_within_reach(
    neighbour: AsyncClient, same_village: str, query: dict[str, Any], expected: set[str], sort: str
) -> None:
    answer = await ask(neighbour, same_village, sort=sort, count="exact", **query)
    assert {entity["guid"] for entity in answer.json()} == expected
    assert answer.headers["X-Total-Count"] == str(len(expected))
    assert (await neighbour.get("/api/entities/count", params={"configId": same_village})).json() == {"count": 4}


async def test_lists_take_a_constant_number_of_statements(admin: AsyncClient, village: str, hub: Hub) -> None:
    async def statements(**query: Any) -> int:
        await hub.indexes.catch_up(system_scope(TenantId(village)))
        with hub.db.statements.record() as sent:
            await ask(admin, village, **query)
        return len([sql for sql in sent if "users" not in sql and "programs" not in sql])

    queries = [
        {},
        {"limit": 1},
        {"type": "group", "area": "A1", "entityName": "household", "sort": "name"},
        {"q": "brown"},
        {"hasConflict": "true", "updatedSince": "2020-01-01T00:00:00Z"},
    ]
    before = [await statements(**query) for query in queries]
    await push(admin, village, *(person(f"more-{n}", "Brown", area_id="A1") for n in range(200)))
    after = [await statements(**query) for query in queries]
    # Counting comes on top where the page is not the whole list.
    assert all(now <= count + 1 for now, count in zip(after, before, strict=True))
    assert max(before) <= 6


async def test_a_form_whose_name_is_as_long_as_a_beginning_is_not_taken_for_longer_ones(admin: AsyncClient) -> None:
    program, name = await make_program(admin), "f" * 100
    for number, form in enumerate((name, f"{name}g", name[:-1])):
        await push(admin, program, make_event(entity=f"e-{number}", data={"entityName": form}))
    for more in ({}, {"sort": "name"}, {"count": "exact"}, {"sort": "entityName"}):
        answer = await admin.get("/api/entities", params={"configId": program, "entityName": name, **more})
        assert [entity["guid"] for entity in answer.json()] == ["e-0"], more
        assert answer.headers["X-Total-Count"] == "1"
