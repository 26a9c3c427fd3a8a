"""Reading an object: piece by piece, and never as whole what is not what was stored."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Self

from datacollect.objects.errors import ObjectDamaged

PIECE_BYTES = 64 * 1024
"""At most, of what is held of an object that is read or received."""


class Opened:
    """An object's bytes. To be closed, whether they were read or not."""

    def __init__(self, pieces: AsyncGenerator[bytes]) -> None:
        self._pieces = pieces
        self._first: bytes | None = None

    @classmethod
    async def begun(cls, pieces: AsyncGenerator[bytes]) -> Self:
        """With the first piece in hand: what is wrong with a small object is raised here, and not when it is read."""
        opened = cls(pieces)
        try:
            opened._first = await anext(pieces, b"")
        except BaseException:
            await pieces.aclose()
            raise
        return opened

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Once only."""
        if self._first:
            first, self._first = self._first, None
            yield first
        async for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        self._first = None
        await self._pieces.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


async def checked(pieces: AsyncGenerator[bytes], *, count: int, digest: str | None = None) -> AsyncGenerator[bytes]:
    """The pieces, if they are `count` bytes and have the hash. The last one is given when that is known."""
    hashing = hashlib.sha256() if digest else None
    held: bytes | None = None
    try:
        async for piece in pieces:
            if held:
                yield held
            held = piece
            count -= len(piece)
            if count < 0:
                raise ObjectDamaged()
            if hashing is not None:
                # Half a millisecond at most: a thread would cost others as much.
                hashing.update(piece)
        if count or (hashing is not None and hashing.hexdigest() != digest):
            raise ObjectDamaged()
        if held:
            yield held
    finally:
        await pieces.aclose()


def span(size_bytes: int, start: int, end: int | None) -> tuple[int, int]:
    """The part that is read. Raises `ValueError` for one that is not in the object."""
    last = size_bytes if end is None else end
    if not 0 <= start <= last <= size_bytes:
        raise ValueError(f"no part of {size_bytes} bytes: {start} to {last}")
    return start, last
