"""Whichever way leads to a list or a search, it holds the same; and all that a list would hold is gone through."""

import asyncio
import itertools
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.db import Database
from datacollect.features.entities.finding import service
from datacollect.features.entities.finding.criteria import read_criteria
from datacollect.features.entities.finding.filters import ListFilters, read_filters
from datacollect.features.entities.finding.pages import read_page
from datacollect.features.entities.service import count_by_form
from datacollect.http.hub import Hub
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sync_scope import Box, Reach
from datacollect.kernel.tenancy import Tenant
from tests.factories import make_config, make_event, new_id, push
from tests.features.entities.finding.test_search_properties import SEARCHABLE

pytestmark = pytest.mark.anyio

FEWS = (-1, 0, 3, 3000)
"""How many may be sorted without an index: with none every list walks, with many each begins with its filter."""


@pytest.fixture
async def program(admin: AsyncClient, hub: Hub) -> str:
    """Of some of its people the index has not come by."""
    program = new_id()
    forms = [{"id": "f1", "name": "individual", "title": "Person", "formio": SEARCHABLE}]
    await admin.post("/api/apps", json=make_config(program, entityForms=forms))
    people = [
        make_event(
            "create-group" if n % 7 == 0 else "create-individual",
            entity=f"e-{n:02}",
            data={
                "name": f"{'Ana' if n % 2 else 'Bob'} {'Smith' if n % 3 else 'Jones'}",
                "entityName": f"form {n % 3}",
                "area_id": f"A{n % 4}",
                "age": n % 10,
                "village": "Ford" if n % 5 else "Mill",
                "height": n,
            }
            | ({"parentId": "e-00"} if n % 6 == 1 else {}),
        )
        for n in range(40)
    ]
    for some in (people[:30], people[30:]):
        await hub.indexes.catch_up(system_scope(TenantId(program)))
        answer = await push(admin, program, *some)
        assert answer.status_code == 200, answer.text
    await push(admin, program, make_event("delete-entity", entity="e-39", data={"id": "e-39"}))
    late = make_event("update-individual", entity="e-02", data={"age": 5}, timestamp="2020-01-01T00:00:00.000Z")
    await push(admin, program, late)
    return program


async def tenant_of(hub: Hub, program: str) -> Tenant:
    tenant = await hub.tenants.find(TenantId(program))
    assert tenant is not None
    return tenant


def finder(hub: Hub, few: int) -> service.Finder:
    return service.Finder(hub.db, hub.log, 10, asyncio.Semaphore(2), few)


QUERIES: list[dict[str, Any]] = [
    {},
    {"type": ["group"]},
    {"entityName": ["form 1", "form 2"]},
    {"area": ["A1", "A3"], "type": ["individual"]},
    {"parent": ["e-00"]},
    {"q": ["ana"]},
    {"q": ["ana smi"]},
    {"q": ["ana"], "area": ["A1"]},
    {"q": ["ford bob"], "entityName": ["form 2"]},
    {"hasConflict": ["true"]},
    {"hasConflict": ["false"], "type": ["group"]},
    {"updatedSince": ["2001-01-01T00:00:00Z"], "area": ["A2"]},
]
SORTS = ("-lastUpdated", "lastUpdated", "name", "-entityName", "guid")
REACHES = (
    Reach(),
    Reach((Box(area_ids=frozenset({"A1"})),)),
    Reach((Box(area_ids=frozenset({"A0", "A1"}), entity_types=frozenset({"group"})),)),
    Reach((Box(entity_types=frozenset({"individual"})),)),
    Reach((Box(frozenset({"A1", "A2"}), frozenset({"group"})), Box(frozenset({"A3"}), frozenset({"individual"})))),
    Reach((Box(frozenset({"A1"})), Box(frozenset({"A0", "A2"}), frozenset({"individual"})))),
    Reach((Box(frozenset({"A0"})), Box(entity_types=frozenset({"individual"})))),
    Reach((Box(area_ids=frozenset()),)),
)


@pytest.mark.parametrize("reach", REACHES, ids=Reach.describe)
async def test_a_list_holds_the_same_whichever_way(hub: Hub, program: str, reach: Reach) -> None:
    scope, tenant = system_scope(TenantId(program)).limited_to(reach), await tenant_of(hub, program)
    everything = [shown.entity.guid for shown in (await _list(hub, scope, tenant, {}, "guid", few=3000))[0]]
    alive = ((f"e-{n:02}", "group" if n % 7 == 0 else "individual", f"A{n % 4}") for n in range(39))
    assert set(everything) == {guid for guid, kind, area in alive if reach.includes(kind, area)}
    async with hub.db.reading(scope) as view:
        assert sum((await count_by_form(view, hub.log, scope)).values()) == len(everything)
    for query, sort in itertools.product(QUERIES, SORTS):
        lists = [await _list(hub, scope, tenant, query, sort, few=few) for few in FEWS]
        for shown, total in lists:
            assert shown == lists[0][0], (query, sort)
            assert total == len(lists[0][0]), (query, sort)
        assert {one.entity.guid for one in lists[0][0]} <= set(everything)
        for few in FEWS:
            assert await _by_pages(hub, scope, tenant, query, sort, few=few) == lists[0][0], (query, sort, few)


