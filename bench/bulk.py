"""`python -m bench.bulk`: clients that push or pull as fast as they are answered. Started by the scenario `bystander`.

In a process of its own, so that it does not slow down what measures the others. Reads one JSON object from its input and
writes one: how much was pushed or pulled, and what became of the requests.
"""

import asyncio
import itertools
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from yarl import URL

from bench.client import loopback_url
from bench.machine import go_as_others
from bench.payload import EventMaker, push_body
from bench.stats import rate

_PATIENCE_SECONDS = 60
_MARK = b"deadbeef"
"""Stands for eight digits of each guid, number and name in a body."""

Send = Callable[[aiohttp.ClientSession, Mapping[str, str]], Any]


async def bulk(task: Mapping[str, Any]) -> dict[str, Any]:
    """`task` has `url`, `tokens`, one for each client, `config_id`, `seconds`, and `batch` to push or `cursors` and `limit` to
    pull."""
    outcomes: Counter[str] = Counter()
    send = _pushing(task) if "batch" in task else _pulling(task)
    each = task["batch"] if "batch" in task else task["limit"]
    begun = time.perf_counter()
    deadline = begun + task["seconds"]

    async def one(session: aiohttp.ClientSession, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        while time.perf_counter() < deadline:
            try:
                async with send(session, headers) as answer:
                    await answer.read()
                    outcomes[str(answer.status)] += 1
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                outcomes[type(error).__name__] += 1

    timeout = aiohttp.ClientTimeout(total=_PATIENCE_SECONDS)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=timeout, auto_decompress=False
    ) as session:
        await asyncio.gather(*(one(session, token) for token in task["tokens"]))
    seconds = time.perf_counter() - begun
    return {
        "seconds": round(seconds, 2),
        "events_per_s": rate(outcomes["200"] * each, seconds),
        "outcomes": dict(outcomes),
    }


def _pushing(task: Mapping[str, Any]) -> Send:
    """New people in each push, out of one that is made beforehand: making them would take as long as storing them."""
    maker, mark = EventMaker(), _MARK.decode()
    events = []
    for _ in range(task["batch"]):
        wire = maker.create(mark + str(uuid.uuid4())[8:])
        number = mark + wire["data"]["cardNumber"][8:]
        wire["guid"] = mark + wire["guid"][8:]
        wire["data"] |= {"name": f"{wire['data']['givenName']} {number}", "cardNumber": number}
        events.append(wire)
    template = push_body(events, task["config_id"]).data
    numbers, begin = itertools.count(), uuid.uuid4().int % 2**32

    def send(session: aiohttp.ClientSession, headers: Mapping[str, str]) -> Any:
        digits = f"{(begin + next(numbers)) % 2**32:08x}".encode()
        return session.post(
            f"{task['url']}/api/sync/push",
            data=template.replace(_MARK, digits),
            headers={**headers, "Content-Type": "application/json"},
        )

    return send


def _pulling(task: Mapping[str, Any]) -> Send:
    pages = itertools.cycle(
        [
            URL(
                f"{task['url']}/api/sync/pull?since={cursor}&configId={task['config_id']}&limit={task['limit']}",
                encoded=True,
            )
            for cursor in task["cursors"]
        ]
    )
    return lambda session, headers: session.get(next(pages), headers={**headers, "Accept-Encoding": "gzip"})


def main() -> None:
    go_as_others()
    task = json.load(sys.stdin)
    task["url"] = loopback_url(task["url"])
    json.dump(asyncio.run(bulk(task)), sys.stdout)


if __name__ == "__main__":
    main()
