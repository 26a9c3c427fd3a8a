"""Real databases, one of each engine per run; every test works in tenants and users of its own."""

import contextlib
import functools
import gc
import itertools
import os
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import httpcore2
import pytest
import structlog
from argon2 import PasswordHasher
from fastapi import FastAPI
from httpx2 import AsyncClient
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

from datacollect.app import create_app
from datacollect.db import Database, open_database, postgres, sqlite
from datacollect.db.core import AsyncEngine, create_async_engine
from datacollect.db.database import closing
from datacollect.db.migrate import migrate
from datacollect.features.users import passwords
from datacollect.http.hub import Hub
from datacollect.settings import Settings
from datacollect.testing.clock import TurnableClock
from datacollect.testing.postgres import Template, fresh_database, server_url, template_database
from datacollect.testing.s3 import S3Server, s3_server
from tests.client import HubClient
from tests.warm import Warm, warmed

# A busy machine must not fail a test: no deadline, no judgement on how long an example took to make.
hypothesis_settings.register_profile("hub", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("hub")

# The client looks for it with each request, to see whether it runs under trio, and through all folders if it is not there.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]

ADMIN_EMAIL = "admin@hub.test"
ADMIN_PASSWORD = "Correct-Horse-7"
JWT_SECRET = "0123456789abcdef0123456789abcdef"
ENGINES = ("sqlite", "postgres")
_MEMORY, _FILES_BYTES = Path("/dev/shm"), 4 * 1024**3
_DEAR = passwords._hasher
_NOBODYS_DEAR_HASH = passwords.NOBODYS_HASH


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mutations", type=int, default=1000, help="changed bytes to look for in each engine's log (%(default)s)"
    )
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run modules, and the tests of each, in another order")


def pytest_configure() -> None:
    """Files of tests live in memory where there is plenty: thousands of databases are made and dropped, and a file system
    that has just deleted many files takes up to half a second to make those of the next. `TMPDIR` says otherwise."""
    if "TMPDIR" not in os.environ and _has_plenty_of_memory():
        os.environ["TMPDIR"] = str(_MEMORY)
        tempfile.tempdir = None


def _has_plenty_of_memory() -> bool:
    try:
        room = shutil.disk_usage(_MEMORY).free
        available = next(
            line.split()[1]
            for line in Path("/proc/meminfo").read_text().splitlines()
            if line.startswith("MemAvailable:")
        )
    except (OSError, StopIteration):
        return False
    return os.access(_MEMORY, os.W_OK) and room > _FILES_BYTES and int(available) * 1024 > 2 * _FILES_BYTES


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Half as many again as there are cores: for a third of its time a process waits, for a hub that starts or a clock.

    `PYTEST_XDIST_AUTO_NUM_WORKERS` says otherwise; each process needs up to a gigabyte.
    """
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + (cores + 1) // 2


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long ones first; all in another order with `--shuffle`.

    Afterwards pytest puts together again what shares a fixture of the session, as each engine.
    """
    seed = config.getoption("shuffle")
    if seed is not None:
        _shuffle(items, random.Random(seed))
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def _shuffle(items: list[pytest.Item], chance: random.Random) -> None:
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    order = list(modules.values())
    chance.shuffle(order)
    for tests in order:
        chance.shuffle(tests)
    items[:] = itertools.chain.from_iterable(order)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing is thrown away while ten thousand tests are collected; looking for it takes up to a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """What is there now stays to the end: the collector need not go through it again and again, and through what comes
    later no more often than in a server process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, *gc.get_threshold()[1:])


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _cheap_hashes() -> Iterator[None]:
    """Thousands of passwords are hashed here, one at a time and behind everything else: each with next to no work."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", cheap)
        patch.setattr(passwords, "NOBODYS_HASH", cheap.hash("the password of nobody"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _compiled_once() -> Iterator[None]:
    """Hundreds of hubs are made here, each with engines of its own, and all of them say the same: what one engine has
    compiled serves the next of its kind."""
    compiled: dict[type, LRUCache[Any, Any]] = {}

    def sharing(*arguments: Any, **options: Any) -> AsyncEngine:
        engine = create_async_engine(*arguments, **options)
        shared = compiled.setdefault(type(engine.dialect), LRUCache(5000))
        engine.sync_engine._compiled_cache = shared
        return engine

    with pytest.MonkeyPatch.context() as patch:
        # It is found by the statement and the dialect, of which each engine has its own.
        patch.setattr(DefaultDialect, "__hash__", lambda dialect: hash(type(dialect)))
        patch.setattr(DefaultDialect, "__eq__", lambda dialect, other: type(dialect) is type(other))
        for module in (postgres, sqlite):
            patch.setattr(module, "create_async_engine", sharing)
        yield


@pytest.fixture(scope="session", autouse=True)
def _certificates_read_once() -> Iterator[None]:
    """Hundreds of clients are made here, and each would read the system's certificates, which takes longer than most of
    what is then asked. Whoever trusts others gives them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", functools.cache(httpcore2.default_ssl_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """A hundred thousand requests are logged, and hundreds of crashes: without colours, columns and times for people, and
    without the renderer of crashes that takes a second for each."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.dev.set_exc_info,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"], drop_missing=True),
        ]
    )


