"""What somebody feels who has little to do with a hub that is busy with others."""

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from bench.client import Answer, BenchError
from bench.machine import go_first
from bench.payload import EventMaker, push_body
from bench.runner import Bench, device_tokens, fill, program, say, settle
from bench.scenarios.reading import walk
from bench.stats import Samples

_KINDS = ("check-token", "pull10", "push1")
_EVERY_SECONDS = 0.02
_ROUNDS = 3
_CLIENTS = 8
_UNTIL_BUSY_SECONDS = 1.5
_LONGEST_SECONDS = 8
_MOST_CURSORS = 200

_CONFIG: dict[str, Any] = {"duplicates": {"detect": False}}
"""Looking for duplicates in what was pushed would go on for minutes, in what is to be quiet."""

_BULKS: Mapping[str, Mapping[str, Any]] = {
    "push10": {"batch": 10},
    "push100": {"batch": 100},
    "push1000": {"batch": 1000},
    "pull10": {"limit": 10},
    "pull1000": {"limit": 1000},
}


@dataclass(slots=True)
class _Phase:
    """What is felt while the others do one thing, over all rounds."""

    samples: dict[str, Samples] = field(default_factory=lambda: {kind: Samples() for kind in _KINDS})
    bulks: list[dict[str, Any]] = field(default_factory=list)


async def bystander(bench: Bench) -> None:
    """Latency of a token check, a page of ten and a push of one, quiet, while clients (8, or the one number of
    --concurrency) push or pull in bulk, and while the hub works off what pushes have left."""
    clients = bench.options.concurrency[0] if len(bench.options.concurrency) == 1 else _CLIENTS
    seconds = min(bench.options.seconds, _LONGEST_SECONDS)
    niceness = go_first()  # who asks is on another machine, and does not wait there for the hub's processor
    phases = {name: _Phase() for name in ("quiet", *_BULKS, "behind")}
    async with (
        program(bench, "bulk-read", **_CONFIG) as read,
        program(bench, "bulk", **_CONFIG) as written,
        program(bench, "own", **_CONFIG) as own,
    ):
        await fill(bench, read, bench.held)
        cursors = {
            task["limit"]: await walk(bench, read, limit=task["limit"], most=_MOST_CURSORS)
            for task in _BULKS.values()
            if "limit" in task
        }
        tokens = await device_tokens(bench, [read, written], clients)
        maker = EventMaker(start=datetime.now(UTC))
        await bench.client.push(push_body([maker.create() for _ in range(20)], own))
        await _stand_by(bench, own, maker, _Phase(), 1)  # warm
        until_busy = min(_UNTIL_BUSY_SECONDS, seconds)
        for number in range(bench.options.rounds or _ROUNDS):
            for name, phase in phases.items():
                await bench.client.sign_in()
                if name == "behind":  # of pushes as in the phase before the pulls, and nobody waits for it
                    async with _bulk(bench, tokens, {"config_id": written, **_BULKS["push1000"]}, seconds, phase):
                        pass
                else:
                    await settle(bench)
                meter = bench.meter()
                if name in ("quiet", "behind"):
                    await _stand_by(bench, own, maker, phase, seconds)
                else:
                    config_id = written if "batch" in _BULKS[name] else read
                    task = {"config_id": config_id, **_BULKS[name]}
                    if "limit" in task:
                        task["cursors"] = cursors[task["limit"]]
                    async with _bulk(bench, tokens, task, seconds + until_busy, phase):
                        await asyncio.sleep(until_busy)
                        await _stand_by(bench, own, maker, phase, seconds)
                used = meter.read()
                say(f"round {number + 1}, {name}: " + _line(phase) + f", hub {_cpu(used)} s of CPU")
    _tell(bench, phases, niceness)


def _tell(bench: Bench, phases: Mapping[str, _Phase], niceness: int) -> None:
    quiet = {kind: found.summary()["latency_ms"] for kind, found in phases["quiet"].samples.items()}
    for name, phase in phases.items():
        for kind, found in phase.samples.items():
            told = found.summary()
            ratios = {share: round(told["latency_ms"][share] / quiet[kind][share], 2) for share in ("p50", "p95")}
            beside: dict[str, Any] = {} if name == "quiet" else {"ratio": ratios, "bulk": phase.bulks}
            bench.report.add({"key": f"bystander/{name}/{kind}", "driver_niceness": niceness, **told, **beside})
            if beside:
                say(f"  {name}, {kind}: " + "  ".join(f"{share} x{ratio}" for share, ratio in ratios.items()))


def _line(phase: _Phase) -> str:
    medians = {kind: found.summary()["latency_ms"] for kind, found in phase.samples.items()}
    text = ", ".join(f"{kind} {one['p50']:.1f} / {one['p95']:.1f} ms" for kind, one in medians.items())
    return text + (f", {phase.bulks[-1]['events_per_s']:,.0f} events/s" if phase.bulks else "")


def _cpu(used: Mapping[str, Any]) -> float | None:
    found: float | None = used.get("server", {}).get("cpu_seconds")
    return found


async def _stand_by(bench: Bench, own: str, maker: EventMaker, phase: _Phase, seconds: float) -> None:
    """A request every 20 ms, of each kind in turn, and at least one of each: a slow one may use all `seconds` up."""
    ask: Mapping[str, Callable[[], Awaitable[Answer]]] = {
        "check-token": lambda: bench.client.send("GET", "/api/users/check-token"),
        "pull10": lambda: bench.client.pull(own, limit=10),
        "push1": lambda: bench.client.push(push_body([maker.create()], own)),
    }
    deadline = time.perf_counter() + seconds
    for number, kind in enumerate(itertools.cycle(_KINDS)):
        due = time.perf_counter() + _EVERY_SECONDS
        if due > deadline and number >= len(_KINDS):
            return
        answer = await ask[kind]()
        if answer.outcome != "200":
            raise BenchError(f"{kind}: {answer.outcome} {answer.body[:200]!r}")
        phase.samples[kind].add(answer.outcome, answer.seconds)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


@contextlib.asynccontextmanager
async def _bulk(
    bench: Bench, tokens: Sequence[str], task: Mapping[str, Any], seconds: float, phase: _Phase
) -> AsyncIterator[None]:
    """The others, one for each token, until they have answers to all that they have sent."""
    whole = {"url": bench.options.url, "tokens": tokens, "seconds": seconds, **task}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.bulk", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    ended = asyncio.create_task(process.communicate(msgspec.json.encode(whole)))
    try:
        yield
        said, _ = await ended
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found = msgspec.json.decode(said)
    if found["outcomes"].keys() != {"200"}:
        raise BenchError(f"the others met {found['outcomes']}")
    phase.bulks.append(found)
