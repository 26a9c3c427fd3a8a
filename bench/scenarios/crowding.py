"""Many devices at once, and a hub under load for long."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from bench.client import Answer
from bench.machine import usage
from bench.payload import EventMaker, create_bodies, push_body
from bench.runner import Bench, device_tokens, say, settle, store, work_side_by_side
from bench.stats import Samples, percentile, rate

_ACCOUNTS = 25
_PUSHED = 3
_CAPACITY_SECONDS = 10.0
_LOAD = 0.7
_SOAK_CLIENTS = 8
_SIGN_IN_SECONDS = 1200
_MEMORY_SAMPLES = 120


class _Cursor(msgspec.Struct):
    nextCursor: str | None


class _Events(msgspec.Struct):
    events: list[msgspec.Raw]
    nextCursor: str | None


@dataclass(slots=True)
class _Outcome:
    """What became of the devices that started together."""

    samples: Samples = field(default_factory=Samples)
    device_seconds: list[float] = field(default_factory=list)
    events: int = 0

    def told(self, seconds: float) -> dict[str, Any]:
        ordered = sorted(self.device_seconds)
        shares = {"p50": 0.5, "p95": 0.95, "max": 1.0} if ordered else {}
        return {
            "devices_done": len(ordered),
            "device_seconds": {name: round(percentile(ordered, share), 3) for name, share in shares.items()},
            "events_per_s": rate(self.events, seconds),
            **self.samples.summary(),
        }


async def stampede(bench: Bench) -> None:
    """--devices starting together: each pulls everything (--limit), then each pushes three events and pulls the rest,
    all in the same moment and, with --spread, one after another within so many seconds. Each time the hub has nothing
    left to do for what was pushed before."""
    async with store(bench, bench.held) as filled:
        tokens = await device_tokens(bench, [filled.config_id], min(_ACCOUNTS, bench.options.devices))
        devices = list(itertools.islice(itertools.cycle(tokens), bench.options.devices))
        for limit in bench.options.limit:
            await settle(bench)
            await _cold(bench, filled.config_id, filled.size, devices, limit)
        for spread in sorted({0.0, bench.options.spread}):
            await settle(bench)
            await _incremental(bench, filled.config_id, filled.size, devices, spread)


async def _cold(bench: Bench, config_id: str, size: int, devices: Sequence[str], limit: int) -> None:
    found, meter = _Outcome(), bench.meter()

    async def start(token: str) -> None:
        begun, cursor, events = time.perf_counter(), "", 0
        while True:
            answer = await _pull(bench, config_id, token, cursor, limit)
            found.samples.add(answer.outcome, answer.seconds)
            if answer.outcome != "200":
                return
            page = msgspec.json.decode(answer.body, type=_Events)
            events += len(page.events)
            if page.nextCursor is None:
                break
            cursor = page.nextCursor
        found.events += events
        found.device_seconds.append(time.perf_counter() - begun)

    seconds = await _together(bench, [start(token) for token in devices])
    name = f"limit{limit}" if limit else "default"
    bench.record(f"stampede/cold/held{size}/{name}/devices{len(devices)}", meter, **found.told(seconds))


async def _incremental(bench: Bench, config_id: str, size: int, devices: Sequence[str], spread: float) -> None:
    """Each has what there was a moment ago. They begin evenly over `spread` seconds."""
    cursor = await _end_of(bench, config_id)
    makers = [EventMaker(start=datetime.now(UTC), seed=number) for number in range(len(devices))]
    bodies = [push_body([maker.create() for _ in range(_PUSHED)], config_id) for maker in makers]
    found, meter = _Outcome(), bench.meter()

    async def sync(token: str, number: int) -> None:
        await asyncio.sleep(spread * number / len(devices))
        begun = time.perf_counter()
        headers = {"Authorization": f"Bearer {token}"}
        answer = await bench.client.send("POST", "/api/sync/push", bodies[number].data, headers=headers)
        found.samples.add(answer.outcome, answer.seconds)
        # Unpacking half a megabyte for each of a thousand devices is the work of a thousand devices.
        answer = await _pull(bench, config_id, token, cursor, 500, unpacks=False)
        found.samples.add(answer.outcome, answer.seconds)
        found.events += _PUSHED
        found.device_seconds.append(time.perf_counter() - begun)

    seconds = await _together(bench, [sync(token, number) for number, token in enumerate(devices)])
    name = f"within{spread:g}s/" if spread else ""
    bench.record(f"stampede/incremental/held{size}/{name}devices{len(devices)}", meter, **found.told(seconds))


async def _together(bench: Bench, work: "list[Any]") -> float:
    begun = time.perf_counter()
    tasks = [asyncio.create_task(one) for one in work]
    done, late = await asyncio.wait(tasks, timeout=bench.options.seconds + bench.options.grace)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
    if late:
        say(f"{len(late)} devices did not come to an end in their time")
    return time.perf_counter() - begun


async def _pull(bench: Bench, config_id: str, token: str, cursor: str, limit: int, *, unpacks: bool = True) -> Answer:
    size = f"&limit={limit}" if limit else ""
    path = f"/api/sync/pull?since={cursor}&configId={config_id}{size}"
    return await bench.client.send("GET", path, headers={"Authorization": f"Bearer {token}"}, unpacks=unpacks)


async def _end_of(bench: Bench, config_id: str) -> str:
    cursor = ""
    while True:
        answer = await bench.client.pull(config_id, since=cursor, limit=1000)
        page = msgspec.json.decode(answer.body, type=_Cursor)
        if page.nextCursor is None:
            return cursor
        cursor = page.nextCursor


async def soak(bench: Bench) -> None:
    """--seconds of pushes and pulls at 70 % of what was reached before: errors, and how memory goes on."""
    async with store(bench, bench.held) as filled:
        capacity = await _requests_per_second(
            bench, filled.config_id, seconds=min(_CAPACITY_SECONDS, bench.options.seconds), pause=0.0, samples=Samples()
        )
        pause = _SOAK_CLIENTS / (capacity * _LOAD)
        samples, meter, memory = Samples(), bench.meter(), list[tuple[float, float]]()
        beside = [asyncio.create_task(_watch(bench, memory)), asyncio.create_task(_stay_signed_in(bench))]
        try:
            reached = await _requests_per_second(
                bench, filled.config_id, seconds=bench.options.seconds, pause=pause, samples=samples
            )
        finally:
            for task in beside:
                task.cancel()
        bench.record(
            f"soak/held{filled.size}",
            meter,
            capacity_per_s=round(capacity, 1),
            requests_per_s=round(reached, 1),
            memory_mib=[round(held, 1) for _, held in memory[:: max(1, len(memory) // 20)]],
            mib_per_hour=_slope(memory[len(memory) // 2 :]),
            **samples.summary(),
        )


async def _requests_per_second(
    bench: Bench, config_id: str, *, seconds: float, pause: float, samples: Samples
) -> float:
    """A push of ten and a page in turn, by each of the clients; each begins `pause` seconds after its last one began."""
    maker, numbers = EventMaker(start=datetime.now(UTC)), itertools.count()

    async def step() -> bool:
        begun = time.perf_counter()
        if next(numbers) % 2:
            answer = await bench.client.push(next(iter(create_bodies(maker, config_id, total=10, batch=10))))
        else:
            answer = await bench.client.pull(config_id)
        samples.add(answer.outcome, answer.seconds)
        await asyncio.sleep(max(0.0, pause - (time.perf_counter() - begun)))
        return True

    elapsed, _ = await work_side_by_side(_SOAK_CLIENTS, step, seconds=seconds, grace=bench.options.grace)
    return samples.outcomes.total() / elapsed


async def _stay_signed_in(bench: Bench) -> None:
    """A token is good for an hour."""
    while True:
        await asyncio.sleep(_SIGN_IN_SECONDS)
        await bench.client.sign_in()


async def _watch(bench: Bench, memory: list[tuple[float, float]]) -> None:
    while bench.options.pid is not None:
        memory.append((time.perf_counter(), usage(bench.options.pid).rss_mib))
        await asyncio.sleep(max(1.0, bench.options.seconds / _MEMORY_SAMPLES))


def _slope(memory: Sequence[tuple[float, float]]) -> float | None:
    """MiB an hour, by least squares; None for too few."""
    if len(memory) < 3:
        return None
    middle = sum(when for when, _ in memory) / len(memory)
    spread = sum((when - middle) ** 2 for when, _ in memory)
    mean = sum(held for _, held in memory) / len(memory)
    rise = sum((when - middle) * (held - mean) for when, held in memory)
    return round(3600 * rise / spread, 2) if spread else None
