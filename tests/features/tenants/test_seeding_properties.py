"""However a seeding is cut into batches, interrupted and begun again: the log is that of one that is done in one go."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite import insert

from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db.database import closing
from datacollect.eventstore.log import EventLog
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.tenants import seeding_job
from datacollect.features.tenants.seeding import Seeding, plan_of, seed_records
from datacollect.features.tenants.tables import programs
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from datacollect.testing.clock import SetClock
from tests.memory import MemoryDatabase

FORMS = [
    {"name": "household"},
    {"name": "person", "dependsOn": "household", "nameField": "fullName"},
    {"name": "visit", "dependsOn": "person"},
]
SCOPE = system_scope(TenantId("p"))
TENANT = Tenant(TenantId("p"), "P")
PROGRAM = {"id": "p", "artifact_id": "a", "name": "P", "config": "{}", "revision": 1, "created_ms": 0, "updated_ms": 0}
START = Millis(1_700_000_000_000)

# Some name a parent that nobody has: their membership is rejected.
names = st.fixed_dictionaries({"name": st.sampled_from(["", "Ana", "Ben"])}, optional={"fullName": st.just("Ana B.")})
items = st.tuples(st.sampled_from(["household", "person", "visit", "area"]), names, st.integers(-1, 6))
uploads = st.lists(items, max_size=14)
cuts = st.lists(st.sampled_from(["batch", "cut"]), max_size=8)


def entity_data(made: Sequence[tuple[str, dict[str, Any], int]], *, mark: str = "") -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for number, (form, item, parent) in enumerate(made):
        above = {} if parent < 0 else {"parentId": f"{mark}{parent}"}
        groups.setdefault(form, []).append({"id": f"{mark}{number}"} | above | item)
    return [{"name": form, "data": data} for form, data in groups.items()]


class Cut(Exception):
    """The process ends here, in the middle of a transaction."""


@dataclass
class World:
    """A program in a database in memory."""

    database: MemoryDatabase
    clock: SetClock = field(default_factory=lambda: SetClock(START))

    @property
    def log(self) -> EventLog:
        return EventLog(event_store(self.database), [EntityProjection(FOLLOWERS)], self.clock)

    async def upload(self, data: Sequence[dict[str, Any]], *, batch: int, at_once: int = 0) -> None:
        async with self.database.transaction(SCOPE) as tx:
            await tx.execute(insert(programs).values(PROGRAM).on_conflict_do_nothing())
            await self.log.create(tx, SCOPE)
            plan = plan_of(seed_records(FORMS, data), most_records=batch)
            await seeding_job.begin(tx, self.log, SCOPE, TENANT, plan, now=self.clock.now(), at_once=at_once)

    async def step(self) -> Seeding | None:
        async with self.database.transaction(SCOPE) as tx:
            return await seeding_job.seed_next(tx, self.log, SCOPE, now=self.clock.now())

    async def cut_step(self) -> None:
        try:
            async with self.database.transaction(SCOPE) as tx:
                await seeding_job.seed_next(tx, self.log, SCOPE, now=self.clock.now())
                raise Cut
        except Cut:
            pass

    async def finish(self, cut_at: Sequence[str] = ()) -> None:
        for what in cut_at:
            # Nothing of what is seeded may depend on when it is.
            self.clock.turn(7)
            await (self.cut_step() if what == "cut" else self.step())
        while (seeding := await self.step()) is not None and seeding.is_under_way:
            pass

    async def outcome(self) -> Any:
        async with self.database.reading(SCOPE) as view:
            page = await self.log.read(view, SCOPE, after=0, limit=1000)
            head = await self.log.head(view, SCOPE)
            shown = await seeding_job.describe(view, SCOPE, is_archived=False)
            entities = await view.fetch(
                "SELECT guid, type, name, data, stamps, deleted, changed_position FROM entities ORDER BY guid"
            )
        assert head is not None
        if shown is not None:
            assert shown["state"] == "done"
            assert shown["done"] == shown["total"]
            shown = {key: value for key, value in shown.items() if key not in ("finishedAt", "error")}
        return list(page.bodies), head.chain_hash, head.figures, [tuple(row) for row in entities], shown


async def seeded(*stages: Sequence[dict[str, Any]], batch: int, at_once: int = 0, cut_at: Sequence[str] = ()) -> Any:
    """What there is once these have been uploaded, each ten seconds after the one before."""
    async with closing(MemoryDatabase()) as database:
        world = World(database)
        for data in stages:
            await world.upload(data, batch=batch, at_once=at_once)
            await world.finish(cut_at)
            world.clock = SetClock(Millis(world.clock.now() // 10_000 * 10_000 + 10_000))
        return await world.outcome()


@given(made=uploads, batch=st.integers(1, 5), cut_at=cuts)
@settings(max_examples=30)
def test_batches_of_any_size_cut_anywhere_give_the_log_of_one_go(made: Any, batch: int, cut_at: list[str]) -> None:
    data = entity_data(made)

    async def compare() -> None:
        assert await seeded(data, batch=batch, cut_at=cut_at) == await seeded(data, batch=99, at_once=999)

    asyncio.run(compare())


@given(made=uploads, batch=st.integers(1, 5))
@settings(max_examples=20)
def test_seeding_twice_adds_nothing(made: Any, batch: int) -> None:
    data = entity_data(made)

    async def compare() -> None:
        once, twice = await seeded(data, batch=batch), await seeded(data, data, batch=batch)
        assert twice[:4] == once[:4]
        if once[4] is not None:
            assert (twice[4]["added"], twice[4]["changed"]) == (0, 0)
            assert twice[4]["existing"] + twice[4]["rejected"] == once[4]["total"]

    asyncio.run(compare())


@given(made=uploads, more=uploads, batch=st.integers(1, 5), at_once=st.sampled_from([0, 999]))
@settings(max_examples=20)
def test_adding_records_adds_only_those(made: Any, more: Any, batch: int, at_once: int) -> None:
    first, second = entity_data(made), entity_data(more, mark="x")

    async def compare() -> None:
        before = await seeded(first, batch=batch, at_once=at_once)
        after = await seeded(first, [*first, *second], batch=batch, at_once=at_once)
        assert after[0][: len(before[0])] == before[0]
        added = len(after[0]) - len(before[0])
        alone = await seeded(second, batch=batch, at_once=at_once)
        assert added == len(alone[0])

    asyncio.run(compare())


@given(made=uploads, more=uploads)
@settings(max_examples=20)
def test_no_two_seeds_of_a_program_have_one_time(made: Any, more: Any) -> None:
    async def compare() -> None:
        async with closing(MemoryDatabase()) as database:
            world = World(database)
            # The second upload comes before as many milliseconds have passed as the first one has events.
            for data in (entity_data(made), entity_data(made) + entity_data(more, mark="x")):
                await world.upload(data, batch=3)
                await world.finish()
                world.clock.turn(2)
            rows = await database._tx.fetch("SELECT count(*), count(DISTINCT occurred_ms) FROM events")
            assert rows[0][0] == rows[0][1]

    asyncio.run(compare())
