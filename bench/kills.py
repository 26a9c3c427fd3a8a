"""`python -m bench.kills`: kill a hub at random moments while it sends records to another system, and count twins.

Each round makes a program with records and starts its exchange with one of the fakes; then the hub is killed (SIGKILL), again
and again, at random moments of the push, and started again. Nobody does anything else: the exchange has to end by itself,
as a success, with every record there once; a second one has to find nothing to do. Rounds go on until there have been
enough kills, spread over the fakes.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.client import BenchError, HubClient
from bench.exchanging import ENDED, fill, job_of, make_program, start, told, until_ended
from bench.machine import machine_facts
from bench.options import ENGINES
from bench.remotes import REMOTES, SETTINGS, Remote
from bench.report import Report
from bench.runner import say
from bench.running import reported
from bench.serve import HubProcess, Launch, empty_database, launched

_MOST_KILLS = 1_000
_LEASE_SECONDS = 1
_PATIENCE_SECONDS = 600
_REQUEST_SECONDS = 20.0
_LOOK_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do. A kill comes up to `spread_seconds` after the hub has gone on with sending."""

    engine: str
    records: int
    kills: int
    remotes: Sequence[str]
    kills_per_round: int = 10
    spread_seconds: float = 2.5
    seed: int = 1
    work_dir: Path | None = None
    launch: Launch = launched


@dataclass(slots=True)
class Findings:
    """What became of it, for one fake."""

    kills: int = 0
    rounds: int = 0
    records: int = 0
    requests: int = 0
    jobs_success: int = 0
    second_runs_empty: int = 0
    twins: int = 0
    missing: int = 0
    faults: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return shown | {"requests_per_record": round(self.requests / self.records, 3) if self.records else None}


