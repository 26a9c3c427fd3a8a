"""A call to another system on behalf of a job, and the eye on it while it lasts.

Two things go on side by side: the handler's call, and looks at the job, every two seconds. A look prolongs the lease when a
third of it has gone, in a short transaction of its own, fenced as every effect; in between it only reads. It finds that
the job is somebody else's by now, is called off, or has passed its deadline, and cuts the call off.

Who has called a job off and who stops a hub waits a moment for the answer to what has been sent: a call that is cut off
leaves the next one to find out what has arrived.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import structlog

from datacollect.db import Database, Tx
from datacollect.jobs import queries
from datacollect.jobs.errors import JobCallTimedOut, JobFailed, LeaseLost
from datacollect.jobs.model import CallingHandler, Job
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.errors import Unavailable
from datacollect.kernel.identity import TenantScope

_log = structlog.get_logger(component="jobs")

_LAST_WORDS_SECONDS = 5
"""How long a call that is cut off may take to tidy up."""

_abandoned: set["asyncio.Task[Any]"] = set()
"""Calls that do not end though they are cancelled. Kept, for the loop itself remembers tasks weakly."""


class Cut(Enum):
    """Why a call is not waited for any longer."""

    CALLED_OFF = "called off"
    PAST_DEADLINE = "past its deadline"
    STOPPING = "stopping"


class CutOff(Exception):
    """The call was ended without a result; the job is still ours."""

    def __init__(self, why: Cut) -> None:
        self.why = why
        super().__init__(why.value)


@dataclass(frozen=True, slots=True)
class Watching:
    """How calls are watched."""

    database: Database
    clock: Clock
    lease_seconds: float
    look_seconds: float
    grace_seconds: float
    """What a call that is to end has left for an answer."""
    writing: asyncio.Semaphore
    """Many jobs wait for other systems at once; few of them work in the database, which others need too."""

    @property
    def interval(self) -> float:
        return min(self.look_seconds, self.lease_seconds / 3)

    def lease_end(self) -> Millis:
        return Millis(self.clock.now() + round(self.lease_seconds * 1000))


class Call:
    """One call. Implements `Lease`."""

    def __init__(
        self, watching: Watching, handler: CallingHandler[Any], scope: TenantScope, job: Job, owner: str
    ) -> None:
        self._watching = watching
        self._handler = handler
        self._scope = scope
        self._job = job
        self._owner = owner
        self._news = asyncio.Event()
        self._is_lost = False
        self._is_stopping = False
        self._leased_until = watching.lease_end()
        self._ends_at = asyncio.get_running_loop().time() + handler.call_seconds
        self._cut_at: float | None = None

    @property
    def is_ending(self) -> bool:
        return self._job.is_called_off or self._is_stopping

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        try:
            async with self._watching.writing, self._watching.database.transaction(self._scope) as tx:
                yield tx
                await self._prolong(tx)
        except LeaseLost:
            self._is_lost = True
            self.look()
            raise

    def look(self) -> None:
        """There may be news of the job: do not wait for the next look."""
        self._news.set()

    def stop(self) -> None:
        """The hub stops."""
        self._is_stopping = True
        self.look()

    async def result(self) -> Any:
        """What the call answers. Raises what it raises, or `LeaseLost`, `CutOff`, `JobCallTimedOut`."""
        call = asyncio.ensure_future(self._handler.call(self._scope, self._job, self))
        call.add_done_callback(lambda _: self.look())
        try:
            cut: Exception | None = None
            while cut is None and not await self._is_answered(call):
                await self._look_at_the_job()
                cut = self._why_to_cut()
        finally:
            await _end(call)
        return self._answer(call, cut)

    def _answer(self, call: "asyncio.Task[Any]", cut: Exception | None) -> Any:
        is_answered = call.done() and not call.cancelled()
        # Looked at whatever becomes of it, so that nobody complains that it was not.
        error = call.exception() if is_answered else None
        if self._is_lost:
            raise LeaseLost()
        if not is_answered:
            raise cut or JobFailed()
        if error is None:
            # Also one that has answered when it was cut off: what it tells of is not to be lost.
            return call.result()
        if cut is not None:
            raise cut from error
        if isinstance(error, TimeoutError):
            raise JobCallTimedOut() from error
        raise error

    async def _is_answered(self, call: "asyncio.Task[Any]") -> bool:
        """Wait for the answer, or until it is time to look at the job."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds_to_wait()):
                await self._news.wait()
        self._news.clear()
        return call.done()

    def _why_to_cut(self) -> Exception | None:
        now = asyncio.get_running_loop().time()
        if self._is_lost:
            return LeaseLost()
        if self._job.deadline is not None and self._watching.clock.now() >= self._job.deadline:
            return CutOff(Cut.PAST_DEADLINE)
        if self.is_ending:
            self._cut_at = self._cut_at or now + self._watching.grace_seconds
            if now >= self._cut_at:
                return CutOff(Cut.CALLED_OFF if self._job.is_called_off else Cut.STOPPING)
        return JobCallTimedOut() if now >= self._ends_at else None

    def _seconds_to_wait(self) -> float:
        now = asyncio.get_running_loop().time()
        until = min(self._ends_at, self._cut_at or self._ends_at)
        return max(0.0, min(self._watching.interval, until - now))

    async def _look_at_the_job(self) -> None:
        try:
            # A database that hangs must not keep the call from being cut off in time.
            async with asyncio.timeout(self._watching.lease_seconds / 3):
                if self._is_prolonging_due():
                    async with self._watching.database.transaction() as tx:
                        await self._prolong(tx)
                else:
                    async with self._watching.database.reading() as view:
                        self._seen(await queries.look(view, self._job, self._owner))
        except LeaseLost:
            self._is_lost = True
        except (Unavailable, TimeoutError) as away:
            _log.warning("job.not_looked_at", exc_info=away)
            self._is_lost = self._is_lost or self._watching.clock.now() >= self._leased_until

    def _is_prolonging_due(self) -> bool:
        whole, left = self._watching.lease_seconds * 1000, self._leased_until - self._watching.clock.now()
        # More than a whole one is left when the clock has been set back: others would take it for a dead process's.
        return left * 3 <= whole * 2 or left > whole

    async def _prolong(self, tx: Tx) -> None:
        until = self._watching.lease_end()
        self._seen(await queries.prolong(tx, self._job, self._owner, lease_until=until))
        self._leased_until = until

    def _seen(self, job: Job | None) -> None:
        if job is None:
            raise LeaseLost()
        self._job = replace(self._job, is_called_off=job.is_called_off)


async def _end(call: "asyncio.Task[Any]") -> None:
    if call.done():
        return
    call.cancel()
    await asyncio.wait([call], timeout=_LAST_WORDS_SECONDS)
    if not call.done():
        _log.error("job.call_does_not_end")
        _abandoned.add(call)
        call.add_done_callback(_abandoned.discard)
