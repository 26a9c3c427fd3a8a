"""`python -m bench.held`: how much memory one large request takes, beside what the hub and the request itself take.

Each case has a process of its own: what an allocator keeps from one would hide what the next one takes. Its figure is the
most anonymous memory that was seen while the request was worked on (every 2 ms), less what there was before: pages of the
database that are mapped are not counted. Linux only.
"""

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.machine import machine_facts
from bench.nochange import hub_settings, post, signed_in, without_request_lines
from bench.options import ENGINES
from bench.payload import EventMaker, program_config
from bench.report import Report
from bench.runner import say
from bench.serve import empty_database
from datacollect.app import create_app
from datacollect.testing.wire import Wire, asgi_wire

_PROGRAM = "bench-held"
_MIB = 1024 * 1024
_PUSH_BYTES = 48 * _MIB
_LARGE = 6
"""Events of one push that are as large as an entity may be."""
_ADMIN = {"email": "bench@hub.example", "password": "Measured-Correct-7"}

Headers = dict[str, str]
Case = Callable[[Wire, Headers], Awaitable[tuple[int, int]]]


async def _push_of_records(wire: Wire, headers: Headers) -> tuple[int, int]:
    maker = EventMaker()
    one = len(json.dumps(maker.create()))
    return await _push(wire, headers, [maker.create() for _ in range(_PUSH_BYTES // one)])


async def _push_of_texts(wire: Wire, headers: Headers) -> tuple[int, int]:
    return await _push(wire, headers, _with({"photo": "x" * (_PUSH_BYTES // _LARGE - 1000)}))


async def _push_of_numbers(wire: Wire, headers: Headers) -> tuple[int, int]:
    return await _push(wire, headers, _with({"numbers": [0] * (_PUSH_BYTES // _LARGE // 2 - 1000)}))


async def _pull_of_large_events(wire: Wire, headers: Headers) -> tuple[int, int]:
    for _ in range(5):
        await _push(wire, headers, _with({"photo": "x" * (_PUSH_BYTES // _LARGE - 1000)}))
    return await _peak(wire, "GET", f"/api/sync/pull?configId={_PROGRAM}&limit=5000", headers)


async def _list_of_large_entities(wire: Wire, headers: Headers) -> tuple[int, int]:
    await _pull_of_large_events(wire, headers)
    return await _peak(wire, "GET", f"/api/entities?configId={_PROGRAM}&limit=1000", headers)


CASES: Mapping[str, Case] = {
    "push/records": _push_of_records,
    "push/texts": _push_of_texts,
    "push/numbers": _push_of_numbers,
    "pull/large-events": _pull_of_large_events,
    "list/large-entities": _list_of_large_entities,
}


def _with(data: dict[str, Any]) -> list[dict[str, Any]]:
    maker = EventMaker()
    made = [maker.create() for _ in range(_LARGE)]
    for event in made:
        event["data"] = {"name": "Ana", "entityName": "individual"} | data
    return made


async def _push(wire: Wire, headers: Headers, events: list[dict[str, Any]]) -> tuple[int, int]:
    body = json.dumps({"configId": _PROGRAM, "events": events}, separators=(",", ":")).encode()
    events.clear()
    return await _peak(wire, "POST", "/api/sync/push", headers | {"content-type": "application/json"}, body)


async def _peak(wire: Wire, method: str, path: str, headers: Headers, body: bytes = b"") -> tuple[int, int]:
    """How much more memory the process had while it answered, and how much it sent or was sent; in bytes."""
    gc.collect()
    with _Watch() as watch:
        answer = await wire(method, path, headers=headers, body=body)
    if answer.status != 200:
        say(f"{method} {path}: {answer.status} {answer.body[:200]!r}")
    return watch.taken, len(body) or len(answer.body)


class _Watch(threading.Thread):
    """Looks at the memory of the process until its block ends."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self._before = self._most = _held_bytes()

    @property
    def taken(self) -> int:
        return self._most - self._before

    def __enter__(self) -> "_Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.002):
            self._most = max(self._most, _held_bytes())


def _held_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


async def _run(engine: str, case: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hub-held-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with empty_database(engine, None, folder) as database:
            app = create_app(hub_settings(folder / "data", database.url))
            async with app.router.lifespan_context(app):
                wire = asgi_wire(app)
                headers = await signed_in(wire, _ADMIN)
                await post(wire, "/api/apps", headers, program_config(_PROGRAM))
                taken, size = await CASES[case](wire, headers)
    return {
        "key": f"held/{case}",
        "mebibytes": round(taken / _MIB, 1),
        "of": round(size / _MIB, 1),
        "times": round(taken / size, 1),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.held", description=__doc__)
    parser.add_argument("--serve", choices=ENGINES, default="sqlite", help="engine (%(default)s)")
    parser.add_argument("--case", choices=CASES, nargs="+", default=list(CASES), help="only these")
    parser.add_argument("--out", type=Path, help="file for the JSON result (standard output)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.here:
        with without_request_lines():
            print(json.dumps(asyncio.run(_run(options.serve, options.case[0]))))
        return 0
    report = Report(options.out, machine=machine_facts(), options={"engine": options.serve})
    for case in options.case:
        again = [sys.executable, "-m", "bench.held", "--here", "--serve", options.serve, "--case", case]
        done = subprocess.run(again, stdout=subprocess.PIPE, check=True, env=os.environ)
        cell = json.loads(done.stdout)
        report.add(cell)
        say(f"{case}: {cell['mebibytes']} MiB for {cell['of']} MiB, {cell['times']} times")
    report.finish(complete=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
