"""Scenarios about the server as a process: logins, a bystander's latency, memory."""

import asyncio
import itertools
import time
from datetime import UTC, datetime

from bench.payload import EventMaker, create_bodies
from bench.runner import Bench, Store, push_all, store, work_side_by_side
from bench.stats import Samples, rate

_BYSTANDER_PAUSE_SECONDS = 0.02
_STALL_SECONDS = 20
_STALL_BATCH = 10
_STALL_CLIENTS = 2
_IDLE_SECONDS = 3


async def login(bench: Bench) -> None:
    """Logins per second, for each number of clients."""
    for clients in bench.options.concurrency:
        samples, meter = Samples(), bench.meter()

        async def step(samples: Samples = samples) -> bool:
            answer = await bench.client.login()
            samples.add(answer.outcome, answer.seconds)
            return True

        options = bench.options
        seconds, _ = await work_side_by_side(clients, step, seconds=options.seconds, grace=options.grace)
        logins = rate(samples.outcomes["200"], seconds)
        bench.record(f"login/clients{clients}", meter, logins_per_s=logins, **samples.summary())


async def stall(bench: Bench) -> None:
    """Latency of a light request while two clients push ten events at a time to a filled program."""
    async with store(bench, bench.held) as filled:
        await stall_cell(bench, filled)


async def stall_cell(bench: Bench, filled: Store) -> None:
    brief = bench.with_options(seconds=min(bench.options.seconds, _STALL_SECONDS))
    maker = EventMaker(start=datetime.now(UTC))
    bodies = itertools.chain.from_iterable(
        create_bodies(maker, filled.config_id, total=_STALL_BATCH, batch=_STALL_BATCH) for _ in itertools.count()
    )
    light, pushes, meter = Samples(), Samples(), bench.meter()
    bystander = asyncio.create_task(_look_again_and_again(brief, light))
    try:
        run = await push_all(brief, bodies, _STALL_CLIENTS, pushes)
        await bystander
    finally:
        bystander.cancel()
    bench.record(
        f"stall/held{filled.size}",
        meter,
        events_per_s=rate(run.events, run.seconds),
        push_outcomes=dict(pushes.outcomes),
        **light.summary(),
    )


async def _look_again_and_again(bench: Bench, samples: Samples) -> None:
    deadline = time.perf_counter() + bench.options.seconds
    while time.perf_counter() < deadline:
        answer = await bench.client.send("GET", "/api/users/check-token")
        samples.add(answer.outcome, answer.seconds)
        await asyncio.sleep(_BYSTANDER_PAUSE_SECONDS)


async def memory(bench: Bench) -> None:
    """What the server's processes hold while nobody asks anything (needs --pid or --serve)."""
    await memory_cell(bench, "idle")


async def memory_cell(bench: Bench, when: str) -> None:
    await asyncio.sleep(_IDLE_SECONDS)
    bench.record(f"memory/{when}", bench.meter())
