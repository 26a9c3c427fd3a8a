"""`python -m bench`: measure a running hub, or one started for the run (`--serve`)."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.checks import loss
from bench.client import BenchError, Credentials, HubClient, loopback_url
from bench.machine import machine_facts
from bench.options import Options, parse
from bench.report import Report
from bench.runner import Bench, say
from bench.scenarios import HELP, SCENARIOS, SETTINGS
from bench.serve import Commands, Launch, hub_facts, launched, serving

_FAILED = 1
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None, *, launch: Launch = launched) -> int:
    """Run one scenario; 0 when nothing failed and nothing was lost, 1 with a line about it, 130 when interrupted.

    `launch` starts what is run of the hub.
    """
    options = parse(argv, HELP)
    try:
        asyncio.run(_run(options, launch))
    except BenchError as error:
        say(f"failed: {error}")
        return _FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("interrupted")
        return _INTERRUPTED
    return 0


@dataclass(frozen=True, slots=True)
class _Target:
    """Whom to measure, and what is known about it beforehand."""

    options: Options
    credentials: Credentials
    hub: dict[str, Any]
    data_dir: Path | None = None
    commands: Commands | None = None


async def _run(options: Options, launch: Launch) -> None:
    task = asyncio.current_task()
    if task is not None:
        # Ended from outside, the run must still archive its programs and stop its hub.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with _target(options, launch) as target:
        options = target.options
        async with HubClient(options.url, target.credentials, timeout_seconds=options.request_timeout) as client:
            facts = {
                "label": options.label,
                "machine": machine_facts(target.data_dir),
                "hub": {"version": None, **target.hub},
                "options": _shown(options),
            }
            await _measure(Bench(client, options, Report(options.out, **facts), target.commands))


async def _measure(bench: Bench) -> None:
    options, complete = bench.options, False
    try:
        async with asyncio.timeout(60 * options.max_minutes):
            await SCENARIOS[options.scenario](bench)
        complete = True
        lossy = [cell["key"] for cell in bench.report.cells if loss(cell)]
        if lossy:
            raise BenchError(f"events are missing in {', '.join(lossy)}")
    except TimeoutError:
        raise BenchError(f"the run took longer than {options.max_minutes} minutes") from None
    finally:
        # Not before: a hub that was asked to describe itself is not idle any more, and holds 5 MiB more.
        bench.report.hub["version"] = await _version(bench.client)
        bench.report.finish(complete=complete)


@contextlib.asynccontextmanager
async def _target(options: Options, launch: Launch) -> AsyncIterator[_Target]:
    if options.serve is None:
        if options.keep is not None:
            raise BenchError("--keep goes with --serve")
        yield _Target(replace(options, url=loopback_url(options.url)), _credentials(), {})
        return
    async with serving(
        options.serve,
        workers=options.workers,
        database_url=options.database_url,
        work_dir=options.work_dir,
        settings=SETTINGS.get(options.scenario),
        profile=options.profile,
        keep=options.keep,
        launch=launch,
    ) as served:
        running = replace(options, url=served.url, pid=served.pid, database_pid=served.database.pid)
        facts = hub_facts(served, options.serve, options.workers)
        yield _Target(running, served.credentials, facts, served.data_dir, served.commands)


def _credentials() -> Credentials:
    email, password = os.environ.get("LOAD_EMAIL"), os.environ.get("LOAD_PASSWORD")
    if not email or not password:
        raise BenchError("credentials are missing: set LOAD_EMAIL and LOAD_PASSWORD to an administrator's")
    return Credentials(email, password)


async def _version(client: HubClient) -> str | None:
    """The version in the hub's OpenAPI document, which older servers may not have."""
    try:
        document = await client.get_json("/api-docs/openapi.json")
    except BenchError:
        return None
    return str(document.get("info", {}).get("version"))


def _shown(options: Options) -> dict[str, Any]:
    """The options as the result shows them: without paths, and without a URL that may hold a password."""
    hidden = ("database_url", "work_dir", "out", "url", "pid", "database_pid", "profile", "keep")
    return {name: value for name, value in asdict(options).items() if name not in hidden}


if __name__ == "__main__":
    sys.exit(main())
