"""The real command in a process of its own, on loopback and a free port."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from datacollect.testing.postgres import fresh_database
from tests.accounts import bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, ENGINES, Migrated
from tests.processes import PATIENCE_SECONDS, free_port, listens, wait_until
from tests.warm import Forked, Warm


@dataclass
class Running:
    process: "subprocess.Popen[str] | Forked"
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


def signed_in(hub: Running) -> httpx2.Client:
    """As the first administrator."""
    login = httpx2.post(f"{hub.url}/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    return httpx2.Client(base_url=hub.url, headers=bearer(login.json()["token"]), timeout=30)


Serve = Callable[..., AbstractContextManager[Running]]
Start = Callable[[int, Path, dict[str, str]], "subprocess.Popen[str] | Forked"]
"""Starts a hub on that port, which prints into that file."""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return complete_environment(tmp_path)


def complete_environment(folder: Path) -> dict[str, str]:
    """Complete settings, and nothing of the developer's own."""
    return {
        "PATH": os.environ["PATH"],
        "ADMIN_EMAIL": "admin@hub.test",
        "ADMIN_PASSWORD": "Correct-Horse-7",
        "JWT_SECRET": "0123456789abcdef0123456789abcdef",
        "DATA_DIR": str(folder / "data"),
        "REQUEST_RATE_LIMIT": "0",
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from datacollect.cli import main; main()", *arguments]


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str], warm: Warm) -> Run:
    """Run the command to its end; `without` names settings to leave out, `stdin` is what is piped in.

    It is forked: see `tests/warm.py`. What is about the process itself starts it anew, as `test_serve.py` does.
    """

    def run(
        *arguments: str, without: tuple[str, ...] = (), stdin: str = "", **more: str
    ) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in environment.items() if name not in without} | more
        return warm.run(tmp_path, kept, arguments, stdin)

    return run


@pytest.fixture
def serve(tmp_path: Path, environment: dict[str, str], warm: Warm) -> Serve:
    """A hub that listens; ended with the block. It is forked, as in `run`."""

    return lambda **more: serving(tmp_path, environment | more, forking(warm))


def forking(warm: Warm) -> Start:
    def start(port: int, log: Path, environment: dict[str, str]) -> Forked:
        return warm.start(log.parent, environment, ("serve", "--host", "127.0.0.1", "--port", str(port)), log)

    return start


@contextlib.contextmanager
def serving(folder: Path, environment: dict[str, str], start: Start | None = None) -> Iterator[Running]:
    port = free_port()
    log = folder / f"serve-{port}.log"
    process = (start or _start)(port, log, environment)
    try:
        wait_until(lambda: listens(port) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield Running(process, port)
    finally:
        process.kill()
        process.wait()


def _start(port: int, log: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    arguments = command("serve", "--host", "127.0.0.1", "--port", str(port))
    with log.open("w") as written:
        return subprocess.Popen(
            arguments, cwd=log.parent, env=environment, stdout=written, stderr=subprocess.STDOUT, text=True
        )


@pytest.fixture
async def empty_postgres_url(anyio_backend: str, postgres_server: str) -> AsyncIterator[str]:
    async with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
async def postgres_url(
    request: pytest.FixtureRequest, anyio_backend: str, migrated_once: Migrated, tmp_path: Path
) -> AsyncIterator[str]:
    """Of a database with all tables and nothing in them."""
    async with migrated_once.database("postgres", request, tmp_path) as url:
        assert url is not None
        yield url


@pytest.fixture(params=ENGINES)
async def migrated(
    request: pytest.FixtureRequest, anyio_backend: str, migrated_once: Migrated, environment: dict[str, str]
) -> AsyncIterator[str | None]:
    """A database of each engine with all tables and nothing in them, which the commands and the hub use: its URL."""
    async with migrated_once.database(request.param, request, Path(environment["DATA_DIR"])) as url:
        if url:
            environment["DATABASE_URL"] = url
        yield url
