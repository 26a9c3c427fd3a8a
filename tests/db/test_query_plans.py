"""No hot statement reads in proportion to a tenant's history: each one's plan names more than the tenant."""

import re
from collections.abc import AsyncIterator

import pytest
from httpx2 import AsyncClient

from datacollect.db import EVERY_TENANT, Tx
from datacollect.http.hub import Hub
from tests.accounts import bearer, login, make_person
from tests.factories import make_audit_log, make_event, make_program, pull, pull_audit, push, push_audit
from tests.statements import hot

pytestmark = pytest.mark.anyio

WALKS_THROUGH_A_TENANT = {
    "sqlite": re.compile(r"SCAN (events|entities|members|audit_log|event_places|filed|e|m)\b|\(tenant_id=\?\)"),
    "postgresql": re.compile(
        r"Seq Scan on (events|entities|members|audit_log|event_places)\b|Index Cond: \(tenant_id = \$1\)$"
    ),
}
ONE_ROW_OF_A_TENANT = re.compile(r"\b(log_heads|search_indexes)\b")
IN_ORDER_AND_LIMITED = ("ORDER BY e.changed_position DESC",)
"""Newest first with a limit: reads a page in index order, and stops."""


FILL = (
    """
INSERT INTO events SELECT 'filler', n, 'filler-' || n, 'e-' || n % 999, 'create-individual', n, n, n, '1', NULL, 'client',
  ''::bytea, ''::bytea, repeat('x', 400) FROM generate_series(1, 8000) n""",
    """
INSERT INTO entities SELECT 'filler', 'e-' || n, 'individual', 'f', 'n', NULL, NULL, 1, NULL, '{"name": "n"}', '[1,1]',
  false, n, 1 FROM generate_series(1, 8000) n""",
    """
INSERT INTO audit_log SELECT 'filler', n, 1, 'filler-' || n, n, n, '1', NULL, NULL, NULL, 'create-individual', 'filler-' || n,
  'e-' || n, NULL, '' FROM generate_series(1, 8000) n""",
    """
INSERT INTO event_places SELECT 'filler', 'i/' || n % 99, n FROM generate_series(1, 8000) n""",
    """
INSERT INTO members SELECT 'filler', 'e-' || n % 99, 'e-' || n, n, true, 1, 1 FROM generate_series(1, 8000) n""",
)


@pytest.fixture
async def filled(hub: Hub) -> AsyncIterator[None]:
    """Makes PostgreSQL, which reads small tables whole, expect large ones. SQLite expects them always."""
    if hub.db.dialect == "sqlite":
        yield
        return
    async with hub.db.transaction(EVERY_TENANT) as tx:
        for statement in FILL:
            await tx.run(statement)
    yield
    async with hub.db.transaction(EVERY_TENANT) as tx:
        for table in ("events", "entities", "members", "audit_log", "event_places"):
            await tx.run(f"DELETE FROM {table} WHERE tenant_id = 'filler'")


async def plans_of(hub: Hub, statements: list[str]) -> dict[str, list[str]]:
    explain = _explain_sqlite if hub.db.dialect == "sqlite" else _explain_postgres
    reads = {sql for sql in hot(statements) if sql.lstrip().startswith(("SELECT", "WITH")) and "INSERT" not in sql}
    # Lists that SQLAlchemy writes out only when it sends them cannot be explained.
    reads = {sql for sql in reads if "POSTCOMPILE" not in sql}
    async with hub.db.transaction(EVERY_TENANT) as tx:
        return {sql: plan for sql in reads if (plan := await explain(tx, sql))}


async def _explain_sqlite(tx: Tx, sql: str) -> list[str]:
    count = max([0, *map(int, re.findall(r"\?(\d+)", sql))]) or len(re.findall(r"\?|(?<!:):\w+", sql))
    return [row[3] for row in await tx.fetch(f"EXPLAIN QUERY PLAN {sql}", *["[]"] * count)]


async def _explain_postgres(tx: Tx, sql: str) -> list[str]:
    """The plan for any parameters, which is what a statement that is sent often ends up with."""
    count = max([0, *map(int, re.findall(r"\$(\d+)", sql))])
    if not count:
        return []  # written by SQLAlchemy, and shown here without its parameters
    await tx.run("SET LOCAL plan_cache_mode = force_generic_plan")
    await tx.run(f"PREPARE hot AS {sql}")
    plan = await tx.fetch(f"EXPLAIN EXECUTE hot ({', '.join(['NULL'] * count)})")
    await tx.run("DEALLOCATE hot")
    # A node and its condition in one line, as SQLite writes them.
    return re.sub(r"\n\s*Index Cond", " Index Cond", "\n".join(row[0] for row in plan)).split("\n")


@pytest.mark.usefixtures("filled")
async def test_every_statement_of_push_pull_and_entity_reads_finds_its_rows_by_key(
    admin: AsyncClient, hub: Hub
) -> None:
    program = await make_program(admin)
    group = make_event("create-group", entity="g", data={"name": "G", "members": [{"guid": "m", "name": "M"}]})
    with hub.db.statements.record() as statements:
        await push(admin, program, group, make_event(entity="p"))
        await push(admin, program, make_event("remove-member", entity="g", data={"memberId": "m"}))
        await push(admin, program, make_event("delete-entity", entity="g", data={"id": "g"}))
        cursor = (await pull(admin, program, limit=1)).json()["nextCursor"]
        await pull(admin, program, cursor)
        await pull(admin, program, "2025-01-01T00:00:00.000Z")
        for path in ("count", "count-by-form", "p", "g/members", "p/events"):
            await admin.get(f"/api/entities/{path}", params={"configId": program})
        await admin.get("/api/entities", params={"configId": program})
    plans = await plans_of(hub, statements)
    assert len(plans) > 6
    walks = WALKS_THROUGH_A_TENANT[hub.db.dialect]
    for sql, plan in plans.items():
        slow = [step for step in plan if walks.search(step) and not ONE_ROW_OF_A_TENANT.search(step)]
        assert not slow or any(text in sql for text in IN_ORDER_AND_LIMITED), (sql, plan)


