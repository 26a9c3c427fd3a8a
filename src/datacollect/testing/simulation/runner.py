"""Running schedules by the thousand, and making the smallest counter-example when a law breaks."""

import asyncio
import contextlib
import itertools
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from datacollect.db import EVERY_TENANT, Database, Reading, open_database
from datacollect.db.database import closing
from datacollect.db.migrate import migrate
from datacollect.kernel.errors import StartupError
from datacollect.testing.devices import Generation
from datacollect.testing.simulation.laws import broken_laws, gather_evidence
from datacollect.testing.simulation.rules import Rule
from datacollect.testing.simulation.schedule import NAMES, Schedule, make_schedule
from datacollect.testing.simulation.shrinking import shrink
from datacollect.testing.simulation.world import Breach, LawBroken, Sync, World

_LANES = {"sqlite": 4, "postgres": 6}
"""Schedules under way at once: on SQLite each has a database of its own, whose one writer it may hold for long."""
_HANGS_SECONDS = 60.0
_MOST_TOLD = 6
_RUN = uuid.uuid4().hex[:8]
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one schedule. `trace` tells what happened, and is the same on every engine."""

    schedule: Schedule
    breaches: Sequence[Breach]
    trace: Sequence[tuple[str, str]]
    syncs: Sequence[Sync]
    events: int = 0

    @property
    def again_of_v1(self) -> list[int]:
        """Known events per sync of a v1 device, beside those it had just sent."""
        v1 = {index for index, spec in enumerate(self.schedule.devices) if spec.generation is Generation.V1}
        return [max(0, sync.report.redelivered - sync.own) for sync in self.syncs if sync.device in v1]


async def run_schedule(database: Database, view: Reading, rule: Rule, schedule: Schedule) -> Verdict:
    """Run one schedule in a fresh tenant and judge it. `view` is of `database`, and nobody else's meanwhile."""
    world = World(database, view, rule, schedule, f"s{_RUN}-{next(_numbers)}")
    try:
        async with asyncio.timeout(_HANGS_SECONDS):
            await world.run()
            evidence = await gather_evidence(world)
    except LawBroken as broken:
        return Verdict(schedule, [broken.breach], world.trace, world.syncs)
    except TimeoutError:
        return Verdict(schedule, [Breach("progress", "everybody waits for somebody")], world.trace, world.syncs)
    return Verdict(schedule, broken_laws(evidence), world.trace, world.syncs, len(evidence.log))


@dataclass(slots=True)
class Figures:
    """What a run of many schedules has seen."""

    schedules: int = 0
    events: int = 0
    syncs: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of this process; a PostgreSQL server's come on top."""
    again_calm: list[int] = field(default_factory=list)
    """Known events per sync of a v1 device, in calm schedules."""
    again_other: list[int] = field(default_factory=list)
    found: Verdict | None = None
    """The first that breaks a law, in the order of seeds."""

    def add(self, verdict: Verdict) -> None:
        self.schedules += 1
        self.events += verdict.events
        self.syncs += len(verdict.syncs)
        again = self.again_calm if verdict.schedule.calm else self.again_other
        again += verdict.again_of_v1
        earlier = self.found is None or verdict.schedule.seed < self.found.schedule.seed
        if verdict.breaches and earlier:
            self.found = verdict

    def lines(self) -> Iterator[str]:
        speed = self.schedules / self.seconds if self.seconds else 0
        yield (
            f"{self.schedules:,} schedules, {self.syncs:,} syncs, {self.events:,} events "
            f"in {self.seconds:.1f} s ({speed:.0f} schedules/s; {self.cpu_seconds:.1f} s of this process's CPU)"
        )
        for name, again in (("clocks agree", self.again_calm), ("skewed, cut, forgetful", self.again_other)):
            if again:
                mean = sum(again) / len(again)
                yield f"known events again per v1 sync, {name}: mean {mean:.2f}, max {max(again)} of {len(again):,} syncs"


@dataclass(frozen=True, slots=True)
class Arena:
    """Databases that hold nothing but simulations, and how many of those may be under way at once."""

    databases: Sequence[Database]
    lanes: int


