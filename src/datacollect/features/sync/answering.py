"""The answer to a pull, written from the texts of events as they are kept: nothing of them is decoded or encoded.

A full page never changes: it has a strong entity tag, and who has it already is told so without its bytes. It may be kept
by a cache on the way (a camp's, say) if the operator allows it, but never given out without asking the hub, which alone
knows who may read it: `docs/decisions/0052-sealed-segments.md`.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from datacollect.eventstore.segments import Slice, digest_of
from datacollect.eventstore.store import Page
from datacollect.http.compressing import AT_ONCE_BYTES, LEAST_BYTES, GzipBody, takes_gzip
from datacollect.http.conditional import holds

_HEAD = b'{"events":['
_GZIP = "gzip"
_FORM = b"1"
"""Of the answer: to be changed with whatever else changes its bytes."""


async def answer(
    request: Request, page: Page, told: Mapping[str, Any], headers: Mapping[str, str], *, caching: str | None
) -> Response:
    """What is pulled, with what is `told` behind the events. `caching` is what caches may do with a full page."""
    tail = b"]," + msgspec.json.encode(told)[1:]
    bodies = ",".join(page.bodies).encode()
    gzipped = _size_of(page, bodies, tail) >= LEAST_BYTES and takes_gzip(request.headers.getlist("accept-encoding"))
    sent = {**headers, "Vary": "Accept-Encoding"}
    if page.next_cursor is not None:
        sent["ETag"] = _tag(page, bodies, tail, _GZIP if gzipped else "")
        if caching is not None:
            sent["Cache-Control"] = caching
        if holds(request, sent["ETag"]):
            return Response(status_code=304, headers=sent)
    if not gzipped:
        body = b"".join([_HEAD, b",".join(_texts(page, bodies)), tail])
        return Response(body, media_type="application/json", headers=sent)
    sent["Content-Encoding"] = _GZIP
    plain = sum(part.size_bytes for part in page.sealed if not part.is_whole) + len(bodies)
    if plain > AT_ONCE_BYTES:
        body = await asyncio.to_thread(_gzipped, page, bodies, tail)
    else:
        body = _gzipped(page, bodies, tail)
    return Response(body, media_type="application/json", headers=sent)


def _texts(page: Page, bodies: bytes) -> Iterator[bytes]:
    for part in page.sealed:
        yield part.text
    if bodies:
        yield bodies


def _size_of(page: Page, bodies: bytes, tail: bytes) -> int:
    """At least this many bytes, without inflating anything."""
    sealed = sum(part.size_bytes for part in page.sealed)
    return len(_HEAD) + sealed + len(bodies) + len(tail)


def _gzipped(page: Page, bodies: bytes, tail: bytes) -> bytes:
    packed = GzipBody()
    packed.add(_HEAD)
    comma = b""
    for part in page.sealed:
        packed.add(comma)
        _add(packed, part)
        comma = b","
    if bodies:
        packed.add(comma)
        packed.add(bodies)
    packed.add(tail)
    return packed.finish()


def _add(packed: GzipBody, part: Slice) -> None:
    segment = part.segment
    if part.is_whole:
        packed.add_deflated(segment.packed, checksum=segment.checksum, size=segment.text_bytes)
    else:
        packed.add(part.text)


def _tag(page: Page, bodies: bytes, tail: bytes, encoding: str) -> str:
    """Of these very bytes: by what they are made of."""
    sealed = (b"%b:%d:%d;" % (part.segment.digest, part.begin, part.end) for part in page.sealed)
    digest = digest_of([_FORM, encoding.encode(), b"\n", *sealed, b"\n", bodies, b"\n", tail])
    return f'"{digest.hex()}"'
