"""`python -m bench.limits`: what the limits cost a request that keeps them.

Two hubs in this process, one as shipped and one without the middleware of `http/limits.py`, are asked in turn, so that
whatever else the machine does meets both; what is compared is the process's CPU time, which a busy machine changes least.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import structlog

from bench.client import BenchError
from bench.payload import EventMaker, create_bodies, program_config
from bench.stats import percentile
from datacollect.app import create_app
from datacollect.http.limits import RequestLimits
from datacollect.settings import Settings
from datacollect.testing.wire import Wire, asgi_wire

_PROGRAM = "bench-limits"
_ADMIN = {"email": "bench@hub.example", "password": "Measured-Correct-7"}
_WARM_UP = 50


async def measure(samples: int) -> dict[str, Any]:
    """Of each request in both hubs the CPU time in µs that nine of ten exceed, and its ratio."""
    async with contextlib.AsyncExitStack() as hubs:
        shipped = await hubs.enter_async_context(_hub(limited=True))
        bare = await hubs.enter_async_context(_hub(limited=False))
        maker = EventMaker()
        seconds: dict[tuple[str, bool], list[float]] = {}
        for sample in range(_WARM_UP + samples):
            [mine] = create_bodies(maker, _PROGRAM, total=10, batch=10)
            [other] = create_bodies(maker, _PROGRAM, total=10, batch=10)
            turns = [(shipped, True, mine), (bare, False, other)]
            for (wire, headers), limited, events in turns if sample % 2 else turns[::-1]:
                for name, method, target, content in (
                    ("push of 10", "POST", "/api/sync/push", events.data),
                    ("pull of 10", "GET", f"/api/sync/pull?configId={_PROGRAM}&since=", b""),
                ):
                    begun = time.process_time()
                    await _asked(wire, method, target, headers, content)
                    if sample >= _WARM_UP:
                        seconds.setdefault((name, limited), []).append(time.process_time() - begun)
    return {name: _compared(seconds[name, True], seconds[name, False]) for name in ("push of 10", "pull of 10")}


def _compared(limited: Sequence[float], bare: Sequence[float]) -> dict[str, float]:
    with_limits, without = (percentile(sorted(found), 0.1) * 1e6 for found in (limited, bare))
    return {"with_us": round(with_limits, 1), "without_us": round(without, 1), "ratio": round(with_limits / without, 4)}


@contextlib.asynccontextmanager
async def _hub(*, limited: bool) -> AsyncIterator[tuple[Wire, dict[str, str]]]:
    with tempfile.TemporaryDirectory(prefix="hub-limits-", ignore_cleanup_errors=True) as folder:
        values: dict[str, Any] = {
            "ADMIN_EMAIL": _ADMIN["email"],
            "ADMIN_PASSWORD": _ADMIN["password"],
            "JWT_SECRET": "only-for-a-hub-that-nobody-can-reach",
            "DATA_DIR": Path(folder),
        }
        app = create_app(Settings(_env_file=None, **values))
        if not limited:
            app.user_middleware = [added for added in app.user_middleware if added.cls is not RequestLimits]  # type: ignore[comparison-overlap]
        async with app.router.lifespan_context(app):
            wire = asgi_wire(app)
            said = json.loads(await _asked(wire, "POST", "/api/users/login", {}, json.dumps(_ADMIN).encode()))
            headers = {"authorization": f"Bearer {said['token']}"}
            await _asked(wire, "POST", "/api/apps", headers, program_config(_PROGRAM))
            yield wire, headers


async def _asked(wire: Wire, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
    answer = await wire(method, target, headers=headers | {"content-type": "application/json"}, body=body)
    if answer.status != 200:
        raise BenchError(f"{method} {target}: {answer.status} {answer.body[:300]!r}")
    return answer.body


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.limits", description=__doc__)
    parser.add_argument("--samples", type=int, default=2000, help="requests of each kind to each hub (%(default)s)")
    options = parser.parse_args(argv)
    # The hubs in here would write their lines to where the result goes.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    sys.stdout.write(json.dumps(asyncio.run(measure(options.samples)), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
