"""HTTP on the socket: uvicorn's protocol, with limits for what it reads before a request exists.

It has none of its own: a head may grow without end, or never end, as may what comes behind a body's chunks, or the queue
of requests that are sent before the first is answered, and what it refuses it answers in plain text. It also loses a body behind an offer to change the protocol. Beside that, a connection
that is closed while its client is still sending is closed gently, so that the client gets to read the answer instead of
a reset.
"""

import asyncio
import uuid
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from datacollect.kernel.errors import DataCollectError, InvalidRequest

MOST_HEAD_BYTES = 64 * 1024
"""Of a request's first line and headers, and of headers behind its body. A thousand areas in `areaIds` are 40 kB."""

MOST_FIELDS = 200
"""Of a request. Tiny ones take far more memory than bytes: 5,000 of them a megabyte."""

MOST_QUEUED = 16
"""Requests that wait on a connection for the answers before theirs. Nothing else counts them: they have no place yet."""

HEAD_SECONDS = 30.0
LINGER_SECONDS = 30.0
LINGER_BYTES = 64 * 1024 * 1024
"""How long, and for how much, somebody who is still sending is listened to after the answer."""

DRAIN_SECONDS = 5.0
"""How long idle connections of a process that ends may bring one more request."""


class MalformedHttp(InvalidRequest):
    """Invalid HTTP request received."""

    code = "MALFORMED_HTTP"
    help = "Send HTTP/1.1; a proxy in between may have spoilt the request."


class HeadTooLarge(DataCollectError):
    """The address and the headers of the request are too large."""

    status, code = 431, "HEADERS_TOO_LARGE"
    help = "Send fewer or shorter headers and query parameters."


class HeadTooSlow(DataCollectError):
    """The headers of the request did not arrive in time."""

    status, code = 408, "HEADERS_TOO_SLOW"
    help = "Send the request again."


class _HeadRefused(Exception):
    """Ends the parser."""


class _QueueFull(Exception):
    """As well."""


