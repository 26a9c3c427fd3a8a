"""Bodies that come compressed (`Content-Encoding`): phones save air time with it.

One encoding, gzip or deflate. Inflated piece by piece, so that a small body which stands for a huge one is noticed
before it has grown, and so that other requests are served in between.
"""

import zlib

from datacollect.kernel.errors import InvalidRequest, PayloadTooLarge, UnsupportedMedia

PIECE_BYTES = 256 * 1024
"""What is inflated at a time: about a millisecond of work."""

MOST_TIMES = 100
FREE_BYTES = 1024 * 1024
"""A body may grow to `MOST_TIMES` its size; up to `FREE_BYTES` it may grow as it likes. Events shrink to a tenth."""

_WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


class UnsupportedEncoding(UnsupportedMedia):
    """The body's Content-Encoding is not understood here."""

    code = "UNSUPPORTED_ENCODING"
    help = "Send the body as it is, or compressed once with gzip or deflate."

    def __init__(self) -> None:
        super().__init__(headers={"Accept-Encoding": "gzip, deflate"})


class NotDecompressible(InvalidRequest):
    """The body is not what its Content-Encoding says, or not all of it."""

    code = "BODY_NOT_DECOMPRESSIBLE"
    help = "Compress the body anew and send all of it, with nothing behind it."


class InflatesTooMuch(PayloadTooLarge):
    """The body grows too much when it is decompressed."""

    code = "BODY_INFLATES_TOO_MUCH"
    help = f"Send what inflates to more than {MOST_TIMES} times its size as it is, or in smaller parts."


def inflater_for(encodings: list[bytes]) -> "Inflater | None":
    """For the values of all `Content-Encoding` headers; None when the body is sent as it is.

    Raises `UnsupportedEncoding`, also for several encodings on top of each other.
    """
    named = [name for value in encodings for part in value.split(b",") if (name := part.strip().lower())]
    named = [name for name in named if name != b"identity"]
    if not named:
        return None
    if len(named) > 1 or named[0] not in _WINDOW_BITS:
        raise UnsupportedEncoding()
    return Inflater(_WINDOW_BITS[named[0]])


class Inflater:
    """Takes what arrives and gives what it stands for, a piece at a time."""

    def __init__(self, window_bits: int) -> None:
        self._stream = zlib.decompressobj(window_bits)
        self._taken = 0
        self._given = 0
        self._waiting = b""

    def take(self, data: bytes) -> None:
        """More of the body. Only when `give` has nothing left."""
        self._taken += len(data)
        self._waiting = data

    def give(self) -> bytes:
        """The next piece; empty when more must arrive first. Raises `NotDecompressible` or `InflatesTooMuch`."""
        try:
            piece = self._stream.decompress(self._waiting, PIECE_BYTES)
        except zlib.error:
            raise NotDecompressible() from None
        self._waiting = self._stream.unconsumed_tail
        self._given += len(piece)
        if self._stream.unused_data:
            raise NotDecompressible()
        if self._given > max(FREE_BYTES, MOST_TIMES * self._taken):
            raise InflatesTooMuch()
        return piece

    def finish(self) -> None:
        """Nothing more will arrive. Raises `NotDecompressible` if something is missing; no body at all is fine."""
        if self._taken and not self._stream.eof:
            raise NotDecompressible()
