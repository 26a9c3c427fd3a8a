"""The innermost middleware: no larger body and no longer work than its route takes, and an answer even when the code
crashes."""

import asyncio
from collections.abc import Callable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datacollect.http.errors import render, render_unexpected
from datacollect.http.limits import HubBusy, Limited, class_of
from datacollect.http.multipart import ENVELOPE_BYTES
from datacollect.http.receiving import IDLE_SECONDS, LARGEST_BODY_BYTES, BodyLimit, BodyMemory, Incoming, holder_of
from datacollect.http.upload import FileTooLarge
from datacollect.kernel.errors import DataCollectError, Forbidden, InvalidRequest, Unavailable

_log = structlog.get_logger(component="http")

_MEBIBYTE = 1024 * 1024
SYNC_BYTES = LARGEST_BODY_BYTES
# The file may have 10 MB (the route looks); the rest is room for the multipart envelope.
CONFIG_UPLOAD_BYTES = 10 * _MEBIBYTE + ENVELOPE_BYTES
ATTACHMENT_BYTES = 50 * _MEBIBYTE
FIELD_FILE_BYTES = CONFIG_UPLOAD_BYTES
OTHER_BYTES = _MEBIBYTE
OPEN_BYTES = 64 * 1024
OPEN_SECONDS = 30.0
"""For a body of whom nobody knows: two tokens have room in it. Who could send one for an hour would hold a place that all
others sign in by."""

MOST_PARAMETERS = 100
WORK_SECONDS = 300.0
"""From when the last of the body arrived, or a piece of a long answer was taken. Longer than the database lets one statement run; a request that takes longer
waits for something that will not come."""


PIECE_BYTES = 256 * 1024
PIECE_SECONDS = 240.0
"""A long answer is written in such pieces, and its reader has so long for each. The server would take all of it at once,
and keep it for as long as the reader likes, without a place that others wait for."""

COUNTED_BYTES = 1024 * 1024
"""Longer answers take of the memory that bodies share, until they are read."""


class NulInAddress(InvalidRequest):
    """The address contains a NUL character."""

    # No name or guid can hold one, and PostgreSQL cannot even compare with it. Bodies are refused as well.
    code = "NUL_CHARACTER"
    help = "Remove NUL characters (`%00`): no name or guid can hold one."


class TooManyParameters(InvalidRequest):
    """The address has too many query parameters."""

    code = "TOO_MANY_PARAMETERS"
    help = f"Send at most {MOST_PARAMETERS} query parameters; a list goes into one, separated by commas."


class TookTooLong(Unavailable):
    """The hub could not finish this in time. It may or may not have been done; repeating is safe."""

    code = "TOOK_TOO_LONG"
    help = "Send the same again after `Retry-After`, or ask for less at once."


_SYNC = BodyLimit(SYNC_BYTES)
_CONFIG_UPLOAD = BodyLimit(CONFIG_UPLOAD_BYTES)
_FIELD_FILE = BodyLimit(FIELD_FILE_BYTES)
_ATTACHMENT = BodyLimit(ATTACHMENT_BYTES + ENVELOPE_BYTES, FileTooLarge, passes_through=True)
_OTHER = BodyLimit(OTHER_BYTES)
_OPEN = BodyLimit(OPEN_BYTES, most_seconds=OPEN_SECONDS)


def body_limit(scope: Scope) -> BodyLimit:
    path: str = scope["path"]
    if path.startswith("/api/sync/"):
        return _SYNC
    if path.startswith("/api/apps") and scope["method"] in ("POST", "PUT"):
        return _CONFIG_UPLOAD
    if path == "/api/openspp-fields/parse-file":
        return _FIELD_FILE
    if path == "/api/attachments/upload":
        return _ATTACHMENT
    return _OPEN if class_of(path).limited in (Limited.BY_ADDRESS, Limited.IN_THE_DATABASE) else _OTHER