async def simulate(arena: Arena, rule: Rule, seeds: Iterable[int]) -> Figures:
    """Run schedules, several at once, until one breaks a law or all are done. The counter-example is made small."""
    figures, waiting = Figures(), iter(seeds)
    began, cpu_began = time.perf_counter(), time.process_time()

    async def lane(database: Database) -> None:
        async with database.reading(EVERY_TENANT) as view:
            for seed in waiting:
                figures.add(await run_schedule(database, view, rule, make_schedule(seed)))
                if figures.found is not None:
                    return

    async with asyncio.TaskGroup() as group:
        for _, database in zip(range(arena.lanes), itertools.cycle(arena.databases), strict=False):
            group.create_task(lane(database))
    figures.seconds, figures.cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    if figures.found is not None:
        figures.found = await smallest(arena.databases[0], rule, figures.found)
    return figures


async def smallest(database: Database, rule: Rule, verdict: Verdict) -> Verdict:
    """The verdict on a smaller schedule that breaks the same law."""
    law, found = verdict.breaches[0].law, verdict

    async def breaks(schedule: Schedule) -> bool:
        nonlocal found
        again = await run_schedule(database, view, rule, schedule)
        is_broken = any(breach.law == law for breach in again.breaches)
        if is_broken:
            found = again
        return is_broken

    async with database.reading(EVERY_TENANT) as view:
        await shrink(verdict.schedule, breaks)
    # The last that broke, as it broke: a fault that depends on the engine's own timing may hide the next time.
    return found


def counter_example(verdict: Verdict, rule: Rule) -> Iterator[str]:
    """For people: who, what happened, and what does not hold."""
    yield f"Seed {verdict.schedule.seed} breaks a law (rule: {rule}). The smallest schedule found that still does:"
    yield ""
    for name, spec in zip(NAMES, verdict.schedule.devices, strict=False):
        yield f"  {name}: {spec}"
    yield ""
    for who, told in itertools.groupby(verdict.trace, key=lambda entry: entry[0]):
        if who:
            yield f"       {who}: " + ", ".join(text for _, text in told)
        else:
            yield from (f"  {text}" for _, text in told)
    yield ""
    for breach in verdict.breaches[:_MOST_TOLD]:
        yield f"  BROKEN {breach.law}: {breach.text}"
    if len(verdict.breaches) > _MOST_TOLD:
        yield f"  and {len(verdict.breaches) - _MOST_TOLD} more"


# -- databases


@contextlib.asynccontextmanager
async def open_arena(engine: str, *, server: str | None = None) -> AsyncIterator[Arena]:
    """Fresh databases, dropped afterwards. `server` is a PostgreSQL to make one on; without it, one is started."""
    lanes = _LANES[engine]
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_memory())))
        if engine == "sqlite":
            opened = [open_database(None, data_dir=each, pool_size=1) for each in await _migrated(folder, lanes)]
        else:
            url = await stack.enter_async_context(_fresh_postgres(server))
            opened = [open_database(url, data_dir=folder, pool_size=3 * lanes)]
            await migrate(opened[0])
        for database in opened:
            stack.push_async_callback(database.close)
        yield Arena(opened, lanes)


async def _migrated(folder: Path, count: int) -> Sequence[Path]:
    """Folders of as many databases on SQLite. One is migrated, the others are copies of it."""
    first, *others = folders = [folder / str(number) for number in range(count)]
    async with closing(open_database(None, data_dir=first, pool_size=1)) as database:
        await migrate(database)
    for other in others:
        shutil.copytree(first, other)
    return folders


def _fresh_postgres(server: str | None) -> AbstractAsyncContextManager[str]:
    try:
        # Only here: an installation without the driver, or without the tests' wheels, simulates on SQLite.
        from datacollect.testing.postgres import fresh_database, server_url

        return fresh_database(server or server_url(Path(tempfile.gettempdir()) / f"datacollect-simulation-{_RUN}"))
    except ModuleNotFoundError as missing:
        text = f"{missing.name} is not installed. Install the tests' packages, or name a server in POSTGRES_TEST."
        raise StartupError(text) from missing


def _memory() -> str | None:
    """A crash is a transaction that is cut here, not a power cut: the files may live in memory."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() else None


Report = Callable[[str], None]


def run(engine: str, rule: Rule, seeds: Iterable[int], say: Report) -> bool:
    """Simulate, tell what came of it, and answer whether all laws held."""
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        return runner.run(_run(engine, rule, seeds, say))


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop that `serve` runs on, where it is installed."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


async def _run(engine: str, rule: Rule, seeds: Iterable[int], say: Report) -> bool:
    async with open_arena(engine) as arena:
        figures = await simulate(arena, rule, seeds)
    for line in figures.lines():
        say(f"{engine}: {line}")
    if figures.found is None:
        say(f"{engine}: every law held.")
        return True
    say("")
    for line in counter_example(figures.found, rule):
        say(line)
    return False
