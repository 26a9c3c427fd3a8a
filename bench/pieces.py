"""`python -m bench.pieces`: how long the hub's loop works at one go on a push or a page, while everybody else waits.

In process and in CPU time, so that other work on the machine counts little; on the loop of asyncio, which can be watched.
Each piece is named by where it ended: what waits there has let the others have their turn.
"""

import argparse
import asyncio
import contextlib
import logging
import random
import tempfile
import time
from asyncio import events as loop_events
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from bench.lives import edited
from bench.machine import machine_facts
from bench.nochange import ADMIN, hub_settings, post, signed_in
from bench.options import ENGINES
from bench.payload import EventMaker, program_config, push_body
from bench.report import Report
from bench.runner import say
from bench.serve import empty_database
from datacollect.app import create_app
from datacollect.cli.collecting import settle
from datacollect.jobs.giving_way import Metered
from datacollect.testing.wire import Answer, Wire, asgi_wire

_PROGRAM = "bench-pieces"
_SHOWN_MS = 1.0
_SHOWN = 12


@dataclass(slots=True)
class _Watch:
    """Every step of the loop while it is on: seconds of CPU, and where the step ended."""

    steps: list[tuple[float, str]] = field(default_factory=list)

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        run = loop_events.Handle._run

        def timed(handle: Any) -> None:
            begun = time.thread_time()
            run(handle)
            self.steps.append((time.thread_time() - begun, _where(handle)))

        loop_events.Handle._run = timed  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            loop_events.Handle._run = run  # type: ignore[method-assign]


def _where(handle: Any) -> str:
    task = getattr(getattr(handle, "_callback", None), "__self__", None)
    if not isinstance(task, asyncio.Task):
        return "callback"
    waiting: Any = task.get_coro()
    named = "end"
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)
        if frame is not None and "/datacollect/" in frame.f_code.co_filename:
            file = frame.f_code.co_filename.rpartition("/datacollect/")[2]
            named = f"{file}:{frame.f_lineno} {frame.f_code.co_name}"
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None) or _metered(waiting)
    return named


def _metered(waiting: Any) -> Any:
    """The coroutine whose time is taken, if it is one."""
    frame = getattr(waiting, "gi_frame", None)
    meter = None if frame is None else frame.f_locals.get("self")
    return meter._work if isinstance(meter, Metered) else None


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pieces", description=__doc__)
    parser.add_argument("--serve", choices=ENGINES, default="sqlite", help="engine (%(default)s)")
    parser.add_argument("--batch", type=int, nargs="+", default=[100, 1000], help="events of a push (%(default)s)")
    parser.add_argument("--repetitions", type=int, default=5, help="of which the best counts (%(default)s)")
    parser.add_argument("--work-dir", type=Path, help="make the data folder in here (temporary folder)")
    parser.add_argument("--out", type=Path, help="file for the JSON result (standard output)")
    options = parser.parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    report = Report(options.out, machine=machine_facts(), options={"engine": options.serve})
    asyncio.run(_run(options, report))
    report.finish(complete=True)


async def _run(options: argparse.Namespace, report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="hub-pieces-", dir=options.work_dir, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with empty_database(options.serve, None, folder) as database:
            app = create_app(hub_settings(folder / "data", database.url))
            async with app.router.lifespan_context(app):
                wire = asgi_wire(app)
                headers = await signed_in(wire, ADMIN)
                settle()
                await post(wire, "/api/apps", headers, program_config(_PROGRAM, duplicates={"detect": False}))
                for batch in options.batch:
                    await _measure(wire, headers, report, batch, options.repetitions)


async def _measure(wire: Wire, headers: dict[str, str], report: Report, batch: int, repetitions: int) -> None:
    maker, chance = EventMaker(), random.Random(3)
    people: list[str] = []
    for what in ("new", "edits", "page"):
        best: _Watch | None = None
        for _ in range(repetitions):
            if what == "new":
                made = [maker.create() for _ in range(batch)]
                people = [wire_event["entityGuid"] for wire_event in made]
            else:
                made = [maker.update(guid, edited(chance)) for guid in people]
            watch = _Watch()
            if what == "page":
                path = f"/api/sync/pull?configId={_PROGRAM}&limit={batch}"
                with watch.on():
                    # In a task of its own, whose first step is not also the last of what was before.
                    answer = await asyncio.create_task(_get(wire, path, headers))
                assert answer.status == 200
            else:
                body = push_body(made, _PROGRAM).data
                with watch.on():
                    await asyncio.create_task(post(wire, "/api/sync/push", headers, body))
            if best is None or max(watch.steps) < max(best.steps):
                best = watch
        assert best is not None
        longest = sorted(best.steps, reverse=True)[:_SHOWN]
        shown = [(round(1000 * taken, 2), where) for taken, where in longest if 1000 * taken >= _SHOWN_MS]
        total = sum(taken for taken, _ in best.steps)
        report.add({
            "key": f"pieces/{what}{batch}", "longest_ms": round(1000 * longest[0][0], 2),
            "total_ms": round(1000 * total, 1), "pieces": shown,
        })  # fmt: skip
        say(f"{what} {batch}: longest {1000 * longest[0][0]:.1f} ms of {1000 * total:.0f}")
        for taken, where in shown:
            say(f"  {taken:7.2f} ms  until {where}")


async def _get(wire: Wire, path: str, headers: dict[str, str]) -> Answer:
    return await wire("GET", path, headers=headers)


if __name__ == "__main__":
    main()
