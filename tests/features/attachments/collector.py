"""The job that deletes bytes, without a worker around it."""

import time
from collections.abc import Callable
from typing import Any

from datacollect.db import Database, Tx
from datacollect.features.attachments.contents.collecting import KIND, CollectHandler
from datacollect.jobs import Done, Job, JobId, JobState
from datacollect.jobs.errors import JobCallTimedOut
from datacollect.jobs.model import Progress
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.identity import TenantScope
from datacollect.objects import ObjectStore


class Collector:
    """Collects in one program; stands for the job's lease as well."""

    is_ending = False

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        clock: Clock,
        scope: TenantScope,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._scope, self._clock, self._monotonic = database, scope, clock, monotonic
        self._handler = CollectHandler(store, clock, _nothing_to_tidy, monotonic=monotonic)

    async def collect(self) -> None:
        """Raises `JobCallTimedOut` where a worker would have cut a call off."""
        job = _job(self._scope, started_at=self._clock.now())
        while True:
            begun = self._monotonic()
            deleted = await self._handler.call(self._scope, job, self)
            if self._monotonic() - begun >= self._handler.call_seconds:
                raise JobCallTimedOut()
            async with self.transaction() as tx:
                if isinstance(await self._handler.step(tx, self._scope, job, deleted), Done):
                    return

    def transaction(self) -> Any:
        return self._database.transaction(self._scope)


async def _nothing_to_tidy(tx: Tx, scope: TenantScope, *, after: str, now: Millis) -> None:
    """Implements `Tidy`."""


def _job(scope: TenantScope, *, started_at: Millis) -> Job:
    now = Millis(0)
    return Job(
        id=JobId("j"),
        tenant_id=scope.tenant_id,
        kind=KIND,
        key="",
        args={},
        state=JobState.RUNNING,
        checkpoint={"tidied": True},
        progress=Progress(),
        result=None,
        attempt=1,
        failures=0,
        error_code=None,
        is_called_off=False,
        deadline=None,
        due_at=now,
        created_at=now,
        started_at=started_at,
        updated_at=now,
        finished_at=None,
    )
