"""What lists leave behind is taken away behind the pushes, and nothing else is."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence

import pytest
from httpx2 import AsyncClient
from sqlalchemy import Table, func, insert, select, update

from datacollect.db import EVERY_TENANT, Database, Reading
from datacollect.db.postgres import PLANNED_ONCE, UNSORTED
from datacollect.eventstore.event import Event
from datacollect.features.entities import listings as places
from datacollect.features.entities import sweeping
from datacollect.features.entities.rebuilt import replace_live
from datacollect.features.entities.sweeping import Sweeper
from datacollect.features.entities.tables import entities, entities_rebuild, listing_blocks, listings
from datacollect.http.hub import Hub
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from tests.factories import make_event, make_program, new_id, push
from tests.features.conftest import Alone, Installation
from tests.histories import event

pytestmark = pytest.mark.anyio

_LOOKS = 500
_BLOCKED_SECONDS = 1.0
"""It waits for the other one to count, at the latest."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short stretches of the log, and a short way back."""
    monkeypatch.setattr(places, "NEAR", 10)
    monkeypatch.setattr(places, "BLOCK_BITS", 6)
    monkeypatch.setattr(places, "FIRST_DUE", 4)
    monkeypatch.setattr(places, "SHARE", 2)


@pytest.fixture
async def scope(hub: Hub) -> TenantScope:
    return await another(hub)


async def another(hub: Hub) -> TenantScope:
    scope = system_scope(TenantId(new_id()))
    async with hub.db.transaction(scope) as tx:
        await hub.log.create(tx, scope)
    return scope


async def append(hub: Hub, scope: TenantScope, *batch: Event) -> None:
    async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
        await hub.log.append(tx, scope, Tenant(scope.tenant_id, "Program"), batch, on_rejection=lambda _: None)


async def register(hub: Hub, scope: TenantScope, count: int) -> None:
    await append(hub, scope, *(event("create-individual", f"e-{n}", {"name": "Ana"}, n + 1) for n in range(count)))


async def edit(hub: Hub, scope: TenantScope, guids: Sequence[int], *, at: int = 5_000) -> None:
    await append(hub, scope, *(event("update-individual", f"e-{n}", {"name": f"Eva {at}"}, at) for n in guids))


Places = list[tuple[int, str]]


async def listed(database: Database, scope: TenantScope) -> Places:
    async with database.reading(scope) as view:
        return await listed_in(view, scope)


async def listed_in(view: Reading, scope: TenantScope) -> Places:
    rows = select(listings.c.position, listings.c.guid).where(listings.c.tenant_id == scope.tenant_id)
    return sorted((row[0], row[1]) for row in await view.execute(rows))


async def sorted_slowly(view: Reading, scope: TenantScope) -> Places:
    ours = (entities.c.tenant_id == scope.tenant_id) & ~entities.c.deleted
    rows = select(entities.c.changed_position, entities.c.guid).where(ours)
    return sorted((row[0], row[1]) for row in await view.execute(rows))


async def alive(database: Database, scope: TenantScope) -> Places:
    async with database.reading(scope) as view:
        return await sorted_slowly(view, scope)


async def count_stretches(database: Database, scope: TenantScope) -> int:
    async with database.reading(scope) as view:
        ours = listing_blocks.c.tenant_id == scope.tenant_id
        return int((await view.execute(select(func.count()).select_from(listing_blocks).where(ours))).scalar_one())


async def test_where_all_was_edited_each_entity_has_one_row_in_the_end(hub: Hub, scope: TenantScope) -> None:
    await register(hub, scope, 100)
    await edit(hub, scope, range(100))
    assert len(await listed(hub.db, scope)) == 200
    await Sweeper(hub.db, page=7, rows_at_once=3).catch_up(scope)
    assert await listed(hub.db, scope) == await alive(hub.db, scope)
    assert len(await listed(hub.db, scope)) == 100
    assert await count_stretches(hub.db, scope) == 1, "nothing is left in the first one, and nobody counts for it"


