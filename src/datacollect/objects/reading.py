"""Reading an object: piece by piece, and never as whole what is not what was stored."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Span:
    """Which bytes of an object are read: for a part that reaches the object's end all those in front of it too.

    Who has got a part of a damaged object would else put it together from parts, none of which was looked at.
    """

    begin: int
    end: int
    skipped: int
    """How many of the first ones are not asked for."""
    is_checked: bool

    @property
    def count(self) -> int:
        return self.end - self.begin


async def checked(pieces: AsyncGenerator[bytes], span: Span, digest: str) -> AsyncGenerator[bytes]:
    """What is asked for of the pieces, if they are as many bytes and have the hash. The last one is given when that is
    known."""
    hashing = hashlib.sha256() if span.is_checked else None
    count, skipped = span.count, span.skipped
    held: bytes | None = None
    try:
        async for piece in pieces:
            if held:
                yield held
                held = None
            count -= len(piece)
            if count < 0:
                raise ObjectDamaged()
            if hashing is not None:
                # Half a millisecond at most: a thread would cost others as much.
                hashing.update(piece)
            held = piece[skipped:]
            skipped = max(0, skipped - len(piece))
        if count or (hashing is not None and hashing.hexdigest() != digest):
            raise ObjectDamaged()
        if held:
            yield held
    finally:
        await pieces.aclose()


def span_of(size_bytes: int, start: int, end: int | None) -> Span:
    """What is read for a part. Raises `ValueError` for one that is not in the object."""
    last = size_bytes if end is None else end
    if not 0 <= start <= last <= size_bytes:
        raise ValueError(f"no part of {size_bytes} bytes: {start} to {last}")
    is_checked = start < last == size_bytes
    begin = 0 if is_checked else start
    return Span(begin, last, start - begin, is_checked)
