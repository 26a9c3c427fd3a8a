"""A process that works on jobs until it is ended. Its arguments: HANDLER KIND DATA_DIR [DATABASE_URL].

Its steps leave an effect each, a job of a kind that nobody works on, with the number as its key.
"""

import asyncio
import sys
from pathlib import Path

from datacollect.db import Database, Tx, open_database
from datacollect.jobs import AnyHandler, Continue, Done, Job, Lease, Retries, Step, Worker, enqueue
from datacollect.kernel.clock import Millis, SystemClock
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid


class Counting:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    async def step(self, tx: Tx, scope: TenantScope, job: Job) -> Step:
        number = int(job.checkpoint.get("number", 0)) + 1
        await self.leave(tx, scope, "effect", number)
        await asyncio.sleep(0.01)
        to = int(job.args["to"])
        return Continue({"number": number}, number, to) if number < to else Done()

    async def leave(self, tx: Tx, scope: TenantScope, what: str, number: int) -> None:
        # Under a key of its own: a number that is counted twice is to be seen twice.
        await enqueue(tx, scope, f"{self.kind}-{what}", {"number": number}, key=new_guid(), now=Millis(0))


class Calling:
    """Marks each number before it asks another system for it, which takes a moment, or for ever."""

    call_seconds = 60
    retries = Retries()

    def __init__(self, kind: str, database: Database, seconds: float) -> None:
        self.kind = kind
        self._leave = Counting(kind).leave
        self._database = database
        self._seconds = seconds

    async def call(self, scope: TenantScope, job: Job, lease: Lease) -> int:
        number = int(job.checkpoint.get("number", 0)) + 1
        async with lease.transaction() as tx:
            await self._leave(tx, scope, "asked", number)
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            async with self._database.transaction(scope) as tx:
                await self._leave(tx, scope, "cut-off", number)
            raise
        return number

    async def step(self, tx: Tx, scope: TenantScope, job: Job, result: int) -> Step:
        await self._leave(tx, scope, "effect", result)
        to = int(job.args["to"])
        return Continue({"number": result}, result, to) if result < to else Done()

    async def ended(self, tx: Tx, scope: TenantScope, job: Job) -> None:
        await self._leave(tx, scope, f"{job.state}", job.progress.done)

    async def reopened(self, tx: Tx, scope: TenantScope, job: Job) -> None:
        raise NotImplementedError


async def work(handler: str, kind: str, folder: str, url: str | None = None) -> None:
    database = open_database(url, data_dir=Path(folder), pool_size=4)
    handlers: dict[str, AnyHandler] = {
        "counting": Counting(kind),
        "calling": Calling(kind, database, 0.01),
        "hanging": Calling(kind, database, 3600),
    }
    lease = 30 if handler == "hanging" else 1
    worker = Worker(
        database,
        SystemClock(),
        [handlers[handler]],
        lease_seconds=lease,
        slots=1,
        call_slots=1,
        poll_seconds=0.1,
        look_seconds=0.05,
        grace_seconds=0.05,
    )
    async with worker.running():
        await asyncio.sleep(60)


def main() -> None:
    asyncio.run(work(*sys.argv[1:]))
