"""A hub that is killed while reviews are approved: each is pending and not in the log, or approved and in it once."""

import threading
import uuid
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from tests.accounts import PASSWORD, bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.conftest import Running, Serve
from tests.factories import make_config, make_event
from tests.processes import wait_until

pytestmark = pytest.mark.anyio

REVIEWS, APPROVERS, KILLS = 60, 6, 2


def client(hub: Running, email: str = ADMIN_EMAIL, password: str = ADMIN_PASSWORD) -> httpx2.Client:
    login = httpx2.post(f"{hub.url}/api/users/login", json={"email": email, "password": password})
    return httpx2.Client(base_url=hub.url, headers=bearer(login.json()["token"]), timeout=30)


class Queue:
    def __init__(self, program: str) -> None:
        self.program = program
        self.waiting: list[str] = []
        self.acknowledged: set[str] = set()

    def approve_until_it_breaks(self, admin: httpx2.Client) -> None:
        with suppress(httpx2.TransportError, IndexError):
            while True:
                id = self.waiting.pop()
                answer = admin.post(f"/api/reviews/{id}/approve", json={"tenantId": self.program})
                assert answer.status_code == 200, answer.text
                self.acknowledged.add(id)

    def check(self, admin: httpx2.Client) -> list[str]:
        """Gives those that are still pending."""
        listed: list[Any] = admin.get("/api/reviews", params={"tenantId": self.program}).json()["reviews"]
        pulled = admin.get("/api/sync/pull", params={"configId": self.program, "limit": 5000}).json()["events"]
        assert len(listed) == REVIEWS
        approved = [one["submissionGuid"] for one in listed if one["status"] == "approved"]
        assert sorted(approved) == sorted(event["guid"] for event in pulled)
        assert self.acknowledged <= {one["id"] for one in listed if one["status"] == "approved"}
        return [one["id"] for one in listed if one["status"] == "pending"]


def test_what_is_approved_is_in_the_log_once_and_nothing_else_is(serve: Serve, migrated: str | None) -> None:
    config = make_config()
    queue = Queue(config["id"])
    for kill in range(KILLS):
        with serve() as hub, client(hub) as admin:
            if kill == 0:
                prepare(hub, admin, config)
            queue.waiting = queue.check(admin)
            approvers = [
                threading.Thread(target=queue.approve_until_it_breaks, args=(admin,)) for _ in range(APPROVERS)
            ]
            enough = len(queue.acknowledged) + 12
            for approver in approvers:
                approver.start()
            wait_until(lambda: len(queue.acknowledged) >= enough)  # noqa: B023
            hub.process.kill()
            for approver in approvers:
                approver.join()
    with serve() as hub, client(hub) as admin:
        queue.waiting = queue.check(admin)
        queue.approve_until_it_breaks(admin)
        assert queue.check(admin) == []


def prepare(hub: Running, admin: httpx2.Client, config: dict[str, Any]) -> None:
    program = config["id"]
    assert admin.post("/api/apps", json=config).status_code == 200
    policy = {"policy": "internal-review", "requiredRole": "supervisor"}
    assert admin.put(f"/api/reviews/config/{program}/create-individual", json=policy).status_code == 200
    account = {"email": f"{uuid.uuid4().hex}@hub.test", "password": PASSWORD, "role": "USER"}
    account |= {"roleAssignments": [{"tenantId": program, "role": "enumerator"}]}
    assert admin.post("/api/users", json=account).status_code == 201
    with client(hub, account["email"], PASSWORD) as agent:
        for _ in range(REVIEWS):
            answer = agent.post("/api/reviews/submit", json={"tenantId": program, "formData": make_event()})
            assert answer.json()["review"]["status"] == "pending", answer.text
