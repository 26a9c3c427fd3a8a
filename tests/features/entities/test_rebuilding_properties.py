"""A thousand random histories: what a rebuild makes of each is what is live, byte for byte.

Each has entities of its own; some run side by side in one program, so that they share its batches. All take the real log,
the real statements and the real rebuild, in SQLite's memory; a hundred more run on PostgreSQL. For more of them, such as
10,000 and 500: HUB_HISTORIES and HUB_POSTGRES_HISTORIES.
"""

import asyncio
import itertools
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db import Database, open_database
from datacollect.db.database import closing
from datacollect.eventstore.log import EventLog, Rejection
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.entities.rebuilding import Rebuilder
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from datacollect.testing.clock import TurnableClock
from tests.conftest import Migrated
from tests.histories import GUIDS, Chance
from tests.memory import MemoryDatabase
from tests.states import derived_state, ruin

HISTORIES = int(os.environ.get("HUB_HISTORIES", "1000"))
TOGETHER = 25
"""Histories in one program."""
BATCHES = 5


class Histories:
    """Logs, and a rebuild of each."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.seen: Counter[str] = Counter()
        self._store = event_store(database)
        self._clock = TurnableClock()
        self._log = EventLog(self._store, [EntityProjection(FOLLOWERS)], self._clock)
        self._names = (f"p-{number}" for number in itertools.count())

    async def live_and_rebuilt(self, seed: int, batch: int) -> None:
        scope = system_scope(TenantId(next(self._names)))
        chances = [Chance(f"{seed} {batch} {each}", [f"{each}-{guid}" for guid in GUIDS]) for each in range(TOGETHER)]
        await self._live_through(scope, chances)
        live = await derived_state(self.database, scope)
        await ruin(self.database, scope)
        rebuilder = Rebuilder(self.database, self._store, self._clock, followers=FOLLOWERS, batch=batch)
        outcome = await rebuilder.rebuild(scope)
        assert outcome.ok
        assert await derived_state(self.database, scope) == live
        self.seen["histories"] += TOGETHER
        self.seen["events"] += outcome.events
        self.seen["memberships"] += outcome.memberships
        self.seen["conflicts"] += len(live["conflicts"])

    async def _live_through(self, scope: TenantScope, chances: Sequence[Chance]) -> None:
        tenant = Tenant(scope.tenant_id, "Program")
        async with self.database.transaction(scope) as tx:
            await self._log.create(tx, scope)
        for _ in range(BATCHES):
            events = [event for chance in chances for event in chance.batch()]
            async with self.database.transaction(scope) as tx:
                await self._log.append(
                    tx, scope, tenant, events, origin=chances[0].origin(), on_rejection=self._refused
                )

    def _refused(self, rejection: Rejection) -> None:
        self.seen["refused"] += 1


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_a_rebuild_gives_the_live_state(runner: asyncio.Runner, measured: Callable[[str, object], None]) -> None:
    histories = Histories(MemoryDatabase())

    @settings(max_examples=HISTORIES // TOGETHER, database=None)
    @given(seed=st.integers(0, 2**48), batch=st.integers(1, 400))
    def each(seed: int, batch: int) -> None:
        runner.run(histories.live_and_rebuilt(seed, batch))

    each()
    seen = histories.seen
    measured("seen", dict(seen))
    assert seen["histories"] >= HISTORIES
    assert min(seen["memberships"], seen["conflicts"], seen["refused"]) > HISTORIES / 2
    assert seen["events"] > 8 * HISTORIES


@pytest.mark.anyio
async def test_so_does_one_on_postgresql(
    migrated_once: Migrated, request: pytest.FixtureRequest, tmp_path: Path, measured: Callable[[str, object], None]
) -> None:
    wanted = int(os.environ.get("HUB_POSTGRES_HISTORIES", "100"))
    dice = random.Random(wanted)
    async with (
        migrated_once.database("postgres", request, tmp_path) as url,
        closing(open_database(url, data_dir=tmp_path, pool_size=4)) as database,
    ):
        histories = Histories(database)
        while histories.seen["histories"] < wanted:
            await histories.live_and_rebuilt(dice.getrandbits(48), dice.randint(1, 400))
    seen = histories.seen
    measured("seen", dict(seen))
    assert min(seen["memberships"], seen["conflicts"], seen["refused"]) > wanted / 2
