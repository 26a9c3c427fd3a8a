"""What tests of jobs that call other systems share: a handler whose other system is a test's, and a place to run it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update

from datacollect.db import EVERY_TENANT, Database, Tx
from datacollect.jobs import (
    AnyHandler,
    Continue,
    Done,
    Job,
    JobId,
    Lease,
    Retries,
    Step,
    Worker,
    enqueue,
    find_job,
)
from datacollect.jobs.clocks import SetBack
from datacollect.jobs.tables import jobs
from datacollect.kernel.clock import Clock, Millis, SystemClock
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.clock import SetClock
from tests.factories import new_id


@dataclass
class Elsewhere:
    """Asks another system for the next number until it has `args["to"]`; keeps rows, as a slice would, in jobs of its own."""

    kind: str = field(default_factory=lambda: new_id("calls"))
    call_seconds: float = 60
    retries: Retries = field(default_factory=Retries)
    during: Callable[[Job, Lease], Awaitable[Any]] | None = None
    """What the other system does before it answers."""
    answered: Callable[[Job, int], Step | None] = lambda _job, _number: None
    """What the step makes of an answer, if it is something else."""
    called: list[TenantId] = field(default_factory=list)
    cut_off: int = 0
    ends: list[tuple[str, str | None, int]] = field(default_factory=list)
    reopenings: int = 0

    async def call(self, scope: TenantScope, job: Job, lease: Lease) -> int:
        assert scope.tenant_id == job.tenant_id and scope.actor.kind == "system"
        self.called.append(scope.tenant_id)
        try:
            if self.during is not None:
                await self.during(job, lease)
        except asyncio.CancelledError:
            self.cut_off += 1
            raise
        return int(job.checkpoint.get("number", 0)) + 1

    async def step(self, tx: Tx, scope: TenantScope, job: Job, result: int) -> Step:
        await leave(tx, scope, f"{self.kind}-effect", result)
        otherwise = self.answered(job, result)
        if otherwise is not None:
            return otherwise
        to = int(job.args["to"])
        return Continue({"number": result}, result, to) if result < to else Done({"counted": result})

    async def ended(self, tx: Tx, scope: TenantScope, job: Job) -> None:
        self.ends.append((job.state.value, job.error_code, job.progress.done))
        await leave(tx, scope, f"{self.kind}-end", len(self.ends))

    async def reopened(self, tx: Tx, scope: TenantScope, job: Job) -> None:
        self.reopenings += 1
        await leave(tx, scope, f"{self.kind}-reopened", self.reopenings)


async def leave(tx: Tx, scope: TenantScope, kind: str, number: int) -> None:
    """A row that is there if and only if the transaction is committed: a job that nobody has a handler for."""
    await enqueue(tx, scope, kind, {"number": number}, key=new_id("effect"), now=Millis(0))


async def for_ever(_job: Job, _lease: Lease) -> None:
    await asyncio.Event().wait()


async def forget_later_clocks(database: Database, clock: Clock) -> None:
    """Other tests have turned theirs further, and their jobs are in the same table: a worker would say that its own has
    been set back."""
    await SetBack(database, clock, lease_seconds=30).look()


@dataclass
class Place:
    """A tenant of a test's own, a clock that stands still, and the engine's database."""

    database: Database
    clock: SetClock = field(default_factory=lambda: SetClock(SystemClock().now()))
    scope: TenantScope = field(default_factory=lambda: system_scope(TenantId(new_id("calls"))))

    def worker(self, *handlers: AnyHandler, **options: Any) -> Worker:
        quick = {"slice_seconds": 3600, "look_seconds": 0.01, "grace_seconds": 0.02}
        return Worker(self.database, self.clock, handlers, **(quick | options))

    async def enqueue(self, kind: str, to: int = 3, *, scope: TenantScope | None = None, **options: Any) -> JobId:
        async with self.database.transaction() as tx:
            return await enqueue(tx, scope or self.scope, kind, {"to": to}, now=self.clock.now(), **options)

    async def job(self, job_id: JobId) -> Job:
        async with self.database.reading() as view:
            found = await find_job(view, EVERY_TENANT, job_id)
        assert found is not None
        return found

    async def left(self, handler: Elsewhere, what: str = "effect") -> list[int]:
        async with self.database.reading() as view:
            rows = await view.execute(select(jobs.c.args).where(jobs.c.kind == f"{handler.kind}-{what}"))
            return sorted(int(row.args.partition(":")[2].rstrip("}")) for row in rows)

    async def change(self, job_id: JobId, **values: Any) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(update(jobs).where(jobs.c.id == job_id).values(**values))

    async def until_leased(self, job_id: JobId, end: int, *, at_most: bool = False) -> None:
        leased = select(jobs.c.due_ms).where(jobs.c.id == job_id)

        async def holds() -> bool:
            async with self.database.reading() as view:
                until = (await view.execute(leased)).scalar_one()
            return bool(until <= end if at_most else until >= end)

        await until(holds)

    async def until_ended(self, job_id: JobId) -> None:
        async def holds() -> bool:
            return not (await self.job(job_id)).is_active

        await until(holds)

    async def until_left(self, handler: Elsewhere, count: int, *, what: str = "effect") -> None:
        async def holds() -> bool:
            return len(await self.left(handler, what)) >= count

        await until(holds)


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """For what tells nobody that it has come: the database, and other processes."""
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.005)
