"""A store as requests may use it: one that stands still holds no more of them than their share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from datacollect.objects.errors import StorageUnavailable
from datacollect.objects.names import ObjectKey
from datacollect.objects.port import Listed, ObjectStore, Spooled
from datacollect.objects.reading import Opened

PATIENCE_SECONDS = 20.0
SHARE = 8
"""This part of the requests that a hub works on may be at the store to write, as many to read; of either twice as many wait:
three quarters of all."""


class InTurns:
    """Implements `ObjectStore`. Of its calls to write (`put`), and of those to read (`open`, `stat`), so many are under way
    at once and twice as many wait for a while; the others, and who has waited in vain, get `StorageUnavailable`.

    An object that is opened takes no turn any more: it is read as fast as its reader takes it.
    """

    def __init__(self, store: ObjectStore, *, at_once: int, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.store = store
        self._writing = _Turns(at_once, patience_seconds)
        self._reading = _Turns(at_once, patience_seconds)

    async def put(self, key: ObjectKey, spooled: Spooled) -> None:
        async with self._writing.turn():
            await self.store.put(key, spooled)

    async def open(self, key: ObjectKey, size_bytes: int, *, start: int = 0, end: int | None = None) -> Opened:
        async with self._reading.turn():
            return await self.store.open(key, size_bytes, start=start, end=end)

    async def stat(self, key: ObjectKey) -> int | None:
        async with self._reading.turn():
            return await self.store.stat(key)

    async def delete(self, key: ObjectKey) -> None:
        await self.store.delete(key)

    async def delete_folder(self, folder: str, *, before_each: Callable[[], Awaitable[object]]) -> int:
        return await self.store.delete_folder(folder, before_each=before_each)

    async def folders(self) -> Sequence[str]:
        return await self.store.folders()

    def list(self, folder: str) -> AsyncIterator[Listed]:
        return self.store.list(folder)

    async def health(self) -> None:
        await self.store.health()

    async def aclose(self) -> None:
        await self.store.aclose()


class _Turns:
    def __init__(self, at_once: int, patience_seconds: float) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._line = 2 * at_once
        self._patience_seconds = patience_seconds
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        if self._free.locked():
            await self._wait()
        else:
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    async def _wait(self) -> None:
        if self._waiting >= self._line:
            raise StorageUnavailable()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise StorageUnavailable() from None
        finally:
            self._waiting -= 1
