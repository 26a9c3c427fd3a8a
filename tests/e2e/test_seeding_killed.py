"""A hub that is killed again and again while it seeds a program: the program is seeded once, and whole."""

from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import Run, Serve, signed_in
from tests.factories import make_config
from tests.processes import wait_until

pytestmark = pytest.mark.anyio

RECORDS = 3_000
KILLS = 2


def progress(client: httpx2.Client, program: str) -> int:
    """How many records are done with."""
    line = client.get("/api/apps", params={"search": program}).json()["data"][0]
    return int(line["seeding"]["done"]) if "seeding" in line else RECORDS


def pulled(client: httpx2.Client, program: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get("/api/sync/pull", params={"configId": program, "since": cursor, "limit": 1000}).json()
        events, cursor = events + page["events"], page["nextCursor"]
    return events


@pytest.mark.usefixtures("migrated")
async def test_a_killed_hub_goes_on_seeding_where_it_was(run: Run, serve: Serve) -> None:
    records = [{"id": f"p-{n}", "name": f"Person {n}"} for n in range(RECORDS)]
    config = make_config(entityData=[{"name": "individual", "data": records}])
    program, done = config["id"], 0
    for kill in range(KILLS):
        with serve(JOB_LEASE="1") as hub, signed_in(hub) as client:
            if not kill:
                assert client.post("/api/apps", json=config).json()["seeding"]["total"] == RECORDS
            found = done
            wait_until(lambda client=client, found=found: progress(client, program) > found)
            hub.process.kill()
            hub.process.wait()
            done = found + 1
    with serve(JOB_LEASE="1") as hub, signed_in(hub) as client:
        wait_until(lambda: progress(client, program) == RECORDS)
        events = pulled(client, program)
    assert [event["entityGuid"] for event in events] == [record["id"] for record in records]
    assert len({event["timestamp"] for event in events}) == RECORDS
    ended = run("verify", "--no-anchor")
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
