"""A program's exchange with another system, started and followed over HTTP as the admin tool does it."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from bench.client import BenchError, HubClient
from bench.payload import EventMaker, create_bodies
from bench.runner import FILL_BATCH

_POLL_SECONDS = 0.1
_LOOK_SECONDS = 0.01
ENDED = ("completed", "failed", "cancelled")


async def make_program(client: HubClient, purpose: str, section: Mapping[str, Any]) -> str:
    return await client.make_program(purpose, externalSync=dict(section))


async def fill(client: HubClient, program: str, records: int) -> None:
    for body in create_bodies(EventMaker(seed=records), program, total=records, batch=FILL_BATCH):
        answer = await client.push(body)
        if answer.outcome != "200":
            raise BenchError(f"the records were refused: {answer.outcome} {answer.body[:300]!r}")


async def start(client: HubClient, program: str) -> str:
    """The job's id."""
    answer = await client.send("POST", "/api/sync/external", msgspec.json.encode({"configId": program}))
    if answer.outcome != "202":
        raise BenchError(f"the exchange was not started: {answer.outcome} {answer.body[:300]!r}")
    return str(msgspec.json.decode(answer.body)["jobId"])


async def job_of(client: HubClient, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = await client.get_json(f"/api/sync/external/{job_id}")
    return job


async def until_begun(client: HubClient, job_id: str, *, seconds: float = 60) -> None:
    """Wait until it is pushing. Raises `BenchError` if that takes longer."""
    deadline = time.monotonic() + seconds
    while (await job_of(client, job_id))["phase"] == "pending":
        if time.monotonic() > deadline:
            raise BenchError(f"the exchange has not begun after {seconds:.0f} s")
        await asyncio.sleep(_LOOK_SECONDS)


async def until_ended(client: HubClient, job_id: str, *, seconds: float) -> dict[str, Any]:
    """The job when it has ended. Raises `BenchError` if that takes longer."""
    deadline = time.monotonic() + seconds
    while True:
        job = await job_of(client, job_id)
        if job["phase"] in ENDED:
            return job
        if time.monotonic() > deadline:
            raise BenchError(f"the exchange has not ended after {seconds:.0f} s: {job}")
        await asyncio.sleep(_POLL_SECONDS)


def told(job: Mapping[str, Any]) -> dict[str, Any]:
    """Of a job what a result shows: no messages."""
    shown = {name: job[name] for name in ("status", "phase", "pushed", "pulled", "failed", "skipped")}
    codes = sorted({error["code"] for error in job["errors"] or ()})
    return shown | ({"codes": codes} if codes else {})
