"""Whether a long history makes a hub slow, and what it takes on disk."""

import itertools
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bench.client import Answer, BenchError
from bench.lives import EVENTS_EACH, Filled, beside, edited
from bench.machine import exact_cpu_seconds
from bench.payload import EventMaker, program_config, push_body
from bench.room import room_of
from bench.runner import Bench, program, say
from bench.stats import Samples, rate

DEFAULT_EVENTS = 10_000_000
_FULL = "bench-history"
_CONFIG: dict[str, Any] = {"duplicates": {"detect": False}}
"""Looking for duplicates begins behind the log, and would go on beside all that is measured; `duplicates` measures it."""
_BATCHES = (1, 10, 100)
_LIMITS = (10, 1000)
_TURNS = 20
_WARM_UP = 5
_PLACES = 400
_SOME_PEOPLE = 5_000
_SHOWN_SHARE = 0.01


async def history(bench: Bench) -> None:
    """Pushes, pulls and lists of a program with --events events (10,000,000), and of a new one in turn; needs --serve."""
    if bench.commands is None:
        raise BenchError("history needs a hub of its own: add --serve sqlite or --serve postgres")
    total = bench.options.events or DEFAULT_EVENTS
    environment = bench.commands.environment
    opened, settings = beside(environment)
    async with opened as database:
        full = Filled(database, settings, _FULL)
        await _made(bench)
        await _fill(bench, full, total)
        await bench.client.sign_in()
        held = await full.head()
        found = (await room_of(environment)).shown(held)
        bench.record(f"history/events{total}/size", bench.meter(), events=held, **found)
        _tell_parts(found)
        async with program(bench, "history-new", **_CONFIG) as config_id:
            new = _Side("new", Filled(database, settings, config_id))
            old = _Side("full", full)
            await _measure(bench, f"history/events{total}", [new, old])
    if bench.options.keep is None:
        await bench.client.archive_program(_FULL)


async def _made(bench: Bench) -> None:
    """The program that is to be filled; that of a run before, if it was kept."""
    if (await bench.client.send("GET", f"/api/apps/{_FULL}")).outcome == "200":
        return
    answer = await bench.client.send("POST", "/api/apps", program_config(_FULL, **_CONFIG))
    if answer.outcome != "200":
        raise BenchError(f"the program was refused: {answer.outcome} {answer.body[:300]!r}")


async def _fill(bench: Bench, full: Filled, total: int) -> None:
    meter, begun = bench.meter(), time.perf_counter()
    filled = await full.fill(total)
    seconds = time.perf_counter() - begun
    await full.index()
    indexed = time.perf_counter() - begun - seconds
    runs = await full.seal()
    sealed = time.perf_counter() - begun - seconds - indexed
    say(f"sealed {runs:,} runs")
    begun = time.perf_counter()
    await full.sweep()
    swept = time.perf_counter() - begun
    say(f"swept what edits have left in lists, in {swept:.0f} s")
    await full.settle()
    bench.record(
        f"history/events{total}/fill", meter, events=filled, seconds=round(seconds, 1),
        events_per_s=rate(filled, seconds), indexing_seconds=round(indexed, 1), sealed_runs=runs,
        sealing_seconds=round(sealed, 1), sweeping_seconds=round(swept, 1),
    )  # fmt: skip


def _tell_parts(found: dict[str, Any]) -> None:
    say(f"{found['bytes_per_event']} bytes an event")
    for part in found["parts"]:
        if part["share"] >= _SHOWN_SHARE:
            what = f"{part['table']} ({part['index']})" if part["index"] else part["table"]
            say(f"  {part['share']:6.1%}  {part['bytes_per_event']:8.1f}  {what}")


# -- in turn


