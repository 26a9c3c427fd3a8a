"""What goes over the wire, what is taken back, and what is not."""

import asyncio
import gzip
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpcore2
import pytest
from structlog.testing import capture_logs

from datacollect.outgoing import (
    Answer,
    GuardedClient,
    UpstreamTooLarge,
    UpstreamTooSlow,
    UpstreamUnavailable,
    UpstreamUnreadable,
    UrlRefused,
)
from datacollect.outgoing.client import Method
from tests.outgoing.conftest import (
    INSIDE,
    OUTSIDE,
    RULES,
    Names,
    Reply,
    Upstream,
    Upstreams,
    answer,
    ok,
    redirect,
)


def head(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines)


async def test_a_request_is_sent_as_given_and_the_answer_is_read(outgoing: GuardedClient, upstream: Upstreams) -> None:
    served = await upstream(answer("404 Not Found", b'{"found":false}', "X-Kind: a", "X-Kind: b"))
    got = await outgoing.request("POST", served.url("/jsonrpc?a=b"), json={"id": 1}, headers={"X-Api-Key": "k"})
    assert got == Answer(404, {"content-length": "15", "x-kind": "a, b"}, b'{"found":false}')
    assert got.json() == {"found": False}
    (request,) = served.requests
    assert request.startswith(b"POST /jsonrpc?a=b HTTP/1.1\r\n")
    assert request.endswith(b'\r\n\r\n{"id":1}')
    assert head(request) == {
        "host": f"{OUTSIDE}:{served.port}",
        "x-api-key": "k",
        "content-type": "application/json",
        "accept": "*/*",
        "user-agent": "datacollect-hub",
        "accept-encoding": "gzip",
        "content-length": "8",
    }


async def test_cookies_are_neither_shown_nor_sent_back(outgoing: GuardedClient, upstream: Upstreams) -> None:
    served = await upstream(ok(b"", "Set-Cookie: session=1"))
    assert "set-cookie" not in (await outgoing.request("GET", served.url())).headers
    await outgoing.request("GET", served.url())
    assert all(b"cookie" not in request.lower() for request in served.requests)


async def test_proxies_and_passwords_of_the_environment_are_not_used(
    outgoing: GuardedClient, upstream: Upstreams, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    proxy, served = await upstream(host=INSIDE), await upstream()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url())
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:  # noqa: ASYNC230, PTH123
        file.write(f"machine {OUTSIDE} login someone password secret\n")
    monkeypatch.setenv("NETRC", netrc)
    await outgoing.request("GET", served.url())
    assert proxy.connections == 0
    assert "authorization" not in head(served.requests[0])


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection", "Proxy-Authorization"])
async def test_headers_that_frame_the_request_cannot_be_set(
    outgoing: GuardedClient, upstream: Upstreams, name: str
) -> None:
    served = await upstream()
    with pytest.raises(UrlRefused, match=f"The header {name.lower()} cannot be set"):
        await outgoing.request("GET", served.url(), headers={name: "x"})
    assert served.connections == 0


@pytest.mark.parametrize("header", [{"X-Key": "a\r\nHost: evil"}, {"X-Key": "a\nb"}, {"X: y\r\nZ": "a"}, {"X": "ü"}])
async def test_a_header_cannot_smuggle_in_another(
    outgoing: GuardedClient, upstream: Upstreams, header: dict[str, str]
) -> None:
    served = await upstream()
    with pytest.raises(UrlRefused) as refused:
        await outgoing.request("GET", served.url(), headers=header)
    assert "evil" not in refused.value.message
    assert served.requests == []


@pytest.mark.parametrize("path", ["/\r\nX-Evil: 1", "/ HTTP/1.1\r\nHost: evil\r\n\r\n", "/?\r\n", "/\t"])
async def test_a_url_cannot_smuggle_in_a_header(outgoing: GuardedClient, upstream: Upstreams, path: str) -> None:
    served = await upstream()
    with pytest.raises(UrlRefused):
        await outgoing.request("GET", served.url(path))
    assert served.connections == 0


# Size.


async def test_an_answer_of_just_the_allowed_size_is_taken_and_one_byte_more_is_not(
    outgoing: GuardedClient, upstream: Upstreams
) -> None:
    for body, headers in ((b"x" * 1000, ()), (gzip.compress(b"x" * 1000), ("Content-Encoding: gzip",))):
        served = await upstream(ok(body, *headers))
        got = await outgoing.request("GET", served.url(), max_bytes=1000)
        assert got.body == b"x" * 1000
        with pytest.raises(UpstreamTooLarge):
            await outgoing.request("GET", served.url(), max_bytes=999)