@pytest.mark.usefixtures("filled")
async def test_every_statement_of_the_audit_trail_finds_its_rows_by_key(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push(admin, program, make_event("create-group", entity="g", data={"members": [{"guid": "m", "name": "M"}]}))
    ahead = make_audit_log(timestamp="2999-01-01T00:00:00.000Z")
    with hub.db.statements.record() as statements:
        await push_audit(admin, program, ahead)
        for query in ({}, {"since": "2025-01-01T00:00:00.000Z"}, {"cursor": "1-0"}, {"entityGuid": "m"}):
            answer = await pull_audit(admin, program, **query)
            assert answer.status_code == 200 and answer.json()
    plans = await plans_of(hub, [sql for sql in statements if "audit_log" in sql or "recorded_ms >" in sql])
    # Known guids, the last ordinal, the border in time, and the trail, whole and of one entity.
    assert len(plans) == 5
    walks = WALKS_THROUGH_A_TENANT[hub.db.dialect]
    for sql, plan in plans.items():
        assert not [step for step in plan if walks.search(step) and not ONE_ROW_OF_A_TENANT.search(step)], (sql, plan)
    trails = [plan for sql, plan in plans.items() if "ahead" in sql]
    assert len(trails) == 2
    # What claims to be later than it was stored is not looked for along the whole trail.
    assert all(any("ix_audit_log_ahead" in step for step in plan) for plan in trails), trails


@pytest.mark.usefixtures("filled")
async def test_every_statement_of_an_entitys_history_finds_its_rows_by_key(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    twice = [{"guid": guid, "type": "group", "members": [{"guid": "m", "name": guid}]} for guid in ("h", "i")]
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G"}))
    await push(admin, program, make_event("add-member", entity="g", data={"members": twice}))
    await push(admin, program, make_event("update-individual", entity="m", timestamp="2024-01-01T00:00:00.000Z"))
    with hub.db.statements.record() as statements:
        for path in ("m/events", "m/history"):
            answer = await admin.get(f"/api/entities/{path}", params={"configId": program})
            assert answer.status_code == 200 and answer.json()
    plans = await plans_of(hub, [sql for sql in statements if "events" in sql or "audit_log" in sql])
    # The bodies; the touches, whom a touch wrote else, and what lost values lost against.
    assert len(plans) == 4
    walks = WALKS_THROUGH_A_TENANT[hub.db.dialect]
    for sql, plan in plans.items():
        assert not [step for step in plan if walks.search(step)], (sql, plan)
    streams = [plan for sql, plan in plans.items() if "UNION ALL" in sql]
    assert len(streams) == 2
    for plan in streams:
        for table in ("events", "audit_log"):
            assert any(f"ix_{table}_tenant_id_entity_guid_position" in step for step in plan), plan


@pytest.mark.usefixtures("filled")
async def test_every_statement_of_a_limited_caller_finds_its_rows_by_key(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    program = await make_program(admin)
    limited = {"areaIds": ["A1", "A2"], "timeWindow": {"type": "rolling", "days": 30}}
    assignment = {"tenantId": program, "role": "enumerator", "syncScopeOverride": limited}
    person = await make_person(admin, tenantIds=[program], roleAssignments=[assignment])
    client.headers.update(bearer((await login(client, person))["token"]) | {"X-Device-Id": "tablet-07"})
    await push(admin, program, *(make_event(data={"name": "Ana", "area_id": "A1"}) for _ in range(5)))
    with hub.db.statements.record() as statements:
        first = (await pull(client, program, limit=2)).json()
        assert len(first["events"]) == 2
        await pull(client, program, first["nextCursor"], areaIds="A1")
        mine = make_event("update-individual", entity=first["events"][0]["entityGuid"], data={"age": 7})
        assert (await push(client, program, mine)).status_code == 200
        await pull(client, program, f"{mine['timestamp']}|{mine['guid']}")
    plans = await plans_of(hub, statements)
    assert any("event_places" in sql for sql in plans)
    walks = WALKS_THROUGH_A_TENANT[hub.db.dialect]
    for sql, plan in plans.items():
        assert not [step for step in plan if walks.search(step) and not ONE_ROW_OF_A_TENANT.search(step)], (sql, plan)
    [by_place] = [plan for sql, plan in plans.items() if "event_places" in sql]
    # Each place from its own stretch of the key, and no further than the page needs.
    key = {
        "sqlite": r"event_places USING PRIMARY KEY \(tenant_id=\? AND place=\? AND position>\?\)",
        "postgresql": r"event_places .*\(tenant_id = \$1\) AND \(place = .*\) AND \(\"?position\"? > \$3\)",
    }
    assert any(re.search(key[hub.db.dialect], step) for step in by_place), by_place