@dataclass(slots=True)
class _Side:
    """One of the two programs that are asked in turn."""

    name: str
    filled: Filled
    chance: random.Random = field(default_factory=random.Random)
    people: list[str] = field(default_factory=list)
    """Some of those who are registered."""
    cursors: dict[str, list[str]] = field(default_factory=dict)

    @property
    def config_id(self) -> str:
        return self.filled.config_id

    def mixed(self, maker: EventMaker, events: int, number: int) -> list[dict[str, Any]]:
        """So many events, of ten of which one registers somebody and nine edit somebody who is there, each another one."""
        newcomers = events // EVENTS_EACH if events >= EVENTS_EACH else int(number % EVENTS_EACH == 0)
        made = [maker.create() for _ in range(newcomers)]
        edits = [
            maker.update(guid, edited(self.chance)) for guid in self.chance.sample(self.people, events - newcomers)
        ]
        self.people += [wire["entityGuid"] for wire in made]
        return made + edits

    async def know_places(self) -> None:
        """Where readers stand: at the start, anywhere between, before the last full page, and at the end."""
        head = await self.filled.head()
        middle = sorted({self.chance.randrange(head // 10, head - head // 10) + 1 for _ in range(_PLACES)})
        self.cursors = {"start": [""], "middle": await self.filled.cursors(middle)}
        self.chance.shuffle(self.cursors["middle"])
        for limit in _LIMITS:
            self.cursors[f"end{limit}"] = await self.filled.cursors([max(1, head - limit)])
        self.cursors["nothing-new"] = await self.filled.cursors([head])


_Ask = Callable[[_Side, int], Awaitable[Answer]]
"""The request of that number."""


async def _measure(bench: Bench, key: str, sides: list[_Side]) -> None:
    client, maker = bench.client, EventMaker(start=datetime.now(UTC))
    for side in sides:
        # Other people each time that a kept program is measured: those of the last time are at hand.
        side.chance = random.Random(await side.filled.head())
        side.people = await side.filled.some_people(_SOME_PEOPLE, side.chance)
        # So that there is somebody to edit in the new one.
        newcomers = [maker.create() for _ in range(_BATCHES[-1])]
        side.people += [wire["entityGuid"] for wire in newcomers]
        answer = await client.push(push_body(newcomers, side.config_id))
        if answer.outcome != "200":
            raise BenchError(f"not pushed: {answer.outcome} {answer.body[:200]!r}")
    for batch in _BATCHES:

        async def push(side: _Side, number: int, batch: int = batch) -> Answer:
            return await client.push(push_body(side.mixed(maker, batch, number), side.config_id))

        await _in_turn(bench, f"{key}/push{batch}", sides, push)
    for side in sides:
        await side.know_places()
    for limit, place in itertools.product(_LIMITS, ("start", "middle", "end", "nothing-new")):
        where = f"end{limit}" if place == "end" else place

        async def pull(side: _Side, number: int, limit: int = limit, where: str = where) -> Answer:
            known = side.cursors[where]
            return await client.pull(side.config_id, since=known[number % len(known)], limit=limit)

        await _in_turn(bench, f"{key}/pull{limit}/{place}", sides, pull)

    async def one(side: _Side, number: int) -> Answer:
        guid = side.people[number * 7919 % len(side.people)]
        return await client.send("GET", f"/api/entities/{guid}?configId={side.config_id}")

    async def listed(side: _Side, number: int) -> Answer:
        return await client.send("GET", f"/api/entities?configId={side.config_id}&limit=100")

    await _in_turn(bench, f"{key}/one", sides, one)
    await _in_turn(bench, f"{key}/list100", sides, listed)
    for batch in _BATCHES:

        async def register(side: _Side, number: int, batch: int = batch) -> Answer:
            return await client.push(push_body([maker.create() for _ in range(batch)], side.config_id))

        await _in_turn(bench, f"{key}/register{batch}", sides, register)


async def _in_turn(bench: Bench, key: str, sides: list[_Side], ask: _Ask) -> None:
    """One cell: --samples requests to each side, some to one and some to the other."""
    await bench.client.sign_in()
    numbers = {side.name: itertools.count() for side in sides}
    samples = {side.name: Samples() for side in sides}
    cpu: dict[str, dict[str, float]] = {side.name: {} for side in sides}
    size: dict[str, int] = {}

    async def some(side: _Side, count: int, into: Samples) -> None:
        for _ in range(count):
            answer = await ask(side, next(numbers[side.name]))
            if answer.outcome != "200":
                raise BenchError(f"{key}, {side.name}: {answer.outcome} {answer.body[:200]!r}")
            into.add(answer.outcome, answer.seconds)
            size[side.name] = len(answer.body)

    for side in sides:
        await some(side, min(_WARM_UP, bench.options.samples), Samples())
    meter, turns = bench.meter(), min(_TURNS, bench.options.samples)
    for turn in range(turns):
        for side in sides if turn % 2 else sides[::-1]:
            before = _cpu(bench)
            await some(side, bench.options.samples // turns, samples[side.name])
            spent = cpu[side.name]
            spent |= {name: spent.get(name, 0.0) + used - before[name] for name, used in _cpu(bench).items()}
    told = {name: _told(found, cpu[name]) | {"answer_bytes": size[name]} for name, found in samples.items()}
    new, full = told["new"], told["full"]
    ratios = {share: round(full["latency_ms"][share] / new["latency_ms"][share], 3) for share in ("p50", "p95")}
    ratios |= {name: round(full[name] / new[name], 3) for name in new if name.endswith("_cpu_ms") and new[name]}
    bench.record(key, meter, ratio=ratios, **told)
    say(f"  new {new['latency_ms']['p50']} ms, full {full['latency_ms']['p50']} ms; {ratios}")


def _cpu(bench: Bench) -> dict[str, float]:
    roots = {"hub_cpu_ms": bench.options.pid, "database_cpu_ms": bench.options.database_pid}
    return {name: exact_cpu_seconds(pid) for name, pid in roots.items() if pid is not None}


def _told(samples: Samples, cpu: Mapping[str, float]) -> dict[str, Any]:
    count = samples.outcomes.total()
    return samples.summary() | {name: round(1000 * used / count, 3) for name, used in cpu.items()}
