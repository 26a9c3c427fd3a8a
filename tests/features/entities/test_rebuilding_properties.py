"""Ten thousand random histories: what a rebuild makes of each is what is live, byte for byte.

Each has entities of its own; some run side by side in one program, so that they share its batches. All take the real log,
the real statements and the real rebuild, in SQLite's memory. Some more run on both engines in `test_rebuilding.py`.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datacollect.app import FOLLOWERS
from datacollect.eventstore.log import EventLog, Rejection
from datacollect.eventstore.sqlite import SqliteEventStore
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.entities.rebuilding import Rebuilder
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from datacollect.testing.clock import TurnableClock
from tests.histories import GUIDS, Chance
from tests.memory import MemoryDatabase
from tests.states import derived_state, ruin

HISTORIES = 10_000
TOGETHER = 25
"""Histories in one program."""
BATCHES = 5


class Histories:
    """A log, and a rebuild of it, in memory."""

    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.seen: Counter[str] = Counter()
        self._store = SqliteEventStore()
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
        async with self.database.transaction() as tx:
            await self._log.create(tx, scope)
        for _ in range(BATCHES):
            events = [event for chance in chances for event in chance.batch()]
            async with self.database.transaction() as tx:
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
    histories = Histories()

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
