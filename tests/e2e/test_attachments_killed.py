"""A hub that is killed while files arrive: what it has acknowledged is there and whole, and nothing is there by half."""

import json
import random
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from tests.e2e.conftest import Run, Serve, signed_in
from tests.factories import make_config, new_id
from tests.features.attachments.files import a_photo
from tests.processes import wait_until

pytestmark = pytest.mark.anyio

SENDERS = 8
KILLS = 1


class Sent:
    """What was sent, and what of it was acknowledged."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.photos: dict[str, bytes] = {}
        self.acknowledged: set[str] = set()

    def send_until_it_breaks(self, admin: httpx2.Client, seed: int) -> None:
        chance = random.Random(seed)
        with suppress(httpx2.TransportError):
            while True:
                guid, photo = str(uuid.uuid4()), a_photo(chance.choice((1000, 100_000, 1_000_000)))
                self.photos[guid] = photo
                answer = admin.post(
                    "/api/attachments/upload",
                    data={"entityGuid": new_id(), "configId": self.program, "guid": guid},
                    files={"file": ("photo.jpg", photo, "image/jpeg")},
                )
                assert answer.status_code == 201, answer.text
                self.acknowledged.add(guid)

    def check(self, admin: httpx2.Client) -> None:
        for guid, photo in self.photos.items():
            answer = admin.get(f"/api/attachments/{guid}", params={"configId": self.program})
            if guid in self.acknowledged or answer.status_code != 404:
                assert (answer.status_code, answer.content) == (200, photo)


def test_nothing_acknowledged_is_missing_or_torn(
    serve: Serve, run: Run, migrated: str | None, environment: dict[str, str]
) -> None:
    config = make_config()
    sent = Sent(config["id"])
    for kill in range(KILLS):
        with serve() as hub, signed_in(hub) as admin:
            if kill == 0:
                assert admin.post("/api/apps", json=config).status_code == 200
            sent.check(admin)
            senders = [
                threading.Thread(target=sent.send_until_it_breaks, args=(admin, kill * SENDERS + number))
                for number in range(SENDERS)
            ]
            for sender in senders:
                sender.start()
            enough = len(sent.acknowledged) + 12
            wait_until(lambda: len(sent.acknowledged) >= enough)  # noqa: B023
            hub.process.kill()
            for sender in senders:
                sender.join()
    with serve() as hub, signed_in(hub) as admin:
        sent.check(admin)
        assert list((Path(environment["DATA_DIR"]) / "spool").iterdir()) == []
        ended = run("attachments", "check", "--deep", "--json")
    assert ended.returncode == 0, ended.stdout
    [program] = json.loads(ended.stdout)["programs"]
    assert program["files"] >= len(sent.acknowledged)
