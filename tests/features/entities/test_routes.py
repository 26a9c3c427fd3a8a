"""`/api/entities` through HTTP, on both engines. Shapes are those of the contract and of the recorded exchanges."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.features.entities import queries
from datacollect.features.entities.finding.pages import DEFAULT_LIMIT, HIGHEST_LIMIT
from datacollect.http.hub import Hub
from datacollect.kernel.clock import parse_timestamp
from datacollect.testing.clock import TurnableClock
from tests.conftest import asgi_client
from tests.factories import make_event, make_program, new_id, push

ROUTES = ["", "/count", "/count-by-form", "/some-guid", "/some-guid/members", "/some-guid/events"]


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    return await make_program(admin)


async def get(client: AsyncClient, program: str, path: str = "", **query: Any) -> Any:
    return await client.get(f"/api/entities{path}", params={"configId": program} | query)


async def send(client: AsyncClient, program: str, *events: dict[str, Any]) -> None:
    answer = await push(client, program, *events)
    assert answer.status_code == 200, answer.text


def person(guid: str, name: str = "Ana", **changes: Any) -> dict[str, Any]:
    data = {"name": name, "entityName": "individual", "age": 7}
    return make_event("create-individual", entity=guid, data=data, **changes)


def household(guid: str, *members: str, **data: Any) -> dict[str, Any]:
    listed = [{"guid": member, "name": member.upper(), "type": "individual"} for member in members]
    data = {"name": "Smith Family", "entityName": "household"} | data
    return make_event("create-group", entity=guid, data=data | ({"members": listed} if members else {}))


# -- who may look


@pytest.mark.parametrize("path", ROUTES)
async def test_nobody_looks_without_a_token(client: AsyncClient, path: str) -> None:
    answer = await get(client, new_id(), path)
    assert answer.status_code == 401
    assert {"error", "message", "code", "requestId"} <= set(answer.json())


async def sign_in(admin: AsyncClient, app: FastAPI, *programs: str, role: str | None = None) -> AsyncClient:
    """A client signed in as a member of these programs."""
    account = {"email": f"{new_id('u')}@hub.test", "password": "Correct-Horse-8"}
    assignments = [{"tenantId": program, "role": role} for program in programs] if role else []
    wanted = account | {"role": "USER", "tenantIds": programs, "roleAssignments": assignments}
    assert (await admin.post("/api/users", json=wanted)).status_code == 201
    async with asgi_client(app) as client:
        return asgi_client(app, (await client.post("/api/users/login", json=account)).json()["token"])


@pytest.mark.parametrize("role", [None, "viewer", "supervisor"])
async def test_any_member_may_look_and_learns_nothing_of_other_programs(
    admin: AsyncClient, app: FastAPI, program: str, role: str | None
) -> None:
    other = await make_program(admin)
    await send(admin, program, household("some-guid"))
    async with await sign_in(admin, app, program, role=role) as member:
        for path in ROUTES:
            assert (await get(member, program, path)).status_code == 200, path
            for foreign in (other, "no-such-program"):
                refused = await get(member, foreign, path)
                assert (refused.status_code, refused.json()["code"]) == (403, "TENANT_ACCESS_DENIED"), path


@pytest.mark.parametrize("path", ROUTES)
async def test_an_unknown_program_is_not_found(admin: AsyncClient, path: str) -> None:
    answer = await get(admin, "no-such-program", path)
    assert answer.status_code == 404
    body = answer.json()
    assert (body["error"], body["configId"], body["code"]) == (
        "Tenant not found",
        "no-such-program",
        "TENANT_NOT_FOUND",
    )


@pytest.mark.parametrize("path", ROUTES)
async def test_a_repeated_config_id_is_refused(admin: AsyncClient, program: str, path: str) -> None:
    answer = await admin.get(f"/api/entities{path}?configId={program}&configId={program}")
    assert (answer.status_code, answer.json()["code"]) == (400, "TENANT_MISMATCH")


async def test_another_programs_entity_is_not_found(admin: AsyncClient, program: str) -> None:
    other = await make_program(admin)
    await send(admin, other, household("g", "a"))
    for path in ("/g", "/g/members"):
        assert (await get(admin, program, path)).status_code == 404
    assert (await get(admin, program, "/g/events")).json() == []
    assert (await get(admin, program)).json() == []
    assert (await get(admin, program, "/count")).json() == {"count": 0}


# -- shapes


async def test_an_individual_as_recorded(admin: AsyncClient, program: str, clock: TurnableClock) -> None:
    before = clock.now()
    await send(admin, program, person("p-1"))
    answer = await get(admin, program, "/p-1")
    assert answer.headers["content-type"] == "application/json"
    entity = answer.json()
    assert before <= parse_timestamp(entity.pop("lastUpdated")) <= clock.now()
    assert entity == {
        "guid": "p-1",
        "id": "p-1",
        "name": "Ana",
        "entityName": "individual",
        "type": "individual",
        "data": {"name": "Ana", "entityName": "individual", "age": 7},
    }


async def test_an_entity_without_a_form_has_no_entity_name(admin: AsyncClient, program: str) -> None:
    await send(admin, program, make_event(entity="p-1", data={"age": 1}))
    entity = (await get(admin, program, "/p-1")).json()
    assert "entityName" not in entity
    assert entity["name"] == "Unnamed Individual"


async def test_a_group_lists_its_members_in_the_order_of_joining(admin: AsyncClient, program: str) -> None:
    await send(admin, program, household("g", "z", "a"), household("empty"))
    await send(admin, program, make_event("add-member", entity="g", data={"members": [{"guid": "m", "name": "Bob"}]}))
    group = (await get(admin, program, "/g")).json()
    assert (group["type"], group["memberIds"]) == ("group", ["z", "a", "m"])
    assert "members" not in group["data"]
    assert (await get(admin, program, "/empty")).json()["memberIds"] == []
    shown = (await get(admin, program, "/g/members")).json()
    assert [(member["guid"], member["name"]) for member in shown] == [("z", "Z"), ("a", "A"), ("m", "Bob")]
    assert all("memberIds" not in member for member in shown)
    assert (await get(admin, program, "/empty/members")).json() == []


async def test_a_list_of_members_says_whether_it_is_whole(
    admin: AsyncClient, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(admin, program, household("g", "a", "b", "c"))
    monkeypatch.setattr(queries, "MOST_MEMBERS", 3)
    whole = await get(admin, program, "/g/members")
    assert (whole.headers["X-Total-Count"], "Link" in whole.headers) == ("3", False)
    monkeypatch.setattr(queries, "MOST_MEMBERS", 2)
    cut = await get(admin, program, "/g/members")
    assert ([member["guid"] for member in cut.json()], "X-Total-Count" in cut.headers) == (["a", "b"], False)
    address, _, relation = cut.headers["Link"].partition("; ")
    assert relation == 'rel="alternate"'
    rest = await admin.get(address.strip("<>"))
    assert {member["guid"] for member in rest.json()} == {"a", "b", "c"}


async def test_a_group_that_is_a_member_is_shown_without_its_members(admin: AsyncClient, program: str) -> None:
    await send(admin, program, household("inner", "a"), household("outer"))
    await send(admin, program, make_event("add-member", entity="outer", data={"members": [{"guid": "inner"}]}))
    (inner,) = (await get(admin, program, "/outer/members")).json()
    assert inner["type"] == "group"
    assert "memberIds" not in inner


async def test_deleted_members_are_left_out(admin: AsyncClient, program: str) -> None:
    await send(admin, program, household("g", "a", "b"), make_event("delete-entity", entity="a", data={"x": 1}))
    assert (await get(admin, program, "/g")).json()["memberIds"] == ["b"]
    assert [member["guid"] for member in (await get(admin, program, "/g/members")).json()] == ["b"]


async def test_values_come_back_as_they_were_sent(admin: AsyncClient, program: str) -> None:
    data: dict[str, Any] = {
        "name": "Zoë O'Neil \U0001f600",
        "n": [0, -1, 2.5, 9007199254740993, True, None, "", [], {}],
        "nested": {"a": {"b": [{"c": '"\\/\u2028'}]}},
    }
    await send(admin, program, make_event(entity="p-1", data=data))
    assert (await get(admin, program, "/p-1")).json()["data"] == data


@pytest.mark.parametrize("guid", ["näme", "a b", "a%2Fb", "?x=1", "'; --", "PH/01", "/a/members", "//"])
async def test_a_guid_may_be_any_text(admin: AsyncClient, program: str, guid: str) -> None:
    await send(admin, program, make_event("create-group", entity=guid, data={"name": "G"}))
    quoted = _quoted(guid)
    assert (await get(admin, program, f"/{quoted}")).json()["guid"] == guid
    assert (await get(admin, program, f"/{quoted}/members")).json() == []
    assert [event["entityGuid"] for event in (await get(admin, program, f"/{quoted}/events")).json()] == [guid]
    assert len((await get(admin, program, f"/{quoted}/history")).json()["history"]) == 1
    attached = await admin.get(f"/api/attachments/entity/{quoted}", params={"configId": program})
    assert attached.json()["attachments"] == []


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


# -- what is not there


async def test_an_unknown_entity(admin: AsyncClient, program: str) -> None:
    answer = await get(admin, program, "/nobody")
    body = answer.json()
    assert answer.status_code == 404
    assert (body["error"], body["guid"], body["code"]) == ("Entity not found", "nobody", "ENTITY_NOT_FOUND")
    assert (await get(admin, program, "/nobody/events")).json() == []


@pytest.mark.parametrize("guid", ["nobody", "p-1"])
async def test_only_a_group_has_members(admin: AsyncClient, program: str, guid: str) -> None:
    await send(admin, program, person("p-1"))
    answer = await get(admin, program, f"/{guid}/members")
    assert answer.status_code == 404
    assert answer.json()["error"] == "Entity not found or is not a group"
    assert answer.json()["guid"] == guid


async def test_a_deleted_entity_is_gone_but_its_history_stays(admin: AsyncClient, program: str) -> None:
    await send(admin, program, household("g", "a"), make_event("delete-entity", entity="g", data={"x": 1}))
    for path in ("/g", "/g/members", "/a"):
        assert (await get(admin, program, path)).status_code == 404
    history = (await get(admin, program, "/g/events")).json()
    assert [event["type"] for event in history] == ["create-group", "delete-entity"]
    assert (await get(admin, program, "/count")).json() == {"count": 0}
    assert (await get(admin, program, "/count-by-form")).json() == {}


# -- counts and lists


async def test_counts_by_form_add_up_to_the_count(admin: AsyncClient, program: str) -> None:
    await send(admin, program, household("g", "a"), person("p-1"), person("p-2"))
    assert (await get(admin, program, "/count-by-form")).json() == {"household": 1, "individual": 2, "Unknown": 1}
    assert (await get(admin, program, "/count")).json() == {"count": 4}


async def test_the_list_begins_with_what_changed_last(admin: AsyncClient, program: str) -> None:
    await send(admin, program, *(person(f"p-{n}") for n in range(4)))
    await send(admin, program, make_event("update-individual", entity="p-1", data={"age": 8}))
    listed = (await get(admin, program)).json()
    assert [entity["guid"] for entity in listed] == ["p-1", "p-3", "p-2", "p-0"]
    assert [entity["guid"] for entity in (await get(admin, program, limit=2)).json()] == ["p-1", "p-3"]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("", DEFAULT_LIMIT),
        ("0", DEFAULT_LIMIT),
        ("-3", DEFAULT_LIMIT),
        ("abc", DEFAULT_LIMIT),
        ("7", 7),
        ("2.9", 2),
        ("5000", HIGHEST_LIMIT),
        ("9" * 40, HIGHEST_LIMIT),
    ],
)
async def test_the_lists_limit(admin: AsyncClient, crowd: str, limit: str, expected: int) -> None:
    assert len((await get(admin, crowd, limit=limit)).json()) == expected


@pytest.fixture(scope="module")
async def crowd(app: FastAPI, admin_token: str) -> str:
    """A program with more entities than any list shows."""
    async with asgi_client(app, admin_token) as admin:
        program = await make_program(admin)
        await send(admin, program, *(person(f"p-{n}") for n in range(HIGHEST_LIMIT + 1)))
    return program


async def test_reads_take_a_constant_number_of_statements(admin: AsyncClient, program: str, hub: Hub) -> None:
    await send(admin, program, *(household(f"g-{n}", f"a-{n}", f"b-{n}") for n in range(20)))
    for path, most in {
        "": 2,
        "?limit=10": 3,
        "/count": 1,
        "/count-by-form": 1,
        "/g-1": 2,
        "/g-1/members": 2,
        "/g-1/events": 1,
    }.items():
        with hub.db.statements.record() as statements:
            name, _, limit = path.partition("?limit=")
            assert (await get(admin, program, name, limit=limit)).status_code == 200
        own = [sql for sql in statements if "users" not in sql and "programs" not in sql]
        assert len(own) <= most, path


# -- history


async def test_the_history_is_by_the_devices_time_and_holds_what_was_sent(admin: AsyncClient, program: str) -> None:
    early, late = person("p-1"), make_event("update-individual", entity="p-1", data={"age": 8})
    await send(admin, program, late)
    await send(admin, program, early)
    history = (await get(admin, program, "/p-1/events")).json()
    assert history == [early | {"syncLevel": 1}, late | {"syncLevel": 1}]
    assert (await get(admin, program, "/p-1")).json()["data"] == {"name": "Ana", "entityName": "individual", "age": 8}


async def test_a_groups_history_has_its_own_events_only(admin: AsyncClient, program: str) -> None:
    await send(admin, program, household("g"), person("a"))
    await send(admin, program, make_event("add-member", entity="g", data={"members": [{"guid": "a"}]}))
    history = (await get(admin, program, "/g/events")).json()
    assert [event["type"] for event in history] == ["create-group", "add-member"]


# -- pushed, then looked at


async def test_an_event_that_cannot_be_applied_changes_nothing_at_all(admin: AsyncClient, program: str) -> None:
    refused = await push(
        admin, program, person("p-1"), make_event("add-member", entity="none", data={"members": [{"guid": "p-1"}]})
    )
    assert refused.status_code == 422
    assert refused.json()["failed"][0]["code"] == "INVALID_GROUP"
    assert (await get(admin, program)).json() == []


async def test_the_document_describes_every_route(client: AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    for path in ("", "/count", "/count-by-form", "/{guid}", "/{guid}/members", "/{guid}/events"):
        operation = paths[f"/api/entities{path}"]["get"]
        assert operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert "configId" in {parameter["name"] for parameter in operation["parameters"]}
