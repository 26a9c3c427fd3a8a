"""Whatever is sent as parameters of a list: no crash, no other program's entity, nothing beyond the reader's reach."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import asgi_client
from tests.factories import make_event, make_program, push
from tests.features.entities.finding.test_search_properties import limited_to

pytestmark = pytest.mark.anyio

PARAMETERS = {
    "type": ["group", "individual", "record", "Group"],
    "entityName": ["individual", "household", "Unknown"],
    "area": ["A1", "A2", "A1' OR 1=1"],
    "parent": ["g", "e-1", "g'"],
    "updatedSince": ["2020-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "now"],
    "hasConflict": ["true", "false", "1"],
    "q": ["ana", "ANA sm", "%", "_", "日本", "\\", "' --"],
    "sort": ["name", "-name", "lastUpdated", "-entityName", "guid", "-guid", "data.age"],
    "cursor": ["", "WyItbGFzdFVwZGF0ZWQiLDUsImUtMSJd", "WyJuYW1lIiwiYSIsImUtMSJd", "WyJndWlkIiwiZS0xIl0"],
    "offset": ["0", "1", "99999", "x"],
    "count": ["exact", "none", "all"],
    "fields": ["guid,name", "data.name,data.x.y", "memberIds", "nothing"],
    "limit": ["1", "1000", "0", "-1", "9" * 30, "١"],
}


@st.composite
def queries(draw: st.DrawFn) -> list[tuple[str, str]]:
    names = draw(st.lists(st.sampled_from(sorted(PARAMETERS)), max_size=6))
    return [(name, draw(st.sampled_from(PARAMETERS[name]) | st.text(max_size=12))) for name in names]


@pytest.fixture(scope="session")
async def programs(app: FastAPI, admin_token: str) -> tuple[str, str]:
    """Two that hold the same guids."""
    async with asgi_client(app, admin_token) as admin:
        made = []
        for _ in range(2):
            program = await make_program(admin)
            people = [
                make_event(entity=f"e-{n}", data={"name": f"Ana {n}", "area_id": f"A{n % 2 + 1}", "of": program})
                for n in range(8)
            ]
            group = {"name": "G", "entityName": "household", "area_id": "A1", "of": program}
            answer = await push(admin, program, *people, make_event("create-group", entity="g", data=group))
            assert answer.status_code == 200, answer.text
            made.append(program)
        return made[0], made[1]


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(query=queries())
async def test_no_list_is_a_crash_or_of_somebody_else(
    admin: AsyncClient, programs: tuple[str, str], query: list[tuple[str, str]]
) -> None:
    await _ask(admin, programs[0], query, reached={("group", "A1"), ("individual", "A1"), ("individual", "A2")})


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(asked=st.lists(queries(), min_size=10, max_size=20))
async def test_no_list_of_a_limited_reader_is_beyond_reach(
    app: FastAPI, admin: AsyncClient, programs: tuple[str, str], asked: list[list[tuple[str, str]]]
) -> None:
    async with limited_to(app, admin, programs[0], "A2") as reader:
        for query in asked:
            await _ask(reader, programs[0], query, reached={("individual", "A2")})


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(asked=st.lists(queries(), min_size=10, max_size=20))
async def test_no_list_of_a_reader_with_several_limits_is_beyond_all_of_them(
    app: FastAPI, admin: AsyncClient, programs: tuple[str, str], asked: list[list[tuple[str, str]]]
) -> None:
    groups = {"areaIds": ["A1"], "entityTypes": ["group"]}
    async with limited_to(app, admin, programs[0], "A2", groups) as reader:
        for query in asked:
            await _ask(reader, programs[0], query, reached={("individual", "A2"), ("group", "A1")})


async def _ask(
    client: AsyncClient, program: str, query: list[tuple[str, str]], *, reached: set[tuple[str, str]]
) -> None:
    answer = await client.get("/api/entities", params=[("configId", program), *query])
    assert answer.status_code in (200, 400), (query, answer.text)
    body: Any = answer.json()
    if answer.status_code == 200:
        whole = [entity for entity in body if "of" in entity.get("data", {})]
        assert {entity["data"]["of"] for entity in whole} <= {program}
        assert {(entity["type"], entity["data"]["area_id"]) for entity in whole} <= reached
    else:
        assert body["code"] in ("INVALID_LIST_PARAMETER", "NUL_CHARACTER", "INVALID_URL"), (query, body)
