"""The worker of one process. Any number of processes may have one.

A job is claimed for a lease, and every committed step prolongs it. A worker that is gone, or that stands still for longer
than a lease, loses its job to the next one that looks, and cannot commit anything of it any more: the last statement of
each step says who it is and which attempt this is.

There are two kinds of places: few for jobs that work in the database, many for jobs that mostly wait for other systems.
Neither keeps the other waiting. Jobs that have failed since their last step may have half of the places at most, so that
systems that are away leave room for those that are not.

Between steps a job rests for as long as the step took, so that whoever asks the hub for something meanwhile finds the
database's writer and the event loop free half of the time: a job has time, a request has not. A job that thinks before
its steps gives way every few milliseconds meanwhile: as long as this process is asked anything it takes a tenth of the
loop, all such jobs together, and when nobody asks all that there is.

After a slice (some steps, or a second) the job goes back into the line, in the transaction of its last step, and the next
turn belongs to the tenant that has waited longest.

Times are those of the injected clock, as everywhere in the hub, and not the database's: leases then end in tests without
waiting, and on SQLite there is no other. A clock that goes ahead takes jobs over too early, which costs the batch that was
under way, never an effect twice. One that is set back keeps no job waiting: see `SetBack`.
"""

import asyncio
import contextlib
import contextvars
import os
import random
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

import structlog

from datacollect.db import Database, Tx
from datacollect.jobs import queries
from datacollect.jobs.calls import Call, Watching
from datacollect.jobs.clocks import SetBack
from datacollect.jobs.errors import JobNotFound, JobNotRetryable
from datacollect.jobs.giving_way import Visitors
from datacollect.jobs.model import AnyHandler, CallingHandler, Job, JobId, KeepsRuns, Retries
from datacollect.jobs.queue import CALLED_OFF, JOBS
from datacollect.jobs.rounds import going_round
from datacollect.jobs.turn import Terms, Turn
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid

_log = structlog.get_logger(component="jobs")

_LOOK_SECONDS = 0.05
_STOP_SECONDS = 10
_KEPT_MILLIS = 14 * 24 * 3600 * 1000
_FORGET_EVERY_MILLIS = 3600 * 1000
_FORGOTTEN_AT_ONCE = 500


class _Places:
    """For turns of jobs of some kinds, so many at once."""

    def __init__(self, kinds: Iterable[str], most: int) -> None:
        self.kinds: Collection[str] = frozenset(kinds)
        self.most = most
        self.turns: set[asyncio.Task[None]] = set()
        self.unsound = 0
        """Turns of jobs that had failed since their last step when they were claimed."""
        self.woken = asyncio.Event()

    @property
    def has_room(self) -> bool:
        return len(self.turns) < self.most

    @property
    def has_room_for_sound_ones_only(self) -> bool:
        return self.unsound * 2 >= max(self.most, 1)


