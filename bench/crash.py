"""`python -m bench.crash`: kill a hub, or its database, at random moments under load, and look for what is missing.

Each cycle has several devices push at once, sends SIGKILL in the middle, waits until the hub is ready again, and reads
everything from the beginning: what was acknowledged must be there once and as it was sent, what was not answered whole
or not at all, and nothing else. Then the devices repeat what was not answered, as real ones do. After some cycles the
state is compared with a replay of the events in an empty database, and a new program begins; at the end the log is
verified. Only processes that were started here are killed. (A killed process leaves its writes with the kernel: this
proves nothing about a power cut.)
"""

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import asyncpg
import msgspec
from sqlalchemy import select

from bench.client import Answer, BenchError, HubClient
from bench.machine import machine_facts, process_tree
from bench.options import ENGINES, MAX_EVENTS
from bench.payload import EventMaker, as_event, create_bodies, push_body
from bench.report import Report
from bench.runner import FILL_BATCH, say
from bench.running import reported
from bench.serve import Database, HubProcess, Launch, empty_database, launched
from bench.stats import spread
from datacollect.assembly import event_store
from datacollect.db import EVERY_TENANT, open_database
from datacollect.db.database import closing
from datacollect.db.migrate import migrate
from datacollect.eventstore.log import EventLog
from datacollect.features.conflicts.service import keep_conflicts
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.entities.tables import entities, members
from datacollect.kernel.clock import SystemClock
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant

Wire = dict[str, Any]
Kill = Literal["hub", "database"]

_MOST_CYCLES = 2000
_PATIENCE_SECONDS = 30
_LARGEST_PAGE = 5000
_LARGEST_BATCH = 20
_REQUEST_SECONDS = 20.0
_SHARED = 8
"""Entities that all devices edit."""
_WORKING_FOR_THE_HUB = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do. A cycle's load lasts for a random time up to `load_seconds`."""

    engine: str
    cycles: int
    seed: int = 1
    devices: int = 6
    load_seconds: float = 0.8
    cycles_per_program: int = 10
    held: int = 0
    """Events in another program of the same hub, which must not make it slower to come back."""
    work_dir: Path | None = None
    launch: Launch = launched


@dataclass(slots=True)
class Findings:
    """What became of it."""

    cycles: int = 0
    kills: Counter[Kill] = field(default_factory=Counter)
    acknowledged: int = 0
    unanswered_pushes: int = 0
    unanswered_but_stored: int = 0
    replays: int = 0
    verified: int = 0
    faults: list[str] = field(default_factory=list)
    ready_seconds: dict[Kill, list[float]] = field(default_factory=lambda: {"hub": [], "database": []})

    def to_json(self) -> dict[str, Any]:
        return {
            "cycles": self.cycles,
            "kills": dict(self.kills),
            "acknowledged_events": self.acknowledged,
            "unanswered_pushes": self.unanswered_pushes,
            "unanswered_but_stored": self.unanswered_but_stored,
            "replays_equal": self.replays,
            "logs_verified": self.verified,
            "faults": self.faults,
            "ready_seconds": {kill: spread(times) for kill, times in self.ready_seconds.items() if times},
        }


# -- what was sent, and what is there


@dataclass(slots=True)
class Ledger:
    """What a program was sent."""

    program: str
    sent: dict[str, Wire] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)

    def send(self, batch: Sequence[Wire]) -> None:
        self.sent.update((event["guid"], event) for event in batch)

    def acknowledge(self, batch: Sequence[Wire]) -> None:
        self.acknowledged.update(event["guid"] for event in batch)

    def faults(self, delivered: Sequence[Wire]) -> list[str]:
        """What is wrong with what a reader from the beginning got, in words."""
        times = Counter(event["guid"] for event in delivered)
        wrong = {
            "lost": self.acknowledged - times.keys(),
            "doubled": {guid for guid, count in times.items() if count > 1},
            "invented": times.keys() - self.sent.keys(),
            "changed": {e["guid"] for e in delivered if e["guid"] in self.sent and _differs(e, self.sent[e["guid"]])},
        }
        return [f"{self.program}: {len(guids)} {word}" for word, guids in wrong.items() if guids]


def _differs(delivered: Wire, sent: Wire) -> bool:
    return any(delivered[name] != sent[name] for name in ("entityGuid", "type", "data", "timestamp", "userId"))


