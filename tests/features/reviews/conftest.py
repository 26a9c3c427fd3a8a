import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from tests.features.reviews.world import World, make_world


@pytest.fixture
async def world(hub: Hub, admin: AsyncClient, client: AsyncClient) -> World:
    return await make_world(hub, admin, client)
