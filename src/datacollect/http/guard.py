"""The innermost middleware: no body larger than its route takes, and an answer even when the code crashes."""

import asyncio

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datacollect.http.errors import render, render_unexpected
from datacollect.kernel.errors import DataCollectError, InvalidRequest, PayloadTooLarge

_log = structlog.get_logger(component="http")

_MEBIBYTE = 1024 * 1024
_SYNC_BYTES = 50 * _MEBIBYTE
# The file may have 10 MB (the route looks); the rest is room for the multipart envelope.
_CONFIG_UPLOAD_BYTES = 10 * _MEBIBYTE + 64 * 1024
_OTHER_BYTES = _MEBIBYTE


class BodyTooSlow(DataCollectError):
    """The rest of the body did not arrive in time."""

    status, code = 408, "BODY_TOO_SLOW"
    help = "Send again, over a better connection or in smaller parts."


class NulInAddress(InvalidRequest):
    """The address contains a NUL character."""

    # No name or guid can hold one, and PostgreSQL cannot even compare with it. Bodies are refused as well.
    code = "NUL_CHARACTER"
    help = "Remove NUL characters (`%00`): no name or guid can hold one."


def body_limit(scope: Scope) -> int:
    """The most bytes a body may have on this route."""
    path: str = scope["path"]
    if path.startswith("/api/sync/"):
        return _SYNC_BYTES
    if path.startswith("/api/apps") and scope["method"] in ("POST", "PUT"):
        return _CONFIG_UPLOAD_BYTES
    return _OTHER_BYTES


class RequestGuard:
    """Middleware."""

    def __init__(self, app: ASGIApp, *, development: bool, idle_seconds: float = 60) -> None:
        self._app = app
        self._development = development
        self._idle_seconds = idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if b"%00" in scope["query_string"] or "\x00" in scope["path"]:
            await render(scope, NulInAddress())(scope, receive, send)
            return
        limit = body_limit(scope)
        announced = _header(scope, b"content-length")
        if announced.isdigit() and int(announced) > limit:
            await render(scope, PayloadTooLarge())(scope, receive, send)
            return
        answer = _Answer(scope, receive, send)
        try:
            await self._app(scope, _Incoming(receive, limit, self._idle_seconds, answer), answer)
        except Exception as error:
            if answer.refused is None:
                _log.error("request.crashed", exc_info=error)
                if answer.started:
                    raise
                await render_unexpected(scope, error, development=self._development)(scope, receive, send)
        await answer.refuse()


class _Answer:
    """The way out. Once the body is refused only the refusal goes through, whatever was made of it meanwhile."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.started = False
        self.refused: DataCollectError | None = None

    async def __call__(self, message: Message) -> None:
        if self.refused is None or self.started:
            self.started = True
            await self._send(message)

    async def refuse(self) -> None:
        if self.refused is not None and not self.started:
            await render(self._scope, self.refused)(self._scope, self._receive, self._send)


class _Incoming:
    """The way in: reads the body and stops at its limits of size and patience."""

    def __init__(self, receive: Receive, limit: int, idle_seconds: float, answer: _Answer) -> None:
        self._receive = receive
        self._left = limit
        self._idle_seconds = idle_seconds
        self._answer = answer
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            # Waiting for the client to leave, however long the answer takes.
            return await self._receive()
        try:
            async with asyncio.timeout(self._idle_seconds):
                message = await self._receive()
        except TimeoutError:
            raise self._refuse(BodyTooSlow()) from None
        self._complete = not message.get("more_body", False)
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise self._refuse(PayloadTooLarge())
        return message

    def _refuse(self, error: DataCollectError) -> DataCollectError:
        self._answer.refused = error
        return error


def _header(scope: Scope, wanted: bytes) -> bytes:
    for name, value in scope["headers"]:
        if name == wanted:
            found: bytes = value
            return found
    return b""
