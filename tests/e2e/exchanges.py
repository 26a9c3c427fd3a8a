"""Programs that exchange records with another system, through a hub in a process of its own."""

import uuid
from collections.abc import Mapping
from typing import Any

import httpx2

from bench.exchanging import ENDED
from bench.payload import EventMaker, program_config, push_body
from tests.accounts import bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.processes import wait_until

SETTINGS = {"ALLOWED_PRIVATE_HOSTS": "127.0.0.1", "JOB_LEASE": "1"}


class Program:
    """A program with some records, whose exchange is started and followed at any of its hubs."""

    def __init__(self, hub: str, section: Mapping[str, Any], *, records: int) -> None:
        self.id = f"exchange-{uuid.uuid4().hex[:8]}"
        login = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        self._token = bearer(httpx2.post(f"{hub}/api/users/login", json=login).json()["token"])
        config = program_config(self.id, externalSync=dict(section))
        assert self._send(hub, "POST", "/api/apps", config).status_code == 200
        maker = EventMaker()
        body = push_body([maker.create() for _ in range(records)], self.id)
        assert self._send(hub, "POST", "/api/sync/push", body.data).status_code == 200

    def _send(self, hub: str, method: str, path: str, body: bytes = b"") -> httpx2.Response:
        headers = {**self._token, "Content-Type": "application/json"}
        return httpx2.request(method, f"{hub}{path}", content=body, headers=headers, timeout=30)

    def start(self, hub: str) -> httpx2.Response:
        return self._send(hub, "POST", f"/api/sync/external?configId={self.id}")

    def started(self, hub: str) -> str:
        answer = self.start(hub)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["jobId"])

    def cancel(self, hub: str, job_id: str) -> httpx2.Response:
        return self._send(hub, "POST", f"/api/sync/external/{job_id}/cancel")

    def job(self, hub: str, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._send(hub, "GET", f"/api/sync/external/{job_id}").json()
        return found

    def ended(self, hub: str, job_id: str) -> dict[str, Any]:
        """The job, once it has ended."""
        wait_until(lambda: self.job(hub, job_id)["phase"] in ENDED)
        return self.job(hub, job_id)

    def status(self, hub: str) -> dict[str, Any]:
        found: dict[str, Any] = self._send(hub, "GET", f"/api/sync/status?configId={self.id}").json()
        return found
