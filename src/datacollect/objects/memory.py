"""Objects in memory, for tests: they end with the process."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

from datacollect.objects.errors import ObjectDamaged, ObjectMissing, StorageUnavailable
from datacollect.objects.names import ObjectKey
from datacollect.objects.port import Listed, Spooled
from datacollect.objects.reading import PIECE_BYTES, Opened, checked, span_of
from datacollect.objects.threads import in_thread


class MemoryStore:
    """Implements `ObjectStore`."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, bytes] = {}
        """Tests may take away or change what is in here."""
        self.is_away = False

    async def put(self, key: ObjectKey, spooled: Spooled) -> None:
        self._require()
        content = await in_thread(partial(spooled.path.read_bytes))
        self.objects.setdefault(key, content)

    async def open(self, key: ObjectKey, size_bytes: int, *, start: int = 0, end: int | None = None) -> Opened:
        self._require()
        span = span_of(size_bytes, start, end)
        content = self.objects.get(key)
        if content is None:
            raise ObjectMissing()
        if len(content) != size_bytes:
            raise ObjectDamaged()
        return await Opened.begun(checked(_pieces(content, span.begin, span.end), span, key.digest))

    async def stat(self, key: ObjectKey) -> int | None:
        self._require()
        content = self.objects.get(key)
        return None if content is None else len(content)

    async def delete(self, key: ObjectKey) -> None:
        self._require()
        self.objects.pop(key, None)

    async def delete_folder(self, folder: str, *, before_each: Callable[[], Awaitable[object]]) -> int:
        self._require()
        keys = [key for key in self.objects if key.folder == folder]
        if keys:
            await before_each()
        for key in keys:
            self.objects.pop(key, None)
        return len(keys)

    async def folders(self) -> Sequence[str]:
        self._require()
        return sorted({key.folder for key in self.objects})

    async def list(self, folder: str) -> AsyncIterator[Listed]:
        self._require()
        for key in sorted((key for key in self.objects if key.folder == folder), key=lambda key: key.name):
            yield Listed(key.name, key, len(self.objects[key]))

    async def health(self) -> None:
        self._require()

    async def aclose(self) -> None:
        pass

    def _require(self) -> None:
        if self.is_away:
            raise StorageUnavailable()


async def _pieces(content: bytes, start: int, end: int) -> AsyncGenerator[bytes]:
    for begin in range(start, end, PIECE_BYTES):
        yield content[begin : min(begin + PIECE_BYTES, end)]
