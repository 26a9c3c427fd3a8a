"""`python -m bench.sealing`: how late the hub's loop is for everybody else while large runs of a log are sealed.

In process, since requests of other clients would be late for many reasons. Sealed in threads, as the hub does, and in the
loop, in turn, on the same log.
"""

import argparse
import asyncio
import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.machine import machine_facts
from bench.options import ENGINES
from bench.report import Report
from bench.runner import say
from bench.serve import empty_database
from datacollect.assembly import event_store
from datacollect.db import Database, open_database
from datacollect.db.database import closing
from datacollect.db.migrate import migrate
from datacollect.eventstore import sealer as sealing
from datacollect.eventstore.event import Event
from datacollect.eventstore.sealer import Sealer
from datacollect.eventstore.segments import SIZE
from datacollect.eventstore.store import EventStore
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.testing.eventstore import append

_PAUSE_SECONDS = 0.002
_SCOPE = system_scope(TenantId("sealing"))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.sealing", description=__doc__)
    parser.add_argument("--serve", choices=ENGINES, default="sqlite", help="engine (%(default)s)")
    parser.add_argument("--runs", type=int, default=4, help="runs of events to seal (%(default)s)")
    parser.add_argument("--event-bytes", type=int, default=14_000, help="data of an event (%(default)s)")
    parser.add_argument("--repetitions", type=int, default=5, help="times each way (%(default)s)")
    parser.add_argument("--work-dir", type=Path, help="make the data folder in here (temporary folder)")
    parser.add_argument("--out", type=Path, help="file for the JSON result (standard output)")
    asyncio.run(_run(parser.parse_args(argv)))


async def _run(options: argparse.Namespace) -> None:
    shown = {name: value for name, value in vars(options).items() if name not in {"out", "work_dir"}}
    with tempfile.TemporaryDirectory(prefix="hub-sealing-", dir=options.work_dir, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with empty_database(options.serve, None, folder) as found:
            data_dir = folder / "data"
            async with closing(open_database(found.url, data_dir=data_dir, pool_size=2)) as database:
                await migrate(database)
                report = Report(options.out, machine=machine_facts(data_dir), options=shown)
                for cell in await _measured(database, options):
                    report.add(cell)
                report.finish(complete=True)


async def _measured(database: Database, options: argparse.Namespace) -> list[dict[str, Any]]:
    store = event_store(database)
    await _fill(database, store, options.runs, options.event_bytes)
    late: dict[str, list[float]] = {"threads": [], "loop": []}
    seconds: dict[str, list[float]] = {"threads": [], "loop": []}
    for repetition in range(options.repetitions):
        for way in ("threads", "loop")[:: 1 if repetition % 2 else -1]:
            with _in_the_loop() if way == "loop" else contextlib.nullcontext():
                begun = time.perf_counter()
                late[way] += await _seal_all(database, store)
                seconds[way].append(time.perf_counter() - begun)
            say(f"sealed in {way}: {seconds[way][-1]:.2f} s, at most {1000 * max(late[way]):.1f} ms late so far")
    return [
        {
            "key": f"sealing/{way}",
            "seconds": round(statistics.median(seconds[way]), 3),
            "late_ms": {"p50": _ms(late[way], 50), "p95": _ms(late[way], 95), "p99": _ms(late[way], 99)}
            | {"max": _ms(late[way], 100)},
        }
        for way in late
    ]


async def _fill(database: Database, store: EventStore, runs: int, event_bytes: int) -> None:
    dice = random.Random(5)
    async with database.transaction(_SCOPE) as tx:
        await store.create(tx, _SCOPE, epoch=new_guid(), now=Millis(0))
    for run in range(runs):
        await append(database, store, _SCOPE, [_event(dice, run, event_bytes) for _ in range(SIZE)])


def _event(dice: random.Random, run: int, event_bytes: int) -> Event:
    """About as hard to compress as a form's answers are."""
    fields = {f"field{number}": f"answer {dice.randrange(10**6)}" for number in range(event_bytes // 30)}
    return Event(new_guid(), new_guid(), "update-individual", fields, Millis(run), "u-1")


async def _seal_all(database: Database, store: EventStore) -> list[float]:
    """Seal the log from its beginning; how late the loop came to a bystander, each time it was asked."""
    async with database.transaction(_SCOPE) as tx:
        await tx.run(f"DELETE FROM log_segments WHERE tenant_id = '{_SCOPE.tenant_id}'")
    late: list[float] = []
    bystander = asyncio.create_task(_look_again_and_again(late))
    sealer = Sealer(database, store)
    async with sealer.running():
        sealer.want(_SCOPE.tenant_id)
        await sealer.settle()
    bystander.cancel()
    await _require_sealed(database, store, _SCOPE)
    return late


async def _require_sealed(database: Database, store: EventStore, scope: TenantScope) -> None:
    async with database.reading(scope) as view:
        reached = await store.sealed_to(view, scope)
    assert reached is not None
    assert reached[1] == reached[0].head // SIZE


async def _look_again_and_again(late: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(_PAUSE_SECONDS)
        late.append(time.perf_counter() - begun - _PAUSE_SECONDS)


@contextlib.contextmanager
def _in_the_loop() -> Iterator[None]:
    """Seal as before threads did it, and fetch each run in one go."""

    async def here(call: Callable[..., Any], *arguments: Any) -> Any:
        return call(*arguments)

    with patch.object(asyncio, "to_thread", here), patch.object(sealing, "_AT_ONCE_BYTES", 2**40):
        yield


def _ms(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return round(1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 2)


if __name__ == "__main__":
    main()