async def test_many_rows_of_one_event_are_taken_away_some_at_a_time(hub: Hub, scope: TenantScope) -> None:
    members = [{"guid": f"m-{n}", "name": "M"} for n in range(250)]
    await append(hub, scope, event("create-group", "g", {"name": "G", "members": members}))
    await register(hub, scope, 20)
    await append(hub, scope, *(event("update-individual", f"m-{n}", {"name": "N"}, 9_000) for n in range(250)))
    with hub.db.statements.record() as statements:
        await Sweeper(hub.db, page=60, rows_at_once=40).catch_up(scope)
    assert await listed(hub.db, scope) == await alive(hub.db, scope)
    assert len([sql for sql in statements if "DELETE FROM listings" in sql]) >= 250 / 40
    assert len([sql for sql in statements if "count(*)" in sql]) >= 270 / 60


async def test_a_stretch_with_few_stale_rows_is_let_alone_until_half_of_it_is_stale(
    hub: Hub, scope: TenantScope
) -> None:
    sweeper = Sweeper(hub.db)
    await register(hub, scope, 63)
    await edit(hub, scope, range(31))
    held = await listed(hub.db, scope)
    for looks in (True, False, False):
        with hub.db.statements.record() as statements:
            await sweeper.catch_up(scope)
        assert any("FROM listings" in sql for sql in statements) is looks
        assert await listed(hub.db, scope) == held, "31 of 63"
    await edit(hub, scope, [31], at=6_000)
    await sweeper.catch_up(scope)
    assert await listed(hub.db, scope) == await alive(hub.db, scope), "32 of 63"


async def test_who_looks_again_and_again_does_not_find_the_same_stretch_due(hub: Hub, scope: TenantScope) -> None:
    """Also where more was counted than is there."""
    await register(hub, scope, 63)
    await edit(hub, scope, range(20))
    async with hub.db.transaction(scope) as tx:
        ours = listing_blocks.c.tenant_id == scope.tenant_id
        await tx.execute(update(listing_blocks).where(ours).values(stale=5_000))
    sweeper = Sweeper(hub.db)
    await sweeper.catch_up(scope)
    with hub.db.statements.record() as statements:
        await sweeper.catch_up(scope)
    assert len(statements) == 1
    await edit(hub, scope, range(20, 40), at=6_000)
    await sweeper.catch_up(scope)
    assert await listed(hub.db, scope) == await alive(hub.db, scope), "what is counted from then on counts"


class Stopped(Exception):
    pass


def after_piece(number: int, do: Callable[[], Awaitable[None]]) -> Callable[[float, float], Awaitable[None]]:
    """A rest in which that is done, once there have been so many pieces of work."""
    done = 0

    async def rest(worked: float, took: float) -> None:
        nonlocal done
        done += 1
        if done == number:
            await do()

    return rest


def stop_at(piece: int) -> Callable[[float, float], Awaitable[None]]:
    async def stop() -> None:
        raise Stopped

    return after_piece(piece, stop)


@pytest.mark.parametrize("piece", range(1, 5))
async def test_what_pushes_count_while_a_stretch_is_looked_at_counts(hub: Hub, scope: TenantScope, piece: int) -> None:
    await register(hub, scope, 63)
    await edit(hub, scope, range(20))
    sweeper = Sweeper(hub.db)
    meanwhile = after_piece(piece, lambda: edit(hub, scope, range(20, 25), at=6_000))
    await sweeper.step(scope, after=-1, rest=meanwhile)
    assert len(await listed(hub.db, scope)) == 63 + 25
    await edit(hub, scope, range(25, 32), at=7_000)
    await sweeper.catch_up(scope)
    assert await listed(hub.db, scope) == await alive(hub.db, scope)


@pytest.mark.parametrize("piece", range(1, 6))
async def test_a_row_that_is_true_again_when_its_turn_comes_stays(hub: Hub, scope: TenantScope, piece: int) -> None:
    """A rebuild puts an entity where it was before, between the look and the deletion."""
    await register(hub, scope, 63)
    right = await listed(hub.db, scope)

    async def put_back() -> None:
        async with hub.db.transaction(scope) as tx:
            for position, guid in right:
                ours = (entities.c.tenant_id == scope.tenant_id) & (entities.c.guid == guid)
                await tx.execute(update(entities).where(ours).values(changed_position=position))

    await misplace(hub.db, scope, {guid: position for position, guid in right[-5:]}, by=100)
    async with hub.db.transaction(scope) as tx:
        await places.look_at_all(tx, scope)
    await Sweeper(hub.db, rows_at_once=3).step(scope, after=-1, rest=after_piece(piece, put_back))
    assert set(right) <= set(await listed(hub.db, scope))


