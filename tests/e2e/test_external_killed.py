"""A hub that is killed while it sends records to other systems: every one is there once, and the jobs end by themselves."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from bench.remotes import REMOTES, Remote
from datacollect.testing.remote import Late, Request
from tests.e2e.conftest import Serve
from tests.e2e.exchanges import SETTINGS, Program
from tests.processes import wait_until

pytestmark = pytest.mark.anyio

RECORDS = 60
AT_ONCE = 10
KILLED_AFTER = {"sqlite": (1, 3), "postgres": (2,)}
"""Calls that may change something there."""


@pytest.fixture
def engine(migrated: str | None) -> str:
    return "postgres" if migrated else "sqlite"


@dataclass
class Exchange:
    """A program's exchange with one of the fakes."""

    remote: Remote
    program: Program
    job_id: str = ""
    hangs: bool = False

    def hang(self, count: int) -> None:
        """Have so many calls be done there and answered, and those after them be done and not answered."""
        self.hangs, seen = False, 0

        def comes_late(request: Request) -> bool:
            nonlocal seen
            seen += request.method != "GET" and "token" not in request.path
            self.hangs = seen > count
            return self.hangs

        self.remote.system.faults.clear()
        self.remote.system.faults.add(Late(60), times=None, matches=comes_late)


async def test_a_hub_killed_in_the_middle_of_pushes_makes_no_twin_and_loses_nothing(serve: Serve, engine: str) -> None:
    with contextlib.ExitStack() as running:
        exchanges: list[Exchange] = []
        for count in KILLED_AFTER[engine]:
            for exchange in exchanges:
                exchange.hang(count)
            with serve(**SETTINGS) as hub:
                if not exchanges:
                    exchanges += [_begun(running.enter_context(REMOTES[name]()), hub.url, count) for name in REMOTES]
                _await_hanging(exchanges)
                hub.process.kill()
                hub.process.wait()
        for exchange in exchanges:
            exchange.remote.system.faults.clear()
        with serve(**SETTINGS) as hub:
            for exchange in exchanges:
                _assert_whole(exchange, hub.url)


def _await_hanging(exchanges: Sequence[Exchange]) -> None:
    wait_until(lambda: all(exchange.hangs for exchange in exchanges))


def _begun(remote: Remote, hub: str, count: int) -> Exchange:
    section = {**remote.section, "adapterConfig": {**remote.section["adapterConfig"], "batchSize": AT_ONCE}}
    program = Program(hub, section, records=RECORDS)
    exchange = Exchange(remote, program)
    exchange.hang(count)
    exchange.job_id = program.started(hub)
    return exchange


def _assert_whole(exchange: Exchange, hub: str) -> None:
    program, remote = exchange.program, exchange.remote
    job = program.ended(hub, exchange.job_id)
    assert (job["status"], job["phase"], job["pushed"], job["failed"]) == ("success", "completed", RECORDS, 0), job
    again = program.ended(hub, program.started(hub))
    assert (again["status"], again["pushed"], again["pulled"]) == ("success", 0, 0), again
    assert (len(remote.held()), remote.twins()) == (RECORDS, {})
