"""Who is let in when as many as may are in."""

import asyncio

import pytest

from datacollect.http.limits import Gate

pytestmark = pytest.mark.anyio


def gate(capacity: int = 2, line: int = 10, patience_seconds: float = 60) -> Gate:
    return Gate(capacity, line=line, patience_seconds=patience_seconds)


async def settle() -> None:
    """Let everybody who can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_as_many_as_may_are_let_in_and_others_in_the_order_in_which_they_came() -> None:
    door = gate()
    came: list[int] = []

    async def visit(number: int) -> None:
        assert await door.enter()
        came.append(number)

    visitors = [asyncio.ensure_future(visit(number)) for number in range(5)]
    await settle()
    assert came == [0, 1]
    for expected in (3, 4, 5):
        door.leave()
        await settle()
        assert came == list(range(expected))
    await asyncio.gather(*visitors)
    door.leave()
    door.leave()
    assert door.is_empty


async def test_whoever_finds_the_line_full_is_told_at_once() -> None:
    door = gate(capacity=1, line=1)
    assert await door.enter()
    waiting = asyncio.ensure_future(door.enter())
    await settle()
    assert not await door.enter()
    door.leave()
    assert await waiting


async def test_patience_ends_and_the_place_in_line_with_it() -> None:
    door = gate(capacity=1, line=1, patience_seconds=0.001)
    assert await door.enter()
    assert not await door.enter()
    assert not await door.enter()
    door.leave()
    assert door.is_empty
    assert await door.enter()


async def test_whoever_gives_up_waiting_holds_nobody_up() -> None:
    door = gate(capacity=1)
    assert await door.enter()
    first, second = asyncio.ensure_future(door.enter()), asyncio.ensure_future(door.enter())
    await settle()
    first.cancel()
    await settle()
    door.leave()
    assert await second
    door.leave()
    assert door.is_empty


async def test_a_turn_given_to_somebody_who_leaves_in_that_moment_goes_to_the_next() -> None:
    door = gate(capacity=1)
    assert await door.enter()
    first, second = asyncio.ensure_future(door.enter()), asyncio.ensure_future(door.enter())
    await settle()
    door.leave()
    first.cancel()
    assert await second
    assert first.cancelled()
    door.leave()
    assert door.is_empty