class Device:
    """Pushes one batch after the other, and keeps one until it is answered."""

    def __init__(self, client: HubClient, ledger: Ledger, chance: random.Random) -> None:
        self._client, self._ledger, self._chance = client, ledger, chance
        self._maker = EventMaker(seed=chance.randrange(2**32))
        self._mine: list[str] = []
        self.pending: list[Wire] | None = None

    async def work(self, stop: asyncio.Event) -> None:
        """Push until told to stop, or until an answer is missing."""
        while not stop.is_set():
            self.pending = self._batch()
            self._ledger.send(self.pending)
            if (await self.push_pending()).outcome != "200":
                return

    async def push_pending(self) -> Answer:
        assert self.pending is not None
        body = push_body(self.pending, self._ledger.program)
        answer = await self._client.push(body)
        if answer.outcome == "200":
            said = msgspec.json.decode(answer.body)
            if (said["status"], said["applied"]) != ("success", body.events):
                raise BenchError(f"a push of {body.events} was answered with {said}")
            self._ledger.acknowledge(self.pending)
            self.pending = None
        return answer

    def _batch(self) -> list[Wire]:
        return [self._event() for _ in range(self._chance.randint(1, _LARGEST_BATCH))]

    def _event(self) -> Wire:
        draw = self._chance.random()
        if draw < 0.15:
            shared = f"shared-{self._chance.randrange(_SHARED)}"
            return self._maker.update(shared, {f"field{self._chance.randrange(9)}": self._chance.randrange(999)})
        if draw < 0.3 and self._mine:
            return self._maker.update(self._chance.choice(self._mine), {"householdSize": self._chance.randrange(20)})
        if draw < 0.35 and self._mine:
            gone = self._mine.pop(self._chance.randrange(len(self._mine)))
            return self._maker.update(gone, {"id": gone}) | {"type": "delete-entity"}
        made = self._maker.create()
        self._mine.append(made["entityGuid"])
        if draw < 0.45:
            member = {"guid": str(uuid.uuid4()), "name": "Member"}
            made |= {"type": "create-group", "data": {"name": made["data"]["name"], "members": [member]}}
        return made


# -- cycles