async def _list(
    hub: Hub, scope: TenantScope, tenant: Tenant, query: dict[str, Any], sort: str, *, few: int
) -> tuple[list[service.Shown], int | None]:
    page = read_page({"sort": [sort], "count": ["exact"]})
    listed = await service.list_page(finder(hub, few), scope, tenant, read_filters(query, hub.marks), page)
    return list(listed.shown), listed.total


async def _by_pages(
    hub: Hub, scope: TenantScope, tenant: Tenant, query: dict[str, Any], sort: str, *, few: int
) -> list[service.Shown]:
    from dataclasses import replace

    shown: list[service.Shown] = []
    page = read_page({"sort": [sort], "limit": ["13"]})
    while True:
        listed = await service.list_page(finder(hub, few), scope, tenant, read_filters(query, hub.marks), page)
        shown += listed.shown
        if listed.next_after is None:
            return shown
        page = replace(page, after=listed.next_after)


CRITERIA: list[list[dict[str, Any]]] = [
    [],
    [{"village": "mill"}],
    [{"village": "Ford"}, {"age": {"$gte": 7}}],
    [{"age": {"$in": [1, "2"]}}, {"village": {"$ne": "Mill"}}],
    [{"age": 3}, {"height": {"$lt": 20}}],
    [{"entityName": "FORM 1"}, {"village": "ford"}],
    [{"type": "group"}, {"age": {"$exists": True}}],
    [{"lastUpdated": {"$gt": "2001-01-01"}}, {"name": {"$regex": "^ana"}}],
    [{"guid": {"$in": ["e-01", "e-39", "e-05"]}}],
]


@pytest.mark.parametrize("reach", REACHES, ids=Reach.describe)
async def test_a_search_finds_the_same_whichever_way(hub: Hub, program: str, reach: Reach) -> None:
    scope = system_scope(TenantId(program)).limited_to(reach)
    for criteria in CRITERIA:
        read = read_criteria(criteria)
        found = [(await service.search(finder(hub, few), scope, read, limit=500, after=None)).shown for few in FEWS]
        assert all(one == found[0] for one in found), criteria
        for few in FEWS:
            first = await service.search(finder(hub, few), scope, read, limit=2, after=None)
            assert list(first.shown) == list(found[0])[:2]
            assert (first.next_after is not None) == (len(found[0]) > 2)


@pytest.mark.parametrize("query", QUERIES, ids=str)
async def test_all_that_a_list_holds_is_gone_through_once(hub: Hub, program: str, query: dict[str, Any]) -> None:
    scope, tenant = system_scope(TenantId(program)), await tenant_of(hub, program)
    filters = read_filters(query, hub.marks)
    expected, _ = await _list(hub, scope, tenant, query, "guid", few=3000)
    for batch in (1, 7, 1000):
        async with hub.db.reading(scope) as view:
            parts = [part async for part in service.iterate(view, scope, tenant, filters, batch=batch)]
            assert all(parts)
            assert [shown for part in parts for shown in part] == expected
            counted = await service.count(view, scope, filters)
            assert counted == (None if filters.words else len(expected))


async def test_what_the_database_stops_is_told_as_that(database: Database) -> None:
    from datacollect.kernel.errors import TookTooLong

    endless = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n"
    for _ in range(2):
        with pytest.raises(TookTooLong):
            async with database.reading(seconds=0.05) as view:
                await view.fetch(endless)
        async with database.reading(seconds=5) as view:
            assert (await view.fetch("SELECT 1"))[0][0] == 1


async def test_a_statement_that_begins_when_the_time_is_over_is_stopped_as_well(database: Database) -> None:
    from datacollect.kernel.errors import TookTooLong

    lasting = (
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000000) SELECT count(*) FROM n"
    )
    with pytest.raises(TookTooLong):
        async with database.reading(seconds=0) as view:
            for _ in range(3):
                await asyncio.sleep(0)
            await view.fetch(lasting)


def test_filters_without_anything_are_nothing() -> None:
    assert read_filters({}, {}) == ListFilters() == read_filters({"type": [""], "q": [" "], "other": ["x"]}, {})
