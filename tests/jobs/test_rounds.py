"""Looking, now and then, whether work has come due."""

import asyncio

import structlog

from datacollect.jobs import going_round
from tests.logs import told


async def test_a_look_that_fails_is_told_and_the_next_one_comes_all_the_same() -> None:
    again = asyncio.Event()
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise RuntimeError("the database is away")
        again.set()

    with structlog.testing.capture_logs() as logs:
        async with going_round(look, seconds=0, name="reviews"):
            await asyncio.wait_for(again.wait(), 30)
    assert [(line["event"], line["component"]) for line in told(logs, "round")] == [("round.failed", "reviews")]
    seen = looks
    await asyncio.sleep(0)
    assert looks == seen, "it goes on behind the block"
