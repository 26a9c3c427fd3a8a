"""What every scenario needs: clients working side by side, a program filled with events, and a place for the result."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from bench.checks import loss
from bench.client import BenchError, HubClient, acknowledged
from bench.machine import Usage, machine_cpu_seconds, own_cpu_seconds, usage
from bench.options import Options
from bench.payload import Body, EventMaker, create_bodies
from bench.report import Report
from bench.serve import Commands
from bench.stats import Samples, rate

FILL_BATCH = 1000
_DEFAULT_HELD = 10_000
_IDLE_SHARE = 0.1
"""Of a core, which hub and database take together when there is nothing left to be done."""
_MOST_SECONDS_TO_SETTLE = 90
_DEVICE_PASSWORD = "Measured-Stampede-7"


@dataclass(frozen=True, slots=True)
class Store:
    """A program that holds `size` events, by which its cells are named; it may hold a few more by now."""

    config_id: str
    size: int


@dataclass(frozen=True, slots=True)
class Run:
    """How long the clients worked, how many events were acknowledged, and how many requests were cut off at the end."""

    seconds: float
    events: int
    unfinished: int


@dataclass(frozen=True, slots=True)
class Bench:
    """One run: whom to measure, how, and where the cells go."""

    client: HubClient
    options: Options
    report: Report
    commands: Commands | None = None
    """How to run the hub's other commands, if it was started for this run."""

    def with_options(self, **changes: Any) -> "Bench":
        return replace(self, options=replace(self.options, **changes))

    @property
    def held(self) -> int:
        return self.options.events or _DEFAULT_HELD

    def meter(self) -> "Meter":
        return Meter(self.options.pid, self.options.database_pid)

    def record(self, key: str, meter: "Meter", **facts: Any) -> None:
        """Keep one cell, write the file anew and say a line about it. Facts that are None are left out."""
        cell = {"key": key, **{name: value for name, value in facts.items() if value is not None}, **meter.read()}
        self.report.add(cell)
        say(_line(cell))
        missing = loss(cell)
        if missing:
            say(f"LOSS in {key}: {missing}")


class Meter:
    """CPU time of the server, the database, this driver and the whole machine from here on; memory at the end."""

    def __init__(self, pid: int | None, database_pid: int | None) -> None:
        self._roots = {name: root for name, root in (("server", pid), ("database", database_pid)) if root is not None}
        self._before = {name: usage(root) for name, root in self._roots.items()}
        self._own, self._machine = own_cpu_seconds(), machine_cpu_seconds()

    def read(self) -> dict[str, Any]:
        used = {name: _spent(self._before[name], usage(root)) for name, root in self._roots.items()}
        return {
            **used,
            "driver_cpu_seconds": round(own_cpu_seconds() - self._own, 2),
            "machine_cpu_seconds": round(machine_cpu_seconds() - self._machine, 2),
        }


def _spent(before: Usage, after: Usage) -> dict[str, Any]:
    return {
        "processes": after.processes,
        "rss_mib": after.rss_mib,
        "pss_mib": after.pss_mib,
        # Children that ended meanwhile take their time with them.
        "cpu_seconds": max(0.0, round(after.cpu_seconds - before.cpu_seconds, 2)),
    }


async def work_side_by_side(
    clients: int, step: Callable[[], Awaitable[bool]], *, seconds: float, grace: float
) -> tuple[float, int]:
    """Run `step` over and over in `clients` tasks, each until it answers False or the time is up.

    Returns the seconds until the last one ended and how many had to be cut off after `grace` more seconds.
    An exception in a step ends the run.
    """
    begun = time.perf_counter()
    deadline = begun + seconds

    async def one() -> None:
        while time.perf_counter() < deadline and await step():
            pass

    tasks = [asyncio.create_task(one()) for _ in range(clients)]
    try:
        done, late = await asyncio.wait(tasks, timeout=seconds + grace, return_when=asyncio.FIRST_EXCEPTION)
        elapsed = time.perf_counter() - begun
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return elapsed, len(late)


async def push_all(bench: Bench, bodies: Iterator[Body], clients: int, samples: Samples) -> Run:
    """Push the bodies, each once; `clients` at once take the next one as soon as they are free."""
    stored = 0

    async def step() -> bool:
        nonlocal stored
        body = next(bodies, None)
        if body is None:
            return False
        answer = await bench.client.push(body)
        samples.add(answer.outcome, answer.seconds)
        stored += acknowledged(answer, body)
        return True

    options = bench.options
    elapsed, late = await work_side_by_side(clients, step, seconds=options.seconds, grace=options.grace)
    return Run(elapsed, stored, late)