async def endless(_: Upstream, writer: asyncio.StreamWriter, __: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


async def test_an_endless_answer_is_cut(outgoing: GuardedClient, upstream: Upstreams) -> None:
    served = await upstream(endless)
    with pytest.raises(UpstreamTooLarge):
        await outgoing.request("GET", served.url())


async def test_a_length_that_is_too_large_is_refused_before_the_body_comes(
    outgoing: GuardedClient, upstream: Upstreams
) -> None:
    async def announce(_: Upstream, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000001\r\n\r\n")

    served = await upstream(announce)
    with pytest.raises(UpstreamTooLarge):
        await outgoing.request("GET", served.url())


async def test_a_decompression_bomb_is_cut_with_little_memory(outgoing: GuardedClient, upstream: Upstreams) -> None:
    packer = zlib.compressobj(wbits=31)
    block = bytes(1_000_000)
    bomb = b"".join([*(packer.compress(block) for _ in range(300)), packer.flush()])
    served = await upstream(ok(bomb, "Content-Encoding: gzip"))
    await outgoing.request("GET", (await upstream()).url())  # what is loaded once does not count
    tracemalloc.start()
    try:
        with pytest.raises(UpstreamTooLarge):
            await outgoing.request("GET", served.url())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(bomb) < 400_000
    assert peak < 15_000_000


async def test_a_body_in_tiny_chunks_takes_little_memory_and_lets_others_have_their_turn(
    outgoing: GuardedClient, upstream: Upstreams
) -> None:
    begun = asyncio.Event()

    async def crumbs(_: Upstream, writer: asyncio.StreamWriter, __: bytes) -> None:
        begun.set()
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"2\r\nab\r\n" * 30_000 + b"0\r\n\r\n")

    served = await upstream(crumbs)
    await outgoing.request("GET", (await upstream()).url())  # what is loaded once does not count
    call = asyncio.ensure_future(outgoing.request("GET", served.url()))
    turns = 0
    await begun.wait()
    tracemalloc.start()
    try:
        while not call.done():
            turns += 1
            await asyncio.sleep(0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len((await call).body) == 60_000
    assert turns > 30_000
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"not gzip", "gzip"),
        (gzip.compress(b"x" * 1000)[:-1], "gzip"),
        (gzip.compress(b"a") + gzip.compress(b"b"), "gzip"),
        (zlib.compress(b"x"), "deflate"),
        (gzip.compress(gzip.compress(b"x")), "gzip, gzip"),
        (b"x", "br"),
    ],
    # Not their bytes, which hold the time: every process of the tests must call them the same.
    ids=["no gzip", "cut off", "two in one", "deflate", "gzip twice", "br"],
)
async def test_a_body_in_an_encoding_that_was_not_asked_for_or_is_broken_is_unreadable(
    outgoing: GuardedClient, upstream: Upstreams, body: bytes, encoding: str
) -> None:
    served = await upstream(ok(body, f"Content-Encoding: {encoding}"))
    with pytest.raises(UpstreamUnreadable):
        await outgoing.request("GET", served.url())


async def test_an_answer_of_very_many_arrays_is_not_built(outgoing: GuardedClient, upstream: Upstreams) -> None:
    """5 MB of nested ones held the hub for seconds, and whoever sets up a connection also says where it leads."""
    served = await upstream(ok(b"[" + b"[[[]]]," * 100_000 + b"0]"))
    answer = await outgoing.request("GET", served.url())
    with pytest.raises(UpstreamUnreadable):
        answer.json()