async def run(plan: Plan) -> Findings:
    """All cycles of a plan. What is wrong is found in `faults`; a run that cannot go on raises `BenchError`."""
    folder = Path(tempfile.mkdtemp(prefix="hub-crash-", dir=plan.work_dir))
    try:
        async with empty_database(plan.engine, None, folder) as database:
            hub = HubProcess(database, folder, launch=plan.launch)
            try:
                await hub.start()
                return await _Cycles(plan, hub, database).run()
            finally:
                await hub.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Cycles:
    def __init__(self, plan: Plan, hub: HubProcess, database: Database) -> None:
        self._plan, self._hub, self._database = plan, hub, database
        self._chance = random.Random(plan.seed)
        self._found = Findings()
        self._client: HubClient

    async def run(self) -> Findings:
        plan = self._plan
        if plan.held:
            await self._with_client(lambda: self._fill(plan.held))
        while self._found.cycles < plan.cycles and not self._found.faults:
            await self._with_client(self._program)
        await self._verify()
        return self._found

    async def _with_client(self, work: Callable[[], Awaitable[None]]) -> None:
        async with HubClient(self._hub.url, self._hub.credentials, timeout_seconds=_REQUEST_SECONDS) as self._client:
            await work()

    async def _new_program(self) -> str:
        program = await self._client.make_program("crash")
        self._client.keep_program(program)
        return program

    async def _fill(self, size: int) -> None:
        for body in create_bodies(EventMaker(), await self._new_program(), total=size, batch=FILL_BATCH):
            await self._patiently(partial(self._client.push, body))

    async def _program(self) -> None:
        """The cycles of one program, and the comparison of its state at the end."""
        ledger = Ledger(await self._new_program())
        devices = [
            Device(self._client, ledger, random.Random(self._chance.random())) for _ in range(self._plan.devices)
        ]
        for _ in range(min(self._plan.cycles_per_program, self._plan.cycles - self._found.cycles)):
            await self._cycle(ledger, devices)
        delivered = await self._read(ledger)
        if len(delivered) != len(ledger.sent):
            self._found.faults.append(f"{ledger.program}: {len(delivered)} of {len(ledger.sent)} after all repetitions")
        self._found.acknowledged += len(ledger.acknowledged)
        await self._compare_with_replay(ledger.program, delivered)

    async def _cycle(self, ledger: Ledger, devices: Sequence[Device]) -> None:
        kill = self._next_kill()
        stop = asyncio.Event()
        working = [asyncio.create_task(device.work(stop)) for device in devices]
        await asyncio.sleep(self._chance.uniform(0.02, self._plan.load_seconds))
        seconds = await self._kill(kill, stop, working)
        self._found.cycles += 1
        self._found.kills[kill] += 1
        self._found.ready_seconds[kill].append(seconds)

        there = {event["guid"] for event in await self._read(ledger)}
        for device in devices:
            if device.pending is not None:
                await self._repeat(ledger, device, there)
        say(f"cycle {self._found.cycles}: {kill} ready after {seconds:.2f} s, {len(ledger.acknowledged)} events")

    def _next_kill(self) -> Kill:
        """Where there is a database server of our own, that one in every third cycle."""
        return "database" if self._database.pid is not None and self._found.cycles % 3 == 1 else "hub"

    async def _kill(self, kill: Kill, stop: asyncio.Event, working: Sequence["asyncio.Task[None]"]) -> float:
        """Seconds until the hub is ready again."""
        if kill == "hub":
            await self._hub.kill()
        else:
            await self._kill_database()
        begun = time.perf_counter()
        stop.set()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await asyncio.gather(*working)
        if kill == "hub":
            return await self._hub.start()
        await self._hub.until_healthy()
        return time.perf_counter() - begun

    async def _kill_database(self) -> None:
        """Kill one of the server's processes that work for the hub: it ends all of them and recovers from its log."""
        assert self._database.url is not None and self._database.pid is not None
        connection = await asyncpg.connect(self._database.url)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        working: list[int] = []
        while not working:  # a hub that has just started connects with its first request
            if time.monotonic() > deadline:
                raise BenchError("no process of the database works for the hub")
            rows = await connection.fetch(_WORKING_FOR_THE_HUB)
            ours = set(process_tree(self._database.pid))
            working = [row["pid"] for row in rows if row["pid"] in ours]
        await connection.close()
        os.kill(self._chance.choice(working), signal.SIGKILL)

    async def _repeat(self, ledger: Ledger, device: Device, there: set[str]) -> None:
        assert device.pending is not None
        self._found.unanswered_pushes += 1
        stored = sum(event["guid"] in there for event in device.pending)
        if stored == len(device.pending):
            self._found.unanswered_but_stored += 1
        elif stored:
            self._found.faults.append(f"{ledger.program}: {stored} of {len(device.pending)} of a push are stored")
        await self._patiently(device.push_pending)

    async def _read(self, ledger: Ledger) -> list[Wire]:
        """Everything from the beginning; what is wrong with it is noted."""
        delivered: list[Wire] = []
        cursor: str | None = ""
        while cursor is not None:
            answer = await self._patiently(
                partial(self._client.pull, ledger.program, since=cursor, limit=_LARGEST_PAGE)
            )
            page = msgspec.json.decode(answer.body)
            delivered += page["events"]
            cursor = page["nextCursor"]
        self._found.faults += ledger.faults(delivered)
        return delivered

    async def _patiently(self, send: Callable[[], Awaitable[Answer]]) -> Answer:
        """Repeat while the hub is not reachable or says that it is not able to (503), as devices do."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (answer := await send()).outcome != "200":
            refused = answer.outcome.isdigit() and answer.outcome != "503"
            if refused or time.monotonic() > deadline:
                raise BenchError(f"not answered after a crash: {answer.outcome} {answer.body[:300]!r}")
            await asyncio.sleep(0.1)
        return answer

    # -- is the state what the events say, and is the log in order?

    async def _compare_with_replay(self, program: str, delivered: Sequence[Wire]) -> None:
        async with closing(open_database(self._database.url, data_dir=self._hub.data_dir, pool_size=2)) as live:
            held = await _state(live, program)
        with tempfile.TemporaryDirectory(prefix="hub-replay-") as name:
            replayed = await _replay(program, delivered, Path(name))
        different = [guid for guid in held.keys() | replayed.keys() if held.get(guid) != replayed.get(guid)]
        counted = await self._client.count_entities(program)
        alive = sum(not row.get("deleted") for key, row in replayed.items() if key[0] == "entities")
        if different:
            self._found.faults.append(f"{program}: {len(different)} rows differ from a replay, such as {different[0]}")
        elif counted != alive:
            self._found.faults.append(f"{program}: {counted} entities are counted, a replay has {alive}")
        else:
            self._found.replays += 1

    async def _verify(self) -> None:
        commands, log = self._hub.commands, self._hub.data_dir.parent / "verify.log"
        process = await commands.start(*commands.command("verify"), log=log)
        ended = await process.wait()
        lines = log.read_text().splitlines()
        self._found.verified = sum(line.startswith("ok: ") for line in lines)
        if ended != 0:
            self._found.faults += [line for line in lines if not line.startswith("ok: ")]


Rows = Mapping[tuple[str, ...], Mapping[str, Any]]


async def _state(database: Any, program: str) -> Rows:
    """Entities and memberships by key, but not when the server took them: a replay has times of its own."""
    rows: dict[tuple[str, ...], Mapping[str, Any]] = {}
    async with database.reading(EVERY_TENANT) as view:
        for table in (entities, members):
            keys = [column.name for column in table.primary_key]
            for row in await view.execute(select(table).where(table.c.tenant_id == program)):
                values = {name: value for name, value in row._mapping.items() if name != "last_updated"}
                if "stamps" in values:
                    # As JSON, not as text: PostgreSQL keeps an object's members in an order of its own.
                    values["stamps"] = msgspec.json.decode(values["stamps"])
                rows[(table.name, *(values[key] for key in keys))] = values
    return rows


async def _replay(program: str, delivered: Sequence[Wire], folder: Path) -> Rows:
    async with closing(open_database(None, data_dir=folder, pool_size=2)) as database:
        await migrate(database)
        log = EventLog(event_store(database), [EntityProjection([keep_conflicts])], SystemClock())
        tenant = Tenant(TenantId(program), program)
        scope = system_scope(tenant.id)
        async with database.transaction(scope) as tx:
            await log.create(tx, scope)
        for begin in range(0, len(delivered), FILL_BATCH):
            events = [as_event(wire) for wire in delivered[begin : begin + FILL_BATCH]]
            async with log.turn(scope), database.transaction(scope) as tx:
                await log.append(tx, scope, tenant, events)
        return await _state(database, program)


# -- the command


def main(argv: Sequence[str] | None = None) -> int:
    """Run cycles; 0 when nothing is wrong, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m bench.crash", description=__doc__)
    parser.add_argument("--serve", choices=ENGINES, default="sqlite", help="engine (%(default)s)")
    parser.add_argument("--cycles", type=int, default=20, help=f"kills, at most {_MOST_CYCLES} (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides moments and events (%(default)s)")
    parser.add_argument("--devices", type=int, default=6, help="pushing at once (%(default)s)")
    parser.add_argument("--load-seconds", type=float, default=0.8, help="longest time before a kill (%(default)s)")
    parser.add_argument("--held", type=int, default=0, help="events held besides, in another program (%(default)s)")
    parser.add_argument("--max-minutes", type=float, default=60, help="the whole run (%(default)s)")
    parser.add_argument("--work-dir", type=Path, help="make the data folder in here (temporary folder)")
    parser.add_argument("--out", type=Path, help="file for the JSON result (standard output)")
    options = parser.parse_args(argv)
    plan = Plan(
        engine=options.serve,
        cycles=min(options.cycles, _MOST_CYCLES),
        seed=options.seed,
        devices=options.devices,
        load_seconds=options.load_seconds,
        held=min(options.held, MAX_EVENTS),
        work_dir=options.work_dir,
    )
    shown = {"engine": plan.engine, "seed": plan.seed, "devices": plan.devices, "held": plan.held}
    report = Report(options.out, machine=machine_facts(), options=shown)
    return asyncio.run(reported(report, options.max_minutes, partial(_nothing_wrong, plan)))


async def _nothing_wrong(plan: Plan, report: Report) -> bool:
    found = await run(plan)
    report.add({"key": f"crash/{plan.engine}", **found.to_json()})
    return not found.faults


if __name__ == "__main__":
    sys.exit(main())