async def get_repeatedly(bench: Bench, path: str, samples: Samples) -> int:
    """GET the path `--samples` times, one after the other; bytes of the last answer."""
    left, size = bench.options.samples, 0

    async def step() -> bool:
        nonlocal left, size
        answer = await bench.client.send("GET", path)
        samples.add(answer.outcome, answer.seconds)
        left, size = left - 1, len(answer.body)
        return left > 0

    await work_side_by_side(1, step, seconds=bench.options.seconds, grace=bench.options.grace)
    return size


@contextlib.asynccontextmanager
async def program(bench: Bench, purpose: str, **config: Any) -> AsyncIterator[str]:
    """An empty program, archived afterwards. `config` members stand beside those of the sample, or in their place."""
    config_id = await bench.client.make_program(purpose, **config)
    try:
        yield config_id
    finally:
        with contextlib.suppress(BenchError):
            await bench.client.archive_program(config_id)


@contextlib.asynccontextmanager
async def store(bench: Bench, size: int) -> AsyncIterator[Store]:
    """The program named with --config, or one of its own filled with `size` events."""
    if bench.options.config:
        yield Store(bench.options.config, await bench.client.count_entities(bench.options.config))
        return
    async with program(bench, f"held{size}") as config_id:
        await fill(bench, config_id, size)
        yield Store(config_id, size)


async def fill(bench: Bench, config_id: str, size: int) -> Run:
    """Add `size` events through the API. Raises `BenchError` when not all of them arrive in time."""
    samples = Samples()
    bodies = create_bodies(EventMaker(seed=size + 1), config_id, total=size, batch=FILL_BATCH)
    patient = bench.with_options(seconds=max(600.0, bench.options.seconds))
    run = await push_all(patient, bodies, 1, samples)
    if run.events != size:
        raise BenchError(f"only {run.events} of {size} events arrived: {dict(samples.outcomes)}")
    if size:
        say(f"filled {config_id}: {size} events in {run.seconds:.1f} s ({rate(size, run.seconds):.0f}/s)")
    return run


async def settle(bench: Bench) -> None:
    """Until what was pushed is indexed, sealed and looked at for duplicates: the database works longest for it."""
    look = min(1.0, bench.options.seconds)
    for _ in range(round(_MOST_SECONDS_TO_SETTLE / look)):
        meter = bench.meter()
        await asyncio.sleep(look)
        used = meter.read()
        if sum(used.get(part, {}).get("cpu_seconds", 0.0) for part in ("server", "database")) <= _IDLE_SHARE * look:
            return


async def device_tokens(bench: Bench, config_ids: Sequence[str], count: int) -> list[str]:
    """Tokens of accounts of their own, who sync with these programs: of one account the hub works on few requests at once,
    and lets others go before one who asks much."""
    tokens = []
    for number in range(count):
        email = f"device-{number}-{config_ids[0]}@hub.example"
        account = {
            "email": email,
            "password": _DEVICE_PASSWORD,
            "role": "USER",
            "tenantIds": list(config_ids),
            "roleAssignments": [{"tenantId": config_id, "role": "enumerator"} for config_id in config_ids],
        }
        made = await bench.client.send("POST", "/api/users", msgspec.json.encode(account))
        if made.outcome != "201":
            raise BenchError(f"no account for a device: {made.outcome} {made.body[:200]!r}")
        credentials = msgspec.json.encode({"email": email, "password": _DEVICE_PASSWORD})
        answer = await bench.client.send("POST", "/api/users/login", credentials, signed=False)
        tokens.append(msgspec.json.decode(answer.body)["token"])
    return tokens


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def _line(cell: dict[str, Any]) -> str:
    parts = [f"{cell['key']:<32}"]
    for name in ("events_per_s", "logins_per_s"):
        if name in cell:
            parts.append(f"{cell[name]:,.0f}/s")
    latency = cell.get("latency_ms", {})
    parts.extend(f"{name} {value:.1f} ms" for name, value in latency.items() if value is not None)
    parts.extend(f"{name} {value}" for name, value in cell.get("check", {}).items())
    if "outcomes" in cell and set(cell["outcomes"]) != {"200"}:
        parts.append(f"outcomes {cell['outcomes']}")
    if "server" in cell:
        parts.append(f"{cell['server']['rss_mib']} MiB")
    return "  ".join(parts)
