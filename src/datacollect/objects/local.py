"""Objects in a folder of this machine."""

import contextlib
import errno
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from datacollect.objects.errors import ObjectDamaged, ObjectMissing, StorageUnavailable
from datacollect.objects.names import ObjectKey, is_folder, read_name
from datacollect.objects.port import Listed, Spooled
from datacollect.objects.reading import PIECE_BYTES, Opened, checked, span_of
from datacollect.objects.spool import failing
from datacollect.objects.threads import in_thread

_COPYING = ".copying"
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
_GONE = (FileNotFoundError, NotADirectoryError)
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)
_SHELVES_AT_ONCE = 8


class LocalStore:
    """Implements `ObjectStore`. Nothing outside of the folder is ever touched: names are hashes (`names`)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, key: ObjectKey, spooled: Spooled) -> None:
        await in_thread(partial(self._put, key, spooled))

    async def open(self, key: ObjectKey, size_bytes: int, *, start: int = 0, end: int | None = None) -> Opened:
        span = span_of(size_bytes, start, end)
        descriptor = await in_thread(partial(self._open, key, size_bytes), undo=os.close)
        return await Opened.begun(checked(_pieces(descriptor, span.begin, span.end), span, key.digest))

    async def stat(self, key: ObjectKey) -> int | None:
        return await in_thread(partial(self._stat, key))

    async def delete(self, key: ObjectKey) -> None:
        await in_thread(partial(self._delete, key))

    async def delete_folder(self, folder: str, *, before_each: Callable[[], Awaitable[object]]) -> int:
        count = 0
        if not is_folder(folder):
            return count
        inside = self._folder / folder
        names = await in_thread(partial(_names, inside))
        for first in range(0, len(names), _SHELVES_AT_ONCE):
            shelves = [inside / name for name in names[first : first + _SHELVES_AT_ONCE]]
            found = await in_thread(partial(_everything_in, shelves))
            await before_each()
            await in_thread(partial(_delete_each, found))
            count += sum(read_name(folder, path.relative_to(inside).as_posix()) is not None for path in found)
        await in_thread(partial(_delete_each, [inside]))
        return count

    async def folders(self) -> Sequence[str]:
        return await in_thread(self._folders)

    async def list(self, folder: str) -> AsyncIterator[Listed]:
        inside = self._folder / folder
        for shelf in await in_thread(partial(_names, inside)):
            listed = await in_thread(partial(_listed, folder, inside, shelf))
            for item in listed:
                yield item

    async def health(self) -> None:
        await in_thread(self._check)

    async def aclose(self) -> None:
        pass

    # -- in a thread

    def _put(self, key: ObjectKey, spooled: Spooled) -> None:
        target = self._folder / key.path
        with failing():
            _sync_file(spooled.path)
            self._make_shelf(target.parent)
            try:
                # Under its name all at once, and never in the place of another.
                os.link(spooled.path, target, follow_symlinks=False)
            except FileExistsError:
                pass
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                _copy(spooled.path, target)
            if target.stat(follow_symlinks=False).st_size != spooled.size_bytes:
                raise StorageUnavailable()
            _sync_folder(target.parent)

    def _make_shelf(self, shelf: Path) -> None:
        """The folder, and those it is in, each of them on disk."""
        missing = []
        while not shelf.is_dir():
            missing.append(shelf)
            shelf = shelf.parent
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(folder.parent)

    def _open(self, key: ObjectKey, size_bytes: int) -> int:
        with failing():
            try:
                descriptor = os.open(self._folder / key.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except _GONE:
                raise ObjectMissing() from None
            if os.fstat(descriptor).st_size != size_bytes:
                os.close(descriptor)
                raise ObjectDamaged()
            return descriptor

    def _stat(self, key: ObjectKey) -> int | None:
        with failing():
            try:
                return (self._folder / key.path).stat(follow_symlinks=False).st_size
            except _GONE:
                return None

    def _delete(self, key: ObjectKey) -> None:
        target = self._folder / key.path
        with failing():
            for file in (target, target.with_name(target.name + _COPYING)):
                with contextlib.suppress(*_GONE):
                    file.unlink()

    def _folders(self) -> Sequence[str]:
        return [name for name in _names(self._folder) if is_folder(name) and (self._folder / name).is_dir()]

    def _check(self) -> None:
        with failing():
            # Before the first attachment there is no such folder, and that is well.
            with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
                next(entries, None)


def _everything_in(shelves: Sequence[Path]) -> Sequence[Path]:
    """What is there now: files and links, and each folder behind what it holds."""
    found: list[Path] = []
    with failing():
        for shelf in shelves:
            if not shelf.is_symlink():
                for at, folders, files in os.walk(shelf, topdown=False, onerror=_raise_unless_gone):
                    found += [Path(at, name) for name in (*files, *folders)]
            found.append(shelf)
    return found


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, _GONE):
        raise error


def _delete_each(paths: Sequence[Path]) -> None:
    """Of folders those that are empty: another program may have the place by now."""
    with failing():
        for path in paths:
            try:
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                else:
                    path.unlink()
            except _GONE:
                continue
            except OSError as error:
                if error.errno not in _NOT_EMPTY:
                    raise


async def _pieces(descriptor: int, start: int, end: int) -> AsyncGenerator[bytes]:
    try:
        while start < end:
            with failing():
                piece = await in_thread(partial(os.pread, descriptor, min(PIECE_BYTES, end - start), start))
            if not piece:
                return
            start += len(piece)
            yield piece
    finally:
        os.close(descriptor)


def _copy(source: Path, target: Path) -> None:
    """Where the file system has no links, or the spool is on another."""
    part = target.with_name(target.name + _COPYING)
    try:
        shutil.copyfile(source, part)
        part.chmod(0o600)
        _sync_file(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_sync_folder = _sync_file


def _names(folder: Path) -> Sequence[str]:
    with failing():
        try:
            return sorted(entry.name for entry in folder.iterdir())
        except _GONE:
            return []


def _listed(folder: str, inside: Path, shelf: str) -> Sequence[Listed]:
    return [] if not (inside / shelf).exists() else list(_items(folder, inside, shelf))


def _items(folder: str, inside: Path, shelf: str) -> Iterator[Listed]:
    at = inside / shelf
    files = [at / name for name in _names(at)] if at.is_dir() else [at]
    for file in files:
        if file.name.endswith(_COPYING):
            continue  # being written; it is deleted with its object
        with failing():
            try:
                found = file.stat(follow_symlinks=False)
            except _GONE:
                continue
        name = file.relative_to(inside).as_posix()
        yield Listed(name, read_name(folder, name), found.st_size)
