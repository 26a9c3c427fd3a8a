"""A hub of its own settings, on SQLite, for tests of the edge: no engine makes a difference there."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.app import create_app
from datacollect.settings import Settings
from tests.client import HubClient
from tests.conftest import Migrated

OpenHub = Callable[..., AbstractAsyncContextManager[AsyncClient]]


@pytest.fixture
async def folder(
    request: pytest.FixtureRequest, anyio_backend: str, migrated_once: Migrated, tmp_path: Path
) -> AsyncIterator[Path]:
    """With a database of an up-to-date schema."""
    async with migrated_once.database("sqlite", request, tmp_path):
        yield tmp_path


@pytest.fixture
def open_hub(folder: Path) -> OpenHub:
    """`async with open_hub(extend, CORS_ORIGINS="*") as client`: `extend(app)` may add routes to call."""

    @contextlib.asynccontextmanager
    async def opened(extend: Callable[[FastAPI], None] | None = None, **values: object) -> AsyncIterator[AsyncClient]:
        app = create_app(Settings(_env_file=None, DATA_DIR=folder, **values))  # type: ignore[arg-type]
        if extend is not None:
            extend(app)
        async with app.router.lifespan_context(app), HubClient(app) as client:
            yield client

    return opened
