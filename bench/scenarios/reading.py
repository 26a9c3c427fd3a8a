"""Scenarios that read: a cold client's whole pull, single pages, and the entity routes."""

import asyncio
import itertools
import sys
import time
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from bench.client import BenchError
from bench.runner import Bench, Store, get_repeatedly, store, work_side_by_side
from bench.scenarios.finding import find
from bench.stats import Samples, rate

_DEFAULT_LIMIT = 10
_SEALED_AT = 500
_SEALING_SECONDS = 3
_SEALED_SECONDS = 5
_WARMING_PAGES = 50
_MOST_CURSORS = 100


class _Seen(msgspec.Struct):
    guid: str


class _Page(msgspec.Struct):
    """The members a client needs to go on; decoding no more keeps the driver out of the figures."""

    events: list[_Seen]
    nextCursor: str | None


@dataclass(slots=True)
class _Pulled:
    """What one cold client got. `complete` says that it reached the end."""

    guids: list[str]
    pages: int = 0
    size_bytes: int = 0
    complete: bool = False


async def pull(bench: Bench) -> None:
    """A cold client reads everything, also several at once, for each page size (--limit)."""
    async with store(bench, bench.held) as filled:
        await pull_cells(bench, filled)


async def pull_cells(bench: Bench, filled: Store) -> None:
    for limit in bench.options.limit:
        for clients in bench.options.clients:
            await _pull_cell(bench, filled, limit, clients)


