"""Server processes are replaced one by one, under load, and nobody notices."""

import contextlib
import http.client
import json
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from tests.e2e.conftest import Run, Running, Serve
from tests.factories import make_config, make_event
from tests.processes import PATIENCE_SECONDS, listens, wait_until

pytestmark = pytest.mark.anyio

CLIENTS = 4


class Hammer(threading.Thread):
    """A device that pushes and pulls on one connection for as long as the hub keeps it, and never tries again."""

    def __init__(self, port: int, token: str, program: str) -> None:
        super().__init__(daemon=True)
        self.port, self.program = port, program
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.outcomes: Counter[str] = Counter()
        self.pushed: list[str] = []
        self.last_answers = 0
        self.ends = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        with contextlib.closing(connection):
            self._ask_again_and_again(connection)

    def _ask_again_and_again(self, connection: http.client.HTTPConnection) -> None:
        while not self.ends.is_set():
            event = make_event()
            body = json.dumps({"configId": self.program, "events": [event]})
            if self._ask(connection, "POST", "/api/sync/push", body):
                self.pushed.append(event["guid"])
            self._ask(connection, "GET", f"/api/sync/pull?configId={self.program}")

    def _ask(self, connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None) -> bool:
        try:
            connection.request(method, path, body, self.headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as broken:
            self.outcomes[type(broken).__name__] += 1
            connection.close()
            return False
        self.outcomes[str(answer.status)] += 1
        self.last_answers += answer.getheader("connection") == "close"
        return answer.status == 200


def children_of(pid: int) -> set[str]:
    """None once it has ended."""
    try:
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return set()


def is_running(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


def replace_all(hub: Running) -> None:
    before = children_of(hub.process.pid)
    hub.process.send_signal(signal.SIGHUP)

    def replaced() -> bool:
        now = children_of(hub.process.pid)
        # What they have in common is Python's own helper.
        return len(now) == len(before) and len(now & before) <= 1

    wait_until(replaced)


def signed_in(url: str) -> tuple[str, str]:
    """A token, and a program."""
    credentials = {"email": "admin@hub.test", "password": "Correct-Horse-7"}
    token = str(httpx2.post(f"{url}/api/users/login", json=credentials).json()["token"])
    config: dict[str, Any] = make_config()
    answer = httpx2.post(f"{url}/api/apps", json=config, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    return token, str(config["id"])


def test_processes_are_replaced_without_a_failed_request_and_end_with_the_one_that_started_them(
    serve: Serve, postgres_url: str
) -> None:
    with serve(DATABASE_URL=postgres_url, WEB_CONCURRENCY="2", DB_POOL_SIZE="5") as hub:
        token, program = signed_in(hub.url)
        hammers = [Hammer(hub.port, token, program) for _ in range(CLIENTS)]
        for hammer in hammers:
            hammer.start()
        wait_until(lambda: all(hammer.outcomes["200"] > 5 for hammer in hammers))
        replace_all(hub)
        so_far = [hammer.outcomes["200"] for hammer in hammers]
        wait_until(
            lambda: all(hammer.outcomes["200"] > known + 5 for hammer, known in zip(hammers, so_far, strict=True))
        )
        for hammer in hammers:
            hammer.ends.set()
        for hammer in hammers:
            hammer.join(PATIENCE_SECONDS)
        assert {outcome for hammer in hammers for outcome in hammer.outcomes} == {"200"}
        assert sum(hammer.last_answers for hammer in hammers) > 0
        answer = httpx2.get(
            f"{hub.url}/api/sync/pull",
            params={"configId": program, "limit": "5000"},
            headers={"Authorization": f"Bearer {token}"},
        )
        stored = [event["guid"] for event in answer.json()["events"]]
        assert sorted(stored) == sorted(guid for hammer in hammers for guid in hammer.pushed)
        workers = children_of(hub.process.pid)
        hub.process.kill()
        # Nobody would replace them or tell them to end any more, and whoever is started in its place would find the port taken.
        wait_until(lambda: not any(map(is_running, workers)) and not listens(hub.port))


async def test_the_log_says_why_a_process_in_the_place_of_another_could_not_start_and_the_others_stay(
    serve: Serve, postgres_url: str, tmp_path: Path
) -> None:
    """It said `Traceback (most recent call last):`, or all of it."""
    with serve(DATABASE_URL=postgres_url, WEB_CONCURRENCY="2", DB_POOL_SIZE="5") as hub:
        log, own = tmp_path / f"serve-{hub.port}.log", tmp_path / ".env"
        replace_all(hub)  # so that all of them have begun to serve
        before = children_of(hub.process.pid)

        def given_up(times: int) -> bool:
            return log.read_text().count("server.replacement_given_up") == times

        own.write_text("SYNC_SERVER_PORT=http\n")
        hub.process.send_signal(signal.SIGHUP)
        wait_until(lambda: given_up(1))
        own.unlink()
        admin = await asyncpg.connect(postgres_url)
        await admin.execute("UPDATE alembic_version SET version_num = '9999'")
        await admin.close()
        hub.process.send_signal(signal.SIGHUP)
        wait_until(lambda: given_up(2))

        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        settings, schema = [line for line in lines if line["event"] == "app.not_started"]
        assert settings["reason"].startswith("SYNC_SERVER_PORT: Input should be a valid integer")
        assert "The database has schema 9999, which this release does not know" in schema["exception"]
        assert "SpawnProcess" not in log.read_text()
        assert children_of(hub.process.pid) == before
        assert httpx2.get(f"{hub.url}/health").status_code == 200


def test_told_to_end_in_the_middle_of_it_the_hub_ends_and_leaves_nobody_behind(serve: Serve, postgres_url: str) -> None:
    with serve(DATABASE_URL=postgres_url, WEB_CONCURRENCY="2", DB_POOL_SIZE="5") as hub:
        wait_until(lambda: httpx2.get(f"{hub.url}/health").status_code == 200)
        before = children_of(hub.process.pid)
        hub.process.send_signal(signal.SIGHUP)
        wait_until(lambda: bool(children_of(hub.process.pid) - before))
        seen = children_of(hub.process.pid)
        hub.process.send_signal(signal.SIGTERM)

        def ended() -> bool:
            # No other process is replaced any more.
            assert children_of(hub.process.pid) <= seen
            return hub.process.poll() is not None

        wait_until(ended)
        assert hub.process.wait() == 0
        wait_until(lambda: not any(map(is_running, before | seen)))


def test_more_connections_than_the_database_gives_are_refused_at_the_start(run: Run, postgres_url: str) -> None:
    ended = run("serve", "--port", "0", DATABASE_URL=postgres_url, WEB_CONCURRENCY="4", DB_POOL_SIZE="40")
    assert ended.returncode == 1
    assert "5 processes with 40 each (DB_POOL_SIZE) could ask for 200" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
