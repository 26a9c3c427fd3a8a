"""Other systems, as small servers on this machine. 127.0.0.1 stands for the inside; the addresses from 127.0.0.2 on are
named in the rules, and so are what the internet is elsewhere."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import pytest

from datacollect.outgoing import GuardedClient, Rules
from datacollect.outgoing.addresses import IpAddress

INSIDE = "127.0.0.1"
OUTSIDE = "127.0.0.2"
ELSEWHERE = "127.0.0.3"
RULES = Rules(networks=(ip_network(OUTSIDE), ip_network(ELSEWHERE)))

Reply = Callable[["Upstream", asyncio.StreamWriter, bytes], Awaitable[None]]


def ok(body: bytes = b"hello", *headers: str) -> Reply:
    return answer("200 OK", body, *headers)


def answer(status: str, body: bytes = b"", *headers: str) -> Reply:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]

    async def write(_: "Upstream", writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write("\r\n".join(lines).encode() + body)

    return write


def redirect(location: str, status: str = "302 Found") -> Reply:
    return answer(status, b"", f"Location: {location}")


@dataclass
class Upstream:
    """Answers each request with `replies` in turn, the last one for ever."""

    host: str
    port: int
    replies: list[Reply]
    scheme: str = "http"
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most_open: int = 0

    def url(self, path: str = "/", host: str | None = None) -> str:
        return f"{self.scheme}://{host or self.host}:{self.port}{path}"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._counted(), contextlib.closing(writer):
            while True:
                request = await _read_request(reader)
                self.requests.append(request)
                reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                await reply(self, writer, request)
                await writer.drain()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            yield
        self.open -= 1


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return head + await reader.readexactly(length)


Upstreams = Callable[..., Awaitable[Upstream]]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstreams]:
    """Starts servers: `await upstream(reply, …, host=…, port=…)`."""
    async with contextlib.AsyncExitStack() as running:

        async def start(
            *replies: Reply, host: str = OUTSIDE, port: int = 0, tls: ssl.SSLContext | None = None
        ) -> Upstream:
            served = Upstream(host, port, list(replies or [ok()]), "https" if tls else "http")
            tasks: set[asyncio.Task[None]] = set()

            async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                with contextlib.suppress(asyncio.CancelledError):  # the server is being stopped
                    await served.talk(reader, writer)

            server = await asyncio.start_server(talk, host, port, ssl=tls)
            served.port = server.sockets[0].getsockname()[1]

            async def stop() -> None:
                server.close()
                for task in list(tasks):
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

            running.push_async_callback(stop)
            return served

        yield start


@dataclass
class Names:
    """A resolver: gives each name its answers in turn, the last one for ever."""

    answers: dict[str, list[Sequence[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, name: str) -> Sequence[IpAddress]:
        self.asked.append(name)
        answers = self.answers[name]
        return [ip_address(text) for text in (answers.pop(0) if len(answers) > 1 else answers[0])]


@dataclass
class Monotonic:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
async def outgoing(names: Names, monotonic: Monotonic) -> AsyncIterator[GuardedClient]:
    client = GuardedClient(RULES, resolver=names, monotonic=monotonic)
    yield client
    await client.aclose()
