"""Weak points of exchanging in the reference that no other test is about; see docs/reference/adapter-weak-points.md."""

import asyncio
import json
from typing import Any

import pytest

from datacollect.adapters.errors import Failure
from datacollect.testing.clock import TurnableClock
from tests.factories import make_event
from tests.features.external.exchanging import Exchange, counts

pytestmark = pytest.mark.anyio

MANY = 103


async def test_a_run_keeps_a_hundred_errors_and_counts_them_all(exchange: Exchange) -> None:
    guids = [f"in-{number}" for number in range(MANY)]
    await exchange.push(*(make_event(entity=guid, data={"entityName": "individual"}) for guid in guids))
    refusal = Failure(code="PUSH_FAILED", message="It is refused.", retryable=False)
    exchange.remote.refusals |= dict.fromkeys(guids, refusal)
    job = await exchange.run()
    assert (counts(job), len(job["errors"])) == ((0, 0, MANY, 0), 100)


async def ended_in_time(exchange: Exchange, job_id: str, clock: TurnableClock) -> dict[str, Any]:
    """The job when it has ended; the clock is turned on whenever it rests until it is tried again."""
    turned_at = 0
    async with asyncio.timeout(60):
        while (job := await exchange.job(job_id))["phase"] not in ("failed", "completed"):
            tried = exchange.remote.calls.count("push")
            # Once for each try: a lease that ends by the clock is a lost one.
            if tried > turned_at and await exchange.state(job_id) == "retryable":
                turned_at = tried
                clock.turn(seconds=70)
                exchange.hub.jobs.wake()
            await asyncio.sleep(0.02)
    return job


async def test_what_an_adapter_stumbles_over_is_in_no_error(exchange: Exchange, clock: TurnableClock) -> None:
    await exchange.save("in-1", name="Ada")

    async def stumble() -> None:
        raise ValueError("Ada Lovelace, 5551234, was not accepted; key the-secret-of-the-double")

    exchange.remote.on_push = stumble
    job_id = await exchange.start()
    job = await ended_in_time(exchange, job_id, clock)
    assert job["status"] == "failed" and job["errors"]
    told = json.dumps(job)
    assert not any(word in told for word in ("Lovelace", "5551234", "the-secret"))


async def test_a_system_that_comes_back_is_gone_on_with_by_itself(exchange: Exchange, clock: TurnableClock) -> None:
    for number in range(6):
        await exchange.save(f"in-{number}", name="Ada")
    remote = exchange.remote

    async def go_away_after_a_batch() -> None:
        remote.is_away = len(remote.live) >= 4

    remote.on_push = go_away_after_a_batch
    remote.retry_after = 30
    job_id = await exchange.start()
    async with asyncio.timeout(60):
        while not remote.is_away:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    remote.is_away, remote.on_push = False, None
    job = await ended_in_time(exchange, job_id, clock)
    assert (job["status"], counts(job)) == ("success", (6, 0, 0, 0))
    assert len(remote.live) == 6, "and nobody is there twice"