async def test_wherever_it_is_stopped_it_goes_on(installation: Installation) -> None:
    async with installation.running() as (app, _):
        hub: Hub = app.state.hub
        for piece in range(1, 60, 4):
            await register(hub, scope := await another(hub), 63)
            await edit(hub, scope, range(63))
            sweeper = Sweeper(hub.db, page=20, rows_at_once=6)
            try:
                await sweeper.sweep(rest=stop_at(piece))
            except Stopped:
                assert len(await listed(hub.db, scope)) > 63, piece
                await sweeper.sweep()
            assert await listed(hub.db, scope) == await alive(hub.db, scope)


async def test_a_pass_over_nothing_to_do_is_one_statement(installation: Installation) -> None:
    async with installation.running() as (app, client):
        hub: Hub = app.state.hub
        admin = await Alone(app, client, installation.clock).admin()
        for programs in (1, 5):
            for _ in range(programs):
                program = await make_program(admin)
                await push(admin, program, *(make_event(entity=f"e-{n}") for n in range(100)))
                # Too few to be looked at.
                await push(admin, program, *(make_event("update-individual", entity=f"e-{n}") for n in range(3)))
            with hub.db.statements.record() as statements:
                await Sweeper(hub.db).sweep()
            assert len(statements) == 1


async def test_a_running_hub_does_it_beside_requests_and_for_what_another_one_left(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def swept(hub: Hub, scope: TenantScope) -> None:
        for _ in range(_LOOKS):
            if await listed(hub.db, scope) == await alive(hub.db, scope):
                return
            await asyncio.sleep(0.02)
        raise TimeoutError

    async def edited(admin: AsyncClient, program: str) -> None:
        answer = await push(admin, program, *(make_event("update-individual", entity=f"e-{n}") for n in range(63)))
        assert answer.status_code == 200

    monkeypatch.setattr(sweeping, "_GATHERING_SECONDS", 3600.0)  # it will not come to that
    async with installation.running() as (app, client):
        hub: Hub = app.state.hub
        admin = await Alone(app, client, installation.clock).admin()
        program = await make_program(admin)
        scope = system_scope(TenantId(program))
        await push(admin, program, *(make_event(entity=f"e-{n}") for n in range(63)))
        await edited(admin, program)
        assert len(await listed(hub.db, scope)) == 126
    monkeypatch.setattr(sweeping, "_GATHERING_SECONDS", 0.01)
    async with installation.running() as (app, client):
        hub = app.state.hub
        admin = await Alone(app, client, installation.clock).admin()
        await swept(hub, scope)
        await edited(admin, program)
        assert len(await alive(hub.db, scope)) == 63
        await swept(hub, scope)


async def test_after_a_failure_it_looks_at_all_programs_again(hub: Hub, scope: TenantScope) -> None:
    await register(hub, scope, 63)
    sweeper = Sweeper(hub.db)
    await sweeper.sweep()
    await edit(hub, scope, range(63))
    await sweeper.sweep()
    assert len(await listed(hub.db, scope)) == 126, "nobody has told it that the log has grown"
    async with sweeper.running():  # which asks for all
        with pytest.raises(Stopped):
            await sweeper.sweep(rest=stop_at(1))
        await sweeper.sweep()
    assert await listed(hub.db, scope) == await alive(hub.db, scope)


async def test_after_a_rebuild_what_is_stale_goes_however_little(hub: Hub, scope: TenantScope) -> None:
    await register(hub, scope, 63)
    await edit(hub, scope, [1])
    async with hub.db.transaction(scope) as tx:
        await places.look_at_all(tx, scope)
    await Sweeper(hub.db).catch_up(scope)
    assert await listed(hub.db, scope) == await alive(hub.db, scope)


async def test_what_a_rebuild_is_about_to_put_back_is_not_taken_away(hub: Hub, scope: TenantScope) -> None:
    """Its rows are those that are there, and who looks at what is stored takes them for stale."""
    await register(hub, scope, 63)
    right = await listed(hub.db, scope)
    await misplace(hub.db, scope, {guid: position for position, guid in right}, by=100)
    async with hub.db.transaction(scope) as tx:
        await places.look_at_all(tx, scope)
    sweeper = Sweeper(hub.db)
    async with hub.db.transaction(scope) as tx:
        await copy_to_rebuilt(tx, scope, {guid: position for position, guid in right})
        await replace_live(tx, scope)
        sweep = asyncio.ensure_future(sweeper.catch_up(scope))
        if tx.dialect == "postgresql":  # SQLite's only writer is here
            await asyncio.wait([sweep], timeout=_BLOCKED_SECONDS)
    await sweep
    await sweeper.catch_up(scope)
    assert await listed(hub.db, scope) == await alive(hub.db, scope) == right


async def misplace(database: Database, scope: TenantScope, positions: dict[str, int], *, by: int) -> None:
    """As a mistake of the hub would: they count as changed elsewhere, and stand there in lists as well."""
    async with database.transaction(scope) as tx:
        for guid, position in positions.items():
            ours = (entities.c.tenant_id == scope.tenant_id) & (entities.c.guid == guid)
            await tx.execute(update(entities).where(ours).values(changed_position=position + by))
            where = {"tenant_id": scope.tenant_id, "position": position + by, "guid": guid, "form_key": ""}
            await tx.execute(insert(listings).values(**where))


async def copy_to_rebuilt(tx: Reading, scope: TenantScope, positions: dict[str, int]) -> None:
    """What the log gives: the entities as they are, at these positions."""
    columns = [column.name for column in entities_rebuild.columns]
    ours = select(*(entities.c[name] for name in columns)).where(entities.c.tenant_id == scope.tenant_id)
    await tx.execute(insert(entities_rebuild).from_select(columns, ours))
    of: Table = entities_rebuild
    for guid, position in positions.items():
        where = (of.c.tenant_id == scope.tenant_id) & (of.c.guid == guid)
        await tx.execute(update(of).where(where).values(changed_position=position))


_SLOW = {
    "sqlite": re.compile(r"SCAN (l|e|listings|entities)\b|(l|e|listings|entities) .*\(tenant_id=\?\)|TEMP B-TREE"),
    "postgresql": re.compile(r"Seq Scan on (listings|entities)|Index Cond: \(tenant_id = \$1\)$|Sort"),
}


async def test_every_statement_finds_its_rows_by_key(hub: Hub, scope: TenantScope) -> None:
    await register(hub, scope, 63)
    await edit(hub, scope, range(63))
    with hub.db.statements.record() as statements:
        await Sweeper(hub.db).catch_up(scope)
    asked = {sql for sql in statements if re.search(r"FROM listings\b", sql)}
    assert len(asked) == 4, "the end of a page, what is on it, what is stale there, and the deletion"
    for sql in asked:
        plan = await plan_of(hub.db, sql)
        assert not [step for step in plan if _SLOW[hub.db.dialect].search(step)], (sql, plan)


async def plan_of(database: Database, sql: str) -> list[str]:
    async with database.transaction(EVERY_TENANT) as tx:
        if tx.dialect == "sqlite":
            values = ["[]"] * max(map(int, re.findall(r"\?(\d+)", sql)))
            return [row[3] for row in await tx.fetch(f"EXPLAIN QUERY PLAN {sql}", *values)]
        await tx.run(f"{PLANNED_ONCE}; {UNSORTED}")
        await tx.run(f"PREPARE explained AS {sql}")
        given = ", ".join(["NULL"] * max(map(int, re.findall(r"\$(\d+)", sql))))
        plan = [row[0] for row in await tx.fetch(f"EXPLAIN EXECUTE explained({given})")]
        await tx.run("DEALLOCATE explained")
        return plan
