"""Two hubs on one PostgreSQL: a program's exchange is one, whichever of them is asked."""

from collections.abc import Iterator

import pytest

from bench.remotes import REMOTES, Remote
from datacollect.testing.remote import Late
from tests.e2e.conftest import Running, Serve
from tests.e2e.exchanges import SETTINGS, Program
from tests.processes import wait_until

pytestmark = pytest.mark.anyio

RECORDS = 60


@pytest.fixture
def remote() -> Iterator[Remote]:
    with REMOTES["openfn"]() as remote:
        remote.section["adapterConfig"]["batchSize"] = 5
        yield remote


@pytest.fixture
def hubs(serve: Serve, environment: dict[str, str], postgres_url: str) -> Iterator[tuple[Running, Running]]:
    environment["DATABASE_URL"] = postgres_url
    with serve(**SETTINGS) as one, serve(**SETTINGS) as other:
        yield one, other


def test_an_exchange_is_one_for_both_and_outlives_the_hub_that_works_on_it(
    hubs: tuple[Running, Running], remote: Remote
) -> None:
    one, other = (hub.url for hub in hubs)
    program = Program(one, remote.section, records=RECORDS)
    remote.system.faults.add(Late(60), times=None)
    for starting, watching in ((one, other), (other, one)):
        job_id = program.started(starting)
        assert [program.start(hub).status_code for hub in (watching, starting)] == [409, 409]
        wait_until(lambda job_id=job_id, hub=watching: program.job(hub, job_id)["phase"] == "pushing")
        for hub in (one, other):
            status = program.status(hub)
            assert (status["isSyncing"], status["activeJob"]["jobId"]) == (True, job_id)
        assert program.cancel(watching, job_id).json() == {"status": "cancelling"}
        job = program.ended(watching, job_id)
        assert (job["status"], job["phase"]) == ("failed", "cancelled")
        for hub in (one, other):
            status = program.status(hub)
            assert (status["isSyncing"], status["activeJob"]) == (False, None)
            assert program.cancel(hub, job_id).status_code == 404

    remote.system.faults.clear()
    remote.system.faults.add(Late(0.1), times=None)
    asked = remote.system.asked
    job_id = program.started(one)
    wait_until(lambda: remote.system.asked >= asked + 3)
    hubs[0].process.kill()
    hubs[0].process.wait()
    job = program.ended(other, job_id)
    assert (job["status"], job["pushed"]) == ("success", RECORDS)
    assert (len(remote.held()), remote.twins()) == (RECORDS, {})
