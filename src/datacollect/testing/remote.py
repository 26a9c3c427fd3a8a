"""Another system on a real socket, in a thread of its own, with faults on demand.

    with RemoteSystem(handle) as system:
        system.faults.add(DropAfter(), matches=lambda request: request.method == "POST")
        ... call system.url ...

`handle` gets a `Request` and gives a `Answer`; it runs in the server's thread, one request at a time, so that a fake can
keep what it holds in plain dictionaries. The server speaks HTTP/1.1 with connections that are kept.
"""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    """As sent, still escaped, without the query."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's parts, unescaped."""
        return tuple(unquote(part) for part in self.path.strip("/").split("/"))

    def json(self) -> Any:
        """Raises `ValueError`."""
        return msgspec.json.decode(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    document: Any = None
    """Sent as JSON; bytes are sent as they are."""
    headers: Mapping[str, str] = field(default_factory=dict)


Handle = Callable[[Request], Answer]


@dataclass(frozen=True, slots=True)
class Instead:
    """Answers with this, and does nothing."""

    status: int
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Late:
    """Does it, and answers so much later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class DropBefore:
    """Hangs up without doing anything."""


@dataclass(frozen=True, slots=True)
class DropAfter:
    """Does it, and hangs up instead of answering."""


Fault = Instead | Late | DropBefore | DropAfter


@dataclass(slots=True)
class _Waiting:
    fault: Fault
    matches: Callable[[Request], bool]
    times: int | None


class Faults:
    """What is to go wrong. The oldest one that matches a request happens to it."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()
        self.happened = 0

    def add(
        self, fault: Fault, *, times: int | None = 1, matches: Callable[[Request], bool] = lambda request: True
    ) -> None:
        """To the next `times` requests that match; None means to all, until `clear`."""
        with self._lock:
            self._waiting.append(_Waiting(fault, matches, times))

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, request: Request) -> Fault | None:
        with self._lock:
            for one in self._waiting:
                if one.matches(request):
                    self.happened += 1
                    if one.times is not None:
                        one.times -= 1
                        if one.times <= 0:
                            self._waiting.remove(one)
                    return one.fault
        return None


class RemoteSystem:
    """Serves `handle` on 127.0.0.1 from `start` to `stop`; after `stop` it can start again at the same address."""

    def __init__(self, handle: Handle, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._handle = handle
        self._host = host
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self.faults = Faults()
        self.requests: Counter[str] = Counter()
        """How often each method and path was asked for: `requests["POST /oauth/token"]`."""
        self.log: list[Request] = []
        """Every request in the order of arrival, if `keeps_log`."""
        self.keeps_log = True
        self.crashes: list[Exception] = []
        """What the fake itself stumbled over. Leaving the block raises the first."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if self.crashes and kind is None:
            raise self.crashes[0]

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    @property
    def asked(self) -> int:
        """How many requests have arrived in all."""
        return self.requests.total()

    def start(self) -> None:
        """Raises `OSError` if it cannot listen."""
        listening: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening)), daemon=True)
        self._thread.start()
        listening.result(10)

    def stop(self) -> None:
        """From now on connections are refused, and those that are open are closed."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        self._thread = None

    async def _serve(self, listening: "Future[None]") -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        talking: set[asyncio.Task[None]] = set()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task
            talking.add(task)
            task.add_done_callback(talking.discard)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._talk(reader, writer)
            writer.transport.abort()

        try:
            server = await asyncio.start_server(talk, self._host, self._port, limit=1_000_000)
        except OSError as error:
            listening.set_exception(error)
            return
        self._port = server.sockets[0].getsockname()[1]
        listening.set_result(None)
        await self._stopping.wait()
        server.close()
        for task in list(talking):
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await _read(reader)
            self.requests[f"{request.method} {request.path}"] += 1
            if self.keeps_log:
                self.log.append(request)
            fault = self.faults.take(request)
            match fault:
                case DropBefore():
                    return
                case Instead(status, document, headers):
                    answer = Answer(status, document, headers)
                case _:
                    answer = self._handled(request)
            if isinstance(fault, DropAfter):
                return
            if isinstance(fault, Late):
                await asyncio.sleep(fault.seconds)
            writer.write(_written(answer))
            await writer.drain()

    def _handled(self, request: Request) -> Answer:
        try:
            return self._handle(request)
        except Exception as error:
            self.crashes.append(error)
            return Answer(500, {"error": {"code": "CRASHED", "message": "the fake crashed"}})


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method=method, path=parts.path, query=query, headers=headers, body=body)


def _written(answer: Answer) -> bytes:
    body, type_ = b"", "application/json"
    if isinstance(answer.document, bytes):
        body, type_ = answer.document, "text/plain"
    elif answer.document is not None:
        body = msgspec.json.encode(answer.document)
    headers = {"Content-Type": type_, **answer.headers, "Content-Length": str(len(body))}
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", *(f"{n}: {v}" for n, v in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
