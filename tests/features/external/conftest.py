"""A program that exchanges with another system."""

from collections.abc import AsyncIterator

import pytest
from httpx2 import AsyncClient

from datacollect.app import create_app
from datacollect.http.hub import Hub
from datacollect.testing.clock import TurnableClock
from tests.accounts import bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, asgi_client, make_settings
from tests.features.conftest import Alone, Installation
from tests.features.external.exchanging import Exchange, another_system, make_exchange


@pytest.fixture
async def exchange(admin: AsyncClient, hub: Hub) -> AsyncIterator[Exchange]:
    with another_system() as (url, _):
        yield await make_exchange(admin, hub, url)


@pytest.fixture
async def unattended(installation: Installation) -> AsyncIterator[Alone]:
    """A hub whose jobs nobody does but the test."""
    async with installation.running(JOBS_AT_ONCE=0) as (app, client):
        yield Alone(app, client, installation.clock)


@pytest.fixture
async def exchange_by_hand(unattended: Alone) -> AsyncIterator[Exchange]:
    """One whose runs the test does: see `by_hand`."""
    with another_system() as (url, _):
        yield await make_exchange(await unattended.admin(), unattended.hub, url)


@pytest.fixture(scope="session")
async def calling_hub(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Hub, AsyncClient]]:
    """One that may call this machine. On one engine: the exchange itself is tried on both elsewhere."""
    settings = make_settings(tmp_path_factory.mktemp("calling-hub"), None, ALLOW_PRIVATE_ADAPTER_HOSTS=True)
    app = create_app(settings, clock=TurnableClock())
    async with app.router.lifespan_context(app), asgi_client(app) as client:
        answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        client.headers.update(bearer(answer.json()["token"]))
        yield app.state.hub, client
