"""The hub's own detection, run in process over records of which one knows who is who.

Everything is as in a hub that receives them: they are appended to the log, and the background job looks at them in the
order of their arrival, with the keys, caps, roles and threshold that are shipped.
"""

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.client import BenchError
from bench.pairs import Pair, pair_of
from bench.serve import empty_database
from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db import Database, open_database
from datacollect.db.database import closing
from datacollect.db.migrate import migrate
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.features.duplicates import detecting
from datacollect.features.duplicates.comparing import Chosen, Subject, scores_of
from datacollect.features.duplicates.detecting import DetectingHandler
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.tenants.asked import find_running, matching_of
from datacollect.features.tenants.service import take_up
from datacollect.jobs import Continue, Job, enqueue, find_active
from datacollect.kernel.clock import SystemClock, parse_timestamp
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.matching.scoring import Evidence, Score

_BATCH = 1_000
_TOLD_AT = parse_timestamp("2025-06-01T08:00:00.000Z")


@dataclass(frozen=True, slots=True)
class Compared:
    """What the hub made of a pair it looked at."""

    bits: float
    evidence: Sequence[Evidence]


@dataclass(frozen=True, slots=True)
class Detected:
    """`compared` are all pairs it looked at, `found` those that it would tell people about."""

    compared: Mapping[Pair, Compared]
    found: Sequence[Pair]
    seconds: float
    cpu_seconds: float


@contextlib.asynccontextmanager
async def own_database(engine: str = "sqlite") -> AsyncIterator[Database]:
    """A migrated database, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hub-matching-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with empty_database(engine, None, folder) as given:
            async with closing(open_database(given.url, data_dir=folder / "data", pool_size=2)) as database:
                await migrate(database)
                yield database


async def detect(
    database: Database, program: str, forms: Sequence[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]
) -> Detected:
    """Take the events (type, guid, data) into a new program and let the job look at all of them."""
    run = _Run(database, system_scope(TenantId(program)))
    await run.fill(forms, events)
    return await run.look()


@dataclass(slots=True)
class _Run:
    database: Database
    scope: TenantScope
    clock: SystemClock = field(default_factory=SystemClock)
    log: EventLog = field(init=False)
    compared: dict[Pair, Compared] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.log = EventLog(event_store(self.database), [EntityProjection(FOLLOWERS)], self.clock)

    async def fill(self, forms: Sequence[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> None:
        program = {"id": self.scope.tenant_id, "name": "Matching", "entityForms": list(forms)}
        async with self.database.transaction(self.scope) as tx:
            await take_up(tx, self.log, self.scope, program, now=self.clock.now())
            tenant = await find_running(tx, self.scope.tenant_id)
        if tenant is None:
            raise BenchError("the program was refused")
        made = [Event(new_guid(), e["entityGuid"], e["type"], e["data"], _TOLD_AT, "bench") for e in events]
        for begin in range(0, len(made), _BATCH):
            async with self.database.transaction(self.scope) as tx:
                await self.log.append(tx, self.scope, tenant, made[begin : begin + _BATCH])

    async def look(self) -> Detected:
        async with self.database.transaction(self.scope) as tx:
            matching = await matching_of(tx, self.scope.tenant_id)
            await enqueue(tx, self.scope, DetectingHandler.kind, {}, now=self.clock.now())
            job = await find_active(tx, self.scope, DetectingHandler.kind)
        assert matching is not None and isinstance(job, Job)
        handler = DetectingHandler(self.database, self.log, self.clock)
        begun, cpu = time.perf_counter(), time.process_time()
        with patch.object(detecting, "scores_of", self._scores_of):
            going_on = True
            while going_on:
                looked = await handler.prepare(self.scope, job, _no_rest)
                async with self.database.transaction(self.scope) as tx:
                    going_on = isinstance(await handler.step(tx, self.scope, job, looked), Continue)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        found = [pair for pair, each in self.compared.items() if each.bits >= matching.threshold]
        return Detected(self.compared, found, seconds, cpu)

    def _scores_of(
        self, subject: Subject, chosen: Chosen, known: Mapping[str, Subject]
    ) -> Sequence[tuple[Subject, Score]]:
        """The hub's own, written down: what is compared is not stored unless it is told."""
        scores = scores_of(subject, chosen, known)
        for other, score in scores:
            self.compared[pair_of(subject.guid, other.guid)] = Compared(score.bits, score.evidence)
        return scores


async def _no_rest() -> None:
    """Nobody else is there."""
