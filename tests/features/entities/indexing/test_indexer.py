"""The terms of what is new come behind the pushes, and nobody misses them meanwhile."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import ColumnElement, Table, delete, func, insert, select

from datacollect.assembly import event_store
from datacollect.eventstore.tables import events, log_heads
from datacollect.features.entities.finding import holding
from datacollect.features.entities.finding.holding import Registers, Sought, may_hold
from datacollect.features.entities.indexing.batches import list_changed
from datacollect.features.entities.indexing.indexer import ROWS_AT_ONCE, ROWS_BESIDE_OTHERS, Indexer
from datacollect.features.entities.indexing.queries import read_index
from datacollect.features.entities.indexing.tables import search_indexes, search_terms
from datacollect.features.entities.tables import entities
from datacollect.http.hub import Hub
from datacollect.jobs import Visitors
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import make_event, make_program, push
from tests.features.conftest import Alone, Installation

pytestmark = pytest.mark.anyio

_LOOKS = 1000


async def search(client: AsyncClient, program: str, **criterion: Any) -> list[str]:
    answer = await client.post("/api/entities/search", json={"configId": program, "criteria": [criterion]})
    assert answer.status_code == 200, answer.text
    return sorted(entity["guid"] for entity in answer.json())


async def listed(client: AsyncClient, program: str, q: str) -> list[str]:
    answer = await client.get("/api/entities", params={"configId": program, "q": q})
    assert answer.status_code == 200, answer.text
    return sorted(entity["guid"] for entity in answer.json())


async def behind(hub: Hub, scope: TenantScope) -> int | None:
    async with hub.db.reading(scope) as view:
        return (await read_index(view, scope)).beyond


async def count_terms(hub: Hub, scope: TenantScope) -> int:
    async with hub.db.reading(scope) as view:
        of_program = select(func.count()).where(search_terms.c.tenant_id == scope.tenant_id)
        return int((await view.execute(of_program)).scalar_one())


async def followed(hub: Hub, scope: TenantScope) -> None:
    """Wait for the indexer of a running hub."""
    for _ in range(_LOOKS):
        if await behind(hub, scope) is None:
            return
        await asyncio.sleep(0.02)
    raise TimeoutError


async def test_a_push_of_what_is_new_leaves_the_index_alone_and_it_is_found(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    scope = system_scope(TenantId(program))
    await push(admin, program, make_event(entity="a", data={"name": "Ana Ruiz", "nationalId": "X-1"}))
    await hub.indexes.catch_up(scope)
    with hub.db.statements.record() as statements:
        await push(admin, program, make_event(entity="b", data={"name": "Ana Lopez", "nationalId": "x-1"}))
    assert [sql for sql in statements if "INTO search_terms" in sql] == []
    for _ in range(2):  # whether or not the index has come by
        assert await search(admin, program, nationalId="X-1") == ["a", "b"]
        assert await listed(admin, program, "ana") == ["a", "b"]
        assert await listed(admin, program, "lop") == ["b"]
        await hub.indexes.catch_up(scope)
    assert await behind(hub, scope) is None


@pytest.mark.parametrize("most_new", [-1, 2000])
async def test_who_is_new_is_known_by_what_they_hold(
    admin: AsyncClient, hub: Hub, monkeypatch: pytest.MonkeyPatch, most_new: int
) -> None:
    """With many who are new they are gone through in turn."""
    monkeypatch.setattr(holding, "_MOST_NEW", most_new)
    program = await make_program(admin)
    scope, registers = system_scope(TenantId(program)), Registers(hub.db, 10, hub.turns)
    await push(admin, program, make_event(entity="a", data={"name": "Ana", "nationalId": "N-1"}))
    await hub.indexes.catch_up(scope)
    await push(admin, program, make_event(entity="b", data={"name": "Eva", "nationalId": "n-1"}))
    found = await may_hold(registers, scope, [Sought("nationalId", "N-1")])
    assert sorted(one.guid for one in found) == ["a", "b"]
    await push(admin, program, *(make_event(data={"name": "E", "nationalId": "N-1"}) for _ in range(200)))
    assert await may_hold(registers, scope, [Sought("nationalId", "N-1")]) == (), "too many for anybody to be the one"


async def test_what_is_found_by_other_terms_after_a_push_is_found_by_them_at_once(admin: AsyncClient, hub: Hub) -> None:
    """Whether or not the index has come by it: what is there is never without a term that it had and has."""
    program = await make_program(admin)
    scope = system_scope(TenantId(program))
    await push(admin, program, make_event(entity="a", data={"name": "Ana", "nationalId": "X-1"}))
    for number in (2, 3):
        change = make_event("update-individual", entity="a", data={"nationalId": f"X-{number}"})
        assert (await push(admin, program, change)).status_code == 200
        assert await search(admin, program, nationalId=f"X-{number - 1}") == []
        assert await search(admin, program, nationalId=f"X-{number}") == ["a"]
        assert await listed(admin, program, "ana") == ["a"]
        await hub.indexes.catch_up(scope)
    await push(admin, program, make_event("delete-entity", entity="a", data={"id": "a"}))
    assert await count_terms(hub, scope) == 0


async def test_a_running_hub_follows_and_goes_on_where_another_one_ended(installation: Installation) -> None:
    async with installation.running() as (app, client):
        hub: Hub = app.state.hub
        admin = await Alone(app, client, installation.clock).admin()
        program = await make_program(admin)
        scope = system_scope(TenantId(program))
        await push(admin, program, make_event(entity="a", data={"name": "Ana"}))
        await followed(hub, scope)
        held = await count_terms(hub, scope)
        assert held > 0
        await push(admin, program, make_event(entity="b", data={"name": "Ana"}))
    async with installation.running() as (app, _):  # it was stopped before it came to that
        await followed(app.state.hub, scope)
        assert await count_terms(app.state.hub, scope) == 2 * held


async def test_entities_are_taken_by_what_they_hold_and_those_of_one_event_together(
    admin: AsyncClient, hub: Hub
) -> None:
    program = await make_program(admin)
    scope = system_scope(TenantId(program))
    members = [{"guid": f"m-{number}", "name": "M", "text": "x" * 1000} for number in range(5)]
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G", "members": members}))
    await push(admin, program, *(make_event(entity=f"e-{n}", data={"name": "E", "text": "x" * 1000}) for n in range(5)))
    taken, after = [], 0
    while after < 6:
        async with hub.db.reading(scope) as view:
            batch = await list_changed(view, scope, after=after, to=6, limit=100, most_bytes=2500)
        taken.append(len(batch.entities))
        assert batch.through > after
        after = batch.through
    assert sum(taken) == 11
    assert taken[0] == 6 and max(taken[1:]) <= 3


async def test_while_there_are_requests_fewer_rows_are_stored_at_a_time(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    scope = system_scope(TenantId(program))
    await push(admin, program, *(make_event(entity=f"e-{n}", data={"name": f"Name number {n}"}) for n in range(200)))
    visitors = Visitors()
    indexer = Indexer(hub.db, event_store(hub.db), visitors=visitors)
    made = await indexer.make_some(scope)
    assert made is not None and len(made.rows) > ROWS_BESIDE_OTHERS + ROWS_AT_ONCE
    visitors.enter()
    await indexer.store_some(scope, made)
    assert made.stored == ROWS_BESIDE_OTHERS
    visitors.leave()
    await indexer.store_some(scope, made)
    assert made.stored == ROWS_BESIDE_OTHERS + ROWS_AT_ONCE
    await indexer.store(scope, made)
    assert await listed(admin, program, "Name number 77") == ["e-77"]
    assert await count_terms(hub, scope) == len(made.rows)


async def test_terms_of_what_was_lost_when_another_database_took_over_do_not_come_into_the_index(
    admin: AsyncClient, hub: Hub
) -> None:
    """A standby may lack the last transactions. What comes then has their positions, in the same history."""
    program = await make_program(admin)
    scope = system_scope(TenantId(program))
    await push(admin, program, make_event(entity="a", data={"name": "Ana"}))
    indexer = hub.indexes
    assert isinstance(indexer, Indexer)
    await indexer.catch_up(scope)
    standby = await rows_of(hub, scope)
    await push(admin, program, make_event(entity="b", data={"name": "Bea"}))
    made = await indexer.make_some(scope)
    assert made is not None
    await take_over(hub, scope, standby)
    await push(admin, program, make_event(entity="b", data={"name": "Eva"}))
    while await indexer.store_some(scope, made) is None:
        pass
    await indexer.catch_up(scope)
    assert await behind(hub, scope) is None
    assert await listed(admin, program, "bea") == []
    assert await listed(admin, program, "eva") == ["b"]


Rows = Mapping[Table, Sequence[Mapping[str, Any]]]


async def rows_of(hub: Hub, scope: TenantScope) -> Rows:
    async with hub.db.reading(scope) as view:
        return {
            table: [dict(row._mapping) for row in await view.execute(select(table).where(_ours(table, scope)))]
            for table in (log_heads, events, entities, search_indexes, search_terms)
        }


async def take_over(hub: Hub, scope: TenantScope, rows: Rows) -> None:
    async with hub.db.transaction(scope) as tx:
        for table, held in rows.items():
            await tx.execute(delete(table).where(_ours(table, scope)))
            await tx.execute(insert(table), held)


def _ours(table: Table, scope: TenantScope) -> ColumnElement[bool]:
    return table.c.tenant_id == scope.tenant_id


async def test_terms_of_a_program_that_was_purged_meanwhile_are_not_those_of_one_that_has_its_id(
    admin: AsyncClient, hub: Hub
) -> None:
    program = await make_program(admin)
    scope = system_scope(TenantId(program))
    await push(admin, program, make_event(entity="a", data={"name": "Ana"}))
    indexer = hub.indexes
    assert isinstance(indexer, Indexer)
    made = await indexer.make_some(scope)
    assert made is not None
    await admin.delete(f"/api/apps/{program}")
    assert (await admin.delete(f"/api/apps/{program}/purge")).status_code == 200
    await hub.jobs.drain()
    await make_program(admin, id=program)
    await push(admin, program, make_event(entity="a", data={"name": "Eva"}))
    while await indexer.store_some(scope, made) is None:
        pass
    await hub.indexes.catch_up(scope)
    assert await behind(hub, scope) is None
    assert await listed(admin, program, "ana") == []
    assert await listed(admin, program, "eva") == ["a"]
