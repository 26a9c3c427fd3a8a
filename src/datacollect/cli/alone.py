"""The lock by which one hub at a time works in a data folder. Commands that must not run beside a hub take it too."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from datacollect.kernel.errors import StartupError
from datacollect.settings import Settings


@contextlib.contextmanager
def alone_in(settings: Settings) -> Iterator[None]:
    """Hold the data folder's lock while serving on SQLite: two processes would not see each other's writes in time."""
    if settings.database_url is not None:
        yield
        return
    path = settings.data_dir / "serve.lock"
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise StartupError(
            f"DATA_DIR {settings.data_dir} cannot be written ({error.strerror}). Make it writable or set DATA_DIR."
        ) from error
    with lock:
        _take(lock.fileno(), path)
        yield


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StartupError(
            f"Another hub already serves from {path.parent}. Stop it first; a second hub needs a DATA_DIR of its own."
        ) from error