class HubProtocol(HttpToolsProtocol):
    """One connection."""

    head_seconds = HEAD_SECONDS
    linger_seconds = LINGER_SECONDS

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._reading_head = False
        self._head_bytes = 0
        self._head_fields = 0
        self._takes_no_more = False
        self._told_now = False
        self._untold_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._lingered_bytes = 0
        self._refusal: DataCollectError | None = None

    # -- the connection

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_GentlyClosed(transport, self))  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._linger_timer is not None or self._takes_no_more:
            self._drop(data)
            return
        self._unset_keepalive_if_required()
        self._told_now = False
        self._feed(data)
        if self.transport.is_closing() or self._takes_no_more:
            return
        # A header that does not end is not told by the parser before it does, nor is what else it passes over.
        self._untold_bytes = 0 if self._told_now else self._untold_bytes + len(data)
        if self._untold_bytes > MOST_HEAD_BYTES:
            self._refuse(HeadTooLarge())
        elif self._head_timer is None and (self._reading_head or self._is_idle()):
            self._await_head()  # idle: blank lines

    def _feed(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = self._fed(left)
        except httptools.HttpParserError:
            if self._takes_no_more:
                return
            self.logger.warning("Invalid HTTP request received.")
            self._refuse(self._refusal or MalformedHttp())

    def _fed(self, data: memoryview) -> memoryview:
        """What is still to be read: what comes behind an offer to change the protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._begin_without_offer()
            return data[offer.args[0] :]
        return data[:0]

    def _begin_without_offer(self) -> None:
        """Begin the request again as if nobody had offered to change the protocol, which clients do with any request.

        The parser would take what comes behind its head for the next request, also where that is its body.
        """
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        # Another one: this one takes no more behind a request that was to be the connection's last.
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def shutdown(self) -> None:
        if self._linger_timer is not None:
            self._close_now()
        else:
            super().shutdown()

    # -- heads

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_QUEUED:
            self._take_no_more()
            raise _QueueFull
        super().on_message_begin()
        self._reading_head = self._told_now = True
        self._head_bytes = self._head_fields = 0

    def _take_no_more(self) -> None:
        """Answer what is queued, the last of it as the connection's last: a client sends again what was behind it."""
        self._takes_no_more = True
        self.cycle.keep_alive = False

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4, fields=1)
        if self._reading_head:  # else it comes behind the body, where nobody looks at it as this request's
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._reading_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if not self._offers_protocol():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._told_now = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._told_now = True
        if not self._offers_protocol():
            super().on_message_complete()

    def _offers_protocol(self) -> bool:
        """Whether the request will be read once more, without its offer. One that asks for a tunnel is no request at all."""
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _count_head(self, count: int, *, fields: int = 0) -> None:
        self._told_now = True
        self._head_bytes += count
        self._head_fields += fields
        if self._head_bytes > MOST_HEAD_BYTES or self._head_fields > MOST_FIELDS:
            self._refusal = HeadTooLarge()
            raise _HeadRefused

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_did_not_end)

    def _head_did_not_end(self) -> None:
        if self.transport.is_closing():
            return
        if self._reading_head:
            self._refuse(HeadTooSlow())
        else:
            self.transport.close()  # nothing has come at all

    # -- refusals

    def _refuse(self, error: DataCollectError) -> None:
        if not self._is_idle():
            # A request whose body breaks off, or one that another was sent behind: it has nobody to answer any more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self._close_now()
                return
        identifier = str(uuid.uuid4())
        body = {"error": error.message, "message": error.message, "code": error.code, "help": error.help}
        body["requestId"] = identifier
        content = msgspec.json.encode(body)
        head = (
            b"content-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
            b"x-request-id: %b\r\ncontent-length: %d\r\n\r\n" % (identifier.encode(), len(content))
        )
        self.transport.write(STATUS_LINE[error.status] + head + content)
        self._linger()

    # -- closing

    def close_gently(self, transport: asyncio.Transport) -> None:
        """Close, after the client has read what was written, when it is not done with sending."""
        is_sending = self._takes_no_more or (self.cycle is not None and self.cycle.more_body)  # type: ignore[redundant-expr]
        if is_sending and not transport.is_closing():
            self._linger()
        else:
            self._stop_timers()
            transport.close()

    def _linger(self) -> None:
        if self._linger_timer is not None:
            return
        self._stop_timers()
        self._linger_timer = self.loop.call_later(self.linger_seconds, self._close_now)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _drop(self, data: bytes) -> None:
        self._lingered_bytes += len(data)
        if self._lingered_bytes > LINGER_BYTES:
            self._close_now()

    def _close_now(self) -> None:
        self._stop_timers()
        self.transport.close_now()  # type: ignore[attr-defined]

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = None

    @property
    def is_lingering(self) -> bool:
        return self._linger_timer is not None


class DrainingProtocol(HubProtocol):
    """A connection of a process that others stand beside, and that one may take the place of.

    Told to end, an idle connection takes one more request and tells with its answer that it was the last. Closed at once,
    it would break off a request that is on its way: nobody could tell the client whether to send it again.
    """

    drain_seconds = DRAIN_SECONDS

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._drains = False
        self._drain_timer: asyncio.TimerHandle | None = None

    def shutdown(self) -> None:
        self._drains = True
        if self.is_lingering or not self._is_idle():
            super().shutdown()
        else:
            self._drain_timer = self.loop.call_later(self.drain_seconds, self._drained)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._drains and self.cycle is not None:
            self.cycle.keep_alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
        super().connection_lost(exc)

    def _drained(self) -> None:
        # A head that is being read has a time limit of its own, and its answer closes.
        if self._is_idle() and not self._reading_head and not self.transport.is_closing():
            self.transport.close()


class _GentlyClosed:
    """The connection's transport, but for `close`."""

    __slots__ = ("_protocol", "_transport", "get_extra_info", "pause_reading", "resume_reading", "write")

    def __init__(self, transport: asyncio.Transport, protocol: HubProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self.write = transport.write
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info

    def close(self) -> None:
        if not self._protocol.is_lingering:
            self._protocol.close_gently(self._transport)

    def close_now(self) -> None:
        self._transport.close()

    def is_closing(self) -> bool:
        return self._protocol.is_lingering or self._transport.is_closing()

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        self._transport.write_eof()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
