"""What a connection may do before there is a request, and how it ends."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import Running, Serve, complete_environment, forking, serving
from tests.processes import PATIENCE_SECONDS
from tests.warm import Warm

KIB, MIB = 1024, 1024 * 1024
HEAD = b"GET /health HTTP/1.1\r\nHost: hub\r\n"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("connections")
    with serving(folder, complete_environment(folder), forking(warm)) as running:
        yield running


def connected(hub: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", hub.port), timeout=PATIENCE_SECONDS)


def answer_to(hub: Running, *parts: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body; the connection must be closed behind them, and not be reset."""
    with connected(hub) as connection:
        for part in parts:
            connection.sendall(part)
        with connection.makefile("rb") as stream:
            whole = stream.read()
    head, _, body = whole.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, json.loads(body)


def assert_told(answer: tuple[int, dict[str, str], Any], status: int, code: str) -> None:
    found, headers, body = answer
    assert (found, body["code"]) == (status, code)
    assert body["error"] == body["message"] != ""
    assert body["requestId"] == headers["x-request-id"]
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"


@pytest.mark.parametrize(
    "parts",
    [
        (b"GARBAGE\r\n\r\n",),
        (b"GET http://[::1 HTTP/1.1\r\n\r\n",),
        (b"GET /\xff HTTP/1.1\r\nHost: hub\r\n\r\n",),
        (b"POST /api/users/login HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",),
        (b"POST /api/users/login HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"xyz\r\n"),
        (b"POST /api/users/login HTTP/1.1\r\nContent-Length: -1\r\n\r\n",),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",),
        (b"POST /x HTTP/1.1\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\n",),
    ],
)
def test_what_is_no_http_is_told_so_as_all_errors_are(hub: Running, parts: tuple[bytes, ...]) -> None:
    assert_told(answer_to(hub, *parts), 400, "MALFORMED_HTTP")


@pytest.mark.parametrize(
    "parts",
    [
        (HEAD + b"X: " + b"a" * 65 * KIB + b"\r\n\r\n",),
        (HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"a" * KIB) for n in range(65)) + b"\r\n",),
        (b"GET /" + b"a" * 65 * KIB + b" HTTP/1.1\r\nHost: hub\r\n\r\n",),
        (b"GET /?" + b"a" * 65 * KIB + b" HTTP/1.1\r\nHost: hub\r\n\r\n",),
    ],
)
def test_a_head_that_is_too_large_is_refused(hub: Running, parts: tuple[bytes, ...]) -> None:
    assert_told(answer_to(hub, *parts), 431, "HEADERS_TOO_LARGE")


def test_a_head_that_does_not_end_is_refused_while_it_comes(hub: Running) -> None:
    assert_told(answer_to(hub, HEAD + b"X: ", *[b"a" * 16 * KIB] * 40), 431, "HEADERS_TOO_LARGE")


def test_a_thousand_areas_fit_into_the_address(hub: Running) -> None:
    areas = ",".join(f"{number:036}" for number in range(1000))
    answer = httpx2.get(f"{hub.url}/api/sync/pull", params={"areaIds": areas})
    assert (answer.status_code, answer.json()["code"]) == (401, "AUTHORIZATION_MISSING")


@pytest.mark.parametrize("size", [51 * MIB, 120 * MIB])
def test_whoever_sends_too_much_gets_to_read_why(hub: Running, size: int) -> None:
    head = b"POST /api/sync/push HTTP/1.1\r\nHost: hub\r\nContent-Length: %d\r\n\r\n" % size
    # The first part of it: as much as the hub goes on listening to.
    assert_told(answer_to(hub, head, *[b"x" * MIB] * 40), 413, "PAYLOAD_TOO_LARGE")


def test_whoever_never_stops_sending_is_cut_off(hub: Running) -> None:
    with connected(hub) as connection, pytest.raises(ConnectionError):
        connection.sendall(b"POST /api/sync/push HTTP/1.1\r\nHost: hub\r\nContent-Length: 999999999999\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x" * MIB)


def test_a_short_body_that_nobody_wants_does_not_end_the_connection(hub: Running) -> None:
    with httpx2.Client(base_url=hub.url) as client:
        for _ in range(3):
            answer = client.post("/api/sync/push", content=b"x" * 1000)
            assert answer.status_code == 401
            assert "connection" not in answer.headers


def test_a_refusal_is_not_written_into_another_answer(hub: Running) -> None:
    """What comes behind a request that is being answered may be nonsense."""
    with connected(hub) as connection:
        connection.sendall(HEAD + b"\r\nNONSENSE\r\n\r\n")
        with connection.makefile("rb") as stream, contextlib.suppress(ConnectionResetError):
            whole = stream.read()
    assert whole.count(b"HTTP/1.1 ") <= 1


def test_slow_senders_do_not_keep_the_hub_from_stopping(serve: Serve) -> None:
    with serve() as hub, connected(hub) as one, connected(hub) as two:
        one.sendall(HEAD)
        two.sendall(b"POST /api/sync/push HTTP/1.1\r\nHost: hub\r\nContent-Length: 99999999\r\n\r\n")
        assert two.recv(12) == b"HTTP/1.1 413"
        assert hub.stop() == 0
