"""Turns in the rounds of the loop: few at once, and each tenant's in its turn."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from datacollect.db.turns import SMALL_IN_A_ROUND, others_turn, tenants_turn
from datacollect.kernel.ids import TenantId

pytestmark = pytest.mark.anyio

MANY, FEW = TenantId("many"), TenantId("few")


async def _let_in(tasks: int, turn: Callable[[], Awaitable[None]]) -> list[int]:
    """How many have been let in after each round of the loop."""
    done: list[int] = []

    async def one(number: int) -> None:
        await turn()
        done.append(number)

    waiting = [asyncio.create_task(one(number)) for number in range(tasks)]
    seen = []
    while len(done) < tasks:
        await asyncio.sleep(0)
        seen.append(len(done))
    await asyncio.gather(*waiting)
    return seen


async def test_a_few_are_let_in_in_each_round() -> None:
    seen = await _let_in(9, lambda: tenants_turn(MANY))
    assert max(later - sooner for sooner, later in itertools.pairwise(seen)) == SMALL_IN_A_ROUND
    seen = await _let_in(5, others_turn)
    assert max(later - sooner for sooner, later in itertools.pairwise(seen)) == 1


async def test_who_holds_what_others_wait_for_goes_first() -> None:
    order: list[str] = []

    async def one(name: str, *, holding: bool) -> None:
        await others_turn(holding=holding)
        order.append(name)

    waiting = [asyncio.create_task(one(f"other {number}", holding=False)) for number in range(5)]
    holding = [asyncio.create_task(one(f"holder {number}", holding=True)) for number in range(2)]
    await asyncio.gather(*waiting, *holding)
    assert order.index("holder 0") < 2 and order.index("holder 1") < 3
    assert [name for name in order if name.startswith("other")] == [f"other {number}" for number in range(5)]


async def test_who_asks_for_little_does_not_wait_for_all_who_ask_for_much() -> None:
    order: list[str] = []

    async def one(tenant: TenantId, name: str) -> None:
        await tenants_turn(tenant)
        order.append(name)

    many = [asyncio.create_task(one(MANY, f"many {number}")) for number in range(20)]
    few = [asyncio.create_task(one(FEW, f"few {number}")) for number in range(2)]
    await asyncio.gather(*many, *few)
    assert order.index("few 0") < 4 and order.index("few 1") < 6
    assert [name for name in order if name.startswith("many")] == [f"many {number}" for number in range(20)]


async def test_who_is_cancelled_takes_nobodys_turn_and_the_others_go_on() -> None:
    tasks = [asyncio.create_task(tenants_turn(MANY)) for _ in range(6)]
    await asyncio.sleep(0)
    for task in tasks[:4]:
        task.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks[4:])
        await tenants_turn(FEW)
