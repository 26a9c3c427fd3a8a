"""A hub of one's own, for tests that turn its clock far, restart it, or must not share its accounts."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.app import create_app
from datacollect.http.hub import Hub
from datacollect.testing.clock import TurnableClock
from tests.accounts import bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, ENGINES, Migrated, asgi_client, make_settings


@dataclass
class Installation:
    """A database on which hubs can be started, one after the other or side by side."""

    folder: Path
    url: str | None
    clock: TurnableClock

    @contextlib.asynccontextmanager
    async def running(self, **settings: object) -> AsyncIterator[tuple[FastAPI, AsyncClient]]:
        app = create_app(make_settings(self.folder, self.url, **settings), clock=self.clock)
        async with app.router.lifespan_context(app), asgi_client(app) as client:
            yield app, client


@pytest.fixture(params=ENGINES)
async def installation(
    request: pytest.FixtureRequest, migrated_once: Migrated, tmp_path: Path
) -> AsyncIterator[Installation]:
    """Not started yet."""
    async with migrated_once.database(request.param, request, tmp_path) as url:
        yield Installation(tmp_path, url, TurnableClock())


@dataclass
class Alone:
    """A running hub nobody else uses, with a client that has no token and a clock to turn."""

    app: FastAPI
    client: AsyncClient
    clock: TurnableClock

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.hub
        return hub

    async def admin(self) -> AsyncClient:
        """The client, from now on signed in as the first administrator."""
        answer = await self.client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        self.client.headers.update(bearer(answer.json()["token"]))
        return self.client


@pytest.fixture
async def alone(installation: Installation) -> AsyncIterator[Alone]:
    async with installation.running() as (app, client):
        yield Alone(app, client, installation.clock)
