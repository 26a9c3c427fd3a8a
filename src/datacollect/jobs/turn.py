"""A turn of a job: it is ours, and goes on step by step until it ends, fails, is lost, or others should have a turn."""

import asyncio
import contextlib
import random
import re
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from datacollect.db import Database, Tx
from datacollect.jobs import queries
from datacollect.jobs.calls import Call, Cut, CutOff, Watching
from datacollect.jobs.errors import (
    CallFailed,
    JobAbandoned,
    JobDeadlinePassed,
    JobFailed,
    JobTimedOut,
    LeaseLost,
    Unrecoverable,
)
from datacollect.jobs.giving_way import GivingWay, Metered, Visitors
from datacollect.jobs.model import (
    AnyHandler,
    CallingHandler,
    Continue,
    Done,
    GiveUp,
    Job,
    JobState,
    KeepsRuns,
    PreparingHandler,
    Progress,
    Retries,
    Retry,
    Step,
)
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.errors import DataCollectError, Unavailable
from datacollect.kernel.identity import system_scope

_log = structlog.get_logger(component="jobs")

_LONGEST_REST_SECONDS = 0.25
_CODE = re.compile("[A-Z][A-Z0-9_]{0,79}")


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every turn of a worker."""

    database: Database
    clock: Clock
    lease_seconds: float
    slice_steps: int
    slice_seconds: float
    retries: Retries
    """Of handlers that say nothing else."""
    watching: Watching
    calls: set[Call]
    """Those that are under way, for whoever has news for them."""
    preparing: "set[Turn]"
    """Those that think about their next step at this moment."""
    visitors: Visitors
    """To whom those give way."""
    is_stopping: Callable[[], bool]

    def lease_end(self, now: Millis) -> Millis:
        return Millis(now + round(self.lease_seconds * 1000))


class Turn:
    """Of one job, claimed by `owner`."""

    def __init__(
        self,
        terms: Terms,
        handler: AnyHandler,
        job: Job,
        owner: str,
        *,
        rest_share: float,
        is_anybody_waiting: Callable[[], Awaitable[bool]],
    ) -> None:
        self._terms = terms
        self._handler = handler
        self._job = job
        self._owner = owner
        self._rest_share = rest_share
        self._is_anybody_waiting = is_anybody_waiting
        self._scope = system_scope(job.tenant_id)
        self._retries = handler.retries if isinstance(handler, CallingHandler) else terms.retries
        self._giving_way = GivingWay(terms.visitors)
        self._begun = 0.0
        """When the transaction of the last step began."""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._terms.slice_seconds
        steps = 0
        while not await self._is_to_end():
            steps += 1
            try:
                result = await self._call()
                keep = steps < self._terms.slice_steps and loop.time() < ends_at
                is_ours = await self._step(result, keep=keep)
            except LeaseLost:
                _log.info("job.lost")
                return
            except CutOff as cut:
                await self._cut_off(cut.why)
                return
            except Exception as error:
                await self._fail(error)
                return
            if not is_ours:
                return
            took = loop.time() - self._begun
            # On SQLite a step keeps the writer from others for as long as it takes.
            await self._rest(took, took, alone=1)

    async def _rest(self, worked: float, took: float, *, alone: float) -> None:
        """Requests come first: everything else that is ready has its turn. What can wait rests longer while there are any,
        and those who think about their steps at once share one's time."""
        seconds = took
        if isinstance(self._handler, PreparingHandler):
            seconds = self._giving_way.rest_seconds(worked, took, alone=alone) * max(1, len(self._terms.preparing))
        await asyncio.sleep(min(_LONGEST_REST_SECONDS, self._rest_share * seconds))

    async def _is_to_end(self) -> bool:
        """Whether there is nothing more to be done for it; then it is ended."""
        job = self._job
        if job.is_called_off:
            await self._end(JobState.CANCELLED, job.error_code)
        elif job.deadline is not None and self._terms.clock.now() >= job.deadline:
            await self._end(JobState.DISCARDED, JobDeadlinePassed.code)
        elif job.failures > self._retries.attempts:
            await self._end(JobState.DISCARDED, JobAbandoned.code)
        else:
            return False
        return True

    async def _call(self) -> Any:
        if isinstance(self._handler, PreparingHandler):
            return await self._prepared(self._handler)
        if not isinstance(self._handler, CallingHandler):
            return None
        if self._terms.is_stopping():
            raise CutOff(Cut.STOPPING)
        call = Call(self._terms.watching, self._handler, self._scope, self._job, self._owner)
        self._terms.calls.add(call)
        try:
            return await call.result()
        finally:
            self._terms.calls.discard(call)

    async def _prepared(self, handler: PreparingHandler[Any]) -> Any:
        loop = asyncio.get_running_loop()
        # On a machine that is very busy it thinks without rests in the end: the lease must not be over before the step.
        rests_until = loop.time() + self._terms.lease_seconds / 3
        awake_since, counted = loop.time(), 0.0

        async def rest() -> None:
            nonlocal awake_since, counted
            if self._terms.is_stopping():
                raise CutOff(Cut.STOPPING)
            if loop.time() < rests_until:
                worked, took = work.seconds - counted, loop.time() - awake_since
                await self._rest(worked, took, alone=0 if self._giving_way.knows_visitors else 1)
            else:
                await asyncio.sleep(0)
            awake_since, counted = loop.time(), work.seconds

        work = Metered(handler.prepare(self._scope, self._job, rest))
        self._terms.preparing.add(self)
        try:
            async with asyncio.timeout(self._terms.lease_seconds):
                return await work
        finally:
            self._terms.preparing.discard(self)

    async def _step(self, result: Any, *, keep: bool) -> bool:
        """Do one batch. Whether the job is still ours; otherwise it is over, or in line again."""
        is_calling = isinstance(self._handler, CallingHandler)
        if not keep and isinstance(self._handler, CallingHandler | PreparingHandler):
            # Its turn goes on as long as nobody waits for its place: claiming it anew would be a transaction more.
            keep = not await self._is_anybody_waiting()
        async with asyncio.timeout(self._terms.lease_seconds):
            async with self._terms.watching.writing if is_calling else contextlib.nullcontext():
                self._begun = asyncio.get_running_loop().time()
                stored = await self._store_step(result, keep=keep and not self._terms.is_stopping())
        self._job = stored
        if stored.state is JobState.RETRYABLE:
            _log.warning("job.step_failed", code=stored.error_code, failures=stored.failures)
        self._tell(stored)
        return stored.state is JobState.RUNNING

    async def _store_step(self, result: Any, *, keep: bool) -> Job:
        async with self._terms.database.transaction(self._scope) as tx:
            stored = await self._store(tx, await self._outcome(tx, result), keep=keep)
            if stored is None:
                raise LeaseLost()
            await self._close(tx, stored)
        return stored

    async def _outcome(self, tx: Tx, result: Any) -> Step:
        if isinstance(self._handler, PreparingHandler | CallingHandler):
            return await self._handler.step(tx, self._scope, self._job, result)
        return await self._handler.step(tx, self._scope, self._job)

    async def _store(self, tx: Tx, outcome: Step, *, keep: bool) -> Job | None:
        now = self._terms.clock.now()
        match outcome:
            case Done():
                return await queries.complete(tx, self._job, self._owner, outcome.result, total=outcome.total, now=now)
            case Continue():
                gone_on = replace(
                    self._job, checkpoint=outcome.checkpoint, progress=Progress(outcome.done, outcome.total)
                )
                due = self._terms.lease_end(now) if keep else now
                return await queries.store_checkpoint(tx, gone_on, self._owner, due=due, keep=keep, now=now)
            case Retry():
                return await self._store_failure(tx, _code(outcome.code), outcome.after_seconds, is_final=False)
            case GiveUp():
                return await self._store_failure(tx, _code(outcome.code), None, is_final=True)

    async def _fail(self, error: Exception) -> None:
        code, after_seconds = _code_of(error), _asked_pause(error)
        if isinstance(error, Unavailable):
            # That the database is away, or its disk full, is no failure of the job: it must not be given up for it.
            self._job = replace(self._job, failures=min(self._job.failures, self._retries.attempts - 1))
        is_final = isinstance(error, Unrecoverable) or (isinstance(error, CallFailed) and error.is_final)
        told = {"exception": _trace_of(error)} if isinstance(self._handler, CallingHandler) else {"exc_info": error}
        _log.warning("job.step_failed", code=code, failures=max(self._job.failures, 1), **told)
        await self._conclude(lambda tx: self._store_failure(tx, code, after_seconds, is_final=is_final))

    async def _store_failure(self, tx: Tx, code: str, after_seconds: float | None, *, is_final: bool) -> Job | None:
        failed = replace(self._job, failures=max(self._job.failures, 1), error_code=code)
        now = self._terms.clock.now()
        retry_at: Millis | None = None
        if not is_final and failed.failures < self._retries.attempts:
            pause = self._retries.pause_millis(failed.failures, random.random, at_least_seconds=after_seconds)
            retry_at = Millis(min(now + pause, now + pause if failed.deadline is None else max(now, failed.deadline)))
        return await queries.store_failure(tx, failed, self._owner, retry_at=retry_at, now=now)

    async def _cut_off(self, why: Cut) -> None:
        match why:
            case Cut.CALLED_OFF:
                await self._end(JobState.CANCELLED, self._job.error_code)
            case Cut.PAST_DEADLINE:
                await self._end(JobState.DISCARDED, JobDeadlinePassed.code)
            case Cut.STOPPING:
                await self._conclude(self._release)

    async def _release(self, tx: Tx) -> Job | None:
        """Put it in line as if it had not been claimed: that the hub stops is no failure of the job."""
        failures = max(self._job.failures - 1, 0)
        now = self._terms.clock.now()
        return await queries.release(tx, self._job, self._owner, failures=failures, now=now)

    async def _end(self, state: JobState, code: str | None) -> None:
        ended = replace(self._job, error_code=code)
        now = self._terms.clock.now()
        await self._conclude(lambda tx: queries.end(tx, ended, self._owner, state, now=now))

    async def _conclude(self, change: Callable[[Tx], Awaitable[Job | None]]) -> None:
        """Change the job as it is left by this turn, and close what the handler has for it if that is its end."""
        try:
            async with self._terms.database.transaction(self._scope) as tx:
                stored = await change(tx)
                if stored is not None:
                    await self._close(tx, stored)
        except Unavailable:
            raise
        except Exception as error:
            # It is still ours as far as others know: it is claimed again when its lease is over, and ended then.
            _log.error("job.end_failed", exc_info=error)
            return
        if stored is not None:
            self._tell(stored)

    async def _close(self, tx: Tx, job: Job) -> None:
        if job.is_active or not isinstance(self._handler, KeepsRuns):
            return
        if self._job.failures > 2 * self._retries.attempts:
            # It has been tried as often as the job itself. A job that cannot end would be in the way for ever.
            _log.error("job.ended_untold", code=job.error_code)
            return
        await self._handler.ended(tx, self._scope, job)

    def _tell(self, job: Job) -> None:
        """Codes and counts only; the job's own ids are bound to the line already."""
        match job.state:
            case JobState.DISCARDED:
                _log.error("job.discarded", failures=job.failures, code=job.error_code)
            case JobState.COMPLETED | JobState.CANCELLED:
                _log.info(f"job.{job.state}", attempt=job.attempt)


def _code_of(error: Exception) -> str:
    if isinstance(error, CallFailed):
        return _code(error.code)
    if isinstance(error, DataCollectError):
        return error.code
    return JobTimedOut.code if isinstance(error, TimeoutError) else JobFailed.code


def _code(code: str) -> str:
    """Nothing that another system has said, should a handler take that for a code."""
    return code if _CODE.fullmatch(code) else JobFailed.code


def _trace_of(error: Exception) -> str:
    """Where it came from and what it is, without its message: that may be what another system has answered."""
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return "".join([*traceback.format_tb(error.__traceback__), name])


def _asked_pause(error: Exception) -> float | None:
    seconds = getattr(error, "retry_after_seconds", None)
    return float(seconds) if isinstance(seconds, int | float) else None
