"""A program that exchanges with another system."""

from collections.abc import AsyncIterator

import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from tests.features.external.exchanging import Exchange, another_system, make_exchange


@pytest.fixture
async def exchange(admin: AsyncClient, hub: Hub) -> AsyncIterator[Exchange]:
    with another_system() as (url, _):
        yield await make_exchange(admin, hub, url)
