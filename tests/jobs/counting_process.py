"""A process that works on one kind of job until it is ended: `counting_process.py KIND DATA_DIR [DATABASE_URL]`.

Its steps leave an effect each, a job of a kind that nobody works on, with the number as its key.
"""

import asyncio
import sys
from pathlib import Path

from datacollect.db import Tx, open_database
from datacollect.jobs import Continue, Done, Job, Step, Worker, enqueue
from datacollect.kernel.clock import Millis, SystemClock
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid


class Counting:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    async def step(self, tx: Tx, scope: TenantScope, job: Job) -> Step:
        number = int(job.checkpoint.get("number", 0)) + 1
        # Under a key of its own: a number that is counted twice is to be seen twice.
        await enqueue(tx, scope, f"{self.kind}-effect", {"number": number}, key=new_guid(), now=Millis(0))
        await asyncio.sleep(0.01)
        to = int(job.args["to"])
        return Continue({"number": number}, number, to) if number < to else Done()


async def main(kind: str, folder: str, url: str | None = None) -> None:
    database = open_database(url, data_dir=Path(folder), pool_size=4)
    async with Worker(database, SystemClock(), [Counting(kind)], lease_seconds=1, slots=1).running():
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
