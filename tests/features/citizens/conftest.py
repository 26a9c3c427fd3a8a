"""A hub that tells its codes to who asks, with a clock to turn and callers from wherever a test says."""

import contextlib
import itertools
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
from tests.citizens import make_citizen, make_open_program
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Migrated, asgi_client, make_settings

_addresses = itertools.count(1)


def anywhere() -> str:
    """An address that nobody has called from."""
    number = next(_addresses)
    return f"10.{number // 65536 % 256}.{number // 256 % 256}.{number % 256}"


@dataclass
class Street:
    """Where citizens are: a running hub, its administrator, and its clock."""

    app: FastAPI
    clock: TurnableClock
    admin: AsyncClient
    client: AsyncClient

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.hub
        return hub

    async def program(self, *methods: str, **changes: Any) -> str:
        return await make_open_program(self.admin, *methods, **changes)

    async def person(self, program: str, **data: Any) -> str:
        return await make_citizen(self.admin, program, **data)

    async def post(self, path: str, body: Any, *, origin: str | None = None, **headers: str) -> Response:
        """From an address that nobody has called from, if none is named."""
        told = {"X-Forwarded-For": origin or anywhere(), **headers}
        return await self.client.post(f"/api/auth{path}", json=body, headers=told)

    async def ask(self, program: str, identifier: str, *, origin: str | None = None) -> Response:
        return await self.post("/otp/request", {"identifier": identifier, "tenantId": program}, origin=origin)

    async def code(self, program: str, identifier: str, *, origin: str | None = None) -> str:
        """What was sent."""
        answer = await self.ask(program, identifier, origin=origin)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["devCode"])

    async def enter(self, program: str, identifier: str, code: str, *, origin: str | None = None) -> Response:
        body = {"identifier": identifier, "otp": code, "tenantId": program}
        return await self.post("/otp/verify", body, origin=origin)

    async def identify(self, program: str, national_id: str, born: str, *, origin: str | None = None) -> Response:
        body = {"nationalId": national_id, "dateOfBirth": born, "tenantId": program}
        return await self.post("/id/verify", body, origin=origin)

    async def exchange(self, program: str, id_token: str, *, origin: str | None = None, **more: Any) -> Response:
        return await self.post("/oidc/exchange", {"idToken": id_token, "tenantId": program} | more, origin=origin)

    async def opens(self, token: str) -> bool:
        """Whether it is a citizen's token that lasts. Uses it up."""
        answer = await self.client.post("/api/auth/self-service/logout", headers=bearer(token))
        assert answer.status_code in (200, 401), answer.text
        return answer.status_code == 200

    def provider(self, **keywords: Any) -> AbstractAsyncContextManager[OidcProvider]:
        """A new identity provider whose clock goes as the hub's."""
        return OidcProvider.running(now=lambda: self.clock.now() / 1000, **keywords)


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


SETTINGS: dict[str, object] = {
    "TRUST_PROXY": "true",
    "OTP_EXPOSE_DEV_CODE": True,
    "ALLOW_PRIVATE_ADAPTER_HOSTS": True,
    "ACCOUNT_REQUESTS_AT_ONCE": 100,
    # Messages stay where they were put.
    "JOBS_AT_ONCE": 0,
}


@contextlib.asynccontextmanager
async def street_of(app: FastAPI, clock: TurnableClock) -> AsyncIterator[Street]:
    async with asgi_client(app) as admin, asgi_client(app) as client:
        answer = await admin.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        admin.headers.update(bearer(answer.json()["token"]))
        yield Street(app, clock, admin, client)


@pytest.fixture(scope="module")
def street_clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture(scope="module")
async def street_app(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    engine_url: tuple[str | None, Path],
    migrated_once: Migrated,
    street_clock: TurnableClock,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[FastAPI]:
    """On a database of its own: its clock is turned by days."""
    engine = "sqlite" if engine_url[0] is None else "postgres"
    folder = tmp_path_factory.mktemp("citizens")
    async with migrated_once.database(engine, request, folder) as url:
        settings = make_settings(folder, url, **SETTINGS)
        app = create_app(settings, clock=street_clock)
        async with app.router.lifespan_context(app):
            yield app


@pytest.fixture
async def street(street_app: FastAPI, street_clock: TurnableClock) -> AsyncIterator[Street]:
    street_clock.turn(seconds=86_400)
    async with street_of(street_app, street_clock) as street:
        yield street
