"""Work that follows the logs beside the requests of the process."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any


class Beside:
    """One task, which is there while there is something to do. It is cut off when the block of `running` ends."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """`work` ends when nothing is left, and is called again when there is something."""
        self.is_running = False
        self._work = work
        self._task: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.is_running = True
        try:
            yield
        finally:
            self.is_running = False
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])

    def wake(self) -> None:
        """There is something to do."""
        if self.is_running and (self._task is None or self._task.done()):
            # In a context of its own: it is not the work of the request that happened to start it.
            self._task = asyncio.get_running_loop().create_task(self._work(), context=contextvars.Context())
