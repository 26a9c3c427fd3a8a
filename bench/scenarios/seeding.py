"""A program that begins with many records, and what others notice while they are seeded."""

import asyncio
import contextlib
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from bench.client import BenchError
from bench.machine import peak_memory_mib, usage
from bench.payload import EventMaker, push_body
from bench.runner import Bench, program, say
from bench.stats import Samples, rate

_RECORDS = 100_000
_PEOPLE_PER_HOUSEHOLD = 4
_BYSTANDER_PAUSE_SECONDS = 0.05
_QUIET_SECONDS = 10
_POLL_SECONDS = 0.25
_LARGEST_BYTES = 10 * 1024 * 1024


async def seeding(bench: Bench) -> None:
    """A program of --events records is uploaded; seconds, memory, and a bystander's latency before and meanwhile."""
    config_id = f"bench-seeding-{uuid.uuid4().hex[:8]}"
    records = bench.options.events or _RECORDS
    document, events = _document(config_id, records)
    async with program(bench, "bystander") as other:
        await _watched(bench, other, asyncio.sleep(2))  # warm
        meter = bench.meter()
        quiet, _ = await _watched(bench, other, asyncio.sleep(_QUIET_SECONDS))
        for name, samples in quiet.items():
            bench.record(f"seeding/quiet/{name}", meter, **samples.summary())
        pid = bench.options.pid
        before, meter = usage(pid).rss_mib if pid else 0.0, bench.meter()
        watched, told = await _watched(bench, other, _seed(bench, config_id, document))
        peak = peak_memory_mib(pid) if pid else 0.0
    for name, samples in watched.items():
        ratios = _ratios(quiet[name], samples)
        bench.record(f"seeding/meanwhile/{name}", meter, ratio=ratios, **samples.summary())
        say(f"  {name}: " + "  ".join(f"{share} x{ratio:.2f}" for share, ratio in ratios.items()))
    held = await bench.client.count_entities(config_id)
    bench.record(
        f"seeding/records{records}",
        meter,
        upload_mib=round(len(document) / 2**20, 2),
        events=events,
        events_per_s=rate(events, told["seconds"]),
        rss_before_mib=before,
        rss_growth_mib=round(peak - before, 1),
        check={"acknowledged": records, "survived": held},
        **told,
    )
    await bench.client.archive_program(config_id)


def _document(config_id: str, records: int) -> tuple[bytes, int]:
    """Households and the people in them, and how many events that makes."""
    maker = EventMaker()
    above = -(-records // (_PEOPLE_PER_HOUSEHOLD + 1))
    households = [{"id": f"h-{n:05}", "name": f"Household {n:05}"} for n in range(above)]
    people = []
    for number in range(records - above):
        data = maker.create()["data"]
        household = f"h-{number // _PEOPLE_PER_HOUSEHOLD:05}"
        people.append(
            {
                "id": f"p-{number:06}",
                "name": f"{data['givenName']} {data['familyName']}",
                "parentId": household,
                "birthDate": data["birthDate"],
            }
        )
    forms = [
        {"id": "f1", "name": "household", "title": "Household", "formio": {"components": []}},
        {"id": "f2", "name": "person", "title": "Person", "dependsOn": "household", "formio": {"components": []}},
    ]
    seeds = [{"name": "household", "data": households}, {"name": "person", "data": people}]
    document = msgspec.json.encode({"id": config_id, "name": config_id, "entityForms": forms, "entityData": seeds})
    if len(document) > _LARGEST_BYTES:
        raise BenchError(f"{records} records are {len(document)} bytes, more than an upload takes")
    return document, records + len(people)


async def _seed(bench: Bench, config_id: str, document: bytes) -> dict[str, Any]:
    """Upload the program and wait until it is seeded."""
    begun = time.perf_counter()
    answer = await bench.client.send("POST", "/api/apps", document)
    if answer.outcome != "200":
        raise BenchError(f"the program was refused: {answer.outcome} {answer.body[:300]!r}")
    while True:
        # The list: the program itself is as large as the upload.
        found = await bench.client.get_json(f"/api/apps?search={config_id}")
        if "seeding" not in found["data"][0]:
            break
        await asyncio.sleep(_POLL_SECONDS)
    return {"answer_seconds": round(answer.seconds, 2), "seconds": round(time.perf_counter() - begun, 2)}


async def _watched(bench: Bench, config_id: str, work: Any) -> tuple[dict[str, Samples], Any]:
    """What `work` gives, and the latencies of one who pulls and pushes meanwhile."""
    samples = {"pull": Samples(), "push": Samples()}
    bystander = asyncio.create_task(_stand_by(bench, config_id, samples))
    try:
        return samples, await work
    finally:
        bystander.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await bystander


async def _stand_by(bench: Bench, config_id: str, samples: dict[str, Samples]) -> None:
    maker = EventMaker(start=datetime.now(UTC))
    while True:
        due = time.perf_counter() + _BYSTANDER_PAUSE_SECONDS
        pulled = await bench.client.pull(config_id)
        samples["pull"].add(pulled.outcome, pulled.seconds)
        pushed = await bench.client.push(push_body([maker.create()], config_id))
        samples["push"].add(pushed.outcome, pushed.seconds)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


def _ratios(quiet: Samples, meanwhile: Samples) -> dict[str, float]:
    before, after = quiet.summary()["latency_ms"], meanwhile.summary()["latency_ms"]
    return {share: round(after[share] / before[share], 2) for share in ("p50", "p95")}
