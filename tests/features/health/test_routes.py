from datetime import datetime

import pytest
import structlog
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from datacollect.kernel.errors import Unavailable
from datacollect.logs import reason_of
from tests.accounts import assert_refused

pytestmark = pytest.mark.anyio


async def test_a_well_hub_says_so_with_a_timestamp_in_milliseconds(client: AsyncClient) -> None:
    answer = await client.get("/health")
    body = answer.json()
    timestamp = body.pop("timestamp")
    assert (answer.status_code, body) == (200, {"status": "ok", "database": "connected"})
    moment = datetime.fromisoformat(timestamp)
    assert moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") == timestamp


async def test_readiness_and_liveness(client: AsyncClient) -> None:
    assert (await client.get("/health/ready")).status_code == 200
    assert (await client.get("/health/live")).json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/live"])
async def test_monitors_may_ask_for_the_head_alone(client: AsyncClient, path: str) -> None:
    answer = await client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_a_hub_without_its_database_is_degraded_but_alive(
    client: AsyncClient, hub: Hub, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def away() -> None:
        raise Unavailable() from ConnectionRefusedError("nobody listens there")

    monkeypatch.setattr(hub.db, "check", away)
    with structlog.testing.capture_logs() as lines:
        answer = await client.get(path)
    [said] = [line for line in lines if line["event"] == "request.refused"]
    assert reason_of(said["exc_info"]) == "ConnectionRefusedError: nobody listens there"
    assert_refused(
        answer, 503, "The hub cannot reach its database just now. Try again in a moment.", "DATABASE_UNAVAILABLE"
    )
    assert (answer.json()["status"], answer.json()["database"]) == ("degraded", "disconnected")
    assert answer.json()["timestamp"] and answer.headers["retry-after"]
    assert (await client.get("/health/live")).status_code == 200


async def test_health_ignores_a_json_content_type_without_a_body(client: AsyncClient) -> None:
    assert (await client.get("/health", headers={"Content-Type": "application/json"})).status_code == 200
