"""The innermost middleware: no body larger than its route takes, and an answer even when the code crashes."""

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datacollect.http.errors import render, render_unexpected
from datacollect.kernel.errors import PayloadTooLarge

_log = structlog.get_logger(component="http")

_MEBIBYTE = 1024 * 1024
_SYNC_BYTES = 50 * _MEBIBYTE
# The file may have 10 MB (the route looks); the rest is room for the multipart envelope.
_CONFIG_UPLOAD_BYTES = 10 * _MEBIBYTE + 64 * 1024
_OTHER_BYTES = _MEBIBYTE


def body_limit(scope: Scope) -> int:
    """The most bytes a body may have on this route."""
    path: str = scope["path"]
    if path.startswith("/api/sync/"):
        return _SYNC_BYTES
    if path.startswith("/api/apps") and _header(scope, b"content-type").startswith(b"multipart/form-data"):
        return _CONFIG_UPLOAD_BYTES
    return _OTHER_BYTES


class RequestGuard:
    """Middleware."""

    def __init__(self, app: ASGIApp, *, development: bool) -> None:
        self._app = app
        self._development = development

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = body_limit(scope)
        announced = _header(scope, b"content-length")
        if announced.isdigit() and int(announced) > limit:
            await render(scope, PayloadTooLarge())(scope, receive, send)
            return
        answer = _Answer(scope, receive, send)
        # A body whose length is announced cannot be longer: the server reads no further.
        counted = receive if announced.isdigit() else _Counted(receive, limit, answer)
        try:
            await self._app(scope, counted, answer)
        except Exception as error:
            if answer.refused is None:
                _log.error("request.crashed", exc_info=error)
                if answer.started:
                    raise
                await render_unexpected(scope, error, development=self._development)(scope, receive, send)
        await answer.refuse()


class _Answer:
    """The way out. Once the body has turned out too large, only the refusal goes through, whatever was made of it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.started = False
        self.refused: PayloadTooLarge | None = None

    async def __call__(self, message: Message) -> None:
        if self.refused is None or self.started:
            self.started = True
            await self._send(message)

    async def refuse(self) -> None:
        if self.refused is not None and not self.started:
            await render(self._scope, self.refused)(self._scope, self._receive, self._send)


class _Counted:
    """Reads a body of unannounced length and stops at the limit."""

    def __init__(self, receive: Receive, limit: int, answer: _Answer) -> None:
        self._receive = receive
        self._left = limit
        self._answer = answer

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self._answer.refused = PayloadTooLarge()
                raise self._answer.refused
        return message


def _header(scope: Scope, wanted: bytes) -> bytes:
    for name, value in scope["headers"]:
        if name == wanted:
            found: bytes = value
            return found
    return b""