async def test_an_answer_without_a_body_may_name_an_encoding(outgoing: GuardedClient, upstream: Upstreams) -> None:
    async def no_body(_: Upstream, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9000000\r\n\r\n")

    served = await upstream(no_body)
    assert (await outgoing.request("HEAD", served.url())).body == b""


@pytest.mark.parametrize("lines", [b"X-Long: " + b"a" * 200_000 + b"\r\n", b"X-Many: a\r\n" * 20_000])
async def test_too_many_headers_are_refused(outgoing: GuardedClient, upstream: Upstreams, lines: bytes) -> None:
    async def long_head(_: Upstream, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + lines + b"\r\n")

    served = await upstream(long_head)
    with pytest.raises(UpstreamUnreadable):
        await outgoing.request("GET", served.url())


# Time.


def dripping(first: bytes) -> object:
    async def drip(_: Upstream, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(first)
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.01)

    return drip


async def silent(upstream: Upstream, writer: asyncio.StreamWriter, _: bytes) -> None:
    await writer.wait_closed()


@pytest.mark.parametrize(
    "reply",
    [
        silent,
        dripping(b""),
        dripping(b"HTTP/1.1 200 OK\r\nX-Slow: "),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n"),
    ],
    ids=["no answer", "slow status", "slow headers", "slow body"],
)
async def test_an_answer_that_drips_in_is_cut_at_the_deadline(
    outgoing: GuardedClient, upstream: Upstreams, reply: object
) -> None:
    served = await upstream(reply)
    started = time.monotonic()
    with pytest.raises(UpstreamTooSlow) as slow:
        await outgoing.request("GET", served.url(), timeout_seconds=0.3)
    assert slow.value.status == 504
    assert time.monotonic() - started < 3


async def test_the_deadline_counts_from_the_look_up_of_the_name() -> None:
    async def never(_: str) -> list[object]:
        await asyncio.Event().wait()
        return []

    client = GuardedClient(RULES, resolver=never)  # type: ignore[arg-type]
    with pytest.raises(UpstreamTooSlow):
        await client.request("GET", "http://registry.example/", timeout_seconds=0.1)
    await client.aclose()


async def test_at_most_eight_connections_to_one_system_are_open_at_once(
    outgoing: GuardedClient, upstream: Upstreams
) -> None:
    crowded = asyncio.Event()

    async def hold(served: Upstream, writer: asyncio.StreamWriter, request: bytes) -> None:
        if len(served.requests) >= 8:
            crowded.set()
        await crowded.wait()
        await ok()(served, writer, request)

    served = await upstream(hold)
    answers = await asyncio.gather(*(outgoing.request("GET", served.url()) for _ in range(40)))
    assert {one.status for one in answers} == {200}
    assert served.most_open == 8


async def test_a_system_that_does_not_answer_keeps_nobody_from_another_one(
    outgoing: GuardedClient, upstream: Upstreams
) -> None:
    crowded = asyncio.Event()

    async def hold(served: Upstream, writer: asyncio.StreamWriter, request: bytes) -> None:
        if len(served.requests) >= 8:
            crowded.set()
        await silent(served, writer, request)

    slow, quick = await upstream(hold), await upstream()
    calls = [asyncio.create_task(outgoing.request("POST", slow.url(), timeout_seconds=20)) for _ in range(50)]
    await crowded.wait()
    assert (await outgoing.request("GET", quick.url())).status == 200
    with pytest.raises(UpstreamTooSlow) as waited:
        await outgoing.request("POST", slow.url(), timeout_seconds=0.1)
    assert waited.value.nothing_sent
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert len(slow.requests) == 8


@pytest.mark.parametrize(("method", "follow"), [("POST", 0), ("GET", 1)])
async def test_what_was_sent_may_have_been_done_when_the_answer_is_late(
    outgoing: GuardedClient, upstream: Upstreams, method: Method, follow: int
) -> None:
    silent_one = await upstream(silent)
    served = await upstream(redirect(silent_one.url()) if follow else silent)
    with pytest.raises(UpstreamTooSlow) as late:
        await outgoing.request(method, served.url(), timeout_seconds=0.2, follow=follow)
    assert not late.value.nothing_sent


async def test_connections_to_a_system_that_does_not_answer_are_given_back(
    outgoing: GuardedClient, upstream: Upstreams
) -> None:
    slow, quick = await upstream(silent), await upstream()
    calls = [outgoing.request("GET", slow.url(), timeout_seconds=0.2) for _ in range(50)]
    failed = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(one) for one in failed} == {UpstreamTooSlow}
    assert (await outgoing.request("GET", quick.url())).status == 200


def with_more(first: bytes, more: bytes = b"") -> Reply:
    """Answers with `first`, and once more with `more` (the same, unless given)."""

    async def write(served: Upstream, writer: asyncio.StreamWriter, request: bytes) -> None:
        await ok(first)(served, writer, request)
        await ok(more or first)(served, writer, request)

    return write


LAID_OUT = len(b"HTTP/1.1 200 OK\r\nContent-Length: 16384\r\n\r\n")