@pytest.fixture
def dear_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that are set from now on are hashed with as much work as a hub does."""
    monkeypatch.setattr(passwords, "_hasher", _DEAR)
    monkeypatch.setattr(passwords, "NOBODYS_HASH", _NOBODYS_DEAR_HASH)


@pytest.fixture(scope="session")
def postgres_server() -> str:
    # The workers of a parallel run share one server. Not under pytest's own folder: that is closed to the system user
    # the server runs as when the tests run as root.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    return server_url(Path(tempfile.gettempdir()) / f"datacollect-hub-postgres-{run}")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real server that speaks S3."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Of which commands and hubs are forked, so that none of them imports anything anew."""
    with warmed() as warm:
        yield warm


@contextlib.asynccontextmanager
async def database_url(engine: str, request: pytest.FixtureRequest) -> AsyncIterator[str | None]:
    if engine == "sqlite":
        yield None
        return
    async with fresh_database(request.getfixturevalue("postgres_server")) as url:
        yield url


class Migrated:
    """Databases as the migrations leave them. They run once for each engine; each database is a copy."""

    def __init__(self, folder: Path, kept: contextlib.AsyncExitStack) -> None:
        self._folder, self._kept = folder, kept
        self._template: Template | None = None

    @contextlib.asynccontextmanager
    async def database(self, engine: str, request: pytest.FixtureRequest, data_dir: Path) -> AsyncIterator[str | None]:
        """As `database_url`. On SQLite it is the hub's file in `data_dir`."""
        if engine == "sqlite":
            if not self._folder.exists():
                await self._migrate(None)
            shutil.copytree(self._folder, data_dir, dirs_exist_ok=True)
            yield None
            return
        server = request.getfixturevalue("postgres_server")
        if self._template is None:
            self._template = await self._kept.enter_async_context(template_database(server, self._migrate))
        async with fresh_database(server, like=self._template) as url:
            yield url

    async def _migrate(self, url: str | None) -> None:
        async with closing(open_database(url, data_dir=self._folder, pool_size=1)) as database:
            await migrate(database)


@pytest.fixture(scope="session")
async def migrated_once(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Migrated]:
    async with contextlib.AsyncExitStack() as kept:
        yield Migrated(tmp_path_factory.mktemp("migrated") / "data", kept)


class _GivenSettings(Settings):
    """Of what is given alone: the environment is the developer's, and looking through it takes as long as the rest."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_: object
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def make_settings(data_dir: Path, url: str | None, **changes: object) -> Settings:
    """Settings of a test's hub: complete, and lenient where a test would otherwise hit a limit meant for strangers."""
    values: dict[str, object] = {
        "ADMIN_EMAIL": ADMIN_EMAIL,
        "ADMIN_PASSWORD": ADMIN_PASSWORD,
        "JWT_SECRET": JWT_SECRET,
        "DATABASE_URL": url,
        "DATA_DIR": data_dir,
        "LOGIN_RATE_LIMIT": 100_000,
        "REQUEST_RATE_LIMIT": 0,
        "LOGIN_ACCOUNT_LIMIT": 100_000,
        "PUBLIC_BASE_URL": "http://hub.test",
        # Jobs behind every push would count into the statements of whatever is measured; its own tests turn it on.
        "DUPLICATE_DETECTION": False,
        # What comes due by itself in a long run would be taken for the doing of whoever is tried.
        "ROUNDS": False,
    }
    return _GivenSettings(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="session", params=ENGINES)
async def engine_url(
    request: pytest.FixtureRequest, anyio_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[str | None, Path]]:
    async with database_url(request.param, request) as url:
        yield url, tmp_path_factory.mktemp(request.param)


@pytest.fixture(scope="session")
async def database(
    request: pytest.FixtureRequest, anyio_backend: str, engine_url: tuple[str | None, Path]
) -> AsyncIterator[Database]:
    """A migrated database without a hub, for tests of the engines."""
    url, folder = engine_url
    database = open_database(url, data_dir=folder / "engine-tests", pool_size=10)
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def hub_clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture(scope="session")
async def app(
    anyio_backend: str, engine_url: tuple[str | None, Path], hub_clock: TurnableClock
) -> AsyncIterator[FastAPI]:
    """A running hub, one per engine."""
    url, folder = engine_url
    app = create_app(make_settings(folder / "hub", url), clock=hub_clock)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="session")
def hub(app: FastAPI) -> Hub:
    """The parts of the running hub, for what has no route."""
    hub: Hub = app.state.hub
    return hub


@pytest.fixture
def clock(hub_clock: TurnableClock) -> TurnableClock:
    """The hub's clock. Turn it forward only: what a test has turned stays turned, as time does."""
    return hub_clock


def asgi_client(app: FastAPI, token: str | None = None, *, address: str = "127.0.0.1") -> AsyncClient:
    return HubClient(app, address=address, headers={"Authorization": f"Bearer {token}"} if token else {})


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """A client without a token."""
    async with asgi_client(app) as client:
        yield client


@pytest.fixture(scope="session")
async def admin_token(anyio_backend: str, app: FastAPI) -> str:
    async with asgi_client(app) as client:
        answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])


@pytest.fixture
async def admin(app: FastAPI, admin_token: str) -> AsyncIterator[AsyncClient]:
    """A client signed in as the first admin."""
    async with asgi_client(app, admin_token) as client:
        yield client


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Note a figure that the end of the run is to show."""
    return lambda name, value: request.node.user_properties.append((name, value))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = [
        f"{report.nodeid.rpartition('::')[2]}: {name}: {value}"
        for report in terminalreporter.getreports("passed")
        if report.when == "call"
        for name, value in report.user_properties
    ]
    if figures:
        terminalreporter.section("measured")
        for figure in figures:
            terminalreporter.line(figure)
