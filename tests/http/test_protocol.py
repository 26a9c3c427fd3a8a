"""Heads that do not arrive, on the protocol itself with short times."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from datacollect.http.protocol import (
    MOST_FIELDS,
    MOST_HEAD_BYTES,
    MOST_QUEUED,
    DrainingProtocol,
    HeadTooLarge,
    HeadTooSlow,
    HubProtocol,
    MalformedHttp,
)
from datacollect.kernel.errors import DataCollectError

pytestmark = pytest.mark.anyio


QUIET = {"log_config": None, "access_log": False}


class Hasty(HubProtocol):
    head_seconds = 0.05
    linger_seconds = 0.05


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


async def refuse_unread(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"2"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": b"no"})


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers what of the request arrived."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        body, more = body + message.get("body", b""), message.get("more_body", False)
    names = b" ".join(name for name, _ in scope["headers"])
    told = b"%b %b: %b [%b]" % (scope["method"].encode(), scope["path"].encode(), body, names)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})


@contextlib.asynccontextmanager
async def connected(
    app: object = hello, protocol: type[HubProtocol] = Hasty, made: asyncio.Queue[HubProtocol] | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    def make() -> HubProtocol:
        connection = protocol(config, state, {})
        if made is not None:
            made.put_nowait(connection)
        return connection

    config = uvicorn.Config(app, ws="none", lifespan="off", timeout_keep_alive=60, **QUIET)  # type: ignore[arg-type]
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1024 * 1024)
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()
        await server.wait_closed()


class Draining(DrainingProtocol):
    drain_seconds = 0.05


class Patient(DrainingProtocol):
    drain_seconds = 60.0


async def test_an_idle_connection_that_is_to_end_takes_one_more_request_and_says_so() -> None:
    made: asyncio.Queue[HubProtocol] = asyncio.Queue()
    async with connected(protocol=Patient, made=made) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
            assert b"connection: close" not in await reader.readuntil(b"hi")
        (await made.get()).shutdown()
        writer.write(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        answer = await rest_of(reader)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer


async def test_so_does_one_that_has_not_brought_any_yet() -> None:
    made: asyncio.Queue[HubProtocol] = asyncio.Queue()
    async with connected(protocol=Patient, made=made) as (reader, writer):
        (await made.get()).shutdown()
        writer.write(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        assert b"connection: close" in await rest_of(reader)


async def test_an_idle_connection_that_brings_nothing_more_is_closed() -> None:
    made: asyncio.Queue[HubProtocol] = asyncio.Queue()
    async with connected(protocol=Draining, made=made) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        await reader.readuntil(b"hi")
        (await made.get()).shutdown()
        assert await rest_of(reader) == b""


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        return await reader.read()


async def test_a_connection_on_which_nothing_comes_is_closed() -> None:
    async with connected() as (reader, _):
        assert await rest_of(reader) == b""


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHost: hub\r\nX: "])
async def test_a_head_that_does_not_end_in_time_is_told_so(begun: bytes) -> None:
    async with connected() as (reader, writer):
        writer.write(begun)
        answer = await rest_of(reader)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"HEADERS_TOO_SLOW"' in answer


async def test_the_second_head_of_a_connection_has_the_same_time() -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        assert (await reader.readuntil(b"hi")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"GET /again HTTP/1.1\r\n")
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 408 ")


HUGE = b"GET / HTTP/1.1\r\nHost: hub\r\nX: " + b"a" * MOST_HEAD_BYTES + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "refused"), [(b"G", HeadTooSlow()), (b"\0\r\n\r\n", MalformedHttp()), (HUGE, HeadTooLarge())]
)
async def test_what_is_refused_before_there_is_a_request_has_the_shape_of_all_errors(
    sent: bytes, refused: DataCollectError
) -> None:
    async with connected() as (reader, writer):
        writer.write(sent)
        head, _, body = (await rest_of(reader)).partition(b"\r\n\r\n")
    told = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % refused.status)
    assert b"x-request-id: %b" % told.pop("requestId").encode() in head
    message = refused.message
    assert told == {"error": message, "message": message, "code": refused.code, "help": refused.help}


async def test_blank_lines_do_not_keep_a_connection_open() -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        await reader.readuntil(b"hi")
        writer.write(b"\r\n")
        assert await rest_of(reader) == b""


async def test_whoever_is_still_sending_is_listened_to_for_a_while_and_then_cut_off() -> None:
    async with connected(refuse_unread) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: hub\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        answer = await rest_of(reader)
        assert answer.endswith(b"\r\n\r\nno")
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(10):
                while True:
                    writer.write(b"x" * 1000)
                    await writer.drain()
                    await asyncio.sleep(0.005)


CHUNKED = b"POST / HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n"


class Unhurried(HubProtocol):
    head_seconds = 60.0


async def test_headers_behind_a_body_are_not_the_requests_own() -> None:
    async with connected(tell, Unhurried) as (reader, writer):
        writer.write(CHUNKED + b"2\r\nab\r\n0\r\nAuthorization: Bearer x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
        assert (await reader.readuntil(b"]")).endswith(b"POST /: ab [host transfer-encoding]")


@pytest.mark.parametrize("begun", [b"0\r\nX: ", b"0\r\nX", b"2;x="])
async def test_what_does_not_end_behind_a_body_is_not_kept(begun: bytes) -> None:
    async with connected(tell, Unhurried) as (reader, writer):
        writer.write(CHUNKED + b"2\r\nab\r\n" + begun)
        writer.write(b"a" * 2 * 1024 * 1024)
        answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'"code":"HEADERS_TOO_LARGE"' in answer


async def test_nor_are_many_headers_behind_a_body() -> None:
    async with connected(tell, Unhurried) as (reader, writer):
        writer.write(CHUNKED + b"0\r\n" + b"X: y\r\n" * 20_000)
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 431 ")


OFFERS = (b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c", b"Connection: upgrade\r\nUpgrade: websocket")
LOOKS_LIKE_ONE = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize(
    ("length", "body"),
    [
        (b"Content-Length: %d" % len(LOOKS_LIKE_ONE), LOOKS_LIKE_ONE),
        (b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(LOOKS_LIKE_ONE), LOOKS_LIKE_ONE)),
    ],
)
@pytest.mark.parametrize("at_once", [0, 3, 1000])
async def test_an_offer_to_change_the_protocol_is_passed_over(
    offer: bytes, length: bytes, body: bytes, at_once: int
) -> None:
    """And its body is no request of its own, however much of it comes together with the head."""
    made: asyncio.Queue[HubProtocol] = asyncio.Queue()
    head = b"POST /p HTTP/1.1\r\nHost: hub\r\n%b\r\n%b\r\n\r\n" % (offer, length)
    following = b"GET /next HTTP/1.1\r\nHost: hub\r\n\r\n"
    async with connected(tell, Unhurried, made) as (reader, _):
        connection = await made.get()
        for piece in (head + body[:at_once], body[at_once:] + following):
            connection.data_received(piece)
        answer = await reader.readuntil(b"GET /next:  [host]")
    assert b"POST /p: " + LOOKS_LIKE_ONE + b" [host connection" in answer
    assert answer.count(b"HTTP/1.1 200 ") == 2


async def test_an_offer_without_a_body_is_passed_over_as_well() -> None:
    async with connected(tell, Unhurried) as (reader, writer):
        writer.write(b"GET /p HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n")
        assert (await rest_of(reader)).endswith(b"GET /p:  [host connection]")


async def test_nobody_gets_a_tunnel() -> None:
    async with connected(tell, Unhurried) as (reader, writer):
        writer.write(b"CONNECT hub:80 HTTP/1.1\r\nHost: hub\r\n\r\nGET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_any_number_of_offers_is_passed_over() -> None:
    async with connected(tell, Unhurried) as (reader, writer):
        offer = b"GET /p HTTP/1.1\r\nHost: hub\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
        for _ in range(150):
            writer.write(offer * (MOST_QUEUED - 1) + b"GET /last HTTP/1.1\r\nHost: hub\r\n\r\n")
            answer = await reader.readuntil(b"GET /last:  [host]")
            assert answer.count(b"HTTP/1.1 200 ") == MOST_QUEUED


def numbered(count: int) -> bytes:
    return b"".join(b"GET /%d HTTP/1.1\r\nHost: hub\r\n\r\n" % number for number in range(count))


async def test_requests_that_are_sent_at_once_are_answered_in_their_order() -> None:
    async with connected(tell, Unhurried) as (reader, writer):
        for _ in range(3):
            writer.write(numbered(MOST_QUEUED))
            answer = await reader.readuntil(b"GET /%d:  [host]" % (MOST_QUEUED - 1))
            found = [int(part.partition(b":")[0]) for part in answer.split(b"GET /")[1:]]
            assert found == list(range(MOST_QUEUED))
            assert b"connection: close" not in answer


async def test_of_more_the_first_are_answered_and_the_last_of_them_says_that_it_was_the_last() -> None:
    made: asyncio.Queue[HubProtocol] = asyncio.Queue()
    async with connected(tell, Unhurried, made) as (reader, _):
        connection = await made.get()
        connection.data_received(numbered(10_000))
        assert len(connection.pipeline) == MOST_QUEUED
        connection.data_received(numbered(10_000))
        answer = await rest_of(reader)
    *others, last = answer.split(b"HTTP/1.1 200 ")[1:]
    assert len(others) == MOST_QUEUED
    assert last.endswith(b"GET /%d:  [host]" % MOST_QUEUED)
    assert [b"connection: close" in one for one in (*others, last)] == [False] * MOST_QUEUED + [True]


@pytest.mark.parametrize(("count", "status"), [(MOST_FIELDS, 200), (MOST_FIELDS + 1, 431)])
async def test_a_head_has_so_many_headers_and_no_more(count: int, status: int) -> None:
    async with connected(hello, Unhurried) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * count + b"\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 %d " % status)
