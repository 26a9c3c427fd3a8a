"""Whatever pushes, changes of forms and steps of a reindex and of the indexer come between one another: what the index may
be asked is answered as if all entities were looked through, at every moment, and in the end the index is what it is when
made from nothing."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db import Database, Reading, open_database
from datacollect.db.database import closing
from datacollect.eventstore.log import EventLog
from datacollect.features.entities.entity import Entity
from datacollect.features.entities.finding.statements import Sql, all_of, indexed
from datacollect.features.entities.indexing.checking import faults_of
from datacollect.features.entities.indexing.indexer import Indexer
from datacollect.features.entities.indexing.lookups import Lookup, lookups_of_words
from datacollect.features.entities.indexing.queries import find_index, read_index
from datacollect.features.entities.indexing.reindexing import Reindexer, give_up_index
from datacollect.features.entities.indexing.tables import search_indexes, search_terms
from datacollect.features.entities.indexing.terms import terms_of, words_of
from datacollect.features.entities.indexing.values import Range, at_least, at_most, equal_to, key_of, value_at
from datacollect.features.entities.indexing.words import answers, asked_in
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.entities.rebuilding import Rebuilder
from datacollect.features.entities.service import entities_after
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from datacollect.testing.clock import TurnableClock
from tests.conftest import Migrated
from tests.histories import Chance
from tests.memory import MemoryDatabase

FIELDS = ("age", "name", "address.zip", "entityName")
COMPARISONS: Sequence[tuple[str, Sequence[Range | None]]] = [
    ("age", [equal_to(1)]),
    ("age", [equal_to("x")]),
    ("age", [at_least(2.5)]),
    ("age", [at_most(2)]),
    ("age", [equal_to(2.5), equal_to("X"), equal_to(0), equal_to(2**60)]),
    ("name", [equal_to("ANA")]),
    ("name", [Range("=b", ">")]),
    ("address.zip", [equal_to(0)]),
    ("entityName", [equal_to("GRÖSSE")]),
]
SEARCHES = ["an", "ana", "ev un", "grosse", "unnamed", "1", "1 2"]


class Programs:
    """Programs that live through random changes of everything an index depends on."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.seen: Counter[str] = Counter()
        self._store = event_store(database)
        self._clock = TurnableClock()
        self._log = EventLog(self._store, [EntityProjection(FOLLOWERS)], self._clock)
        self._names = (f"p-{number}" for number in itertools.count())

    async def live(self, seed: int, steps: int) -> None:
        dice = random.Random(seed)
        scope = system_scope(TenantId(next(self._names)))
        async with self.database.transaction(scope) as tx:
            await self._log.create(tx, scope)
        reindexer = Reindexer(self._store, batch=dice.randint(1, 4))
        indexer = Indexer(self.database, self._store, batch=dice.randint(1, 4), rows_at_once=dice.randint(1, 5))
        chance, fields = Chance(seed), self._some_fields(dice)
        for _ in range(steps):
            match dice.choice(
                ["push"] * 5 + ["step"] * 6 + ["follow"] * 3 + ["forms", "lose", "rules", "rebuild", "give up"]
            ):
                case "push":
                    # A process may know the forms as they were a moment ago.
                    await self._push(scope, chance, dice.choice([fields, self._some_fields(dice)]))
                case "step":
                    await self._step(scope, reindexer, fields)
                case "follow":
                    # What is made of entities may be old when it is stored.
                    made = await indexer.make_some(scope)
                    match dice.choice(["nothing", "push", "follow", "anew"]):
                        case "push":
                            await self._push(scope, chance, fields)
                        case "follow":
                            await indexer.step(scope)
                        case "anew":
                            fields = self._some_fields(dice)
                            await self._step(scope, reindexer, fields, times=dice.randint(1, 3))
                    while made is not None and await indexer.store_some(scope, made) is None:
                        if dice.random() < 0.3:
                            await self._push(scope, chance, fields)
                case "forms":
                    fields = self._some_fields(dice)
                case other:
                    await self._disturb(scope, other)
            await self._compare(scope, fields)
        await self._finish(scope, reindexer, indexer, fields)

    async def _step(self, scope: TenantScope, reindexer: Reindexer, fields: tuple[str, ...], *, times: int = 1) -> None:
        for _ in range(times):
            async with self.database.transaction(scope) as tx:
                await reindexer.go_on(tx, scope, fields)

    def _some_fields(self, dice: random.Random) -> tuple[str, ...]:
        return dice.choice([FIELDS[:2], FIELDS[1:], FIELDS, ()])

    async def _push(self, scope: TenantScope, chance: Chance, fields: tuple[str, ...]) -> None:
        async with self.database.transaction(scope) as tx:
            tenant = Tenant(scope.tenant_id, "Program", searchable=fields)
            await self._log.append(
                tx, scope, tenant, chance.batch(), origin=chance.origin(), on_rejection=lambda _: None
            )

    async def _disturb(self, scope: TenantScope, how: str) -> None:
        of_program = search_indexes.c.tenant_id == scope.tenant_id
        if how == "rebuild":
            await Rebuilder(self.database, self._store, self._clock, followers=FOLLOWERS, batch=7).rebuild(scope)
            return
        async with self.database.transaction(scope) as tx:
            match how:
                case "rules":  # another version of the hub has been at work
                    await tx.execute(update(search_indexes).where(of_program).values(rules=77))
                case "give up":
                    await self._store.hold(tx, scope)
                    await give_up_index(tx, scope, now=self._clock.now())
                case _:  # as a program that is older than the index
                    await tx.execute(delete(search_indexes).where(of_program))
                    await tx.execute(delete(search_terms).where(search_terms.c.tenant_id == scope.tenant_id))

    async def _compare(self, scope: TenantScope, fields: tuple[str, ...]) -> None:
        async with self.database.transaction(scope) as tx:
            held = await entities_after(tx, scope, "", limit=1000)
            index = await read_index(tx, scope)
            for field, asked in COMPARISONS:
                if not index.has(field):
                    continue
                ranges = [one for one in asked if one is not None]
                self.seen["compared"] += 1
                right = {entity.guid for entity in held if self._is_in(ranges, value_at(entity.data, field))}
                self.seen["found"] += len(right)
                await self._ask(tx, scope, [Lookup(field, ranges, index.beyond)], right, held)
            if index.has_words_of(fields):
                self.seen["searched"] += 1
                for search in SEARCHES:
                    found = {entity.guid for entity in held if self._is_found(entity, search, fields)}
                    lookups = lookups_of_words(asked_in(search), beyond=index.beyond)
                    await self._ask(tx, scope, lookups, found, held)

    def _is_found(self, entity: Entity, search: str, fields: tuple[str, ...]) -> bool:
        return answers(words_of(entity.name, entity.data, fields), asked_in(search))

    def _is_in(self, ranges: Sequence[Range], value: Any) -> bool:
        key = key_of(value)
        return key is not None and any(one.holds(key) for one in ranges)

    async def _ask(
        self, view: Reading, scope: TenantScope, lookups: Sequence[Lookup], right: set[str], held: Sequence[Entity]
    ) -> None:
        """All who belong are found; who does not belong, only among those that the indexer has not come by."""
        found = await self._guids(view, scope, lookups)
        beyond = lookups[0].beyond
        new = {entity.guid for entity in held if beyond is not None and entity.changed_position > beyond}
        self.seen["new"] += len(new & right)
        assert right <= found <= right | new, lookups
        assert await self._guids(view, scope, [replace(one, beyond=None) for one in lookups]) <= right, lookups

    async def _guids(self, view: Reading, scope: TenantScope, lookups: Sequence[Lookup]) -> set[str]:
        sql = Sql(view.dialect, scope)
        text = all_of([indexed(sql, lookup) for lookup in lookups])
        return {row[0] for row in await view.fetch(text, *sql.values)}

    async def _finish(
        self, scope: TenantScope, reindexer: Reindexer, indexer: Indexer, fields: tuple[str, ...]
    ) -> None:
        is_done = False
        while not is_done:
            async with self.database.transaction(scope) as tx:
                is_done = (await reindexer.go_on(tx, scope, fields)).is_done
            await self._compare(scope, fields)
        await indexer.catch_up(scope)
        async with self.database.transaction(scope) as tx:
            held = await entities_after(tx, scope, "", limit=1000)
            state = await find_index(tx, scope)
            rows = select(search_terms.c.field, search_terms.c.term, search_terms.c.guid)
            found = await tx.execute(rows.where(search_terms.c.tenant_id == scope.tenant_id))
            made = {(field, text, entity.guid) for entity in held for field, text in terms_of(entity, fields)}
            assert {tuple(row) for row in found} == made
        assert state is not None
        assert (state.fields, state.next_fields, state.beyond) == (fields, None, None)
        assert [fault async for fault in faults_of(self.database, self._store, scope)] == []
        self.seen["programs"] += 1


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_the_index_answers_as_the_entities_do(runner: asyncio.Runner, measured: Callable[[str, object], None]) -> None:
    programs = Programs(MemoryDatabase())

    @settings(max_examples=100, database=None, deadline=None)
    @given(seed=st.integers(0, 2**48), steps=st.integers(5, 60))
    def each(seed: int, steps: int) -> None:
        runner.run(programs.live(seed, steps))

    each()
    seen = programs.seen
    measured("seen", dict(seen))
    assert min(seen["compared"], seen["found"], seen["searched"], seen["new"]) > 100


@pytest.mark.anyio
async def test_so_it_does_on_postgresql(
    migrated_once: Migrated, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async with (
        migrated_once.database("postgres", request, tmp_path) as url,
        closing(open_database(url, data_dir=tmp_path, pool_size=4)) as database,
    ):
        programs = Programs(database)
        for seed in range(12):
            await programs.live(seed, 40)
    seen = programs.seen
    assert min(seen["compared"], seen["found"], seen["searched"], seen["new"]) > 12
