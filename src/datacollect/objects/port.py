"""What a store of objects does. `datacollect.testing.objects` has the suite that every one passes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from datacollect.objects.names import ObjectKey
from datacollect.objects.reading import Opened


@dataclass(frozen=True, slots=True)
class Spooled:
    """A body that has been received whole, in a file that is there as long as its spool's block lasts."""

    path: Path
    digest: str
    """SHA-256 of what is in the file, as lower-case hex."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Listed:
    """Something that is in a store, as it calls it. `key` is None for what no hub has put there."""

    name: str
    key: ObjectKey | None
    size_bytes: int


class ObjectStore(Protocol):
    """Bytes under names that are written once. All methods raise `StorageUnavailable` when the store is away."""

    async def put(self, key: ObjectKey, spooled: Spooled) -> None:
        """Store a copy; when this returns, it outlives the machine's power. Nobody ever sees a part of it.

        The spooled file is left as it is. Harmless when it is there already. Raises `StorageFull`.
        """

    async def open(self, key: ObjectKey, size_bytes: int, *, start: int = 0, end: int | None = None) -> Opened:
        """Begin to read the bytes from `start` to before `end`; the object has `size_bytes`.

        Raises `ObjectMissing`, or `ObjectDamaged` for another size, before there is anything to read. Read whole or to
        the object's end, for which it is read from its beginning, the bytes are checked against the hash, and the last of
        them are held back until that is done: what is damaged breaks off with `ObjectDamaged`.
        """

    async def stat(self, key: ObjectKey) -> int | None:
        """How many bytes there are; None when there is no such object."""

    async def delete(self, key: ObjectKey) -> None:
        """Harmless when it is gone."""

    async def delete_folder(self, folder: str, *, before_each: Callable[[], Awaitable[object]]) -> int:
        """Delete all objects of a folder, and what else was put there by a hub, some at a time. How many there were.

        What goes next is listed before `before_each` is awaited, and nothing else goes after it: who raises there, because
        the folder may be another's by now, keeps what that one has put into it.
        """

    async def folders(self) -> Sequence[str]:
        """All there are, in order. A program's is `tenant_folder`."""

    def list(self, folder: str) -> AsyncIterator[Listed]:
        """What is in a folder, in order of names where the store has one."""

    async def health(self) -> None:
        """Raises `StorageUnavailable` unless objects could be read."""

    async def aclose(self) -> None: ...
