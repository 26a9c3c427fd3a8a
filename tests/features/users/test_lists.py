"""`GET /api/users`: pages, filters, and what lists cost."""

import re
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from datacollect.features.users import queries
from datacollect.features.users.model import ListQuery
from datacollect.features.users.tables import users
from datacollect.http.hub import Hub
from datacollect.kernel.ids import TenantId
from tests.accounts import assert_refused, make_person
from tests.factories import make_program, new_id
from tests.features.conftest import Alone

pytestmark = pytest.mark.anyio


async def listed(client: AsyncClient, **parameters: Any) -> Any:
    answer = await client.get("/api/users", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer


async def ids(client: AsyncClient, **parameters: Any) -> list[int]:
    return [one["id"] for one in (await listed(client, **parameters)).json()]


async def test_without_parameters_the_list_is_a_plain_array_of_all(alone: Alone) -> None:
    admin = await alone.admin()
    people = [await make_person(admin) for _ in range(5)]
    answer = await listed(admin)
    assert [one["id"] for one in answer.json()] == [1, *(person.id for person in people)]
    assert set(answer.json()[0]) == {"id", "email", "role", "tenantIds", "roleAssignments"}
    assert answer.headers["x-total-count"] == "6"
    assert "link" not in answer.headers and "x-next-cursor" not in answer.headers


async def test_pages_show_everybody_once_though_accounts_come_and_go(admin: AsyncClient) -> None:
    program = await make_program(admin)
    people = [await make_person(admin, tenantIds=[program]) for _ in range(7)]
    seen, link = [], f"/api/users?tenantId={program}&limit=3"
    while link:
        answer = await admin.get(link)
        seen += [one["id"] for one in answer.json()]
        found = re.fullmatch('<(.+)>; rel="next"', answer.headers.get("link", ""))
        link = found[1] if found else ""
        if len(seen) == 3:
            await admin.delete(f"/api/users/{people[0].id}")
            people.append(await make_person(admin, tenantIds=[program]))
    assert seen == [person.id for person in people]
    assert answer.headers["x-total-count"] == "7"


async def test_a_page_of_accounts_that_reach_many_areas_is_short(
    admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may hold a mebibyte of them, and a list without `limit` ten thousand accounts."""
    monkeypatch.setattr(queries, "MOST_BYTES", 2000)
    program = await make_program(admin)
    scope = {"areaIds": [f"area-{number}" for number in range(100)]}
    assignment = {"tenantId": program, "role": "enumerator", "syncScopeOverride": scope}
    people = [await make_person(admin, roleAssignments=[assignment]) for _ in range(3)]
    seen, link = [], f"/api/users?tenantId={program}"
    while link:
        answer = await admin.get(link)
        assert len(answer.json()) <= 2
        seen += [one["id"] for one in answer.json()]
        following = answer.headers.get("x-next-cursor")
        link = f"/api/users?tenantId={program}&cursor={following}" if following else ""
    assert seen == [person.id for person in people]


async def test_the_filters(admin: AsyncClient) -> None:
    program, other = await make_program(admin), await make_program(admin)
    name = new_id("find_me%")
    supervisor = await make_person(
        admin,
        email=f"{name}@hub.test",
        roleAssignments=[{"tenantId": program, "role": "viewer"}, {"tenantId": program, "role": "supervisor"}],
    )
    plain = await make_person(admin, tenantIds=[program])
    boss = await make_person(admin, role="ADMIN", roleAssignments=[{"tenantId": other, "role": "supervisor"}])
    assert await ids(admin, tenantId=program) == [supervisor.id, plain.id]
    assert await ids(admin, tenantId=program, role="supervisor") == [supervisor.id]
    assert await ids(admin, tenantId=program, role="enumerator") == [plain.id]
    assert await ids(admin, tenantId=program, role="viewer") == []
    assert {supervisor.id, boss.id} <= set(await ids(admin, role="supervisor"))
    assert await ids(admin, tenantId=other, role="ADMIN") == [boss.id]
    assert await ids(admin, tenantId=other, role="USER") == []
    assert await ids(admin, search=f" {name.upper()}@HUB") == [supervisor.id]
    assert await ids(admin, search="find_me%", tenantId=program) == [supervisor.id]
    assert await ids(admin, search="f_nd", tenantId=program) == []
    assert await ids(admin, search="no%such", tenantId=program) == []


async def test_a_change_moves_an_account_from_list_to_list(admin: AsyncClient) -> None:
    one, two = await make_program(admin), await make_program(admin)
    person = await make_person(admin, tenantIds=[one])
    body = {"email": person.email, "role": "USER", "roleAssignments": [{"tenantId": two, "role": "viewer"}]}
    await admin.put(f"/api/users/{person.id}", json=body | {"tenantIds": []})
    assert await ids(admin, tenantId=one) == []
    assert await ids(admin, tenantId=two, role="viewer") == [person.id]
    assert await ids(admin, tenantId=two, role="") == [person.id]
    assert person.id in await ids(admin, tenantId="")
    await admin.delete(f"/api/users/{person.id}")
    assert await ids(admin, tenantId=two) == []


@pytest.mark.parametrize(
    "parameters",
    [{"limit": limit} for limit in ("0", "-1", "1001", "x", "", "1e3", "9" * 30)]
    + [{"cursor": cursor} for cursor in ("x", "", "-1", "9" * 30)]
    + [{"role": role} for role in ("root", "admin", "ENUMERATOR")],
    ids=str,
)
async def test_parameters_that_mean_nothing_are_refused(admin: AsyncClient, parameters: dict[str, str]) -> None:
    answer = await admin.get("/api/users", params=parameters)
    text = "`limit` is 1-1000, `cursor` comes from the page before, `role` is a role."
    assert_refused(answer, 400, text, "INVALID_USER_QUERY")


async def test_a_list_takes_two_statements_whatever_its_length(hub: Hub, admin: AsyncClient) -> None:
    program = await make_program(admin)
    for _ in range(4):
        await make_person(admin, tenantIds=[program])
    await listed(admin)
    for parameters in ({}, {"limit": 1}, {"limit": 1000, "tenantId": program, "role": "enumerator", "search": "hub"}):
        with hub.db.statements.record() as statements:
            await listed(admin, **parameters)
        # Who asks is looked at once a second.
        statements = [sql for sql in statements if "sessions" not in sql]
        assert len(statements) == 2, statements


FILL = {
    "sqlite": "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10050)",
    "postgresql": "WITH n(n) AS (SELECT generate_series(1, 10050))",
}


async def fill(alone: Alone) -> None:
    """10,050 accounts of a program nobody asks about."""
    false = "0" if alone.hub.db.dialect == "sqlite" else "false"
    async with alone.hub.db.transaction() as tx:
        await tx.run(
            "INSERT INTO users (email, password_hash, role, tenant_ids, role_assignments, version, must_change_password,"
            f" created_ms, updated_ms) {FILL[alone.hub.db.dialect]} SELECT 'filler-' || n, 'x', 'USER', '[\"filler\"]',"
            f" '[]', 1, {false}, 0, 0 FROM n"
        )
        await tx.run(
            "INSERT INTO user_tenants (tenant_id, user_id, role)"
            " SELECT 'filler', id, 'enumerator' FROM users WHERE email LIKE 'filler-%'"
        )
    if alone.hub.db.dialect == "postgresql":
        async with alone.hub.db.transaction() as tx:
            await tx.run("ANALYZE users")
            await tx.run("ANALYZE user_tenants")


async def test_a_list_is_never_without_end_and_says_so(alone: Alone) -> None:
    admin = await alone.admin()
    await fill(alone)
    answer = await listed(admin)
    assert (len(answer.json()), answer.headers["x-total-count"]) == (10_000, "10051")
    rest = await admin.get(re.fullmatch('<(.+)>; rel="next"', answer.headers["link"])[1])  # type: ignore[index]
    assert len(rest.json()) == 51


async def test_a_page_of_a_small_program_does_not_read_all_accounts(alone: Alone) -> None:
    admin = await alone.admin()
    program = await make_program(admin)
    await make_person(admin, tenantIds=[program])
    await fill(alone)
    query = ListQuery(programs=frozenset({TenantId(program)}), no_admins=True)
    statement = queries.matching(select(users), query).order_by(users.c.id).limit(51)
    dialect = sqlite.dialect() if alone.hub.db.dialect == "sqlite" else postgresql.dialect()  # type: ignore[no-untyped-call]
    sql = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    async with alone.hub.db.transaction() as tx:
        explain = "EXPLAIN QUERY PLAN" if alone.hub.db.dialect == "sqlite" else "EXPLAIN"
        plan = "\n".join(str(row[-1]) for row in await tx.fetch(f"{explain} {sql}"))
    assert not re.search(r"SCAN users|Seq Scan on", plan), plan
