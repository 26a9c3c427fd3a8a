"""Exchanging records with other systems: how fast, with how many requests, and what one that is dead does to others."""

import time
from typing import Any

from bench.client import BenchError
from bench.exchanging import fill, job_of, make_program, start, told, until_begun, until_ended
from bench.remotes import REMOTES, Remote, dead_end
from bench.runner import Bench, say
from bench.stats import rate, spread

_RECORDS = 5_000
_QUEUED = 100_000
_STARTS = 10
_PATIENCE_SECONDS = 1_800


async def external(bench: Bench) -> None:
    """Records/s and requests per record with each fake of another system, both ways, and runs without a change."""
    for name, running in REMOTES.items():
        with running() as remote:
            await _measure(bench, name, remote, bench.options.records or _RECORDS)


async def _measure(bench: Bench, name: str, remote: Remote, records: int) -> None:
    client = bench.client
    program = await make_program(client, f"external-{name}", remote.section)
    await fill(client, program, records)
    pushed = await _exchange(bench, remote, program, f"external/{name}/push", moved=("pushed", records))
    held = remote.held()
    if twins := remote.twins():
        raise BenchError(f"{name}: {len(twins)} records have more than one twin")
    if len(held) != records:
        raise BenchError(f"{name}: {len(held)} of {records} records arrived")
    await _exchange(bench, remote, program, f"external/{name}/again", moved=("pushed", 0))
    before = await _events(bench, program)
    remote.make(records)
    await _exchange(bench, remote, program, f"external/{name}/pull", moved=("pulled", records))
    stored = await _events(bench, program) - before
    if stored != records:
        raise BenchError(f"{name}: {stored} events were stored of {records} records")
    await _exchange(bench, remote, program, f"external/{name}/pulled-again", moved=("pulled", 0))
    if await _events(bench, program) != before + records or pushed["failed"]:
        raise BenchError(f"{name}: a run in which nothing changed has stored events")
    await client.archive_program(program)


async def _exchange(bench: Bench, remote: Remote, program: str, key: str, *, moved: tuple[str, int]) -> dict[str, Any]:
    """One run, and one cell about it."""
    meter, asked, begun = bench.meter(), remote.system.asked, time.perf_counter()
    job = await until_ended(bench.client, await start(bench.client, program), seconds=_PATIENCE_SECONDS)
    seconds = time.perf_counter() - begun
    requests = remote.system.asked - asked
    way, expected = moved
    count = job[way]
    bench.record(
        key,
        meter,
        seconds=round(seconds, 2),
        requests=requests,
        **({"records_per_s": rate(count, seconds), "requests_per_record": round(requests / count, 3)} if count else {}),
        **told(job),
    )
    if job["status"] != "success" or count != expected:
        raise BenchError(f"{key}: {told(job)}, not {expected} {way}")
    other = "pulled" if way == "pushed" else "pushed"
    if job[other]:
        raise BenchError(f"{key}: {job[other]} were {other} though nothing had changed")
    return job


async def _events(bench: Bench, program: str) -> int:
    """How many events the program's log holds."""
    found = await bench.client.get_json(f"/api/integrity?configId={program}")
    return int(found["count"])


async def dead(bench: Bench) -> None:
    """How soon other programs exchange beside one that has much to send to a system that never answers."""
    queued = bench.options.records or _QUEUED
    client = bench.client
    with dead_end() as hanging, REMOTES["openfn"]() as remote:
        stuck = await make_program(client, "external-dead", hanging.section)
        await fill(client, stuck, queued)
        meter, job_id = bench.meter(), await start(client, stuck)
        await until_begun(client, job_id)
        starts: list[float] = []
        ends: list[float] = []
        for number in range(_STARTS):
            other = await make_program(client, f"external-other{number}", remote.section)
            await fill(client, other, 10)
            begun = time.perf_counter()
            other_job = await start(client, other)
            await until_begun(client, other_job)
            starts.append(time.perf_counter() - begun)
            ended = await until_ended(client, other_job, seconds=60)
            ends.append(time.perf_counter() - begun)
            if ended["status"] != "success":
                raise BenchError(f"beside a dead system: {told(ended)}")
        bench.record(
            f"dead/queued{queued}",
            meter,
            start_seconds=spread(starts),
            end_seconds=spread(ends),
            dead=told(await job_of(client, job_id)),
        )
        answer = await client.send("POST", f"/api/sync/external/{job_id}/cancel", b"{}")
        say(f"  the dead one was called off: {answer.outcome}")
        await until_ended(client, job_id, seconds=60)
        if max(starts) > 2:
            raise BenchError(f"another program's exchange waited for {max(starts):.1f} s")
