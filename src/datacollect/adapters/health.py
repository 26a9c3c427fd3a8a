"""Looking whether the other system would take and give."""

import time
from collections.abc import Awaitable, Callable

from datacollect.adapters.calling import CallFailed
from datacollect.adapters.errors import AdapterError
from datacollect.adapters.port import Health


async def measured(probe: Callable[[], Awaitable[str | None]]) -> Health:
    """Run a probe that raises `CallFailed` or `AdapterError` if something is wrong; its answer is a word for people."""
    started = time.perf_counter()
    try:
        message = await probe()
    except CallFailed as failed:
        return Health(is_healthy=False, latency_ms=_ms_since(started), message=failed.message)
    except AdapterError as error:
        return Health(is_healthy=False, latency_ms=_ms_since(started), message=error.failure.message)
    return Health(is_healthy=True, latency_ms=_ms_since(started), message=message)


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
