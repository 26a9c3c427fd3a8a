"""Look-ups that a test holds back at their end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from datacollect.db import Database, Reading


class GatedDatabase:
    """A database whose glances have read, and do not come back before they are let go."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.has_read = asyncio.Event()
        self.may_go = asyncio.Event()
        self.glances = 0

    async def until_glances(self, count: int) -> None:
        async with asyncio.timeout(20):
            while self.glances < count:  # noqa: ASYNC110
                await asyncio.sleep(0)

    @contextlib.asynccontextmanager
    async def glancing(self, within: Any = None) -> AsyncIterator[Reading]:
        self.glances += 1
        async with self._database.glancing(within) as view:
            yield view
            self.has_read.set()
            await self.may_go.wait()
