"""Work that ends with findings: reported as JSON, within a time, and judged by an exit status."""

import asyncio
from collections.abc import Awaitable, Callable

from bench.client import BenchError
from bench.report import Report
from bench.runner import say


async def reported(report: Report, max_minutes: float, work: Callable[[Report], Awaitable[bool]]) -> int:
    """0 if `work` says that nothing is wrong; 1 otherwise, also when it cannot go on or takes too long."""
    complete = False
    try:
        async with asyncio.timeout(60 * max_minutes):
            complete = await work(report)
    except BenchError as error:
        say(f"failed: {error}")
    except TimeoutError:
        say(f"failed: waited too long, or the run took longer than {max_minutes} minutes")
    finally:
        report.finish(complete=complete)
    return 0 if complete else 1
