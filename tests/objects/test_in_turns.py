"""A store that stands still holds its share of the requests, and no more."""

import asyncio
from pathlib import Path

import pytest

from datacollect.kernel.ids import TenantId
from datacollect.objects import InTurns, MemoryStore, ObjectKey, Spool, Spooled, StorageUnavailable, new_key
from datacollect.testing.objects import put

pytestmark = pytest.mark.anyio

TENANT = TenantId("camp")


class Standing(MemoryStore):
    """Takes what it is given, and says nothing until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()
        self.asked = 0

    async def put(self, key: ObjectKey, spooled: Spooled) -> None:
        self.asked += 1
        await self.goes_on.wait()
        await super().put(key, spooled)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


async def until_asked(store: Standing, times: int) -> None:
    while store.asked < times:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def test_who_is_beyond_the_line_and_who_has_waited_in_vain_is_told_so(spool: Spool) -> None:
    standing = Standing()
    store = InTurns(standing, at_once=2, patience_seconds=0.05)
    ends = [asyncio.create_task(put(store, spool, TENANT, bytes([number]))) for number in range(9)]
    await until_asked(standing, 2)
    ended, going = await asyncio.wait(ends, timeout=1)
    assert [type(task.exception()) for task in ended] == [StorageUnavailable] * 7
    assert (standing.asked, len(going)) == (2, 2)
    # Reading has turns of its own.
    assert await store.stat(new_key(TENANT, "0" * 64)) is None
    standing.goes_on.set()
    await asyncio.gather(*going)
    await put(store, spool, TENANT, b"and on it goes")
    assert len(standing.objects) == 3


async def test_a_slow_store_takes_one_after_the_other(spool: Spool) -> None:
    standing = Standing()
    store = InTurns(standing, at_once=2)
    ends = [asyncio.create_task(put(store, spool, TENANT, bytes([number]))) for number in range(6)]
    await until_asked(standing, 2)
    standing.goes_on.set()
    await asyncio.gather(*ends)
    assert len(standing.objects) == 6


async def test_who_is_cancelled_while_it_waits_leaves_its_place(spool: Spool) -> None:
    standing = Standing()
    store = InTurns(standing, at_once=1)
    first, waiting = [asyncio.create_task(put(store, spool, TENANT, bytes([number]))) for number in range(2)]
    await until_asked(standing, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    standing.goes_on.set()
    await first
    for number in range(2, 6):
        await put(store, spool, TENANT, bytes([number]))
    assert len(standing.objects) == 5