async def _pull_cell(bench: Bench, filled: Store, limit: int, clients: int) -> None:
    # Everything held here was made by create events, one each.
    held = await bench.client.count_entities(filled.config_id)
    samples, meter = Samples(), bench.meter()
    begun = time.perf_counter()
    deadline = begun + bench.options.seconds
    got = await asyncio.gather(
        *(_pull_everything(bench, filled.config_id, limit, samples, deadline) for _ in range(clients))
    )
    seconds = time.perf_counter() - begun
    events = sum(len(one.guids) for one in got)
    bench.record(
        f"pull/held{filled.size}/{_limit_name(limit)}/clients{clients}",
        meter,
        page_size=max((-(-len(one.guids) // one.pages) for one in got if one.pages), default=0),
        mib=round(sum(one.size_bytes for one in got) / 2**20, 2),
        seconds=round(seconds, 3),
        events_per_s=rate(events, seconds),
        check={
            "held": held,
            "fewest_distinct": min(len(set(one.guids)) for one in got),
            "delivered_twice": sum(len(one.guids) - len(set(one.guids)) for one in got),
            "complete": all(one.complete for one in got),
        },
        **samples.summary(),
    )


async def _pull_everything(bench: Bench, config_id: str, limit: int, samples: Samples, deadline: float) -> _Pulled:
    pulled, cursor = _Pulled([]), ""
    while time.perf_counter() < deadline:
        answer = await bench.client.pull(config_id, since=cursor, limit=limit)
        samples.add(answer.outcome, answer.seconds)
        if answer.outcome != "200":
            return pulled
        page = msgspec.json.decode(answer.body, type=_Page)
        pulled.guids.extend(event.guid for event in page.events)
        pulled.pages += 1
        pulled.size_bytes += len(answer.body)
        if page.nextCursor is None:
            pulled.complete = True
            return pulled
        cursor = page.nextCursor
    return pulled


async def page(bench: Bench) -> None:
    """One page over and over, at the start, the middle and the end of what is held."""
    async with store(bench, bench.held) as filled:
        await page_cells(bench, filled)


async def page_cells(bench: Bench, filled: Store) -> None:
    cursors = await walk(bench, filled.config_id)
    places = {"start": "", "middle": cursors[len(cursors) // 2], "end": cursors[-1]}
    for limit in bench.options.limit:
        for place, cursor in places.items():
            size = f"&limit={limit}" if limit else ""
            samples, meter = Samples(), bench.meter()
            length = await get_repeatedly(
                bench, f"/api/sync/pull?since={cursor}&configId={filled.config_id}{size}", samples
            )
            bench.record(
                f"page/held{filled.size}/{_limit_name(limit)}/{place}", meter, body_bytes=length, **samples.summary()
            )


async def walk(bench: Bench, config_id: str, *, limit: int = 500, most: int = sys.maxsize) -> list[str]:
    """The cursors a client meets on its way through, the last of them before the last page."""
    cursors, deadline = [""], time.perf_counter() + max(300.0, bench.options.seconds)
    while time.perf_counter() < deadline and len(cursors) <= most:
        answer = await bench.client.pull(config_id, since=cursors[-1], limit=limit)
        if answer.outcome != "200":
            raise BenchError(f"a pull for the cursors failed: {answer.outcome}")
        following = msgspec.json.decode(answer.body, type=_Page).nextCursor
        if following is None:
            break
        cursors.append(following)
    # The very last page can be empty when the store holds a multiple of the page size.
    return cursors[:-1] or cursors


async def sealed(bench: Bench) -> None:
    """Full pages, for each page size (--limit) and number of clients, which count the bytes and do not unpack them."""
    async with store(bench, bench.held) as filled:
        await walk(bench, filled.config_id)  # what is read has itself sealed
        if filled.size >= _SEALED_AT:
            await asyncio.sleep(_SEALING_SECONDS)
        for limit in bench.options.limit:
            for clients in bench.options.clients:
                await _sealed_cell(bench, filled, limit, clients)


async def _sealed_cell(bench: Bench, filled: Store, limit: int, clients: int) -> None:
    size = limit or _DEFAULT_LIMIT
    # A page is as long as `limit` says when it is full: those before the last cursor are.
    cursors = await walk(bench, filled.config_id, limit=size, most=_MOST_CURSORS)
    pages = itertools.cycle([f"/api/sync/pull?since={one}&configId={filled.config_id}&limit={size}" for one in cursors])
    session = aiohttp.ClientSession(headers={**bench.client.signed, "Accept-Encoding": "gzip"}, auto_decompress=False)
    samples, received = Samples(), 0

    async def step() -> bool:
        nonlocal received
        begun = time.perf_counter()
        async with session.get(URL(bench.options.url + next(pages), encoded=True)) as response:
            received += len(await response.read())
        samples.add(str(response.status), time.perf_counter() - begun)
        return True

    async with session:
        for _ in range(_WARMING_PAGES):
            await step()
        samples, received, meter = Samples(), 0, bench.meter()
        seconds = min(bench.options.seconds, _SEALED_SECONDS)
        elapsed, _ = await work_side_by_side(clients, step, seconds=seconds, grace=bench.options.grace)
    taken = samples.outcomes["200"]
    used = meter.read().get("server", {}).get("cpu_seconds", 0.0)
    bench.record(
        f"sealed/held{filled.size}/{_limit_name(limit)}/clients{clients}",
        meter,
        events_per_s=rate(taken * size, elapsed),
        hub_cpu_ms_per_page=round(1000 * used / taken, 3) if taken else None,
        mib=round(received / 2**20, 2),
        seconds=round(elapsed, 3),
        **samples.summary(),
    )


async def entities(bench: Bench) -> None:
    """Latency of the entity list, the counts, one entity, its events and the list of programs; with --entities, of all
    lists and searches."""
    if bench.options.entities is not None:
        await find(bench)
        return
    async with store(bench, bench.held) as filled:
        await entity_cells(bench, filled)


async def entity_cells(bench: Bench, filled: Store) -> None:
    of_program = f"configId={filled.config_id}"
    some = await bench.client.get_json(f"/api/entities?{of_program}&limit=1")
    if not some:
        raise BenchError(f"{filled.config_id} holds no entity to read")
    guid = quote(str(some[0]["guid"]), safe="")
    for what, path in {
        "list100": f"/api/entities?{of_program}&limit=100",
        "list1000": f"/api/entities?{of_program}&limit=1000",
        "count": f"/api/entities/count?{of_program}",
        "count-by-form": f"/api/entities/count-by-form?{of_program}",
        "one": f"/api/entities/{guid}?{of_program}",
        "events-of-one": f"/api/entities/{guid}/events?{of_program}",
        "programs": "/api/apps?page=1&pageSize=12",
    }.items():
        samples, meter = Samples(), bench.meter()
        length = await get_repeatedly(bench, path, samples)
        bench.record(f"entities/held{filled.size}/{what}", meter, body_bytes=length, **samples.summary())


def _limit_name(limit: int) -> str:
    return f"limit{limit}" if limit else "default"


async def delivered(bench: Bench, config_id: str) -> int:
    """Distinct events a cold client gets, outside any measurement."""
    pulled = await _pull_everything(bench, config_id, 1000, Samples(), time.perf_counter() + bench.options.seconds)
    return len(set(pulled.guids))
