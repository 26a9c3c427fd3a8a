"""No hot statement reads in proportion to a tenant's history: each one's plan names more than the tenant."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from datacollect.assembly import event_store
from datacollect.db import EVERY_TENANT, Tx
from datacollect.db.database import closing
from datacollect.db.keys import rows_with
from datacollect.db.migrate import migrate
from datacollect.db.postgres import PLANNED_ONCE, UNSORTED, PostgresDatabase
from datacollect.eventstore import postgres
from datacollect.features.entities.finding.statements import Sql, indexed
from datacollect.features.entities.indexing.checking import faults_of
from datacollect.features.entities.indexing.indexer import Indexer
from datacollect.features.entities.indexing.lookups import Lookup, lookups_of_words
from datacollect.features.entities.indexing.reindexing import Reindexer, give_up_index
from datacollect.features.entities.indexing.values import Range, equal_to
from datacollect.features.entities.rebuilt import expect_growth
from datacollect.features.entities.rows import LIVE
from datacollect.features.entities.tables import entities
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.postgres import fresh_database
from tests.accounts import bearer, login, make_person
from tests.citizens import make_citizen, make_open_program, token_of
from tests.factories import make_audit_log, make_event, make_program, pull, pull_audit, push, push_audit
from tests.statements import hot

pytestmark = pytest.mark.anyio

WALKS_THROUGH_A_TENANT = {
    "sqlite": re.compile(
        r"SCAN (events|entities|listings|members|audit_log|event_places|search_terms|filed|e|l|m|n|t)\b|\(tenant_id=\?\)"
    ),
    "postgresql": re.compile(
        r"Seq Scan on (events|entities|listings|members|audit_log|event_places|search_terms)\b|Index Cond: \(tenant_id = \$1\)$"
    ),
}
FEW_ROWS_OF_A_TENANT = re.compile(r"log_heads|search_indexes|external_current|review_configs")
"""One of each tenant, or one for each type of event."""
IN_ORDER_AND_LIMITED = ("ORDER BY l.position DESC",)
"""Newest first with a limit: reads a page in index order, and stops."""


FILL = (
    """
INSERT INTO events SELECT 'filler', n, 'filler-' || n, 'e-' || n % 999, 'create-individual', n, n, n, '1', NULL, 'client',
  ''::bytea, ''::bytea, repeat('x', 400) FROM generate_series(1, 8000) n""",
    """
INSERT INTO entities SELECT 'filler', 'e-' || n, CASE n % 3 WHEN 0 THEN 'group' ELSE 'individual' END, 'f', 'n', 'a' || n % 99,
  NULL, 1, NULL, '{"name": "n"}', '[1,1]', false, n, 1, 'n' || n % 999, 'f' || n % 9, 0 FROM generate_series(1, 8000) n""",
    """
INSERT INTO listings SELECT 'filler', n, 'e-' || n, CASE n % 3 WHEN 0 THEN 'group' ELSE 'individual' END, 'f' || n % 9, 'a' || n % 99
  FROM generate_series(1, 8000) n""",
    """
INSERT INTO audit_log SELECT 'filler', n, 1, 'filler-' || n, n, n, '1', NULL, NULL, NULL, 'create-individual', 'filler-' || n,
  'e-' || n, NULL, '' FROM generate_series(1, 8000) n""",
    """
INSERT INTO event_places SELECT 'filler', 'i/' || n % 99, n FROM generate_series(1, 8000) n""",
    """
INSERT INTO members SELECT 'filler', 'e-' || n % 99, 'e-' || n, n, true, 1, 1 FROM generate_series(1, 8000) n""",
    """
