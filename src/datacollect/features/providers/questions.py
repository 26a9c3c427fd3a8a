"""Lines of questions to providers. Anybody can make up tokens and codes, so the line for one has an end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from datacollect.features.providers.errors import ProviderUnavailable

RETRY_SECONDS = "10"

_MOST_QUESTIONS = 4
"""At once, to one endpoint, about what only the provider can read."""

_MOST_WAITING = 32
"""For a place to ask; more are told to come again."""


@dataclass(slots=True)
class _Places:
    """Questions to one endpoint: under way, and waiting."""

    taken: int = 0
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MOST_QUESTIONS))


class Questions:
    """Who may ask now. One per process."""

    def __init__(self) -> None:
        self._asking: dict[str, _Places] = {}

    @contextlib.asynccontextmanager
    async def to(self, endpoint: str) -> AsyncIterator[None]:
        """A place to ask. Raises `ProviderUnavailable` when too many wait for one."""
        places = self._asking.setdefault(endpoint, _Places())
        if places.taken >= _MOST_QUESTIONS + _MOST_WAITING:
            raise ProviderUnavailable(headers={"Retry-After": RETRY_SECONDS})
        places.taken += 1
        try:
            async with places.turns:
                yield
        finally:
            places.taken -= 1
            if not places.taken:
                del self._asking[endpoint]
