"""A hub that is killed while it sends records to another system: every one is there once, and the job ends by itself."""

from collections.abc import AsyncIterator, Callable

import pytest

from bench.remotes import REMOTES, Remote
from datacollect.testing.remote import Late, Request
from tests.conftest import ENGINES, database_url
from tests.e2e.conftest import Serve
from tests.e2e.exchanges import SETTINGS, Program
from tests.processes import wait_until

pytestmark = pytest.mark.anyio

RECORDS = 100
KILLED_AT = (2, 5)
"""In which of the calls that change something there."""


@pytest.fixture(params=ENGINES)
async def url(
    request: pytest.FixtureRequest, anyio_backend: str, environment: dict[str, str]
) -> AsyncIterator[str | None]:
    async with database_url(request.param, request) as url:
        if url:
            environment["DATABASE_URL"] = url
        yield url


def the_nth(count: int) -> Callable[[Request], bool]:
    seen = 0

    def matches(request: Request) -> bool:
        nonlocal seen
        seen += request.method == "POST" and "token" not in request.path
        return seen == count

    return matches


def hang(remote: Remote, count: int) -> Callable[[], bool]:
    """Have a call be done there and not be answered; whether it has come to that."""
    happened = remote.system.faults.happened
    remote.system.faults.clear()
    remote.system.faults.add(Late(60), matches=the_nth(count))
    return lambda: remote.system.faults.happened > happened


@pytest.mark.parametrize("name", REMOTES)
@pytest.mark.usefixtures("url")
async def test_a_hub_killed_in_the_middle_of_a_push_makes_no_twin_and_loses_nothing(serve: Serve, name: str) -> None:
    with REMOTES[name]() as remote:
        if "adapterConfig" in remote.section:
            remote.section["adapterConfig"]["batchSize"] = 10
        program, job_id = None, ""
        for count in KILLED_AT:
            hangs = hang(remote, count)
            with serve(**SETTINGS) as hub:
                if program is None:
                    program = Program(hub.url, remote.section, records=RECORDS)
                    job_id = program.started(hub.url)
                wait_until(hangs)
                hub.process.kill()
                hub.process.wait()
        with serve(**SETTINGS) as hub:
            assert program is not None
            job = program.ended(hub.url, job_id)
            assert (job["status"], job["phase"], job["pushed"], job["failed"]) == ("success", "completed", RECORDS, 0)
            again = program.ended(hub.url, program.started(hub.url))
        assert (again["status"], again["pushed"], again["pulled"]) == ("success", 0, 0)
        assert (len(remote.held()), remote.twins()) == (RECORDS, {})
