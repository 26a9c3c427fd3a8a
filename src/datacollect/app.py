"""The composition root: the one file that knows every part."""

import contextlib
import importlib
import importlib.util
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI

from datacollect.db import Database, open_database
from datacollect.db.migrate import migrate
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.store import EventStore
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.tenants.directory import CachedTenantDirectory
from datacollect.features.users.service import ensure_first_admin
from datacollect.http.cors import Cors, parse_origins
from datacollect.http.errors import install_error_handlers
from datacollect.http.feature import Feature
from datacollect.http.frame import RequestFrame
from datacollect.http.guard import RequestGuard
from datacollect.http.hub import Hub
from datacollect.http.pages import ApiDescription, pages_router
from datacollect.http.proxy import ClientAddress, trust_rule
from datacollect.kernel.clock import Clock, SystemClock
from datacollect.settings import Settings

_SLICES = ("health", "tenants", "users", "auth", "entities", "duplicates", "sync")


def _optional(module: str, name: str) -> Any:
    # INTERIM, until all slices are there: then plain imports.
    parts = module.split(".")
    for count in range(2, len(parts) + 1):
        if importlib.util.find_spec(".".join(parts[:count])) is None:
            return None
    return getattr(importlib.import_module(module), name, None)


def create_app(settings: Settings, *, clock: Clock | None = None) -> FastAPI:
    """Put a hub together. Nothing is opened or changed before its lifespan begins."""
    clock = clock or SystemClock()
    database = open_database(settings.database_url, data_dir=settings.data_dir, pool_size=settings.db_pool_size)
    log = EventLog(_event_store(database), [EntityProjection()], clock)
    tenants = CachedTenantDirectory(database, clock)
    make_auth = _optional("datacollect.features.auth.service", "TokenAuthenticator")
    auth = make_auth(database, clock, settings) if make_auth else None
    hub = Hub(settings=settings, clock=clock, db=database, log=log, tenants=tenants, auth=auth)  # type: ignore[arg-type]

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await prepare(hub)
            yield
        finally:
            await database.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.hub = hub
    install_error_handlers(app)
    _add_middleware(app, settings)
    for name in _SLICES:
        feature: Feature | None = _optional(f"datacollect.features.{name}.feature", "FEATURE")
        if feature and feature.router:
            app.include_router(feature.router)
    app.include_router(pages_router(ApiDescription(app)))
    return app


async def prepare(hub: Hub) -> None:
    """What must be there before the first request: the schema and an administrator. Harmless when they are."""
    await migrate(hub.db)
    settings = hub.settings
    if settings.admin_email and settings.admin_password:
        async with hub.db.transaction() as tx:
            await ensure_first_admin(
                tx,
                email=settings.admin_email,
                password=settings.admin_password.get_secret_value(),
                now=hub.clock.now(),
            )


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """From the inside out: each one sees what the ones before it do."""
    app.add_middleware(RequestGuard, development=settings.development)
    app.add_middleware(Cors, origins=parse_origins(settings.cors_origins))
    app.add_middleware(RequestFrame)
    trusted = trust_rule(settings.trust_proxy)
    if trusted is not None:
        app.add_middleware(ClientAddress, trusted=trusted)


def _event_store(database: Database) -> EventStore:
    if database.dialect == "sqlite":
        from datacollect.eventstore.sqlite import SqliteEventStore

        return SqliteEventStore()
    from datacollect.eventstore.postgres import PostgresEventStore

    return PostgresEventStore()
