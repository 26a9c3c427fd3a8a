import pytest
from httpx2 import AsyncClient

from tests.features.reviews.world import World, make_world


@pytest.fixture
async def world(admin: AsyncClient, client: AsyncClient) -> World:
    return await make_world(admin, client)
