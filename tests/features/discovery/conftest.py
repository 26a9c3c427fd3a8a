"""A hub that may call registries on this machine, and registries to be called."""

from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.app import create_app
from datacollect.testing.clock import TurnableClock
from datacollect.testing.odoo import FakeOdoo
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Migrated, asgi_client, make_settings

REGISTRAR, PASSWORD = "registrar", "s3cret-of-odoo"


@pytest.fixture(scope="module")
def discovery_clock() -> TurnableClock:
    """Not the clock of the hub that other tests use: it is turned on with every test."""
    return TurnableClock()


@pytest.fixture(scope="module")
async def discovery_app(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    discovery_clock: TurnableClock,
    migrated_once: Migrated,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[FastAPI]:
    """On one engine: the slice has no statement of its own."""
    folder = tmp_path_factory.mktemp("discovery")
    async with migrated_once.database("sqlite", request, folder):
        app = create_app(make_settings(folder, None, ALLOW_PRIVATE_ADAPTER_HOSTS=True), clock=discovery_clock)
        async with app.router.lifespan_context(app):
            yield app


@pytest.fixture(scope="module")
async def boss_token(anyio_backend: str, discovery_app: FastAPI) -> str:
    async with asgi_client(discovery_app) as client:
        answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        return str(answer.json()["token"])


@pytest.fixture
async def boss(discovery_app: FastAPI, boss_token: str) -> AsyncIterator[AsyncClient]:
    """Signed in as an administrator."""
    async with asgi_client(discovery_app, boss_token) as client:
        yield client


@pytest.fixture
def odoo() -> Iterator[FakeOdoo]:
    with FakeOdoo() as odoo:
        odoo.add_user(REGISTRAR, PASSWORD)
        yield odoo
