"""The answer to a pull, written from the texts of events as they are kept: nothing of them is decoded or encoded.

A full page never changes: it has a strong entity tag, and who has it already is told so without its bytes. It may be kept
by a cache on the way (a camp's, say) if the operator allows it, but never given out without asking the hub, which alone
knows who may read it: `docs/decisions/0052-sealed-segments.md`.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
    takes = takes_gzip(request.headers.getlist("accept-encoding"))
    sent = {**headers, "Vary": "Accept-Encoding"}
    kind = _GZIP.encode() + tail if takes else tail
    written: _Written | None = page.written.get(kind)
    bodies = b""
    if written is None or written.body is None:
        bodies = ",".join(page.bodies).encode()
    if written is None:
        gzipped = takes and _size_of(page, bodies, tail) >= LEAST_BYTES
        tag = None if page.next_cursor is None else _tag(page, bodies, tail, _GZIP if gzipped else "")
        written = page.written[kind] = _Written(gzipped, tag)
    if written.tag is not None:
        sent["ETag"] = written.tag
        if caching is not None:
            sent["Cache-Control"] = caching
        if holds(request, written.tag):
            return Response(status_code=304, headers=sent)
    if written.gzipped:
        sent["Content-Encoding"] = _GZIP
    if written.body is None:
        written.body = await _body(page, bodies, tail, gzipped=written.gzipped)
    return Response(written.body, media_type="application/json", headers=sent)


@dataclass(slots=True)
class _Written:
    """An answer to whoever is given this very page, is told the same behind it, and takes gzip or does not."""

    gzipped: bool
    tag: str | None
    body: bytes | None = None


async def _body(page: Page, bodies: bytes, tail: bytes, *, gzipped: bool) -> bytes:
    if not gzipped:
        return b"".join([_HEAD, b",".join(_texts(page, bodies)), tail])
    plain = sum(part.size_bytes for part in page.sealed if not part.is_whole) + len(bodies)
    if plain > AT_ONCE_BYTES:
        return await asyncio.to_thread(_gzipped, page, bodies, tail)
    return _gzipped(page, bodies, tail)


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
