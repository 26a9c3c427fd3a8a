"""Speaking to an app in the same process, byte for byte: nothing here tidies a URL, a header or a body up."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

_Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]],
    Awaitable[None],
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        packed = self.headers.get("content-encoding") == "gzip"
        return msgspec.json.decode(gzip.decompress(self.body) if packed else self.body)


class Wire(Protocol):
    """One request and its answer; raises `ConnectionError` when nobody answers."""

    async def __call__(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer: ...


def asgi_wire(app: AsgiApp, *, host: str = "hub.test") -> Wire:
    """A wire to an app. `target` (path and query) goes out as it is, with whatever a client forgot to escape.

    A crash inside the app is an answer, as it is for a client of a real server.
    """

    async def send(method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        exchange = _Exchange(body)
        try:
            await app(_scope(method, target, {"host": host, **(headers or {})}, body), exchange.receive, exchange.send)
        except Exception:
            if exchange.status == 0:
                raise
        return exchange.answer()

    return send


def _scope(method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    raw = target.encode("utf-8", "surrogateescape")
    path, _, query = raw.partition(b"?")
    sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    if body and not any(name == b"content-length" for name, _ in sent):
        sent.append((b"content-length", str(len(body)).encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": sent,
        "client": ("127.0.0.1", 50_000),
        "server": (headers["host"], 80),
    }


@dataclass(slots=True)
class _Exchange:
    """The two callables of one ASGI request, and what was sent through them."""

    body: bytes
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    asked: bool = False

    async def receive(self) -> _Message:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.done.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: _Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            self.parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                self.done.set()

    def answer(self) -> Answer:
        return Answer(self.status, self.headers, b"".join(self.parts))
