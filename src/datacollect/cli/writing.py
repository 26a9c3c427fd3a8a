"""The files that commands write."""

import contextlib
import os
import secrets
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from datacollect.cli.failures import OutputFailed


@contextlib.contextmanager
def written(name: str, *, is_secret: bool) -> Iterator[IO[bytes]]:
    """A file that appears under its name when it is whole; what is secret is for its owner only. Raises `OutputFailed`.

    Only a plain file is replaced. A link is followed, and a device or a pipe is written to: `/dev/stdout` is both.
    """
    target = Path(name)
    if not target.name:
        raise OutputFailed(f"{name or 'A file without a name'} cannot be written.")
    with failing(name):
        former = _mode_of(target)
        if former is None or stat.S_ISREG(former):
            with ending_tidily(), _replacing(target, 0o600 if is_secret else former) as file:
                yield file
        else:
            with _opened(target, is_secret=is_secret) as file:
                yield file


@contextlib.contextmanager
def failing(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFailed(f"{name} cannot be written ({error.strerror}).") from error


@contextlib.contextmanager
def ending_tidily() -> Iterator[None]:
    """Let SIGTERM end the block as an error does, so that it takes away what is not whole. A second one ends it at once."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)  # as a shell tells of it


def _mode_of(target: Path) -> int | None:
    try:
        return target.lstat().st_mode
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _replacing(target: Path, mode: int | None) -> Iterator[IO[bytes]]:
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, stat.S_IMODE(mode))
            yield file
            file.flush()
            os.fsync(descriptor)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(target: Path, *, is_secret: bool) -> Iterator[IO[bytes]]:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600 if is_secret else 0o666)
    with os.fdopen(descriptor, "wb") as file:
        if is_secret and stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)
        yield file