class Worker:
    """Runs the jobs of the kinds it has handlers for."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        handlers: Iterable[AnyHandler] = (),
        *,
        slots: int = 2,
        call_slots: int = 16,
        lease_seconds: float = 30,
        slice_steps: int = 20,
        slice_seconds: float = 1,
        poll_seconds: float = 1.5,
        look_seconds: float = 2,
        grace_seconds: float = 3,
        rest_share: float = 1,
        retries: Retries | None = None,
        visitors: Visitors | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._handlers = _by_kind(handlers)
        calling = {kind for kind, handler in self._handlers.items() if isinstance(handler, CallingHandler)}
        self._working = _Places(self._handlers.keys() - calling, slots)
        self._calling = _Places(calling, call_slots)
        self._places = (self._working, self._calling)
        self._calls: set[Call] = set()
        self._terms = Terms(
            database=database,
            clock=clock,
            lease_seconds=lease_seconds,
            slice_steps=slice_steps,
            slice_seconds=slice_seconds,
            retries=retries or Retries(),
            watching=Watching(
                database=database,
                clock=clock,
                lease_seconds=lease_seconds,
                look_seconds=look_seconds,
                grace_seconds=grace_seconds,
                writing=asyncio.Semaphore(max(slots, 2)),
            ),
            calls=self._calls,
            preparing=set(),
            visitors=visitors or Visitors(),
            is_stopping=lambda: self._stopping,
        )
        self._set_back = SetBack(database, clock, lease_seconds=lease_seconds)
        self._look_back_seconds = lease_seconds / 3
        # What other processes put in line, and what is to be tried again, waits so long. Our own work wakes us.
        self._poll_seconds = poll_seconds
        self._rest_share = rest_share
        self._name = f"{os.getpid()}-{new_guid()}"
        self._stopping = False
        self._busy = 0
        self._settled = asyncio.Event()
        self._forgotten_at = Millis(0)
        database.follow(JOBS, self.wake)
        database.follow(CALLED_OFF, self._look_at_calls)

    def wake(self) -> None:
        """There may be something to do. Called by itself after each commit of this process that enqueues."""
        for places in self._places:
            places.woken.set()

    async def cancel(self, tx: Tx, scope: TenantScope, job_id: JobId) -> Job | None:
        """Call a job off. Gives it as it is then, or None if there was nothing to call off.

        One that waits is over with `tx`, and its handler is told in it (`KeepsRuns.ended`). One that runs ends with the
        step it is in; a call of it is cut off a few seconds later. What has been done stays. Call it before `tx` locks
        rows that `ended` changes too.
        """
        job = await queries.call_off(tx, scope, job_id, self._handlers, now=self._clock.now())
        if job is None:
            return None
        if not job.is_active:
            handler = self._handlers[job.kind]
            if isinstance(handler, KeepsRuns):
                await handler.ended(tx, scope, job)
            told = {"job_id": job.id, "job_kind": job.kind, "tenant_id": job.tenant_id}
            tx.after_commit(partial(_log.info, "job.cancelled", **told))
        else:
            tx.announce(CALLED_OFF)
        return job

    async def retry(self, tx: Tx, scope: TenantScope, job_id: JobId) -> Job:
        """Put a discarded job in line again, from its checkpoint on, with the time it had to begin with.

        Raises `JobNotFound`, `JobNotRetryable` for one that was not given up (or whose handler refuses), and
        `JobReplaced` if another of its kind and key is active.
        """
        job = await queries.put_back(tx, scope, job_id, now=self._clock.now())
        if job is None:
            is_known = await queries.find_job(tx, scope, job_id) is not None
            raise JobNotRetryable() if is_known else JobNotFound()
        handler = self._handlers.get(job.kind)
        if isinstance(handler, KeepsRuns):
            await handler.reopened(tx, scope, job)
        tx.announce(JOBS)
        return job

    @contextlib.asynccontextmanager
    async def running(self, *, only: Collection[str] | None = None) -> AsyncIterator[None]:
        """Work until the block ends; then end the steps under way, and leave the jobs to the next worker.

        `only` names kinds: others are left to other workers. Calls to other systems have a few seconds to be answered;
        then they are cut off.
        """
        self._stopping = False
        if only is not None:
            for places in self._places:
                places.kinds = frozenset(only).intersection(places.kinds)
        serving = [_start(self._serve(places)) for places in self._places if places.most and places.kinds]
        try:
            async with going_round(self._set_back.look, seconds=self._look_back_seconds, name="jobs"):
                yield
        finally:
            self._stopping = True
            self.wake()
            for call in self._calls:
                call.stop()
            await _end(serving)
            await _end([turn for places in self._places for turn in places.turns])

    async def drain(self) -> None:
        """Do everything that is due, and wait for what this process is doing. For tests and tools: it never rests."""
        while True:
            for places in self._places:
                while await self._is_anything_due(places):
                    if (job := await self._claim(places)) is not None:
                        await self._take_a_turn(job, places, rest_share=0)
            if not self._busy:
                return
            self._settled.clear()
            await self._settled.wait()

    async def wait_for(self, scope: TenantScope, job_id: JobId, *, seconds: float) -> Job | None:
        """The job when it has ended, or as it is after so many seconds, whoever works on it; None if it is not kept."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            async with self._database.reading(scope) as view:
                job = await queries.find_job(view, scope, job_id)
            if job is None or not job.is_active or loop.time() >= until:
                return job
            await asyncio.sleep(_LOOK_SECONDS)

    async def _serve(self, places: _Places) -> None:
        """Keep the places filled as long as there is something to do, until the worker stops."""
        while not self._stopping:
            places.woken.clear()
            try:
                await self._forget_old_ones()
                await self._fill(places)
            except Exception as error:
                # The database is away, most likely.
                _log.warning("jobs.interrupted", exc_info=error)
            await self._rest(places)

    async def _rest(self, places: _Places) -> None:
        # Not all processes at the same moment.
        seconds = self._poll_seconds * random.uniform(0.8, 1.2)  # noqa: S311 - it spreads load, and guards nothing
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(places.woken.wait(), seconds)

    async def _fill(self, places: _Places) -> None:
        while places.has_room and not self._stopping and await self._is_anything_due(places):
            job = await self._claim(places)
            if job is None:
                return
            turn = _start(self._take_a_turn(job, places, rest_share=self._rest_share))
            places.turns.add(turn)
            turn.add_done_callback(places.turns.discard)
            turn.add_done_callback(lambda _: places.woken.set())

    async def _is_anything_due(self, places: _Places) -> bool:
        """Cheaper than claiming, which on SQLite stands in line with everybody who writes."""
        if not places.kinds:
            return False
        only_sound = places.has_room_for_sound_ones_only
        async with self._database.reading() as view:
            return await queries.is_anything_due(view, places.kinds, only_sound=only_sound, now=self._clock.now())

    async def _claim(self, places: _Places) -> Job | None:
        """A job for a turn. From here to the turn's end this process is busy."""
        self._busy += 1
        job = None
        try:
            job = await self._claim_one(places)
        finally:
            if job is None:
                self._settle()
        return job

    async def _claim_one(self, places: _Places) -> Job | None:
        async with self._database.transaction() as tx:
            now = self._clock.now()
            return await queries.claim(
                tx,
                self._name,
                places.kinds,
                only_sound=places.has_room_for_sound_ones_only,
                now=now,
                lease_until=self._terms.lease_end(now),
            )

    async def _take_a_turn(self, job: Job, places: _Places, *, rest_share: float) -> None:
        is_unsound = job.failures > 1
        places.unsound += is_unsound
        turn = Turn(
            self._terms,
            self._handlers[job.kind],
            job,
            self._name,
            rest_share=rest_share,
            is_anybody_waiting=lambda: self._is_anything_due(places),
        )
        try:
            with structlog.contextvars.bound_contextvars(job_id=job.id, job_kind=job.kind, tenant_id=job.tenant_id):
                await turn.run()
        except Exception as error:
            # What was claimed is claimed again when its lease is over.
            _log.warning("jobs.interrupted", exc_info=error)
        finally:
            places.unsound -= is_unsound
            self._settle()

    def _settle(self) -> None:
        self._busy -= 1
        self._settled.set()

    async def _forget_old_ones(self) -> None:
        now = self._clock.now()
        if 0 <= now - self._forgotten_at < _FORGET_EVERY_MILLIS:
            return
        before = Millis(now - _KEPT_MILLIS)
        async with self._database.transaction() as tx:
            deleted = await queries.delete_finished(tx, before=before, most=_FORGOTTEN_AT_ONCE)
        if deleted < _FORGOTTEN_AT_ONCE:
            self._forgotten_at = now

    def _look_at_calls(self) -> None:
        for call in self._calls:
            call.look()


def _by_kind(handlers: Iterable[AnyHandler]) -> Mapping[str, AnyHandler]:
    found: dict[str, AnyHandler] = {}
    for handler in handlers:
        if handler.kind in found:
            raise ValueError(f"two handlers for jobs of the kind {handler.kind}")
        found[handler.kind] = handler
    return found


def _start(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    # In a context of its own: its log lines are not those of whatever happened to be going on.
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())


async def _end(tasks: Collection["asyncio.Task[None]"]) -> None:
    """Wait for what is under way, and cut off what hangs: its job is gone on with when its lease is over."""
    if not tasks:
        return
    tasks = list(tasks)
    _, hanging = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
