"""`python -m bench.nochange`: what a pull costs that finds nothing new, by how much the program holds.

Two hubs in this process, one with a short history and one with a long one, are asked in turn, so that whatever else the
machine does meets both. Each is read by a caller who may have everything and by one limited to one of many areas; both
have come to the end of what they get. In process, since HTTP would hide the difference that is looked for.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog

from bench.client import BenchError
from bench.machine import machine_facts
from bench.options import ENGINES
from bench.payload import EventMaker, as_event, program_config
from bench.report import Report
from bench.runner import say
from bench.serve import empty_database
from bench.stats import percentile
from datacollect.app import create_app
from datacollect.db import EVERY_TENANT
from datacollect.eventstore.event import Event
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.settings import Settings
from datacollect.testing.wire import Answer, Wire, asgi_wire

_PROGRAM = "bench-nochange"
_MOST_EVENTS = 5_000_000
_BATCH = 5_000
_EVENTS_PER_ENTITY = 5
_WARM_UP = 20
ADMIN = {"email": "bench@hub.example", "password": "Measured-Correct-7"}
_AGENT = {"email": "agent@hub.example", "password": "Bench-Correct-8"}


@dataclass(slots=True)
class _Reader:
    """One caller at the end of what they get."""

    hub: Hub
    wire: Wire
    headers: dict[str, str]
    cursor: str = ""
    seconds: list[float] = field(default_factory=list)

    async def pull(self) -> Answer:
        answer = await self.wire(
            "GET", f"/api/sync/pull?configId={_PROGRAM}&since={quote(self.cursor)}", headers=self.headers
        )
        if answer.status != 200 or answer.json()["events"] or answer.json()["nextCursor"] is not None:
            raise BenchError(f"expected nothing new, not {answer.status} {answer.body[:200]!r}")
        return answer

    async def timed_pull(self) -> None:
        begun = time.perf_counter()
        await self.pull()
        self.seconds.append(time.perf_counter() - begun)

    async def figures(self) -> dict[str, Any]:
        """What one pull sends and asks of the database, and how long they took."""
        answer = await self.pull()
        counts = []
        # Once in a second a pull also asks anew for the program and the caller's rights; three in a row are not all that one.
        for _ in range(3):
            with self.hub.db.statements.record() as statements:
                await self.pull()
            counts.append(len(statements))
        ordered = sorted(self.seconds)
        return {
            "bytes": len(answer.body),
            "statements": min(counts),
            "latency_ms": {
                name: round(1000 * percentile(ordered, share), 3) for name, share in (("p50", 0.5), ("p95", 0.95))
            },
        }


@dataclass(frozen=True, slots=True)
class _Filled:
    held: int
    readers: dict[str, _Reader]


@contextlib.contextmanager
def without_request_lines() -> Iterator[None]:
    """The hubs in here would write them to where the result goes."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        yield
    finally:
        structlog.configure(**before)


async def measure(engine: str, sizes: Sequence[int], *, areas: int, samples: int, work_dir: Path | None) -> Any:
    """One cell for each reader and size, and the ratios of the largest to the smallest."""
    async with contextlib.AsyncExitStack() as hubs:
        filled = [await hubs.enter_async_context(_filled_hub(engine, size, areas, work_dir)) for size in sizes]
        everyone = [reader for each in filled for reader in each.readers.values()]
        for sample in range(_WARM_UP + samples):
            for reader in everyone if sample % 2 else everyone[::-1]:
                await reader.timed_pull()
        for reader in everyone:
            del reader.seconds[:_WARM_UP]
        cells = [
            {"key": f"nochange/{name}/held{each.held}", "reader": name, "held": each.held, **await reader.figures()}
            for each in filled
            for name, reader in each.readers.items()
        ]
    return {"cells": cells, "ratios": {name: _ratios(cells, name) for name in filled[0].readers}}


def _ratios(cells: Sequence[dict[str, Any]], name: str) -> dict[str, float]:
    mine = sorted((cell for cell in cells if cell["reader"] == name), key=lambda cell: cell["held"])
    few, many = mine[0], mine[-1]
    return {
        "bytes": round(many["bytes"] / few["bytes"], 3),
        "statements": round(many["statements"] / few["statements"], 3),
        "p50": round(many["latency_ms"]["p50"] / few["latency_ms"]["p50"], 3),
    }


# -- a hub with a history


