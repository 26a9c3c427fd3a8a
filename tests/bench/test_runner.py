import asyncio

import pytest

from bench.runner import work_side_by_side


@pytest.mark.anyio
async def test_clients_share_the_work_until_there_is_none_left() -> None:
    left = 10

    async def step() -> bool:
        nonlocal left
        left -= 1
        await asyncio.sleep(0)
        return left > 0

    _, unfinished = await work_side_by_side(3, step, seconds=5, grace=1)
    assert left <= 0
    assert unfinished == 0


@pytest.mark.anyio
async def test_a_client_that_never_ends_is_cut_off_and_counted() -> None:
    stuck = asyncio.Event()

    async def step() -> bool:
        await stuck.wait()
        return True

    seconds, unfinished = await work_side_by_side(2, step, seconds=0.05, grace=0.05)
    assert unfinished == 2
    assert seconds < 2


@pytest.mark.anyio
async def test_an_error_of_one_client_ends_all_of_them_at_once() -> None:
    others_waiting = asyncio.Event()
    calls = 0

    async def step() -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("broken answer")
        await others_waiting.wait()
        return True

    with pytest.raises(ValueError, match="broken answer"):
        await asyncio.wait_for(work_side_by_side(4, step, seconds=60, grace=60), timeout=5)
