"""Taking a whole program out as a file, and into an empty one again."""

import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench.client import BenchError
from bench.machine import reset_peak_memory, usage
from bench.runner import Bench, say
from bench.scenarios.finding import fill, make_program
from bench.scenarios.rebuilding import bystander, run_command
from bench.stats import Samples, rate

DEFAULT_ENTITIES = 100_000
_POLL_SECONDS = 0.05
_FORMATS = {
    "csv-form": "format=csv&form=individual",
    "csv": "format=csv",
    "xlsx": "format=xlsx",
    "ndjson": "format=ndjson",
    "json": "format=json",
}


async def export(bench: Bench) -> None:
    """A whole program as CSV, XLSX, NDJSON and JSON, and the JSON imported again; needs --serve and takes --entities."""
    if bench.commands is None or bench.options.pid is None:
        raise BenchError("export needs a hub of its own: add --serve sqlite or --serve postgres")
    total = bench.options.entities or DEFAULT_ENTITIES
    config_id = f"bench-export-{random.randrange(16**8):08x}"
    await make_program(bench.client, config_id)
    begun = time.perf_counter()
    await fill(bench.commands.environment, config_id, total)
    say(f"filled {config_id}: {total} entities in {time.perf_counter() - begun:.0f} s")
    forms = await bench.client.get_json(f"/api/entities/count-by-form?configId={config_id}")
    with tempfile.TemporaryDirectory(dir=bench.commands.folder) as folder:
        file = Path(folder) / "export.json"
        for name, query in _FORMATS.items():
            entities = forms["individual"] if name == "csv-form" else total
            await _measure(bench, config_id, name, query, entities, file if name == "json" else None)
        await _import(bench, config_id, file, total)


async def _measure(bench: Bench, config_id: str, name: str, query: str, total: int, file: Path | None) -> None:
    """One export, and what pushes to the program feel of it."""
    meter, samples = bench.meter(), Samples()
    async with _peak_memory(bench) as memory, bystander(bench, config_id, samples):
        first, seconds, size = await _download(bench, f"/api/entities/export?configId={config_id}&{query}", file)
    bench.record(
        f"export/{name}/entities{total}",
        meter,
        first_byte_ms=round(first * 1000, 1),
        seconds=round(seconds, 2),
        entities_per_s=rate(total, seconds),
        mib=round(size / 2**20, 1),
        **memory,
        pushes_meanwhile=samples.summary(),
    )


async def _download(bench: Bench, path: str, file: Path | None) -> tuple[float, float, int]:
    """Seconds to the first byte, and to the last; how many bytes there were."""
    first, size, begun = 0.0, 0, time.perf_counter()
    with contextlib.ExitStack() as stack:
        opened = None if file is None else stack.enter_context(file.open("wb"))
        async for piece in bench.client.stream(path):
            first = first or time.perf_counter() - begun
            size += len(piece)
            if opened is not None:
                opened.write(piece)
    return first, time.perf_counter() - begun, size


@contextlib.asynccontextmanager
async def _peak_memory(bench: Bench) -> AsyncIterator[dict[str, Any]]:
    """How much more the server's processes hold at the worst moment of the block than at its beginning."""
    pid, found, done = bench.options.pid or 0, dict[str, Any](), asyncio.Event()
    reset_peak_memory(pid)
    before = peak = usage(pid).rss_mib

    async def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, usage(pid).rss_mib)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), _POLL_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield found
    finally:
        done.set()
        await watching
        found |= {"rss_before_mib": before, "rss_growth_mib": round(peak - before, 1)}


async def _import(bench: Bench, config_id: str, file: Path, total: int) -> None:
    """By the command, into a data folder of its own on SQLite, where no hub may run; else beside the hub."""
    meter = bench.meter()
    facts = await run_command(
        bench, "import", str(file), "--as", f"{config_id}-copy", DATA_DIR=str(file.parent / "data")
    )
    facts["entities_per_s"] = rate(total, facts["seconds"])
    bench.record(f"import/entities{total}", meter, **facts)