@contextlib.asynccontextmanager
async def _filled_hub(engine: str, size: int, areas: int, work_dir: Path | None) -> AsyncIterator[_Filled]:
    with tempfile.TemporaryDirectory(prefix="hub-nochange-", dir=work_dir, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with empty_database(engine, None, folder) as database:
            app = create_app(hub_settings(folder / "data", database.url))
            async with app.router.lifespan_context(app):
                hub, wire = app.state.hub, asgi_wire(app)
                everything = _Reader(hub, wire, await signed_in(wire, ADMIN))
                one_area = await _limited_reader(everything, area="area-0")
                # From its first pull on, what is pushed is filed by place.
                await one_area.pull()
                await _fill(hub, size, areas, everything, one_area)
                if engine == "postgres":
                    await _settle(hub)
                yield _Filled(size, {"everything": everything, "one area": one_area})


def hub_settings(data_dir: Path, url: str | None) -> Settings:
    values: dict[str, Any] = {
        "ADMIN_EMAIL": ADMIN["email"],
        "ADMIN_PASSWORD": ADMIN["password"],
        "JWT_SECRET": "only-for-a-hub-that-nobody-can-reach",
        "DATABASE_URL": url,
        "DATA_DIR": data_dir,
    }
    return Settings(_env_file=None, **values)


async def post(wire: Wire, path: str, headers: dict[str, str], body: bytes) -> Any:
    answer = await wire("POST", path, headers=headers | {"content-type": "application/json"}, body=body)
    if answer.status not in (200, 201):
        raise BenchError(f"POST {path}: {answer.status} {answer.body[:300]!r}")
    return answer.json()


async def signed_in(wire: Wire, credentials: dict[str, str]) -> dict[str, str]:
    said = await post(wire, "/api/users/login", {}, json.dumps(credentials).encode())
    return {"authorization": f"Bearer {said['token']}"}


async def _limited_reader(admin: _Reader, *, area: str) -> _Reader:
    await post(admin.wire, "/api/apps", admin.headers, program_config(_PROGRAM))
    assignment = {"tenantId": _PROGRAM, "role": "enumerator", "syncScopeOverride": {"areaIds": [area]}}
    account = _AGENT | {"role": "USER", "tenantIds": [_PROGRAM], "roleAssignments": [assignment]}
    await post(admin.wire, "/api/users", admin.headers, json.dumps(account).encode())
    headers = await signed_in(admin.wire, _AGENT)
    return _Reader(admin.hub, admin.wire, headers | {"x-device-id": "bench-tablet"})


async def _fill(hub: Hub, size: int, areas: int, everything: _Reader, one_area: _Reader) -> None:
    """Append a history, and leave both readers at the end of what they get."""
    tenant = await hub.tenants.find(TenantId(_PROGRAM))
    assert tenant is not None
    scope, begun, making = system_scope(tenant.id), time.perf_counter(), _history(size, areas)
    for done in range(0, size, _BATCH):
        batch = list(itertools.islice(making, _BATCH))
        async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
            await hub.log.append(tx, scope, tenant, [event for event, _ in batch])
        for wire in (wire for _, wire in batch):
            everything.cursor = f"{wire['timestamp']}|{wire['guid']}"
            if wire["data"]["area_id"] == "area-0":
                one_area.cursor = everything.cursor
        if done % 100_000 == 0:
            say(f"{done:,} of {size:,} events")
    say(f"filled with {size:,} events in {time.perf_counter() - begun:.0f} s")


def _history(size: int, areas: int) -> Iterator[tuple[Event, dict[str, Any]]]:
    """People in areas, made and edited a few times each."""
    maker, chance = EventMaker(), random.Random(7)
    person: dict[str, Any] = {}
    for number in range(size):
        if number % _EVENTS_PER_ENTITY == 0:
            person = maker.create()
            wire = person
            wire["data"]["area_id"] = f"area-{chance.randrange(areas)}"
        else:
            changed = {"householdSize": number, "area_id": person["data"]["area_id"]}
            wire = maker.update(person["entityGuid"], changed)
        yield as_event(wire), wire


async def _settle(hub: Hub) -> None:
    """What the server does by itself within some minutes, and should not do while pulls are timed."""
    async with hub.db.transaction(EVERY_TENANT) as tx:
        for table in ("events", "event_places", "entities", "log_heads"):
            await tx.run(f"ANALYZE {table}")
        await tx.run("CHECKPOINT")


# -- the command


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.nochange", description=__doc__)
    parser.add_argument("--serve", choices=ENGINES, default="sqlite", help="engine (%(default)s)")
    parser.add_argument("--held", type=int, nargs="+", default=[10_000, 1_000_000], help="events held (%(default)s)")
    parser.add_argument("--areas", type=int, default=100, help="areas they are spread over (%(default)s)")
    parser.add_argument("--samples", type=int, default=500, help="pulls of each reader (%(default)s)")
    parser.add_argument("--work-dir", type=Path, help="make the data folders in here (temporary folder)")
    parser.add_argument("--out", type=Path, help="file for the JSON result (standard output)")
    options = parser.parse_args(argv)
    sizes = sorted(min(size, _MOST_EVENTS) for size in options.held)
    work = {"areas": options.areas, "samples": options.samples}
    report = Report(options.out, machine=machine_facts(), options={"engine": options.serve, "held": sizes, **work})
    with without_request_lines():
        found = asyncio.run(measure(options.serve, sizes, work_dir=options.work_dir, **work))
    for cell in found["cells"]:
        report.add(cell)
    for name, ratios in found["ratios"].items():
        report.add({"key": f"nochange/{name}/ratio", **ratios})
        say(f"{name}: {ratios}")
    report.finish(complete=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
