"""A hub that may call providers on this machine, and providers to be called."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response

from datacollect.app import create_app
from datacollect.http.hub import Hub
from datacollect.testing.clock import TurnableClock
from datacollect.testing.oidc import OidcProvider
from tests.accounts import bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Migrated, asgi_client, make_settings
from tests.factories import make_event, make_program


@dataclass
class Office:
    """A running hub, its administrator, and its clock."""

    app: FastAPI
    clock: TurnableClock
    admin: AsyncClient

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.hub
        return hub

    def provider(self, **keywords: Any) -> AbstractAsyncContextManager[OidcProvider]:
        """A new identity provider whose clock goes as the hub's."""
        return OidcProvider.running(now=lambda: self.clock.now() / 1000, **keywords)

    async def program(self, *entries: dict[str, Any], **changes: Any) -> str:
        return await make_program(self.admin, authConfigs=list(entries), **changes)

    async def pull(
        self, program: str, authorization: str, *, address: str = "127.0.0.1", **parameters: str
    ) -> Response:
        query = {"configId": program} | parameters
        return await self._call("GET", "/api/sync/pull", authorization, address=address, params=query)

    async def push(self, program: str, authorization: str, *, query: str | None = None, **more: Any) -> Response:
        """With the program in the body, and also in the query if asked for."""
        body = {"events": [make_event()], "configId": program} | more
        params = {} if query is None else {"configId": query}
        return await self._call("POST", "/api/sync/push", authorization, params=params, json=body)

    async def call(self, method: str, path: str, authorization: str, **more: Any) -> Response:
        return await self._call(method, path, authorization, **more)

    async def _call(
        self, method: str, path: str, authorization: str, *, address: str = "127.0.0.1", **more: Any
    ) -> Response:
        async with asgi_client(self.app, address=address) as client:
            return await client.request(method, path, headers={"Authorization": authorization.encode()}, **more)


def entry(idp: OidcProvider, type: str = "keycloak", **fields: str) -> dict[str, Any]:
    """An `authConfigs` entry as programs have it."""
    return {"type": type, "fields": {"authority": idp.authority, "client_id": "app"} | fields}


@pytest.fixture(scope="module")
def provider_clock() -> TurnableClock:
    """Not the clock of the hub that other tests use: it is turned by days here, and sessions there would end."""
    return TurnableClock()


@pytest.fixture(scope="module")
async def provider_app(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    engine_url: tuple[str | None, Path],
    migrated_once: Migrated,
    provider_clock: TurnableClock,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[FastAPI]:
    """On a database of its own, for the same reason."""
    engine = "sqlite" if engine_url[0] is None else "postgres"
    folder = tmp_path_factory.mktemp("providers")
    async with migrated_once.database(engine, request, folder) as url:
        settings = make_settings(folder, url, ALLOW_PRIVATE_ADAPTER_HOSTS=True)
        app = create_app(settings, clock=provider_clock)
        async with app.router.lifespan_context(app):
            yield app


@contextlib.asynccontextmanager
async def office_of(app: FastAPI, clock: TurnableClock) -> AsyncIterator[Office]:
    async with asgi_client(app) as admin:
        answer = await admin.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        admin.headers.update(bearer(answer.json()["token"]))
        yield Office(app, clock, admin)


@pytest.fixture
async def office(provider_app: FastAPI, provider_clock: TurnableClock) -> AsyncIterator[Office]:
    async with office_of(provider_app, provider_clock) as office:
        yield office


@pytest.fixture
async def idp(office: Office) -> AsyncIterator[OidcProvider]:
    async with office.provider() as idp:
        yield idp
