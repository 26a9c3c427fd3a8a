"""What surrounds every request: its id, the security headers of its answer, its line in the log."""

import time
import uuid

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = structlog.get_logger(component="http")

CONTENT_SECURITY_POLICY = (
    "default-src 'self';base-uri 'none';font-src 'self' https: data:;form-action 'self';frame-ancestors 'self';"
    "img-src 'self' data:;object-src 'none';script-src 'self';script-src-attr 'none';"
    "style-src 'self' https: 'unsafe-inline'"
)

_SECURITY_HEADERS = [
    (b"content-security-policy", f"{CONTENT_SECURITY_POLICY};upgrade-insecure-requests".encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"origin-agent-cluster", b"?1"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-dns-prefetch-control", b"off"),
    (b"x-download-options", b"noopen"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-permitted-cross-domain-policies", b"none"),
    (b"x-xss-protection", b"0"),
]


_CLOSE = (b"connection", b"close")
_DROPPED_BYTES = 64 * 1024
"""What is left of a body that nobody wants is received up to here, so that the connection can go on."""


class RequestFrame:
    """Middleware. Plain ASGI, because it runs on every hot request and must not buffer streamed answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Ours, never the caller's: an id from outside could forge or confuse lines of the log.
        identifier = str(uuid.uuid4())
        scope.setdefault("state", {})["request_id"] = identifier
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=identifier)
        started = time.perf_counter()
        status = 0
        unread = True

        async def receive_noted() -> Message:
            nonlocal unread
            message = await receive()
            unread = bool(message.get("more_body", False))
            return message

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _framed(message.get("headers", ()), identifier, scope["path"])
                if unread and _is_long(scope):
                    message["headers"].append(_CLOSE)
            await send(message)

        try:
            await self._app(scope, receive_noted, send_framed)
        finally:
            _log_request(scope, status, time.perf_counter() - started)


def _is_long(scope: Scope) -> bool:
    """Whether the body is too long, or of unknown length, to be received only to be thrown away."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return not value.isdigit() or len(value) > 18 or int(value) > _DROPPED_BYTES
        if name == b"transfer-encoding":
            return True
    return False


def _framed(headers: "list[tuple[bytes, bytes]]", identifier: str, path: str) -> "list[tuple[bytes, bytes]]":
    """The answer's headers with ours added; one that the route has set itself stays."""
    headers = list(headers)
    present = {name.lower() for name, _ in headers}
    headers.extend(header for header in _SECURITY_HEADERS if header[0] not in present)
    if path.startswith("/api/") and b"cache-control" not in present:
        # People's data and tokens: not on the disk of a browser or a proxy.
        headers.append((b"cache-control", b"no-store"))
    headers.append((b"x-request-id", identifier.encode()))
    return headers


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    # The route's template, not the path: paths hold guids and even e-mail addresses. Status 0: the client went away.
    route = scope.get("route")
    template = getattr(route, "path_format", "unmatched")
    level = _log.debug if template.startswith("/health") and status < 500 else _log.info
    level(
        "request.finished",
        method=scope["method"],
        route=template,
        status=status,
        duration_ms=round(seconds * 1000, 2),
    )
