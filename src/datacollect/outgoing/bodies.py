"""Reads the body of an answer, never holding more of it than was allowed."""

import zlib
from collections.abc import AsyncIterator, Mapping

from datacollect.outgoing.errors import UpstreamTooLarge, UpstreamUnreadable

ACCEPTED = "gzip"


async def read_body(chunks: AsyncIterator[bytes], headers: Mapping[str, str], max_bytes: int) -> bytes:
    """`max_bytes` counts what comes out of the decompression, and as much is taken in at most."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise UpstreamUnreadable
    body = _Gzip(max_bytes) if encoding.endswith("gzip") else _Plain(max_bytes)
    async for chunk in chunks:
        body.add(chunk)
    return body.finish()


class _Plain:
    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._parts: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0:
            raise UpstreamTooLarge
        self._parts.append(chunk)

    def finish(self) -> bytes:
        return b"".join(self._parts)


class _Gzip(_Plain):
    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self._taken = _Plain(max_bytes)
        self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self._begun = False

    def add(self, chunk: bytes) -> None:
        self._begun = True
        try:
            # One byte more than is allowed is enough to know that it is too much.
            part = self._inflate.decompress(chunk, self._left + 1)
        except zlib.error:
            raise UpstreamUnreadable from None
        super().add(part)
        if self._inflate.unused_data:
            raise UpstreamUnreadable

    def finish(self) -> bytes:
        # Answers without a body (to HEAD, say) may name an encoding all the same.
        if self._begun and not self._inflate.eof:
            raise UpstreamUnreadable
        return super().finish()
