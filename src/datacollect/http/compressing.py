"""Answers that go out compressed (`Accept-Encoding`): phones save air time with it.

gzip, because that is what field clients offer. A body is put together from pieces, of which some are compressed already;
`docs/decisions/0052-sealed-segments.md` has what each costs.
"""

import struct
from collections.abc import Iterable

from isal import isal_zlib

LEAST_BYTES = 1024
"""Smaller bodies go out as they are: the head of an answer is as long."""

AT_ONCE_BYTES = 1024 * 1024
"""More than this is compressed in a thread: less takes under a millisecond."""

_LEVEL = 1
_RAW = -15
_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK = b"\x03\x00"


def takes_gzip(values: Iterable[str]) -> bool:
    """Whether the client would rather have gzip than the body as it is. `values` of all `Accept-Encoding` headers."""
    wanted: dict[str, float] = {}
    for part in ",".join(values).split(","):
        name, _, parameters = part.strip().lower().partition(";")
        if name.strip():
            wanted[name.strip().removeprefix("x-")] = _quality(parameters)
    gzip = wanted.get("gzip", wanted.get("*", 0.0))
    return gzip > 0 and gzip >= wanted.get("identity", 0.0)


def _quality(parameters: str) -> float:
    name, _, value = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


class GzipBody:
    """One gzip member made of pieces: of plain bytes, and of such as are deflated already.

    A deflated piece ends on a byte, is not the last of its stream and looks back at nothing before it.
    """

    def __init__(self) -> None:
        self._pieces = [_HEAD]
        self._plain: list[bytes] = []
        self._checksum = 0
        self._size = 0

    def add(self, data: bytes) -> None:
        self._plain.append(data)

    def add_deflated(self, piece: bytes, *, checksum: int, size: int) -> None:
        """`checksum` is the CRC-32 of the `size` bytes the piece stands for."""
        self._deflate_plain()
        self._append(piece, checksum, size)

    def finish(self) -> bytes:
        self._deflate_plain()
        return b"".join([*self._pieces, _LAST_BLOCK, struct.pack("<II", self._checksum, self._size & 0xFFFFFFFF)])

    def _deflate_plain(self) -> None:
        if not self._plain:
            return
        data = b"".join(self._plain)
        self._plain.clear()
        stream = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW)
        piece = stream.compress(data) + stream.flush(isal_zlib.Z_FULL_FLUSH)
        self._append(piece, isal_zlib.crc32(data), len(data))

    def _append(self, piece: bytes, checksum: int, size: int) -> None:
        self._pieces.append(piece)
        self._checksum = isal_zlib.crc32_combine(self._checksum, checksum, size)
        self._size += size
