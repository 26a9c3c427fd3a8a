"""`python -m bench.chain`: what the hash chain costs at ingest, and what verifying a long log takes.

Unlike the scenarios of `python -m bench` this runs the log in process: the chain is a few microseconds per event, which
HTTP and JSON would hide.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.machine import machine_facts
from bench.options import ENGINES
from bench.payload import EventMaker, as_event
from bench.report import Report
from bench.runner import say
from bench.serve import empty_database
from bench.stats import rate
from datacollect.assembly import event_store
from datacollect.db import EVERY_TENANT, Database, open_database
from datacollect.db.database import closing
from datacollect.db.migrate import migrate
from datacollect.eventstore.event import Event
from datacollect.eventstore.integrity import EventHash
from datacollect.eventstore.log import EventLog
from datacollect.features.conflicts.service import keep_conflicts
from datacollect.features.entities.projection import EntityProjection
from datacollect.kernel.clock import SystemClock
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant

_HISTORY_BATCH = 5000


@dataclass(frozen=True, slots=True)
class _Place:
    """A migrated database of our own."""

    database: Database
    url: str | None
    data_dir: Path


@dataclass(frozen=True, slots=True)
class _Taken:
    """What one run took."""

    seconds: float
    cpu_seconds: float


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.chain", description=__doc__)
    parser.add_argument("measure", choices=("ingest", "verify"))
    parser.add_argument("--serve", choices=ENGINES, default="sqlite", help="engine (%(default)s)")
    parser.add_argument("--events", type=int, help="ingest: appended each time (20000); verify: held (1000000)")
    parser.add_argument("--batch", type=int, nargs="+", default=[100, 1000], help="ingest: events per append")
    parser.add_argument("--repetitions", type=int, default=7, help="ingest: times each way (%(default)s)")
    parser.add_argument("--work-dir", type=Path, help="make the data folder in here (temporary folder)")
    parser.add_argument("--out", type=Path, help="file for the JSON result (standard output)")
    options = parser.parse_args(argv)
    asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> None:
    async with _place(options.serve, options.work_dir) as place:
        shown = {name: value for name, value in vars(options).items() if name not in {"out", "work_dir"}}
        report = Report(options.out, machine=machine_facts(place.data_dir), options=shown)
        if options.measure == "ingest":
            for batch in options.batch:
                cell = await _ingest(place, options.events or 20_000, batch, options.repetitions)
                report.add({"key": f"chain/ingest/batch{batch}", **cell})
        else:
            report.add({"key": "chain/verify", **await _verify(place, options.events or 1_000_000)})
        report.finish(complete=True)


@contextlib.asynccontextmanager
async def _place(engine: str, work_dir: Path | None) -> AsyncIterator[_Place]:
    with tempfile.TemporaryDirectory(prefix="hub-chain-", dir=work_dir, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with empty_database(engine, None, folder) as found:
            data_dir = folder / "data"
            async with closing(open_database(found.url, data_dir=data_dir, pool_size=2)) as database:
                await migrate(database)
                yield _Place(database, found.url, data_dir)


# -- ingest


async def _ingest(place: _Place, events: int, batch: int, repetitions: int) -> dict[str, Any]:
    """Append the same events to new programs, in turn with the chain and without it.

    `ratio` is of what was appended per second; `cpu_ratio` per second of this process's CPU time, which says the same
    on SQLite and hears less of what else the machine does.
    """
    made = list(_events(events))
    taken: dict[str, list[_Taken]] = {"chained": [], "unchained": []}
    await _append(place, made[: 5 * batch], batch)  # everything is imported and prepared
    for repetition in range(repetitions):
        # The order turns with each repetition, so that a database that grows favours neither.
        for way in ("chained", "unchained")[:: 1 if repetition % 2 else -1]:
            with _without_chain() if way == "unchained" else contextlib.nullcontext():
                taken[way].append(await _append(place, made, batch))
            say(f"batch {batch}: {way}: {rate(events, taken[way][-1].seconds):,.0f} events/s")
    seconds = {way: statistics.median(each.seconds for each in runs) for way, runs in taken.items()}
    cpu_seconds = {way: statistics.median(each.cpu_seconds for each in runs) for way, runs in taken.items()}
    return {
        "events": events,
        "runs": {way: [asdict(each) for each in runs] for way, runs in taken.items()},
        "median_events_per_s": {way: rate(events, each) for way, each in seconds.items()},
        "ratio": round(seconds["unchained"] / seconds["chained"], 4),
        "cpu_ratio": round(cpu_seconds["unchained"] / cpu_seconds["chained"], 4),
    }


async def _append(place: _Place, events: Sequence[Event], batch: int) -> _Taken:
    """Append to a new program."""
    program = await _Program.new(place.database)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    for start in range(0, len(events), batch):
        await program.append(events[start : start + batch])
    return _Taken(round(time.perf_counter() - begun, 4), round(time.process_time() - cpu_begun, 4))


class _Unchained(EventHash):
    """Hashes that cost nothing."""

    @property
    def content(self) -> bytes:
        return bytes(32)

    def chained_to(self, previous: bytes) -> bytes:
        return bytes(32)


def _without_chain() -> AbstractContextManager[object]:
    unchained = _Unchained(b"")
    return patch("datacollect.eventstore.log.hash_event", lambda _event: unchained)


# -- verify


async def _verify(place: _Place, events: int) -> dict[str, Any]:
    """Make a log of that many events, and let the command verify it."""
    program = await _Program.new(place.database)
    making, begun = _events(events), time.perf_counter()
    for done in range(0, events, _HISTORY_BATCH):
        await program.append(list(itertools.islice(making, _HISTORY_BATCH)))
        if done % 100_000 == 0:
            say(f"{done:,} events made")
    made_in = time.perf_counter() - begun
    seconds, used, line = await asyncio.to_thread(_run_command, place)
    return {
        "events": events,
        "append_events_per_s": rate(events, made_in),
        "database_mib": round(sum(file.stat().st_size for file in place.data_dir.glob("hub.sqlite3*")) / 2**20),
        "seconds": round(seconds, 2),
        "events_per_s": rate(events, seconds),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_rss_mib": round(used.ru_maxrss / 1024, 1),
        "said": line,
    }


def _run_command(place: _Place) -> tuple[float, resource.struct_rusage, str]:
    command = [str(Path(sys.executable).with_name("datacollect")), "verify", "--no-anchor"]
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(place.data_dir)}
    if place.url:
        environment["DATABASE_URL"] = place.url
    begun = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, cwd=place.data_dir.parent, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = process.stdout.read().strip()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"verify ended with {process.returncode}: {said}")
    return time.perf_counter() - begun, used, said


# -- both


class _Program:
    """A program to append to, as the hub does it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tenant = Tenant(TenantId(f"bench-{os.urandom(4).hex()}"), "Bench")
        self._scope = system_scope(self._tenant.id)
        self._log = EventLog(event_store(database), [EntityProjection([keep_conflicts])], SystemClock())

    @classmethod
    async def new(cls, database: Database) -> "_Program":
        program = cls(database)
        async with database.transaction(EVERY_TENANT) as tx:
            await program._log.create(tx, program._scope)
        return program

    async def append(self, events: Sequence[Event]) -> None:
        async with self._log.turn(self._scope), self._database.transaction(EVERY_TENANT) as tx:
            await self._log.append(tx, self._scope, self._tenant, events)


def _events(count: int) -> Iterator[Event]:
    maker = EventMaker()
    for _ in range(count):
        yield as_event(maker.create())


if __name__ == "__main__":
    main()
