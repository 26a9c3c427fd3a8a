"""No hot statement reads in proportion to a tenant's history: on SQLite each one's plan names more than the tenant."""

import re

import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from tests.factories import make_event, make_program, pull, push

pytestmark = pytest.mark.anyio

WALKS_THROUGH_A_TENANT = re.compile(r"SCAN (events|entities|members|e|m)\b|\(tenant_id=\?\)")
IN_ORDER_AND_LIMITED = ("ORDER BY entities.changed_position DESC",)
"""Newest first with a limit: reads a page in index order, and stops."""


async def plans_of(hub: Hub, statements: list[str]) -> dict[str, list[str]]:
    plans = {}
    async with hub.db.reading() as view:
        for sql in set(statements):
            if sql.lstrip().startswith(("SELECT", "WITH")):
                count = max([0, *map(int, re.findall(r"\?(\d+)", sql))]) or len(re.findall(r"\?|(?<!:):\w+", sql))
                plans[sql] = [row[3] for row in await view.fetch(f"EXPLAIN QUERY PLAN {sql}", *["[]"] * count)]
    return plans


async def test_every_statement_of_push_pull_and_entity_reads_finds_its_rows_by_key(
    admin: AsyncClient, hub: Hub
) -> None:
    if hub.db.dialect != "sqlite":
        pytest.skip("PostgreSQL has statistics and chooses by them")
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
    assert len(plans) > 8
    for sql, plan in plans.items():
        slow = [step for step in plan if WALKS_THROUGH_A_TENANT.search(step) and "log_heads" not in step]
        assert not slow or any(text in sql for text in IN_ORDER_AND_LIMITED), (sql, plan)
