"""Rebuilding a program's current state from its log, by the command, beside the running hub."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.client import BenchError
from bench.machine import peak_memory_mib, usage
from bench.payload import EventMaker, push_body
from bench.runner import Bench, program, say
from bench.stats import Samples, rate
from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db import open_database
from datacollect.db.database import closing
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.features.entities.indexing.indexer import Indexer
from datacollect.features.entities.projection import EntityProjection
from datacollect.kernel.clock import SystemClock, parse_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant

_DEFAULT_EVENTS = 1_000_000
_FILL_BATCH = 5_000
_BYSTANDER_PAUSE_SECONDS = 0.1
_POLL_SECONDS = 0.1


async def rebuild(bench: Bench) -> None:
    """A rebuild and a check of a long history, and what pushes feel of them; needs --serve."""
    if bench.commands is None:
        raise BenchError("rebuild needs a hub of its own: add --serve sqlite or --serve postgres")
    total = bench.options.events or _DEFAULT_EVENTS
    async with program(bench, "rebuild") as config_id:
        meter, begun = bench.meter(), time.perf_counter()
        await _fill(bench.commands.environment, config_id, total)
        seconds = time.perf_counter() - begun
        bench.record(
            f"fill/events{total}", meter, events=total, seconds=round(seconds, 2), events_per_s=rate(total, seconds)
        )
        for name, arguments in (("rebuild", ()), ("check", ("--check",))):
            meter, samples = bench.meter(), Samples()
            async with bystander(bench, config_id, samples):
                facts = await run_command(bench, "rebuild", "--tenant", config_id, *arguments)
            facts["events_per_s"] = rate(total, facts["seconds"])
            bench.record(f"{name}/events{total}", meter, events=total, **facts, pushes_meanwhile=samples.summary())


async def run_command(bench: Bench, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run the hub's command to its end; its time, its peak memory and what it said. `environment` goes beyond the hub's."""
    assert bench.commands is not None
    begun, log = time.perf_counter(), bench.commands.folder / "command.log"
    process = await bench.commands.start(*bench.commands.command(*arguments), log=log, **environment)
    ended = asyncio.create_task(process.wait())
    peak = cpu = 0.0
    try:
        while not ended.done():
            # First what takes no time to read: a short command is soon gone.
            peak = max(peak, peak_memory_mib(process.pid))
            cpu = max(cpu, usage(process.pid).cpu_seconds)
            await asyncio.wait([ended], timeout=_POLL_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
    seconds = time.perf_counter() - begun
    text = log.read_text().strip()
    say(text)
    if ended.result():
        raise BenchError(f"the command ended with status {process.returncode}: {text}")
    return {"seconds": round(seconds, 2), "command_cpu_seconds": cpu, "peak_rss_mib": peak}


@contextlib.asynccontextmanager
async def bystander(bench: Bench, config_id: str, samples: Samples) -> AsyncIterator[None]:
    """Somebody who pushes one event after the other to the same program meanwhile."""
    maker, done = EventMaker(), asyncio.Event()

    async def push_on() -> None:
        while not done.is_set():
            answer = await bench.client.push(push_body([maker.create()], config_id))
            samples.add(answer.outcome, answer.seconds)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), _BYSTANDER_PAUSE_SECONDS)

    pushing = asyncio.create_task(push_on())
    try:
        yield
    finally:
        done.set()
        await pushing


async def _fill(environment: dict[str, str], config_id: str, total: int) -> None:
    """Add the history straight through the log: over HTTP it would take most of the run."""
    scope, tenant = system_scope(TenantId(config_id)), Tenant(TenantId(config_id), config_id)
    history, left = _History(), total
    database = open_database(environment.get("DATABASE_URL"), data_dir=Path(environment["DATA_DIR"]), pool_size=2)
    async with closing(database):
        log = EventLog(event_store(database), [EntityProjection(FOLLOWERS)], SystemClock())
        while left:
            batch = list(history.events(min(_FILL_BATCH, left)))
            async with database.transaction(scope) as tx:
                await log.append(tx, scope, tenant, batch)
            left -= len(batch)
        await Indexer(database, event_store(database)).catch_up(scope)


@dataclass(slots=True)
class _History:
    """What a programme does: of ten events four are new people, one a household of five, four edits and one the rest."""

    maker: EventMaker = field(default_factory=EventMaker)
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    people: list[str] = field(default_factory=list)
    households: list[str] = field(default_factory=list)

    def events(self, count: int) -> Iterator[Event]:
        for _ in range(count):
            wire = self._next()
            yield Event(
                wire["guid"],
                wire["entityGuid"],
                wire["type"],
                wire["data"],
                parse_timestamp(wire["timestamp"]),
                wire["userId"],
            )

    def _next(self) -> dict[str, Any]:
        drawn = self.chance.random()
        if drawn < 0.4 or not self.households:
            if drawn >= 0.05 or not self.people:
                return self._person()
            return self._household()
        if drawn < 0.5:
            return self._household()
        if drawn < 0.9:
            wire = self.maker.update(self.chance.choice(self.people), {"phone": str(drawn), "householdSize": 3})
        elif drawn < 0.98:
            data = {"memberId": self.chance.choice(self.people)}
            wire = self.maker.update(self.chance.choice(self.households), data) | {"type": "remove-member"}
        else:
            gone = self.chance.choice(self.people)
            wire = self.maker.update(gone, {"reason": "moved away"}) | {"type": "delete-entity"}
        return wire

    def _person(self) -> dict[str, Any]:
        wire = self.maker.create()
        self.people.append(wire["entityGuid"])
        return wire

    def _household(self) -> dict[str, Any]:
        people = self.chance.sample(self.people, min(4, len(self.people)))
        members = [{"guid": guid, "role": "member"} for guid in people]
        wire = self.maker.create() | {"type": "create-group"}
        self.households.append(wire["entityGuid"])
        return wire | {"data": {"entityName": "household", "name": "Household", "members": members}}
