"""Where bodies are received: a file each, gone when its block ends, and after a crash at the next start."""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path

from datacollect.objects.errors import SpoolTooLarge, StorageFull, StorageUnavailable
from datacollect.objects.port import Spooled
from datacollect.objects.reading import PIECE_BYTES
from datacollect.objects.threads import in_thread

_SUFFIX = ".part"
_LOOKED_EVERY_BYTES = 1024 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Incoming:
    """A body being received: written to its file, hashed and counted, a piece at a time."""

    def __init__(self, path: Path, descriptor: int, most_bytes: int, reserve_bytes: int) -> None:
        self.path = path
        self.size_bytes = 0
        self._descriptor = descriptor
        self._most_bytes = most_bytes
        self._reserve_bytes = reserve_bytes
        self._unlooked_bytes = 0
        self._hash = hashlib.sha256()
        self._pending: list[bytes | memoryview] = []
        self._pending_bytes = 0

    async def write(self, data: bytes | memoryview) -> None:
        """`data` stays as it is: it is not copied. Raises `SpoolTooLarge`, `StorageFull`."""
        self.size_bytes += len(data)
        if self.size_bytes > self._most_bytes:
            raise SpoolTooLarge()
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= PIECE_BYTES:
            await self._flush()

    async def finish(self) -> Spooled:
        """The whole body is there."""
        await self._flush()
        return Spooled(self.path, self._hash.hexdigest(), self.size_bytes)

    async def _flush(self) -> None:
        pieces, self._pending, self._pending_bytes = self._pending, [], 0
        if pieces:
            await in_thread(partial(self._store, pieces))

    def _store(self, pieces: Sequence[bytes | memoryview]) -> None:
        for piece in pieces:
            self._hash.update(piece)
            view = memoryview(piece)
            with failing():
                while view:
                    view = view[os.write(self._descriptor, view) :]
            self._unlooked_bytes += len(piece)
        if self._unlooked_bytes >= _LOOKED_EVERY_BYTES:
            self._unlooked_bytes = 0
            # Others write as well: what was free when it began may be gone.
            _require_room(self.path.parent, self._reserve_bytes)


class Spool:
    """A folder for bodies on their way. It may be shared by all processes of a machine."""

    def __init__(self, folder: Path, *, reserve_bytes: int = 64 * 1024 * 1024) -> None:
        """`reserve_bytes` of the disk are left to others, less the few that go until it is looked at again: the database may
        be on it."""
        self._folder = folder
        self._reserve_bytes = reserve_bytes

    @contextlib.asynccontextmanager
    async def receiving(self, *, most_bytes: int) -> AsyncIterator[Incoming]:
        """A place for a body of up to so many bytes. Raises `StorageFull`, `StorageUnavailable`."""
        begun = await in_thread(self._begin, undo=_end)
        try:
            yield Incoming(*begun, most_bytes, self._reserve_bytes)
        finally:
            # At once, also for somebody who is being cancelled: it takes no longer than handing it to a thread.
            _end(begun)

    async def clean(self) -> int:
        """Remove what processes that are gone have left behind. How many files that were."""
        return await asyncio.to_thread(self._clean)

    def _begin(self) -> tuple[Path, int]:
        with failing():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _require_room(self._folder, self._reserve_bytes)
            while True:
                path = self._folder / f"{secrets.token_hex(16)}{_SUFFIX}"
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                # Held as long as this process lives: by it `clean` knows what is left behind.
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if path.exists():
                    return path, descriptor
                # Cleaned away between the two.
                os.close(descriptor)

    def _clean(self) -> int:
        removed = 0
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                    removed += 1
                finally:
                    os.close(descriptor)
        return removed


def _require_room(folder: Path, reserve_bytes: int) -> None:
    """Raises `StorageFull` unless so much of the disk is free."""
    with failing():
        if shutil.disk_usage(folder).free < reserve_bytes:
            raise StorageFull()


def _end(begun: tuple[Path, int]) -> None:
    path, descriptor = begun
    path.unlink(missing_ok=True)
    os.close(descriptor)


@contextlib.contextmanager
def failing() -> Iterator[None]:
    """Failures of the file system as ours."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StorageFull() from error
        raise StorageUnavailable() from error