async def run(plan: Plan, report: Report | None = None) -> dict[str, Findings]:
    """All rounds of a plan. What is wrong is found in `faults`; a run that cannot go on raises `BenchError`."""
    folder = Path(tempfile.mkdtemp(prefix="hub-kills-", dir=plan.work_dir))
    found = {name: Findings() for name in plan.remotes}
    share = -(-plan.kills // len(plan.remotes))
    try:
        async with empty_database(plan.engine, None, folder) as database:
            settings = {**SETTINGS, "JOB_LEASE": str(_LEASE_SECONDS)}
            hub = HubProcess(database, folder, settings=settings, launch=plan.launch)
            try:
                await hub.start()
                for name, findings in found.items():
                    await _Rounds(plan, hub, name, findings).run(share)
                    if report:
                        report.add({"key": f"kills/{plan.engine}/{name}", **findings.to_json()})
            finally:
                await hub.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


class _Rounds:
    def __init__(self, plan: Plan, hub: HubProcess, name: str, found: Findings) -> None:
        self._plan, self._hub, self._name, self._found = plan, hub, name, found
        self._chance = random.Random(f"{plan.seed}-{name}")

    async def run(self, kills: int) -> None:
        while self._found.kills < kills and not self._found.faults:
            with REMOTES[self._name]() as remote:
                remote.slow_down()
                await self._round(remote, min(self._plan.kills_per_round, kills - self._found.kills))
            say(f"  {self._name}: {self._found.kills} kills, {self._found.rounds} rounds, faults {self._found.faults}")

    async def _round(self, remote: Remote, kills: int) -> None:
        async with self._client() as client:
            program = await make_program(client, f"kills-{self._name}", remote.section)
            client.keep_program(program)
            await fill(client, program, self._plan.records)
            job_id = await start(client, program)
        done = 0
        while done < kills and await self._until_sending(remote, job_id):
            await asyncio.sleep(self._chance.uniform(0, self._plan.spread_seconds))
            await self._hub.kill()
            await self._hub.start()
            done += 1
        self._found.kills += done
        if not done:
            raise BenchError(f"{self._name}: the push was over before anything could be killed; take more records")
        await self._judge(remote, program, job_id)

    async def _until_sending(self, remote: Remote, job_id: str) -> bool:
        """Whether it goes on with sending; False once the exchange has ended."""
        asked, deadline = remote.system.asked, time.monotonic() + _PATIENCE_SECONDS
        looked = 0.0
        while remote.system.asked == asked:
            if time.monotonic() > deadline:
                raise BenchError(f"{self._name}: nothing was sent any more, and the exchange has not ended")
            if time.monotonic() - looked > 1:
                looked = time.monotonic()
                async with self._client() as client:
                    if (await job_of(client, job_id))["phase"] in ENDED:
                        return False
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    async def _judge(self, remote: Remote, program: str, job_id: str) -> None:
        found, wanted = self._found, self._plan.records
        async with self._client() as client:
            job = await until_ended(client, job_id, seconds=_PATIENCE_SECONDS)
            found.requests += remote.system.asked
            asked = remote.system.asked
            again = await until_ended(client, await start(client, program), seconds=_PATIENCE_SECONDS)
        held, twins = remote.held(), remote.twins()
        found.rounds += 1
        found.records += wanted
        found.twins += len(twins)
        found.missing += wanted - len(held)
        found.jobs_success += job["status"] == "success"
        found.second_runs_empty += (again["pushed"], again["pulled"]) == (0, 0)
        if job["status"] != "success" or job["pushed"] != wanted:
            found.faults.append(f"the job ended as {told(job)}")
        if twins or len(held) != wanted:
            found.faults.append(f"{len(held)} of {wanted} arrived, {len(twins)} of them more than once")
        if again["status"] != "success" or again["pushed"] or again["pulled"]:
            found.faults.append(f"the second run was {told(again)} with {remote.system.asked - asked} requests")

    def _client(self) -> HubClient:
        return HubClient(self._hub.url, self._hub.credentials, timeout_seconds=_REQUEST_SECONDS)


# -- the command


def main(argv: Sequence[str] | None = None, *, launch: Launch = launched) -> int:
    """Run rounds; 0 when nothing is wrong, 1 otherwise. `launch` starts the hub."""
    parser = argparse.ArgumentParser(prog="python -m bench.kills", description=__doc__)
    parser.add_argument("--serve", choices=ENGINES, default="sqlite", help="engine (%(default)s)")
    parser.add_argument("--records", type=int, default=5_000, help="of each push (%(default)s)")
    parser.add_argument("--kills", type=int, default=100, help=f"in all, at most {_MOST_KILLS} (%(default)s)")
    parser.add_argument("--remotes", nargs="+", choices=tuple(REMOTES), default=list(REMOTES), help="(all)")
    parser.add_argument("--per-round", type=int, default=10, help="kills of one push at most (%(default)s)")
    parser.add_argument("--spread", type=float, default=2.5, help="seconds of sending before a kill (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides the moments (%(default)s)")
    parser.add_argument("--max-minutes", type=float, default=60, help="the whole run (%(default)s)")
    parser.add_argument("--work-dir", type=Path, help="make the data folder in here (temporary folder)")
    parser.add_argument("--out", type=Path, help="file for the JSON result (standard output)")
    options = parser.parse_args(argv)
    plan = Plan(
        engine=options.serve,
        records=options.records,
        kills=min(options.kills, _MOST_KILLS),
        remotes=options.remotes,
        kills_per_round=options.per_round,
        spread_seconds=options.spread,
        seed=options.seed,
        work_dir=options.work_dir,
        launch=launch,
    )
    shown = {"engine": plan.engine, "records": plan.records, "kills": plan.kills, "seed": plan.seed}
    report = Report(options.out, machine=machine_facts(), options=shown)
    return asyncio.run(reported(report, options.max_minutes, partial(_nothing_wrong, plan)))


async def _nothing_wrong(plan: Plan, report: Report) -> bool:
    found = await run(plan, report)
    return not any(findings.faults for findings in found.values())


if __name__ == "__main__":
    sys.exit(main())
