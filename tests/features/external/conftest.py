"""A program that exchanges with another system."""

from collections.abc import AsyncIterator

import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
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
