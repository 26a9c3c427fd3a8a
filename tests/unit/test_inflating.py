"""Compressed bodies, as bytes."""

import gzip
import random
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.http.inflating import FREE_BYTES, MOST_TIMES, PIECE_BYTES, Inflater, inflater_for
from datacollect.kernel.errors import DataCollectError


def pieces(encoding: bytes, chunks: list[bytes]) -> Iterator[bytes]:
    inflater = inflater_for([encoding])
    assert inflater is not None
    for chunk in chunks:
        inflater.take(chunk)
        while piece := inflater.give():
            yield piece
    inflater.finish()


def refusal(encoding: bytes, *chunks: bytes) -> DataCollectError:
    with pytest.raises(DataCollectError) as refused:
        list(pieces(encoding, list(chunks)))
    return refused.value


@given(st.binary(max_size=2000), st.integers(1, 50), st.sampled_from([b"gzip", b"x-gzip", b"DEFLATE", b" gzip "]))
def test_what_was_compressed_comes_out_however_it_arrives(content: bytes, size: int, encoding: bytes) -> None:
    packed = zlib.compress(content) if b"DEFLATE" in encoding else gzip.compress(content)
    chunks = [packed[start : start + size] for start in range(0, len(packed), size)]
    assert b"".join(pieces(encoding, chunks)) == content


def test_no_piece_is_larger_than_others_can_wait_for() -> None:
    content = random.Random(7).randbytes(50_000) * 20
    found = list(pieces(b"gzip", [gzip.compress(content)]))
    assert b"".join(found) == content
    assert max(map(len, found)) <= PIECE_BYTES


@pytest.mark.parametrize("encodings", [[], [b""], [b"identity"], [b" , identity"]])
def test_a_body_as_it_is_needs_nothing(encodings: list[bytes]) -> None:
    assert inflater_for(encodings) is None


@pytest.mark.parametrize(
    "encodings",
    [
        [b"br"],
        [b"zstd"],
        [b"gzip, gzip"],
        [b"gzip", b"gzip"],
        [b"deflate, gzip"],
        [b"compress"],
        [b"\xff"],
        [b"gzip;q=1"],
    ],
)
def test_other_and_stacked_encodings_are_refused_with_what_is_understood(encodings: list[bytes]) -> None:
    with pytest.raises(DataCollectError) as refused:
        inflater_for(encodings)
    assert (refused.value.status, refused.value.code) == (415, "UNSUPPORTED_ENCODING")
    assert refused.value.headers == {"Accept-Encoding": "gzip, deflate"}


PACKED = gzip.compress(b'{"events":[]}' * 50)


@pytest.mark.parametrize(
    "chunks",
    [
        (PACKED[:-1],),
        (PACKED[:5],),
        (PACKED + b"x",),
        (PACKED, b"x"),
        (PACKED + PACKED,),
        (b"not compressed at all",),
        (b"{}",),
        (PACKED[:-8] + b"\0" * 8,),
        (PACKED[:20] + b"\xff" + PACKED[21:],),
    ],
)
def test_what_is_broken_short_or_followed_by_anything_is_refused(chunks: tuple[bytes, ...]) -> None:
    error = refusal(b"gzip", *chunks)
    assert (error.status, error.code) == (400, "BODY_NOT_DECOMPRESSIBLE")


def test_an_empty_body_needs_no_compression() -> None:
    assert list(pieces(b"gzip", [b""])) == []


def test_a_bomb_is_noticed_long_before_it_has_grown() -> None:
    bomb = zlib.compress(b"\0" * 200_000_000, 9)
    inflater = inflater_for([b"deflate"])
    assert inflater is not None
    inflater.take(bomb[: len(bomb) // 4])
    grown = 0
    with pytest.raises(DataCollectError) as refused:
        while piece := inflater.give():
            grown += len(piece)
    assert (refused.value.status, refused.value.code) == (413, "BODY_INFLATES_TOO_MUCH")
    assert grown <= max(FREE_BYTES, MOST_TIMES * len(bomb) // 4) + PIECE_BYTES
    assert isinstance(inflater, Inflater)


def test_small_bodies_may_grow_as_they_like() -> None:
    assert b"".join(pieces(b"gzip", [gzip.compress(b" " * FREE_BYTES)])) == b" " * FREE_BYTES
