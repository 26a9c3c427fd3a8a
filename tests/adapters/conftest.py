"""Adapters against fakes of their systems, over real sockets."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from datacollect.adapters import mock
from datacollect.adapters.kinds import Context
from datacollect.adapters.mock import MockAdapter
from datacollect.kernel.clock import SystemClock
from datacollect.outgoing import GuardedClient, Rules
from datacollect.testing.mock_registry import MockRegistry
from datacollect.testing.openspp_v2 import OpenSppV2Registry
from datacollect.testing.remote import RemoteSystem
from tests.adapters.openspp_v2 import World


@pytest.fixture
async def context() -> AsyncIterator[Context]:
    """What adapters are made with, where this machine may be called."""
    client = GuardedClient(Rules(allow_private=True))
    yield Context(client=client, clock=SystemClock())
    await client.aclose()


class Micros:
    """The registry's clock: a millisecond later each time it is asked, unless it is held."""

    def __init__(self) -> None:
        self.now = 1_790_000_000_000_000
        self.step = 1000

    def __call__(self) -> int:
        self.now += self.step
        return self.now


@pytest.fixture
def micros() -> Micros:
    return Micros()


@pytest.fixture
def registry() -> Iterator[MockRegistry]:
    registry = MockRegistry(client_id="hub", client_secret="s3cret-of-the-hub")
    yield registry
    registry.close()


@pytest.fixture
def system(registry: MockRegistry) -> Iterator[RemoteSystem]:
    with RemoteSystem(registry.handle) as system:
        yield system


@pytest.fixture
def mock_adapter(system: RemoteSystem, context: Context) -> Callable[..., MockAdapter]:
    """A new one, with changed options."""

    def make(**options: Any) -> MockAdapter:
        settings = {"url": f"{system.url}/", "clientId": "hub", "clientSecret": "s3cret-of-the-hub", **options}
        adapter = mock.KIND.create(mock.KIND.options.model_validate(settings), context)
        assert isinstance(adapter, MockAdapter)
        return adapter

    return make


@pytest.fixture
def openspp(context: Context) -> Iterator[World]:
    with OpenSppV2Registry() as registry:
        world = World(registry, context)
        registry.now = lambda: world.time
        world.context = replace(context, clock=world)
        yield world
        assert registry.refused == []
