"""The scenarios of the published table of every cell, with its sizes."""

import asyncio

from bench.runner import Bench, store
from bench.scenarios.contention import configs, hot
from bench.scenarios.process import login, memory_cell, stall_cell
from bench.scenarios.reading import entity_cells, page_cells, pull_cells
from bench.scenarios.writing import growth_cell, push, push_cell

_LOGIN_SECONDS = 10
_STALL_SIZE = 100
_SPREAD_TENANTS = 8


async def suite(bench: Bench) -> None:
    """What the table of every cell in docs/benchmarks.md is made of."""
    options = bench.options
    await memory_cell(bench, "idle")
    await login(bench.with_options(seconds=min(options.seconds, _LOGIN_SECONDS)))
    await push(bench)
    await push_cell(bench, 10, 8, _SPREAD_TENANTS)
    await hot(bench)
    await configs(bench)
    async with store(bench, _STALL_SIZE) as filled:
        await stall_cell(bench, filled)
    for size in options.sizes:
        await _store_cells(bench, size)
    # Let what the last cells left behind be put away first.
    await asyncio.sleep(1)
    await memory_cell(bench, "after")


async def _store_cells(bench: Bench, size: int) -> None:
    """What depends on how much is held. The stall comes last: it adds thousands of events of its own."""
    async with store(bench, size) as filled:
        if size:
            await pull_cells(bench, filled)
            await page_cells(bench, filled)
            await entity_cells(bench, filled)
        await growth_cell(bench, filled)
        if size:
            await stall_cell(bench, filled)
