"""Runs whose steps a test does itself: they can end anywhere, and what they ask of the database is the test's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

from datacollect.adapters.registry import installed
from datacollect.db import Database, Tx
from datacollect.features.external.connecting import Connections
from datacollect.features.external.runner import ExternalSync
from datacollect.jobs import Continue, Done, GiveUp, Job, JobState, Retry, find_job
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from tests.features.external.exchanging import Exchange


class Crash(Exception):
    """The process is gone."""


@dataclass
class Lease:
    database: Database
    scope: TenantScope
    is_ending: bool = False

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        async with self.database.transaction(self.scope) as tx:
            yield tx


@dataclass
class Runner:
    """Does a run's steps by hand, so that it can end anywhere."""

    exchange: Exchange
    crashes: list[int] = field(default_factory=list)
    """How long each of the first calls may take, in turns of the event loop; 0 means that its answer is lost."""

    async def run(self) -> dict[str, Any]:
        exchange, hub = self.exchange, self.exchange.hub
        scope = system_scope(TenantId(exchange.program))
        job_id = await exchange.start()
        failures = 0
        handler = self._handler()
        async with hub.db.reading(scope) as view:
            job = await find_job(view, scope, job_id)
        assert job is not None
        while True:
            step = await self._step(handler, scope, job)
            if step is None:
                handler = self._handler()  # another process goes on
            elif isinstance(step, Continue):
                job = _at(job, step)
                failures = 0
            elif isinstance(step, Retry) and failures < 2:
                failures += 1
            else:
                break
        async with hub.db.transaction(scope) as tx:
            if isinstance(step, Retry):
                await handler.ended(tx, scope, _discarded(job, step.code))
            assert isinstance(step, Done | GiveUp | Retry)
        async with hub.db.transaction(scope) as tx:
            await hub.jobs.cancel(tx, scope, job.id)
        return await exchange.job(job_id)

    async def _step(self, handler: ExternalSync, scope: TenantScope, job: Job) -> Any:
        """None if the process ended in it."""
        database = self.exchange.hub.db
        patience = self.crashes.pop() if self.crashes else None
        call = asyncio.ensure_future(handler.call(scope, job, Lease(database, scope)))
        for _ in range(patience or 0):
            await asyncio.sleep(0.0002)
            if call.done():
                break
        else:
            if patience:
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                return None
        result = await call
        with contextlib.suppress(Crash):
            async with database.transaction(scope) as tx:
                step = await handler.step(tx, scope, job, result)
                if patience == 0:
                    raise Crash
            return step
        return None

    def _handler(self) -> ExternalSync:
        hub = self.exchange.hub
        connections = Connections(hub.db, hub.tenants, hub.seals, hub.outgoing, hub.clock, installed)
        return ExternalSync(hub.db, hub.log, hub.checks, connections, hub.clock)


def _at(job: Job, step: Continue) -> Job:
    return replace(job, checkpoint=dict(step.checkpoint))


def _discarded(job: Job, code: str) -> Job:
    return replace(job, state=JobState.DISCARDED, error_code=code)
