"""The worker of one process. Any number of processes may have one; each does a step at a time per slot.

A job is claimed for a lease, and every committed step prolongs it. A worker that is gone, or that stands still for longer
than a lease, loses its job to the next one that looks, and cannot commit anything of it any more: the last statement of
each step says who it is and which attempt this is.

After a slice (some steps, or a second) the job goes back into the line, in the transaction of its last step, and the next
turn belongs to the tenant that has waited longest.

Times are those of the injected clock, as everywhere in the hub, and not the database's: leases then end in tests without
waiting, and on SQLite there is no other. A clock that goes ahead takes jobs over too early, which costs the batch that was
under way, never an effect twice.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import replace

import structlog

from datacollect.db import Database
from datacollect.jobs import queries
from datacollect.jobs.errors import JobAbandoned, JobFailed, JobTimedOut, LeaseLost, Unrecoverable
from datacollect.jobs.model import Continue, Done, Handler, Job, JobState, Progress, Retries
from datacollect.jobs.queue import JOBS
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import new_guid

_log = structlog.get_logger(component="jobs")

_POLL_SECONDS = 5
"""What other processes put in line, and what is to be tried again, waits this long at most. Our own work wakes us."""

_STOP_SECONDS = 10
_KEPT_MILLIS = 14 * 24 * 3600 * 1000
_FORGET_EVERY_MILLIS = 3600 * 1000
_FORGOTTEN_AT_ONCE = 500


class Worker:
    """Runs the jobs of the kinds it has handlers for."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        handlers: Iterable[Handler] = (),
        *,
        slots: int = 2,
        lease_seconds: float = 30,
        slice_steps: int = 20,
        slice_seconds: float = 1,
        retries: Retries | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._handlers = _by_kind(handlers)
        self._slots = slots
        self._lease_seconds = lease_seconds
        self._slice_steps = slice_steps
        self._slice_seconds = slice_seconds
        self._retries = retries or Retries()
        self._name = f"{os.getpid()}-{new_guid()}"
        self._woken = asyncio.Event()
        self._stopping = False
        self._busy = 0
        self._settled = asyncio.Event()
        self._forgotten_at = Millis(0)
        database.follow(JOBS, self.wake)

    def wake(self) -> None:
        """There may be something to do. Called by itself after each commit of this process that enqueues."""
        self._woken.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work until the block ends; then end the steps under way, and leave the jobs to the next worker."""
        self._stopping = False
        slots = [asyncio.create_task(self._work(f"{self._name}-{number}")) for number in range(self._slots)]
        try:
            yield
        finally:
            self._stopping = True
            self.wake()
            await _end(slots)

    async def drain(self) -> None:
        """Do everything that is due, and wait for what this process is doing. For tests and tools: it never rests."""
        while True:
            while await self._is_anything_due():
                await self._take_a_turn(f"{self._name}-drain")
            if not self._busy:
                return
            self._settled.clear()
            await self._settled.wait()

    async def _work(self, owner: str) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                await self._forget_old_ones()
                while await self._is_anything_due() and await self._take_a_turn(owner):
                    if self._stopping:
                        return
            except Exception as error:
                # The database is away, most likely. What was claimed is claimed again when its lease is over.
                _log.warning("jobs.interrupted", exc_info=error)
            await self._rest()

    async def _rest(self) -> None:
        # Not all processes at the same moment.
        seconds = _POLL_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    async def _is_anything_due(self) -> bool:
        """Cheaper than claiming, which on SQLite stands in line with everybody who writes."""
        if not self._handlers:
            return False
        async with self._database.reading() as view:
            return await queries.is_anything_due(view, self._handlers, now=self._clock.now())

    async def _take_a_turn(self, owner: str) -> bool:
        """Claim a job and go on with it for a slice. Whether there was one to be had."""
        self._busy += 1
        try:
            job = await self._claim(owner)
            if job is None:
                return False
            with structlog.contextvars.bound_contextvars(job_id=job.id, job_kind=job.kind, tenant_id=job.tenant_id):
                if job.is_active:
                    await self._run(job, owner)
                else:
                    _told(job, job.state)
            return True
        finally:
            self._busy -= 1
            self._settled.set()

    async def _claim(self, owner: str) -> Job | None:
        async with self._database.transaction() as tx:
            now = self._clock.now()
            return await queries.claim(
                tx,
                owner,
                self._handlers,
                now=now,
                lease_until=self._lease_end(now),
                attempts=self._retries.attempts,
                abandoned=JobAbandoned.code,
            )

    async def _run(self, job: Job, owner: str) -> None:
        """A slice of a job that is ours: steps until it ends, fails, is lost, or others should have a turn."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._slice_seconds
        steps = 0
        while True:
            steps += 1
            keep = steps < self._slice_steps and loop.time() < ends_at
            try:
                async with asyncio.timeout(self._lease_seconds):
                    going_on = await self._step(job, owner, keep=keep)
            except LeaseLost:
                _log.info("job.lost")
                return
            except Exception as error:
                await self._fail(job, owner, error)
                return
            if going_on is None:
                return
            job = going_on
            # Requests come first: between two steps everything else that is ready has its turn.
            await asyncio.sleep(0)

    async def _step(self, job: Job, owner: str, *, keep: bool) -> Job | None:
        """Do one batch. Gives the job to go on with; None when it is over or in line again."""
        scope = system_scope(job.tenant_id)
        async with self._database.transaction(scope) as tx:
            outcome = await self._handlers[job.kind].step(tx, scope, job)
            now = self._clock.now()
            if isinstance(outcome, Done):
                state = await queries.complete(tx, job, owner, outcome.result, now=now)
                going_on = job
            else:
                going_on = _gone_on(job, outcome)
                keep = keep and not self._stopping
                due = self._lease_end(now) if keep else now
                state = await queries.store_checkpoint(tx, going_on, owner, due=due, keep=keep, now=now)
            if state is None:
                raise LeaseLost()
        if state is JobState.RUNNING:
            return going_on
        _told(job, state)
        return None

    async def _fail(self, job: Job, owner: str, error: Exception) -> None:
        failed = replace(job, failures=max(job.failures, 1), error_code=_code_of(error))
        _log.warning("job.step_failed", code=failed.error_code, failures=failed.failures, exc_info=error)
        now = self._clock.now()
        is_hopeless = isinstance(error, Unrecoverable) or failed.failures >= self._retries.attempts
        pause = self._retries.pause_millis(failed.failures, random.random)
        async with self._database.transaction() as tx:
            retry_at = None if is_hopeless else Millis(now + pause)
            state = await queries.store_failure(tx, failed, owner, retry_at=retry_at, now=now)
        if state is not None:
            _told(failed, state)

    async def _forget_old_ones(self) -> None:
        now = self._clock.now()
        if now - self._forgotten_at < _FORGET_EVERY_MILLIS:
            return
        before = Millis(now - _KEPT_MILLIS)
        async with self._database.transaction() as tx:
            deleted = await queries.delete_finished(tx, before=before, most=_FORGOTTEN_AT_ONCE)
        if deleted < _FORGOTTEN_AT_ONCE:
            self._forgotten_at = now

    def _lease_end(self, now: Millis) -> Millis:
        return Millis(now + round(self._lease_seconds * 1000))


def _by_kind(handlers: Iterable[Handler]) -> Mapping[str, Handler]:
    found: dict[str, Handler] = {}
    for handler in handlers:
        if handler.kind in found:
            raise ValueError(f"two handlers for jobs of the kind {handler.kind}")
        found[handler.kind] = handler
    return found


def _gone_on(job: Job, outcome: Continue) -> Job:
    return replace(job, checkpoint=outcome.checkpoint, progress=Progress(outcome.done, outcome.total), failures=0)


def _code_of(error: Exception) -> str:
    if isinstance(error, DataCollectError):
        return error.code
    return JobTimedOut.code if isinstance(error, TimeoutError) else JobFailed.code


def _told(job: Job, state: JobState) -> None:
    """Codes and counts only; the job's own ids are bound to the line already."""
    if state is JobState.DISCARDED:
        _log.error("job.discarded", failures=job.failures, code=job.error_code)
    elif state in (JobState.COMPLETED, JobState.CANCELLED):
        _log.info(f"job.{state}", attempt=job.attempt)


async def _end(tasks: Collection["asyncio.Task[None]"]) -> None:
    """Wait for the steps under way, and cut off one that hangs: its job is gone on with when its lease is over."""
    if not tasks:
        return
    _, hanging = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
