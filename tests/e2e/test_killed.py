"""A hub that is killed while devices push: what is anchored is in the log, and the log is in order."""

import contextlib
import random
import threading
from pathlib import Path

import httpx2
import pytest

from datacollect.eventstore.anchors import read_anchors
from datacollect.kernel.ids import TenantId
from tests.accounts import bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.conftest import Run, Serve
from tests.factories import make_config, make_event
from tests.processes import wait_until

pytestmark = pytest.mark.anyio

BATCH = 250
"""Two pushes are one anchor."""
ROUNDS = 3


def push_until_it_dies(hub: str, token: str, program: str, answered: list[int]) -> None:
    with contextlib.suppress(httpx2.TransportError), httpx2.Client(base_url=hub, headers=bearer(token)) as client:
        while True:
            body = {"configId": program, "events": [make_event() for _ in range(BATCH)]}
            answer = client.post("/api/sync/push", json=body)
            answered.append(answer.status_code)


@pytest.mark.usefixtures("migrated")
async def test_a_killed_hub_leaves_no_anchor_of_what_was_not_committed(
    run: Run, serve: Serve, environment: dict[str, str]
) -> None:
    config, chance = make_config(), random.Random(3)
    program, data_dir = TenantId(config["id"]), Path(environment["DATA_DIR"])
    acknowledged = 0
    for _ in range(ROUNDS):
        answered: list[int] = []
        with serve() as hub:
            login = httpx2.post(f"{hub.url}/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
            token = login.json()["token"]
            httpx2.post(f"{hub.url}/api/apps", json=config, headers=bearer(token))
            devices = [
                threading.Thread(target=push_until_it_dies, args=(hub.url, token, program, answered)) for _ in range(3)
            ]
            for device in devices:
                device.start()
            enough = chance.randint(3, 9)
            wait_until(
                lambda enough=enough, answered=answered: (
                    len(answered) >= enough and len(read_anchors(data_dir, program)) > 0
                )
            )
            hub.process.kill()
            for device in devices:
                device.join()
        assert set(answered) == {200}
        acknowledged += BATCH * len(answered)
        ended = run("verify", "--no-anchor")
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
        position = int(ended.stdout.split()[2].replace(",", ""))
        anchors = [anchor.position for anchor in read_anchors(data_dir, program)]
        assert anchors and max(anchors) <= position
        assert acknowledged <= position
