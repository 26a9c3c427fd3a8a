"""Which pages of other origins may call the hub from a browser."""

import re
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = b"GET, HEAD, PUT, PATCH, POST, DELETE"
_REQUEST_HEADERS = (
    b"Authorization, Content-Type, Accept, If-Match, If-None-Match, If-Modified-Since, Range, "
    b"X-Device-Id, X-Device-Time, X-Requested-With"
)
"""Besides those that a preflight asks for, which are allowed as by the reference: pages send such as those of their tracing."""
_EXPOSED_HEADERS = (
    b"Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, X-Sync-Scope-Hash, X-Total-Count, X-Next-Cursor, "
    b"ETag, Link, Content-Disposition, Content-Range"
)
_USUAL_PORTS = {"http": ":80", "https": ":443"}
_VARY = (b"vary", b"Origin")


def parse_origins(value: str | None) -> frozenset[bytes] | None:
    """Read `CORS_ORIGINS`: None for `*`, else the exact origins allowed (none when unset)."""
    text = (value or "").strip()
    if text == "*":
        return None
    return frozenset(origin.strip().encode() for origin in text.split(",") if origin.strip())


def never_sent(value: str | None) -> Sequence[str]:
    """What of `CORS_ORIGINS` no browser sends as an origin, so that it allows nobody: without a scheme, or with a path."""
    origins = sorted(origin.decode() for origin in parse_origins(value) or ())
    return [origin for origin in origins if origin != "null" and not _is_sent(origin)]


def _is_sent(origin: str) -> bool:
    scheme, separator, host = origin.partition("://")
    if not separator or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) or not re.fullmatch(r"[^/?#@*\s]+", host):
        return False
    # Browsers leave the usual port out, and write names of hosts in lower case; apps with schemes of their own may not.
    usual = _USUAL_PORTS.get(scheme)
    return usual is None or (host.isascii() and host == host.lower() and not host.endswith(usual))


class Cors:
    """Middleware. The request itself is always answered: it is the browser that enforces this."""

    def __init__(self, app: ASGIApp, origins: frozenset[bytes] | None) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = _header(scope, b"origin")
        allowed = origin is not None and (self._origins is None or origin in self._origins)
        if origin is not None and scope["method"] == "OPTIONS" and _header(scope, b"access-control-request-method"):
            wanted = _header(scope, b"access-control-request-headers")
            await _answer_preflight(send, origin if allowed else None, wanted)
            return
        added = [_VARY]
        if allowed and origin is not None:
            added += _permission(origin)
            added.append((b"access-control-expose-headers", _EXPOSED_HEADERS))

        async def send_permitted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await self._app(scope, receive, send_permitted)


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    for name, value in scope["headers"]:
        if name == wanted:
            found: bytes = value
            return found
    return None


def _permission(origin: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true")]


async def _answer_preflight(send: Send, origin: bytes | None, wanted: bytes | None) -> None:
    headers = [(b"vary", b"Origin, Access-Control-Request-Headers"), (b"content-length", b"0")]
    if origin is not None:
        headers += _permission(origin)
        headers += [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", b", ".join(filter(None, (_REQUEST_HEADERS, wanted)))),
            (b"access-control-max-age", b"600"),
        ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