class RequestGuard:
    """Middleware."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        development: bool,
        memory: BodyMemory,
        idle_seconds: float = IDLE_SECONDS,
        work_seconds: float = WORK_SECONDS,
        piece_seconds: float = PIECE_SECONDS,
    ) -> None:
        self._app = app
        self._development = development
        self._memory = memory
        self._idle_seconds = idle_seconds
        self._work_seconds = work_seconds
        self._piece_seconds = piece_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["development"] = self._development
        limit = body_limit(scope)
        refusal = _refusal(scope, limit)
        if refusal is not None:
            await render(scope, refusal)(scope, receive, send)
            return
        incoming = Incoming(scope, receive, limit=limit, memory=self._memory, idle_seconds=self._idle_seconds)
        answer = _Answer(scope, send, incoming, memory=self._memory, piece_seconds=self._piece_seconds)
        try:
            await self._work(scope, incoming, answer)
        except Exception as error:
            if incoming.refused is None:
                await self._crashed(scope, receive, send, answer, error)
        finally:
            incoming.end()
        refused = incoming.refused or answer.refused
        if refused is not None and not answer.started:
            await render(scope, refused)(scope, receive, send)

    async def _work(self, scope: Scope, incoming: Incoming, answer: "_Answer") -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._work_seconds) as deadline:

            def go_on() -> None:
                due, now = deadline.when(), loop.time()
                if due is not None and due - now < self._work_seconds / 2:  # not for each piece of a fast body
                    deadline.reschedule(now + self._work_seconds)

            async def receive() -> Message:
                message = await incoming()
                go_on()
                return message

            async def send(message: Message) -> None:
                await answer(message, go_on)

            try:
                await self._app(scope, receive, send)
            except asyncio.CancelledError as cancelled:
                if deadline.expired():
                    raise TookTooLong() from cancelled
                raise

    async def _crashed(self, scope: Scope, receive: Receive, send: Send, answer: "_Answer", error: Exception) -> None:
        reason = _reason_of(error) if answer.started else error
        if isinstance(reason, TookTooLong):
            _log.error("request.took_too_long")
        elif answer.started and isinstance(reason, Forbidden):
            _log.warning("request.cut_off", code=reason.code)
        else:
            _log.error("request.crashed", exc_info=error)
        if answer.started:
            raise error
        if isinstance(error, DataCollectError):
            await render(scope, error)(scope, receive, send)
        else:
            await render_unexpected(scope, error)(scope, receive, send)


def _refusal(scope: Scope, limit: BodyLimit) -> DataCollectError | None:
    """What can be told from the head of the request."""
    query: bytes = scope["query_string"]
    if b"%00" in query or "\x00" in scope["path"]:
        return NulInAddress()
    if query.count(b"&") >= MOST_PARAMETERS:
        return TooManyParameters()
    for name, value in scope["headers"]:
        # Longer numbers than any size are not even read.
        if name == b"content-length" and value.isdigit() and (len(value) > 18 or int(value) > limit.most_bytes):
            return limit.refused(most_bytes=limit.most_bytes)
    return None


def _reason_of(error: Exception) -> BaseException:
    """What ended an answer on its way: the framework wraps it when it cannot answer it any more."""
    return error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error


class _Answer:
    """The way out. Once the body is refused only the refusal goes through, whatever was made of it meanwhile."""

    def __init__(
        self, scope: Scope, send: Send, incoming: Incoming, *, memory: BodyMemory, piece_seconds: float
    ) -> None:
        self._scope = scope
        self._send = send
        self._incoming = incoming
        self._memory = memory
        self._piece_seconds = piece_seconds
        self._head: Message | None = None
        self.started = False
        self.refused: DataCollectError | None = None
        """Why what the route has answered is not sent."""

    async def __call__(self, message: Message, go_on: Callable[[], None]) -> None:
        if self.refused is not None or (self._incoming.refused is not None and not self.started):
            return
        if message["type"] == "http.response.start":
            self._head = message  # until it is known whether what follows can be sent
        elif len(message.get("body", b"")) > PIECE_BYTES:
            await self._send_long(message, go_on)
        else:
            await self._pass_on(message)
            if message.get("more_body", False):
                go_on()

    async def _pass_on(self, message: Message) -> None:
        head, self._head = self._head, None
        if head is not None:
            self.started = True
            await self._send(head)
        await self._send(message)

    async def _send_long(self, message: Message, go_on: Callable[[], None]) -> None:
        count, holder = len(message["body"]), holder_of(self._scope)
        if count <= COUNTED_BYTES:
            await self._send_pieces(message, go_on)
            return
        if not self.started and not self._memory.has_room_for(count, holder):
            self.refused = HubBusy()
            return
        self._memory.take(count, holder)
        try:
            await self._send_pieces(message, go_on)
        finally:
            self._memory.give_back(count, holder)

    async def _send_pieces(self, message: Message, go_on: Callable[[], None]) -> None:
        body, more = message["body"], message.get("more_body", False)
        for begin in range(0, len(body), PIECE_BYTES):
            piece = body[begin : begin + PIECE_BYTES]
            try:
                async with asyncio.timeout(self._piece_seconds):
                    await self._pass_on(
                        {**message, "body": piece, "more_body": more or begin + PIECE_BYTES < len(body)}
                    )
            except TimeoutError as error:
                raise TookTooLong() from error
            go_on()