@pytest.mark.parametrize("size", [5, 16_384 - LAID_OUT, 32_768 - LAID_OUT, 100_000])
async def test_an_answer_that_is_given_twice_is_not_read_as_that_to_the_next_request(
    outgoing: GuardedClient, upstream: Upstreams, size: int
) -> None:
    served = await upstream(with_more(b"a" * size, b"A" * size), ok(b"b"))
    for body in (b"a" * size, b"b", b"b"):
        assert (await outgoing.request("GET", served.url())).body == body


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_a_body_where_none_belongs_is_not_read_as_an_answer(
    outgoing: GuardedClient, upstream: Upstreams, status: str
) -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"
    served = await upstream(answer(status, body), ok(b"b"))
    assert (await outgoing.request("DELETE", served.url())).body == b""
    assert (await outgoing.request("GET", served.url())).body == b"b"


async def test_a_connection_is_used_again_after_a_short_answer(outgoing: GuardedClient, upstream: Upstreams) -> None:
    served = await upstream(ok(b"a" * 16_000))
    for _ in range(3):
        await outgoing.request("POST", served.url(), json={})
    assert served.connections == 1


async def test_a_connection_of_a_library_that_does_not_show_what_it_holds_is_used_once(
    outgoing: GuardedClient, upstream: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, closed = httpcore2.AsyncConnectionPool.handle_async_request, []

    class Otherwise:
        """The stream of an answer, with other names inside."""

        def __init__(self, stream: Any) -> None:
            self.inner = stream

        def __aiter__(self) -> AsyncIterator[bytes]:
            stream: AsyncIterator[bytes] = aiter(self.inner)
            return stream

        async def aclose(self) -> None:
            closed.append(self)
            await self.inner.aclose()

    async def handled(pool: httpcore2.AsyncConnectionPool, request: httpcore2.Request) -> httpcore2.Response:
        response = await handle(pool, request)
        response.stream = Otherwise(response.stream)
        return response

    monkeypatch.setattr(httpcore2.AsyncConnectionPool, "handle_async_request", handled)
    served = await upstream(ok(b"a"))
    for _ in range(3):
        assert (await outgoing.request("GET", served.url())).body == b"a"
    assert (served.connections, len(closed)) == (3, 3)


# Failures.


@pytest.mark.parametrize(
    "raw",
    [b"220 mail.internal ESMTP secret-banner\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsecret", b"HTTP/1.1 200 OK\r\nContent-Length: secret\r\n\r\n", b"HTTP/1.1 101 secret\r\nUpgrade: secret\r\nConnection: upgrade\r\n\r\n"],
)  # fmt: skip
async def test_what_is_no_answer_is_told_without_quoting_it(
    outgoing: GuardedClient, upstream: Upstreams, raw: bytes
) -> None:
    async def write(_: Upstream, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    served = await upstream(write)
    with capture_logs() as lines, pytest.raises(UpstreamUnavailable) as failed:
        await outgoing.request("GET", served.url())
    assert failed.value.status == 502
    assert failed.value.__cause__ is None
    assert "secret" not in f"{failed.value} {lines}"


async def test_nobody_listening_is_told_without_the_address(
    outgoing: GuardedClient, upstream: Upstreams, names: Names
) -> None:
    names.answers["registry.example"] = [[OUTSIDE]]
    served = await upstream(host=INSIDE)
    with pytest.raises(UpstreamUnavailable) as failed:
        await outgoing.request("GET", f"http://registry.example:{served.port}/")
    assert failed.value.message == "The other system could not be reached."
    assert served.connections == 0


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a":', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(UpstreamUnreadable):
        Answer(200, {}, body).json()


# The log.


async def test_the_log_names_the_host_and_no_secret(outgoing: GuardedClient, upstream: Upstreams, names: Names) -> None:
    names.answers["registry.example"] = [[OUTSIDE]]
    served = await upstream()
    with capture_logs() as lines:
        await outgoing.request(
            "POST",
            f"http://registry.example:{served.port}/canary-path?token=canary-query",
            headers={"Authorization": "Bearer canary-header"},
            json={"secret": "canary-body"},
        )
        with pytest.raises(UrlRefused):
            await outgoing.request("GET", "http://canary-user:canary-password@registry.example/")
    (done, refused) = lines
    assert (done["event"], done["host"], done["status"], done["bytes"]) == (
        "outgoing.finished",
        "registry.example",
        200,
        5,
    )
    assert (refused["event"], refused["code"]) == ("outgoing.finished", "URL_REFUSED")
    assert "canary" not in str(lines) and OUTSIDE not in str(lines)