INSERT INTO search_terms SELECT 'filler', CASE WHEN n % 4 = 0 THEN 'phone' ELSE '' END, 'w' || n % 999, 'e-' || n
  FROM generate_series(1, 8000) n""",
)

FILLED = ("events", "entities", "listings", "members", "audit_log", "event_places", "search_terms")


@pytest.fixture
async def filled(hub: Hub) -> AsyncIterator[None]:
    """Makes PostgreSQL, which reads small tables whole, expect large ones. SQLite expects them always."""
    if hub.db.dialect == "sqlite":
        yield
        return
    async with hub.db.transaction(EVERY_TENANT) as tx:
        for table in FILLED:
            # What is planned must not depend on whether PostgreSQL has found the time to look at the rows.
            await tx.run(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        for statement in FILL:
            await tx.run(statement)
    yield
    async with hub.db.transaction(EVERY_TENANT) as tx:
        for table in FILLED:
            await tx.run(f"DELETE FROM {table} WHERE tenant_id = 'filler'")


async def plans_of(hub: Hub, statements: list[str], *, reading: bool = False) -> dict[str, list[str]]:
    """With `reading`, as the statements of lists and searches are planned."""
    explain = _explain_sqlite if hub.db.dialect == "sqlite" else _explain_postgres
    reads = {sql for sql in hot(statements) if sql.lstrip().startswith(("SELECT", "WITH")) and "INSERT" not in sql}
    # Lists that SQLAlchemy writes out only when it sends them cannot be explained.
    reads = {sql for sql in reads if "POSTCOMPILE" not in sql}
    async with hub.db.transaction(EVERY_TENANT) as tx:
        if reading and tx.dialect == "postgresql":
            await tx.run(f"{PLANNED_ONCE}; {UNSORTED}")
        return {sql: plan for sql in reads if (plan := await explain(tx, sql))}


async def _explain_sqlite(tx: Tx, sql: str) -> list[str]:
    sql = re.sub(r"(?<!:):\w+", "?", sql)
    count = max([0, *map(int, re.findall(r"\?(\d+)", sql))]) or sql.count("?")
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
        slow = [step for step in plan if walks.search(step) and not FEW_ROWS_OF_A_TENANT.search(step)]
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
        assert not [step for step in plan if walks.search(step) and not FEW_ROWS_OF_A_TENANT.search(step)], (sql, plan)
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
async def test_who_has_read_a_record_is_found_by_its_key(admin: AsyncClient, hub: Hub) -> None:
    program = await make_open_program(admin, "otp")
    guid = await make_citizen(admin, program, phone="+1")
    headers = bearer(await token_of(hub, program, guid, phone="+1"))
    with hub.db.statements.record() as statements:
        answer = await admin.get("/api/auth/self-service/access-log", params={"wide": "true"}, headers=headers)
        assert answer.status_code == 200, answer.text
    plans = await plans_of(hub, [sql for sql in statements if "audit_log" in sql])
    [plan] = plans.values()
    assert any("ix_audit_log_tenant_id_entity_guid_position" in step for step in plan), plan
    assert not [step for step in plan if WALKS_THROUGH_A_TENANT[hub.db.dialect].search(step)], plan


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
        assert not [step for step in plan if walks.search(step) and not FEW_ROWS_OF_A_TENANT.search(step)], (sql, plan)
    [by_place] = [plan for sql, plan in plans.items() if "event_places" in sql]
    # Each place from its own stretch of the key, and no further than the page needs.
    key = {
        "sqlite": r"event_places USING PRIMARY KEY \(tenant_id=\? AND place=\? AND position>\?\)",
        "postgresql": r"event_places .*\(tenant_id = \$1\) AND \(place = .*\) AND \(\"?position\"? > \$3\)",
    }
    assert any(re.search(key[hub.db.dialect], step) for step in by_place), by_place


@pytest.mark.usefixtures("filled")
async def test_since_when_a_log_is_filed_is_found_by_key(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    first = make_event(data={"name": "Ana", "area_id": "A1"})
    await push(admin, program, first)
    with hub.db.statements.record() as statements:
        await pull(admin, program, f"{first['timestamp']}|{first['guid']}", areaIds="A1")
    plans = await plans_of(hub, [sql for sql in statements if "min(position)" in sql])
    [plan] = plans.values()
    walks = WALKS_THROUGH_A_TENANT[hub.db.dialect]
    assert not [step for step in plan if walks.search(step) and not FEW_ROWS_OF_A_TENANT.search(step)], plan


NUMBERS = [one for one in (equal_to(31), equal_to(32)) if one is not None]
LOOKUPS = {
    "words": lookups_of_words(["ana"])[0],
    "equal text": Lookup("phone", [Range("=0912", "=0912")]),
    "one of several numbers": Lookup("phone", NUMBERS),
    "one of several numbers and texts": Lookup("phone", [*NUMBERS, Range("=x", "=x"), Range("=y", "=y")]),
    "dates before": Lookup("phone", [Range("=", "=2024-01-01~")]),
    "what is new as well": Lookup("phone", [Range("=0912", "=0912")], beyond=7),
}
TERMS_BY_KEY = {
    "sqlite": re.compile(
        r"SEARCH t USING (COVERING )?(INDEX|PRIMARY KEY).*\(tenant_id=\? AND field=\? AND term[=<>]\?"
    ),
    "postgresql": re.compile(r"pk_search_terms .*tenant_id = .* AND \(field = .* AND \(\(?term [=<>]"),
}


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("name", LOOKUPS)
async def test_the_search_index_is_asked_by_key(hub: Hub, name: str) -> None:
    found = indexed(Sql(hub.db.dialect, system_scope(TenantId("p"))), LOOKUPS[name])
    explain = _explain_sqlite if hub.db.dialect == "sqlite" else _explain_postgres
    for statement in (found, f"{found} LIMIT 5"):
        async with hub.db.transaction(EVERY_TENANT) as tx:
            if hub.db.dialect == "postgresql":
                await tx.run(PLANNED_ONCE)  # as all that is read within a tenant
            plan = await explain(tx, statement)
        reads = [step for step in plan if re.search(r"(SEARCH|SCAN) t\b|on search_terms", step)]
        assert reads and all(TERMS_BY_KEY[hub.db.dialect].search(step) for step in reads), plan


@pytest.mark.usefixtures("filled")
async def test_every_statement_of_the_indexer_and_a_reindex_finds_its_rows_by_key(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push(admin, program, *(make_event(data={"name": "Ana", "phone": "0912"}) for _ in range(20)))
    await push(admin, program, make_event(entity="x", data={"name": "Eva"}))
    scope = system_scope(TenantId(program))
    reindexer = Reindexer(event_store(hub.db), batch=3)
    with hub.db.statements.record() as statements:
        indexer = Indexer(hub.db, event_store(hub.db), rows_at_once=5)
        made = await indexer.make_some(scope)
        assert made is not None
        while await indexer.store_some(scope, made) is None:
            await push(admin, program, make_event("update-individual", entity="x", data={"name": "Eva"}))
        for fields in (("phone",), ()):
            is_done = False
            while not is_done:
                async with hub.db.transaction(scope) as tx:
                    is_done = (await reindexer.go_on(tx, scope, fields)).is_done
        async with hub.db.transaction(scope) as tx:
            await give_up_index(tx, scope, now=hub.clock.now())
            await reindexer.go_on(tx, scope, ("phone",))
        assert [fault async for fault in faults_of(hub.db, event_store(hub.db), scope)] == []
    explained = {sql for sql in statements if "search_terms" in sql or "entities" in sql}
    walks = WALKS_THROUGH_A_TENANT[hub.db.dialect]
    for sql in explained:
        if "DELETE FROM search_terms WHERE tenant_id = " in sql and "(" not in sql:
            continue  # the last rows, a limited number of which is left
        async with hub.db.transaction(EVERY_TENANT) as tx:
            await expect_growth(tx)
            plan = await (_explain_sqlite if hub.db.dialect == "sqlite" else _explain_postgres)(tx, sql)
        slow = [step for step in plan if walks.search(step) and not FEW_ROWS_OF_A_TENANT.search(step)]
        assert not slow or "ORDER BY field, term, guid" in sql, (sql, plan)
        assert not [step for step in plan if "Sort" in step or "TEMP B-TREE" in step], (sql, plan)


async def test_many_guids_are_looked_up_by_their_key_also_before_there_are_statistics(postgres_server: str) -> None:
    """PostgreSQL before 17 would read all rows of the tenant rather than look up a few hundred of an array."""
    async with fresh_database(postgres_server) as url, closing(PostgresDatabase(url, pool_size=1)) as database:
        await migrate(database)
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run(FILL[0])
            await tx.run(FILL[1])
        guids = [f"filler-{number}" for number in range(200)]
        scope = system_scope(TenantId("filler"))
        for sql in (postgres._KNOWN, postgres._STATEMENTS.held, LIVE.load["postgresql"]):
            async with database.transaction(scope) as tx:
                plan = "\n".join(row[0] for row in await tx.fetch(f"EXPLAIN {sql}", "filler", guids))
            assert "(guid = asked.guid)" in plan, plan
            assert "Seq Scan" not in plan and "Bitmap" not in plan, plan


async def test_rows_with_one_of_many_keys_are_looked_up_by_them(postgres_server: str) -> None:
    """Before 17 a list of some hundreds took seconds: all rows of the tenant were compared with all of it."""
    async with fresh_database(postgres_server) as url, closing(PostgresDatabase(url, pool_size=1)) as database:
        await migrate(database)
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run(FILL[1])
        scope = system_scope(TenantId("filler"))
        guids = [f"e-{number}" for number in range(500)]
        async with database.reading(scope) as view:
            rows = rows_with(view, entities.c.guid, guids, entities.c.tenant_id == scope.tenant_id)
            assert {row.guid for row in await view.execute(select(rows.c.guid))} == set(guids) - {"e-0"}
            text = select(rows).compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
            plan = "\n".join(row[0] for row in await view.fetch(f"EXPLAIN {text}"))
        assert re.search(r"Index Cond: .*\(guid = asked.key\)", plan), plan


async def test_a_tenant_that_the_statistics_do_not_know_is_not_taken_for_an_empty_one(postgres_server: str) -> None:
    async with fresh_database(postgres_server) as url, closing(PostgresDatabase(url, pool_size=1)) as database:
        await migrate(database)
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run(FILL[0])
            await tx.run("ANALYZE events")
        async with database.transaction(system_scope(TenantId("new"))) as tx:
            await tx.run("SET LOCAL plan_cache_mode = force_custom_plan")
            explained = f"EXPLAIN {postgres._STATEMENTS.held}"
            plan = "\n".join(row[0] for row in await tx.fetch(explained, "new", ["filler-1", "filler-2"]))
        assert "uq_events_tenant_id_guid" in plan, plan


NEWEST = r"pk_listings|SEARCH l USING PRIMARY KEY"
LISTS = {
    "": NEWEST,
    "sort=lastUpdated": NEWEST,
    "sort=name": "ix_entities_name",
    "sort=-name": "ix_entities_name",
    "sort=entityName": "ix_listings_form",
    "sort=guid": "entities",
    "type=group&type=record": "ix_listings_type",
    "entityName=household": "ix_listings_form",
    "area=A1": "ix_listings_area",
    "area=A1&area=A2&type=group": "ix_listings_area",
    "area=A1&sort=name": "ix_listings_area",
    "parent=g": "ix_entities_parent",
    "updatedSince=2025-01-01T00:00:00Z": NEWEST,
    "hasConflict=true": "conflicts",
    "q=ana smi": "AND field=",
    "offset=1": NEWEST,
    "area=A1&count=exact": "ix_listings_area",
    "area=A1&type=group&sort=name&count=exact": "ix_listings_area",
    "entityName=household&count=exact": "ix_listings_form",
    "type=group&count=exact": "ix_listings_type",
    "updatedSince=2025-01-01T00:00:00Z&count=exact": NEWEST,
}


@pytest.mark.usefixtures("filled")
async def test_every_list_is_read_from_the_index_of_its_order_or_filter(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    members = [{"guid": "m", "name": "Ana Smith"}]
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G", "members": members}))
    for query, index in LISTS.items():
        with hub.db.statements.record() as statements:
            address = f"/api/entities?configId={program}&limit=1&{query}"
            answer = await admin.get(address)
            assert answer.status_code == 200, answer.text
            if cursor := answer.headers.get("X-Next-Cursor"):
                assert (await admin.get(f"{address.replace('offset', 'x')}&cursor={cursor}")).status_code == 200
        plans = await plans_of(hub, [sql for sql in statements if "entities e" in sql], reading=True)
        steps = [step.replace(") AND (", " AND ").replace(" = ", "=") for plan in plans.values() for step in plan]
        assert any(re.search(index, step) for step in steps), (query, plans)
        for sql, plan in plans.items():
            _require_keys(hub, sql, plan)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    "limits",
    [
        [{"areaIds": ["A1"]}],
        [
            {"areaIds": ["A1", "A2"], "entityTypes": ["individual"]},
            {"areaIds": ["A3"], "entityTypes": ["group"]},
        ],
    ],
    ids=["of one box", "of two"],
)
async def test_every_search_begins_with_an_index_or_walks_in_order(
    admin: AsyncClient, client: AsyncClient, hub: Hub, limits: list[dict[str, Any]]
) -> None:
    program = await make_program(admin)
    assignments = [{"tenantId": program, "role": "enumerator", "syncScopeOverride": limit} for limit in limits]
    person = await make_person(admin, tenantIds=[program], roleAssignments=assignments)
    client.headers.update(bearer((await login(client, person))["token"]))
    await push(admin, program, *(make_event(data={"name": f"Ana {n}", "age": n, "area_id": "A1"}) for n in range(5)))
    searches = ([{"name": "Ana 1"}], [{"age": {"$gt": 1}}], [{"guid": "x"}], [{"type": "group"}], [])
    for criteria in searches:
        for who in (admin, client):
            with hub.db.statements.record() as statements:
                answer = await who.post("/api/entities/search", json={"configId": program, "criteria": criteria})
                assert answer.status_code == 200, answer.text
                await who.get("/api/entities/count", params={"configId": program})
            plans = await plans_of(hub, [sql for sql in statements if "entities e" in sql], reading=True)
            assert plans
            for sql, plan in plans.items():
                _require_keys(hub, sql, plan)


def _require_keys(hub: Hub, sql: str, plan: list[str]) -> None:
    """Rows are found by more than the tenant, but for a page that is read in the order of an index until it is full."""
    walks = WALKS_THROUGH_A_TENANT[hub.db.dialect]
    # What a subquery has found is gone through, too.
    found = {step.rpartition(" ")[2] for step in plan if step.startswith("CO-ROUTINE")}
    slow = [step for step in plan if walks.search(step) and step.removeprefix("SCAN ") not in found]
    slow = [step for step in slow if not FEW_ROWS_OF_A_TENANT.search(step)]
    # There are none here; so it does not matter how they are found.
    slow = [step for step in slow if " conflicts" not in step and not FEW_ROWS_OF_A_TENANT.search(step)]
    if slow and "LIMIT" in sql:
        sorts = "USE TEMP B-TREE FOR ORDER BY" if hub.db.dialect == "sqlite" else "Sort Key"
        # What the page's keys were found in is another matter than putting its rows in their order.
        assert len(slow) == 1 and (" AS page " in sql or not any(sorts in step for step in plan)), (sql, plan)
        assert "Seq Scan" not in slow[0] and "SCAN e" not in slow[0], (sql, plan)
    else:
        assert not slow, (sql, plan)


@pytest.mark.usefixtures("filled")
async def test_an_export_walks_by_key_from_page_to_page(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    group = make_event("create-group", entity="g", data={"name": "G", "members": [{"guid": "m", "name": "M"}]})
    await push(admin, program, group, make_event(data={"entityName": "individual", "name": "I"}))
    with hub.db.statements.record() as statements:
        for format, what in (("json", "all"), ("csv", "entities"), ("ndjson", "audit")):
            query = {"configId": program, "format": format, "what": what}
            assert (await admin.get("/api/entities/export", params=query)).status_code == 200
    plans = await plans_of(hub, statements, reading=True)
    pages = {sql: plan for sql, plan in plans.items() if "FROM entities e" in sql or "FROM events" in sql}
    assert len(pages) >= 6
    walks = WALKS_THROUGH_A_TENANT[hub.db.dialect]
    for sql, plan in plans.items():
        assert not [step for step in plan if walks.search(step) and not FEW_ROWS_OF_A_TENANT.search(step)], (sql, plan)
        assert not [step for step in plan if "FOR ORDER BY" in step and "ORDER BY e.guid" in sql], (sql, plan)
