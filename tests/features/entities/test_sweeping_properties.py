"""Whatever pushes, rebuilds and other sweepers come between the steps of a sweeper: lists hold all that they should, in
order, and in the end nothing else is there."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db import Database, Reading, open_database
from datacollect.db.database import closing
from datacollect.eventstore.log import EventLog
from datacollect.features.entities import listings as places
from datacollect.features.entities.indexing.batches import list_changed
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.entities.rebuilding import Rebuilder
from datacollect.features.entities.sweeping import Sweeper
from datacollect.features.entities.tables import entities, listing_blocks, listings
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from datacollect.testing.clock import TurnableClock
from tests.conftest import Migrated
from tests.histories import Chance
from tests.memory import MemoryDatabase

Places = list[tuple[int, str]]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "NEAR", 3)
    monkeypatch.setattr(places, "BLOCK_BITS", 3)
    monkeypatch.setattr(places, "FIRST_DUE", 2)
    monkeypatch.setattr(places, "SHARE", 2)


class Programs:
    """Programs whose entities change while what lists leave behind is taken away."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.seen: Counter[str] = Counter()
        self._store = event_store(database)
        self._clock = TurnableClock()
        self._log = EventLog(self._store, [EntityProjection(FOLLOWERS)], self._clock)
        self._names = (f"p-{number}" for number in itertools.count())

    async def live(self, seed: int, steps: int) -> None:
        dice, chance = random.Random(seed), Chance(seed)
        scope = system_scope(TenantId(next(self._names)))
        async with self.database.transaction(scope) as tx:
            await self._log.create(tx, scope)
        is_counted = True
        for _ in range(steps):
            match dice.choice(["push"] * 12 + ["sweep"] * 4 + ["misplace", "rebuild"]):
                case "push":
                    await self._push(scope, chance)
                case "sweep":
                    is_counted = await self._sweep(scope, dice, chance) and is_counted
                case "misplace":
                    is_counted = not await self._misplace(scope, dice) and is_counted
                case "rebuild":
                    await self._rebuild(scope)
                    is_counted = True
            await self._compare(scope, is_counted=is_counted)
        await self._finish(scope)

    async def _push(self, scope: TenantScope, chance: Chance) -> None:
        async with self.database.transaction(scope) as tx:
            tenant = Tenant(scope.tenant_id, "Program")
            await self._log.append(
                tx, scope, tenant, chance.batch(), origin=chance.origin(), on_rejection=lambda _: None
            )

    async def _sweep(self, scope: TenantScope, dice: random.Random, chance: Chance) -> bool:
        """With others at work between two of its pieces. Of two sweepers one may undo what pushes count meanwhile; whether
        there was one only."""
        is_alone = True

        async def others(worked: float, took: float) -> None:
            nonlocal is_alone
            match dice.choice(["nothing"] * 9 + ["push", "rebuild", "sweep"]):
                case "push":
                    await self._push(scope, chance)
                case "rebuild":
                    await self._rebuild(scope)
                case "sweep":
                    await self._sweeper(dice).catch_up(scope)
                    is_alone = False
            await self._compare(scope, is_counted=False)

        before = len(await self._rows(scope))
        await self._sweeper(dice).step(scope, after=-1, rest=others)
        self.seen["taken away"] += max(0, before - len(await self._rows(scope)))
        return is_alone

    def _sweeper(self, dice: random.Random) -> Sweeper:
        return Sweeper(self.database, page=dice.randint(1, 9), rows_at_once=dice.randint(1, 4))

    async def _misplace(self, scope: TenantScope, dice: random.Random) -> bool:
        """As a mistake of the hub would: an entity counts as changed elsewhere in the log, and stands there in lists."""
        async with self.database.transaction(scope) as tx:
            alive = await self._sorted_slowly(tx, scope)
            if not alive:
                return False
            position, guid = dice.choice(alive)
            to = dice.randint(1, alive[-1][0])
            ours = (entities.c.tenant_id == scope.tenant_id) & (entities.c.guid == guid)
            await tx.execute(update(entities).where(ours).values(changed_position=to))
            if (to, guid) not in await self._listed(tx, scope):
                await tx.execute(
                    insert(listings).values(tenant_id=scope.tenant_id, position=to, guid=guid, form_key="")
                )
            self.seen["misplaced"] += to != position
        return True

    async def _rebuild(self, scope: TenantScope) -> None:
        assert (await Rebuilder(self.database, self._store, self._clock, followers=FOLLOWERS).rebuild(scope)).ok
        self.seen["rebuilt"] += 1

    async def _compare(self, scope: TenantScope, *, is_counted: bool) -> None:
        async with self.database.reading(scope) as view:
            alive = await self._sorted_slowly(view, scope)
            batch = await list_changed(view, scope, after=0, to=2**40, limit=10_000)
            found = [(entity.changed_position, entity.guid) for entity in batch.entities]
            assert [one[0] for one in found] == [one[0] for one in alive]
            assert sorted(found) == alive
            stale = Counter(position >> 3 for position, _ in set(await self._listed(view, scope)) - set(alive))
            self.seen["stale"] += stale.total()
            if not is_counted:
                return
            of = listing_blocks.c
            rows = select(of.block, of.stale, of.due).where(of.tenant_id == scope.tenant_id)
            known = {block: counted for block, counted, due in await view.execute(rows) if due > 0}
            forced = {row[0] for row in await view.execute(rows.where(of.due <= 0))}
            for block, count in stale.items():
                assert block in forced or count <= known.get(block, 0)

    async def _finish(self, scope: TenantScope) -> None:
        async with self.database.transaction(scope) as tx:
            await places.look_at_all(tx, scope)
        await Sweeper(self.database, page=5, rows_at_once=2).catch_up(scope)
        async with self.database.reading(scope) as view:
            assert await self._listed(view, scope) == await self._sorted_slowly(view, scope)
        await self._compare(scope, is_counted=True)
        self.seen["programs"] += 1

    async def _rows(self, scope: TenantScope) -> Places:
        async with self.database.reading(scope) as view:
            return await self._listed(view, scope)

    async def _listed(self, view: Reading, scope: TenantScope) -> Places:
        rows = select(listings.c.position, listings.c.guid).where(listings.c.tenant_id == scope.tenant_id)
        return sorted((row[0], row[1]) for row in await view.execute(rows))

    async def _sorted_slowly(self, view: Reading, scope: TenantScope) -> Places:
        ours = (entities.c.tenant_id == scope.tenant_id) & ~entities.c.deleted
        rows = select(entities.c.changed_position, entities.c.guid).where(ours)
        return sorted((row[0], row[1]) for row in await view.execute(rows))


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_lists_hold_what_they_should(runner: asyncio.Runner, measured: Callable[[str, object], None]) -> None:
    programs = Programs(MemoryDatabase())

    @settings(max_examples=40, database=None, deadline=None)
    @given(seed=st.integers(0, 2**48), steps=st.integers(5, 60))
    def each(seed: int, steps: int) -> None:
        runner.run(programs.live(seed, steps))

    each()
    seen = programs.seen
    measured("seen", dict(seen))
    assert min(seen["taken away"], seen["misplaced"], seen["rebuilt"], seen["stale"]) > 30


@pytest.mark.anyio
async def test_so_they_do_on_postgresql(
    migrated_once: Migrated, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async with (
        migrated_once.database("postgres", request, tmp_path) as url,
        closing(open_database(url, data_dir=tmp_path, pool_size=4)) as database,
    ):
        programs = Programs(database)
        for seed in range(5):
            await programs.live(seed, 40)
    seen = programs.seen
    assert min(seen["taken away"], seen["misplaced"], seen["rebuilt"], seen["stale"]) > 4
