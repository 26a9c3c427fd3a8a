"""`python -m bench.flooding`: logins at a fixed rate, whatever the hub makes of them. Started by the scenario `flood`.

In a process of its own, so that the flood does not slow down what measures the others. Reads one JSON object from its
input and writes one: how many logins were sent, and what became of them.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from typing import Any

import aiohttp

from bench.client import loopback_url

_MOST_UNDER_WAY = 4000
_PATIENCE_SECONDS = 20


async def flood(
    url: str, *, per_second: float, seconds: float, emails: list[str], many_addresses: bool
) -> dict[str, Any]:
    """Send logins with wrong passwords, each at its own moment. Every second one names an account that exists."""
    outcomes: Counter[str] = Counter()
    latest, begun = 0.0, time.perf_counter()
    known, pending = itertools.cycle(emails), set[asyncio.Task[None]]()
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_SECONDS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        for number in range(int(per_second * seconds)):
            ahead = begun + number / per_second - time.perf_counter()
            latest = max(latest, -ahead)
            if ahead > 0:
                await asyncio.sleep(ahead)
            if len(pending) >= _MOST_UNDER_WAY:
                outcomes["not sent"] += 1
                continue
            email = next(known) if number % 2 else f"nobody{number}@hub.example"
            headers = {"X-Forwarded-For": _address(number)} if many_addresses else {}
            task = asyncio.create_task(_login(session, f"{url}/api/users/login", email, headers, outcomes))
            pending.add(task)
            task.add_done_callback(pending.discard)
        sent_for = time.perf_counter() - begun
        await asyncio.gather(*pending)
    return {
        "per_second": round(sum(outcomes.values()) / sent_for, 1),
        "seconds": round(sent_for, 1),
        "most_late_ms": round(1000 * latest, 1),
        "outcomes": dict(outcomes),
    }


async def _login(
    session: aiohttp.ClientSession, url: str, email: str, headers: dict[str, str], outcomes: Counter[str]
) -> None:
    try:
        async with session.post(url, json={"email": email, "password": "Wrong-Horse-7"}, headers=headers) as answer:
            await answer.read()
            outcomes[str(answer.status)] += 1
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        outcomes[type(error).__name__] += 1


def _address(number: int) -> str:
    """Of the network for benchmarks; another one for each login."""
    return f"198.18.{number // 256 % 256}.{number % 256}"


def main() -> None:
    task = json.load(sys.stdin)
    task["url"] = loopback_url(task["url"])
    json.dump(asyncio.run(flood(**task)), sys.stdout)


if __name__ == "__main__":
    main()
