"""What a sealed segment holds, and that pieces of it can stand in the middle of an answer."""

import gzip
import random
import struct
import zlib
from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.eventstore.segments import SIZE, Segment, Slice, deflated, seal
from datacollect.http.compressing import GzipBody, takes_gzip
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.cursor import Cursor

LENGTHS = struct.Struct(f"<{SIZE}I")
BODIES = [
    f'{{"guid":"g-{index}","data":{{"name":"Zoë {index * 7919 % 1000}"}},"timestamp":"{format_timestamp(Millis(index))}"}}'
    for index in range(SIZE)
]
LAST = Cursor(Millis(SIZE - 1), f"g-{SIZE - 1}")
SEGMENT = seal(3, BODIES, LAST)


def test_a_segment_gives_the_texts_back() -> None:
    assert SEGMENT.text.decode() == ",".join(BODIES)
    assert (SEGMENT.number, SEGMENT.last, SEGMENT.is_sound()) == (3, LAST, True)


@given(st.integers(0, SIZE - 1), st.integers(1, 2 * SIZE), st.integers(1, 100_000))
def test_any_part_of_it_is_these_events_and_names_its_last_one(begin: int, most: int, most_bytes: int) -> None:
    sizes = accumulate(len(body.encode()) for body in BODIES[begin : begin + most])
    there = min(sum(size < most_bytes for size in sizes) + 1, len(BODIES[begin : begin + most]))
    part, wanted = SEGMENT.slice(begin, most, most_bytes), BODIES[begin : begin + there]
    assert (len(part), part.text.decode()) == (len(wanted), ",".join(wanted))
    assert part.size_bytes == len(part.text)
    assert part.last == Cursor(Millis(begin + len(wanted) - 1), f"g-{begin + len(wanted) - 1}")


def test_a_run_that_is_too_large_is_left_to_the_table() -> None:
    left = seal(0, BODIES, LAST, most_bytes=1000)
    assert (left.is_left_to_table, left.is_sound(), SEGMENT.is_left_to_table) == (True, True, False)


def test_it_prints_nothing_of_what_it_holds() -> None:
    assert repr(Slice(SEGMENT, 0, 2)) == "Slice(segment=Segment(3), begin=0, end=2)"


def moved(at: int) -> bytes:
    """The lengths, with a border between two events put elsewhere."""
    lengths = list(LENGTHS.unpack(SEGMENT.lengths))
    return LENGTHS.pack(*lengths[:at], lengths[at] - 1, lengths[at + 1] + 1, *lengths[at + 2 :])


@pytest.mark.parametrize(
    "damaged",
    [
        replace(SEGMENT, packed=SEGMENT.packed[:-20]),
        replace(SEGMENT, packed=b"\xff" + SEGMENT.packed[1:]),
        replace(SEGMENT, packed=deflated(b"x" * len(SEGMENT.text), level=1)),
        replace(SEGMENT, checksum=SEGMENT.checksum ^ 1),
        replace(SEGMENT, lengths=SEGMENT.lengths[:-4]),
        replace(SEGMENT, lengths=moved(7)),
        replace(SEGMENT, last=Cursor(LAST.occurred_at, "g-1")),
        replace(SEGMENT, lengths=struct.pack("<I", 99999) + SEGMENT.lengths[4:]),
    ],
)
def test_damage_is_noticed(damaged: Segment) -> None:
    assert (damaged.can_be_served(), damaged.is_sound()) == (False, False)


def test_a_name_that_is_not_that_of_the_text_is_noticed_where_it_is_looked_for() -> None:
    renamed = replace(SEGMENT, digest=bytes(16))
    assert (renamed.can_be_served(), renamed.is_sound()) == (True, False)


@given(st.lists(st.one_of(st.binary(max_size=3000), st.just(None)), max_size=8))
def test_plain_and_deflated_pieces_make_one_gzip_body(pieces: list[bytes | None]) -> None:
    body, expected = GzipBody(), b""
    for piece in pieces:
        if piece is None:
            body.add_deflated(SEGMENT.packed, checksum=SEGMENT.checksum, size=SEGMENT.text_bytes)
            expected += SEGMENT.text
        else:
            body.add(piece)
            expected += piece
    sent = body.finish()
    assert gzip.decompress(sent) == expected
    # One member and nothing behind it: what simple clients read.
    single = zlib.decompressobj(31)
    assert single.decompress(sent) == expected
    assert (single.eof, single.unused_data) == (True, b"")


def test_deflated_pieces_of_any_kind_can_be_put_together() -> None:
    dice, body = random.Random(7), GzipBody()
    texts = [dice.randbytes(size) for size in (0, 1, 2, 65_535, 65_536, 200_000)]
    for text in texts:
        body.add_deflated(deflated(text, level=3), checksum=zlib.crc32(text), size=len(text))
    assert gzip.decompress(body.finish()) == b"".join(texts)


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, compress, deflate, br", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("gzip;q=0", False),
        ("gzip; q=0.5, identity", False),
        ("identity", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("br, zstd", False),
        ("gzip;q=much", False),
        ("gzippy", False),
    ],
)
def test_whether_a_client_takes_gzip(header: str, takes: bool) -> None:
    assert takes_gzip([header]) is takes
