"""Sealed segments: runs of the log, compressed once, from which pages are served without reading their rows.

Nothing behind the head of a log ever changes, so each 500 events of it are kept a second time, as the text in which they
are delivered. Nothing depends on them: what is not sealed is read from the table, and to delete segments is always safe.
They belong to one history of a log (its epoch) and are served for no other, and only as long as the database has them, as
far as it was asked within a second.

A segment is a piece of a deflate stream that ends on a byte and looks back at nothing before it. So it can stand between
other pieces in the body of an answer, and need not be inflated for a client that takes gzip.
"""

import asyncio
import hashlib
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, repeat
from typing import Final, cast

import msgspec
from isal import isal_zlib

from datacollect.kernel.clock import parse_timestamp
from datacollect.kernel.cursor import Cursor

SIZE: Final = 500
"""Events: segment `n` holds the positions from `n * SIZE + 1` to `(n + 1) * SIZE`."""

MOST_TEXT_BYTES = 8 * 1024 * 1024
"""A run whose text is larger is left to the table: to cut ten events out of it would take more than to read them."""

AT_ONCE_BYTES = 1024 * 1024
"""More than this is inflated, compressed and summed in a thread: less takes about two milliseconds."""

_LEVEL = 3
_RAW = -15
_IsalError = cast(type[Exception], isal_zlib.IsalError)  # a class, which its types take for an instance
_LENGTHS = struct.Struct(f"<{SIZE}I")


@dataclass(frozen=True)
class Segment:
    """The events of one run. Not compared or printed by content: it holds people's data."""

    number: int
    packed: bytes
    """The bodies with commas between them, deflated. Empty where they are left to the table."""
    lengths: bytes
    """Of the bodies, in bytes: little-endian, 4 bytes each."""
    checksum: int
    """CRC-32 of the text."""
    digest: bytes
    """Of the text, for entity tags."""
    last: Cursor
    """Names the last event."""

    def __repr__(self) -> str:
        return f"Segment({self.number})"

    @property
    def is_left_to_table(self) -> bool:
        return not self.packed

    @cached_property
    def text(self) -> bytes:
        # One byte more than there should be, so that more is noticed and a thousand times more is not inflated.
        return isal_zlib.decompressobj(_RAW).decompress(self.packed, self.text_bytes + 1)

    @cached_property
    def _begins(self) -> Sequence[int]:
        return [0, *accumulate(length + 1 for length in _LENGTHS.unpack(self.lengths))]

    @property
    def text_bytes(self) -> int:
        return self.size_between(0, SIZE)

    @cached_property
    def size_bytes(self) -> int:
        """About what it takes in memory, inflated."""
        return 1024 if self.is_left_to_table else len(self.packed) + self.text_bytes + 25 * SIZE

    def slice(self, begin: int, most: int, most_bytes: int) -> "Slice":
        """The events from index `begin` on, at most so many, and up to the one that reaches `most_bytes`."""
        end = min(begin + most, SIZE)
        whole = Slice(self, begin, end)
        if whole.body_bytes <= most_bytes:
            return whole
        ends = range(begin + 1, end)
        return Slice(
            self, begin, ends.start + bisect_left(ends, most_bytes, key=lambda at: Slice(self, begin, at).body_bytes)
        )

    def is_sound(self) -> bool:
        """Whether it can be served, under the name that its text has.

        Whether these are the events of the log is `verify`'s to tell.
        """
        return self.can_be_served() and (self.is_left_to_table or digest_of([self.text]) == self.digest)

    def can_be_served(self) -> bool:
        """Whether it can be inflated, is what its checksum says, and can be cut where events end.

        All pulls of what is not remembered wait for this. To make the digest anew would double it, and say no more of the
        text.
        """
        try:
            return self.is_left_to_table or (self._is_as_summed() and self._is_cut_well() and self._names_its_last())
        except (_IsalError, struct.error, TypeError, ValueError):
            return False

    def _is_as_summed(self) -> bool:
        return len(self.text) == self.text_bytes and isal_zlib.crc32(self.text) == self.checksum

    def _is_cut_well(self) -> bool:
        # The lengths have no checksum: one taken for another would deliver halves of events, and skip others.
        between = [begin - 2 for begin in self._begins[1:-1]]
        return self.text.startswith(b"{") and all(map(self.text.startswith, repeat(b"},{"), between))

    def _names_its_last(self) -> bool:
        return Slice(self, 0, SIZE).last_in_text == self.last

    def size_between(self, begin: int, end: int) -> int:
        return self._begins[end] - 1 - self._begins[begin]

    def between(self, begin: int, end: int) -> bytes:
        """The bodies from index `begin` to before `end`, with commas between them."""
        return self.text[self._begins[begin] : self._begins[end] - 1]


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a segment, by index: from `begin` to before `end`."""

    segment: Segment
    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin

    @property
    def is_whole(self) -> bool:
        return self.begin == 0 and self.end == SIZE

    @property
    def size_bytes(self) -> int:
        """Of the text."""
        return self.segment.size_between(self.begin, self.end)

    @property
    def body_bytes(self) -> int:
        """Of the events, without what stands between them."""
        return self.size_bytes - (len(self) - 1)

    @property
    def text(self) -> bytes:
        return self.segment.text if self.is_whole else self.segment.between(self.begin, self.end)

    @property
    def last(self) -> Cursor:
        """Names the last event of the part."""
        return self.segment.last if self.end == SIZE else self.last_in_text

    @property
    def last_in_text(self) -> Cursor:
        named = _named.decode(self.segment.between(self.end - 1, self.end))
        return Cursor(parse_timestamp(named.timestamp), named.guid)


class _Named(msgspec.Struct):
    guid: str
    timestamp: str


_named = msgspec.json.Decoder(_Named)


def seal(number: int, bodies: Sequence[str], last: Cursor, *, most_bytes: int = MOST_TEXT_BYTES) -> Segment:
    """The segment of these events. What would not be sound is left to the table: it would be made anew for ever."""
    encoded = [body.encode() for body in bodies]
    text = b",".join(encoded)
    if len(text) > most_bytes:
        return left_to_table(number, last)
    segment = Segment(
        number=number,
        packed=deflated(text, level=_LEVEL),
        lengths=_LENGTHS.pack(*map(len, encoded)),
        checksum=isal_zlib.crc32(text),
        digest=digest_of([text]),
        last=last,
    )
    return segment if segment.is_sound() else left_to_table(number, last)


async def is_sound(segment: Segment) -> bool:
    """As `Segment.is_sound`; nobody waits for a large one."""
    return await _asked(segment, segment.is_sound)


async def can_be_served(segment: Segment) -> bool:
    """As `Segment.can_be_served`, likewise."""
    return await _asked(segment, segment.can_be_served)


async def _asked(segment: Segment, question: Callable[[], bool]) -> bool:
    if len(segment.lengths) != _LENGTHS.size or segment.text_bytes <= AT_ONCE_BYTES:
        return question()
    return await asyncio.to_thread(question)


def left_to_table(number: int, last: Cursor) -> Segment:
    """In the place of a run that is too large."""
    return Segment(number, b"", b"", 0, b"", last)


def deflated(data: bytes, *, level: int) -> bytes:
    """A piece of a deflate stream, which others may come before and behind."""
    stream = isal_zlib.compressobj(level, isal_zlib.DEFLATED, _RAW)
    return stream.compress(data) + stream.flush(isal_zlib.Z_FULL_FLUSH)


def digest_of(pieces: Iterable[bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
