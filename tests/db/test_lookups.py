"""What is looked up is remembered for as long as is said, and never what was read before a change."""

import asyncio

import pytest

from datacollect.db.lookups import LookUps
from datacollect.kernel.clock import Millis
from datacollect.testing.clock import SetClock

pytestmark = pytest.mark.anyio

FRESH_MS = 10_000


class Told:
    """What is true, and how often it was asked for."""

    def __init__(self) -> None:
        self.value = 1
        self.asked = 0
        self.may_be_told = asyncio.Event()
        self.may_be_told.set()

    async def __call__(self, key: str) -> tuple[str, int]:
        self.asked += 1
        found = (key, self.value)
        await self.may_be_told.wait()
        return found


async def rounds(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_all_who_want_to_know_share_a_look_up_and_those_after_them_what_it_gave() -> None:
    clock, told = SetClock(Millis(100_000)), Told()
    look_ups = LookUps[str, tuple[str, int]](told, clock, most=10, fresh_ms=FRESH_MS)
    told.may_be_told.clear()
    asked = [asyncio.create_task(look_ups.find(key)) for key in "aab"]
    await rounds()
    told.may_be_told.set()
    assert await asyncio.gather(*asked) == [("a", 1), ("a", 1), ("b", 1)]
    told.value = 2
    clock.turn(FRESH_MS - 1)
    assert await look_ups.find("a") == ("a", 1)
    assert told.asked == 2
    clock.turn(1)
    assert await look_ups.find("a") == ("a", 2)


async def test_who_asks_often_does_not_wait_when_the_time_is_over() -> None:
    clock, told = SetClock(Millis(100_000)), Told()
    look_ups = LookUps[str, tuple[str, int]](told, clock, most=10, fresh_ms=FRESH_MS)
    for _ in range(9):
        await look_ups.find("a")
    told.value = 2
    clock.turn(FRESH_MS // 2)
    assert await look_ups.find("a") == ("a", 1), "nobody waits for what is begun now"
    await rounds()
    told.may_be_told.clear()
    clock.turn(FRESH_MS - 1)
    assert await look_ups.find("a") == ("a", 2)


async def test_that_there_is_nothing_is_remembered_for_as_long_as_is_said_of_it() -> None:
    clock, asked = SetClock(Millis(100_000)), list[str]()

    async def told(key: str) -> str | None:
        asked.append(key)
        return key if len(asked) == 3 else None

    look_ups = LookUps[str, str | None](told, clock, most=10, fresh_ms=FRESH_MS, absent_ms=100)
    assert [await look_ups.find("a") for _ in range(20)] == [None] * 20
    clock.turn(99)
    assert (await look_ups.find("a"), len(asked)) == (None, 1)
    clock.turn(1)
    assert (await look_ups.find("a"), len(asked)) == (None, 2)
    clock.turn(100)
    assert (await look_ups.find("a"), len(asked)) == ("a", 3)
    clock.turn(FRESH_MS // 2 - 1)
    assert (await look_ups.find("a"), len(asked)) == ("a", 3)


async def test_what_was_read_before_a_change_is_told_to_nobody_who_asks_after_it() -> None:
    clock, told = SetClock(Millis(100_000)), Told()
    look_ups = LookUps[str, tuple[str, int]](told, clock, most=10, fresh_ms=FRESH_MS)
    told.may_be_told.clear()
    before = asyncio.create_task(look_ups.find("a"))
    await rounds()
    told.value = 2
    look_ups.forget("a".__eq__)
    after = asyncio.create_task(look_ups.find("a"))
    await rounds()
    told.may_be_told.set()
    assert await before == ("a", 1)
    assert await after == ("a", 2)
    assert await look_ups.find("a") == ("a", 2)
    assert told.asked == 2


async def test_what_is_changed_is_forgotten_and_nothing_else() -> None:
    clock, told = SetClock(Millis(100_000)), Told()
    look_ups = LookUps[str, tuple[str, int]](told, clock, most=10, fresh_ms=FRESH_MS)
    for key in "ab":
        await look_ups.find(key)
    told.value = 2
    look_ups.forget("a".__eq__)
    assert [await look_ups.find(key) for key in "ab"] == [("a", 2), ("b", 1)]
