"""All bodies together have a limit, and each is waited for only so long; work too."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datacollect.http.guard import MOST_PARAMETERS, PIECE_BYTES, RequestGuard, TookTooLong
from datacollect.http.receiving import STRANGERS, BodyLimit, BodyMemory
from tests.http.conftest import OpenHub

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
UPLOAD = "/api/attachments/upload"


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(len(body)).encode()})


async def call(
    app: ASGIApp,
    chunks: Sequence[bytes],
    *,
    before_each: Callable[[], Any] | None = None,
    path: str = "/api/sync/push",
    **headers: str,
) -> tuple[int, Any, dict[bytes, bytes]]:
    """The status, the body and the headers of the answer to a push that arrives in these chunks."""
    arriving = iter(chunks)
    left = len(chunks)
    sent: list[Message] = []

    async def receive() -> Message:
        nonlocal left
        if before_each is not None:
            await before_each()
        left -= 1
        return {"type": "http.request", "body": next(arriving), "more_body": left > 0}

    async def send(message: Message) -> None:
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": named}
    await app(scope, receive, send)
    return sent[0]["status"], msgspec.json.decode(sent[1]["body"]), dict(sent[0]["headers"])


async def test_a_body_that_does_not_fit_beside_the_others_is_refused_before_it_is_asked_for() -> None:
    memory = BodyMemory(10 * MIB)
    guard = RequestGuard(read_all, development=False, memory=memory)
    memory.take(8 * MIB)
    asked = []

    async def note() -> None:
        asked.append(1)

    status, body, headers = await call(guard, [b"x"], before_each=note, content_length=str(3 * MIB))
    assert (status, body["code"], body["error"] == body["message"]) == (503, "HUB_BUSY", True)
    assert int(headers[b"retry-after"]) > 0
    assert asked == []
    assert (await call(guard, [b"x" * MIB], content_length=str(MIB)))[:2] == (200, MIB)


async def test_a_body_of_unknown_length_is_refused_when_it_does_not_fit_any_more() -> None:
    memory = BodyMemory(3 * MIB)
    guard = RequestGuard(read_all, development=False, memory=memory)
    assert (await call(guard, [b"x" * MIB] * 4))[1]["code"] == "HUB_BUSY"
    assert (await call(guard, [b"x" * MIB] * 3))[:2] == (200, 3 * MIB)


def test_neither_an_account_nor_all_whom_nobody_knows_take_the_room_of_others() -> None:
    """Whoever sends slowly holds what has arrived for as long as they like."""
    memory = BodyMemory(256 * MIB)
    memory.take(128 * MIB, "slow")
    memory.take(64 * MIB, STRANGERS)
    assert not memory.has_room_for(1, "slow")
    assert not memory.has_room_for(1, STRANGERS)
    assert memory.has_room_for(50 * MIB, "other")
    memory.give_back(128 * MIB, "slow")
    memory.give_back(64 * MIB, STRANGERS)
    assert memory.has_room_for(128 * MIB, "slow") and memory.held_bytes == 0
    # A small memory still has room for the largest body there may be.
    assert BodyMemory(64 * MIB).has_room_for(50 * MIB, "one")
    assert BodyMemory(32 * MIB).has_room_for(10 * MIB, STRANGERS)


@pytest.mark.parametrize("path", ["/api/users/login", "/api/auth/otp/request", "/api/auth/oidc/nonce", "/anything"])
async def test_a_body_of_whom_nobody_knows_has_to_come_soon(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datacollect.http.guard._OPEN", BodyLimit(MIB, most_seconds=0.1))
    guard = RequestGuard(read_all, development=False, memory=BodyMemory(MIB))

    async def now_and_then() -> None:
        await anyio.sleep(0.02)

    status, body, _ = await call(guard, [b"x"] * 1000, before_each=now_and_then, path=path)
    assert (status, body["code"]) == (408, "BODY_TOO_SLOW")


async def test_the_memory_of_a_body_is_free_again_whatever_became_of_its_request() -> None:
    async def crash(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        raise RuntimeError

    async def leave(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        raise asyncio.CancelledError

    memory = BodyMemory(100 * MIB)
    for app in (read_all, crash, leave):
        with contextlib.suppress(asyncio.CancelledError):
            await call(RequestGuard(app, development=False, memory=memory), [b"x" * MIB] * 2)
    await call(RequestGuard(read_all, development=False, memory=memory), [b"x" * MIB] * 51)
    assert memory.held_bytes == 0


async def test_a_body_that_passes_through_takes_no_memory_of_others_and_has_a_limit_all_the_same() -> None:
    async def pass_on(scope: Scope, receive: Receive, send: Send) -> None:
        async for _ in Request(scope, receive).stream():
            assert memory.held_bytes == MIB
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1"})

    memory = BodyMemory(2 * MIB)
    memory.take(MIB)
    guard = RequestGuard(pass_on, development=False, memory=memory)
    for headers in ({}, {"content_length": str(50 * MIB)}):
        assert (await call(guard, [b"x" * MIB] * 50, path=UPLOAD, **headers))[0] == 200
    status, body, _ = await call(guard, [b"x" * MIB] * 51, path=UPLOAD)
    assert (status, body["error"]) == (413, "File too large")


async def test_whoever_sends_a_byte_now_and_then_is_not_waited_for_longer_than_who_sends_none() -> None:
    guard = RequestGuard(read_all, development=False, memory=BodyMemory(MIB), idle_seconds=0.5)

    async def now_and_then() -> None:
        await anyio.sleep(0.03)

    status, body, _ = await call(guard, [b"x"] * 1000, before_each=now_and_then)
    assert (status, body["code"]) == (408, "BODY_TOO_SLOW")


async def test_a_slow_body_that_keeps_pace_is_waited_for() -> None:
    guard = RequestGuard(read_all, development=False, memory=BodyMemory(MIB), idle_seconds=0.5)

    async def now_and_then() -> None:
        await anyio.sleep(0.03)

    assert (await call(guard, [b"x" * 1000] * 20, before_each=now_and_then))[:2] == (200, 20_000)


async def test_work_that_does_not_end_is_ended_and_the_caller_told() -> None:
    ended: list[str] = []

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleanly")

    guard = RequestGuard(hang, development=False, memory=BodyMemory(MIB), work_seconds=0.01)
    with anyio.fail_after(5):
        status, body, headers = await call(guard, [b""])
    assert (status, body["code"], ended) == (503, "TOOK_TOO_LONG", ["cleanly"])
    assert b"retry-after" in headers


async def test_a_timeout_of_the_codes_own_is_a_crash_and_not_taken_for_that() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise TimeoutError

    guard = RequestGuard(fail, development=False, memory=BodyMemory(MIB))
    assert (await call(guard, [b""]))[:1] == (500,)


async def test_time_to_work_counts_from_the_last_of_the_body() -> None:
    guard = RequestGuard(read_all, development=False, memory=BodyMemory(MIB), work_seconds=2, idle_seconds=10)

    async def slowly() -> None:
        await anyio.sleep(0.8)

    assert (await call(guard, [b"x" * 100] * 3, before_each=slowly))[:2] == (200, 300)


async def test_time_to_work_counts_from_the_last_piece_of_a_long_answer_that_was_taken() -> None:
    ended: list[str] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await anyio.sleep(0.8)
            await send({"type": "http.response.body", "body": b"1", "more_body": True})
        ended.append("whole")

    guard = RequestGuard(answer, development=False, memory=BodyMemory(MIB), work_seconds=2)
    assert (await call(guard, [b""]))[0] == 200
    assert ended == ["whole"]


async def test_a_ticket_tells_how_much_was_held_for_its_request() -> None:
    ticket = SimpleNamespace(account="one", body_bytes=0)
    pieces = iter([b"x" * 1000, b"y" * 500])

    async def receive() -> Message:
        piece = next(pieces)
        return {"type": "http.request", "body": piece, "more_body": piece[:1] == b"x"}

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass

    async def send(message: Message) -> None:
        pass

    guard = RequestGuard(read, development=False, memory=BodyMemory(MIB))
    scope: Scope = {
        "type": "http", "method": "POST", "path": "/api/sync/push", "query_string": b"", "headers": [],
        "state": {"ticket": ticket},
    }  # fmt: skip
    await guard(scope, receive, send)
    assert ticket.body_bytes == 1500


# -- what is answered


class Taker:
    """Takes an answer message by message."""

    def __init__(self, app: ASGIApp, account: str | None = None) -> None:
        self.taken: list[Message] = []
        self._may_take = asyncio.Semaphore(0)
        scope: Scope = {"type": "http", "method": "GET", "path": "/api/x", "query_string": b"", "headers": []}
        if account is not None:
            scope["state"] = {"ticket": SimpleNamespace(account=account, body_bytes=0)}
        self.answering = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        return {"type": "http.request"}

    async def _send(self, message: Message) -> None:
        await self._may_take.acquire()
        self.taken.append(message)

    async def take(self, messages: int) -> None:
        for _ in range(messages):
            self._may_take.release()
        await anyio.wait_all_tasks_blocked()

    @property
    def status(self) -> int:
        return int(self.taken[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.taken[1:])


def answering(body: bytes) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(body)(scope, receive, send)

    return app


async def test_a_long_answer_is_written_as_it_is_read_and_takes_room_meanwhile() -> None:
    memory, body = BodyMemory(100 * MIB), bytes(range(256)) * 12 * 1024
    guard = RequestGuard(answering(body), development=False, memory=memory)
    reader = Taker(guard, "one")
    await reader.take(4)
    assert [len(message["body"]) for message in reader.taken[1:]] == [PIECE_BYTES] * 3
    assert (memory.held_bytes, reader.answering.done()) == (3 * MIB, False)
    await reader.take(100)
    await reader.answering
    assert (reader.body, memory.held_bytes) == (body, 0)
    assert [message["more_body"] for message in reader.taken[1:]] == [True] * 11 + [False]


async def test_answers_that_nobody_reads_leave_room_for_others() -> None:
    memory = BodyMemory(120 * MIB)
    guard = RequestGuard(answering(b"x" * 25 * MIB), development=False, memory=memory)
    slow = [Taker(guard, "slow") for _ in range(2)]
    for reader in slow:
        await reader.take(2)
    refused, other = Taker(guard, "slow"), Taker(guard, "other")
    for reader in (refused, other):
        await reader.take(200)
    assert (refused.status, msgspec.json.decode(refused.body)["code"]) == (503, "HUB_BUSY")
    assert (other.status, len(other.body)) == (200, 25 * MIB)
    for reader in slow:
        reader.answering.cancel()
    await asyncio.wait([reader.answering for reader in slow])
    assert memory.held_bytes == 0


async def test_who_takes_nothing_of_a_long_answer_is_let_go() -> None:
    memory = BodyMemory(100 * MIB)
    guard = RequestGuard(answering(b"x" * 2 * MIB), development=False, memory=memory, piece_seconds=0.01)
    reader = Taker(guard, "slow")
    await reader.take(3)
    with pytest.raises(TookTooLong):
        await reader.answering
    assert memory.held_bytes == 0


# -- before anything is read


async def test_only_so_many_query_parameters(open_hub: OpenHub) -> None:
    async with open_hub() as client:
        most = "&".join(f"p{n}=1" for n in range(MOST_PARAMETERS))
        assert (await client.get(f"/openapi.json?{most}")).status_code == 200
        refused = await client.get(f"/openapi.json?{most}&q=1")
    assert (refused.status_code, refused.json()["code"]) == (400, "TOO_MANY_PARAMETERS")


@pytest.mark.parametrize("length", ["9" * 18, "9" * 19, "9" * 5000, str(50 * MIB + 1)])
async def test_a_length_beyond_all_limits_is_refused_however_it_is_written(length: str) -> None:
    guard = RequestGuard(read_all, development=False, memory=BodyMemory(MIB))
    assert (await call(guard, [b""], content_length=length))[1]["code"] == "PAYLOAD_TOO_LARGE"


def extend(app: FastAPI) -> None:
    async def ignore() -> str:
        return "ok"

    app.add_api_route("/api/sync/ignore", ignore, methods=["POST"])


async def endless() -> AsyncIterator[bytes]:
    yield b"x"


@pytest.mark.parametrize(
    ("content", "closes"),
    [(b"x" * 100, False), (b"x" * 64 * 1024, False), (b"x" * (64 * 1024 + 1), True), (b"x" * 60 * MIB, True)],
)
async def test_a_connection_ends_rather_than_take_a_long_body_that_nobody_wants(
    open_hub: OpenHub, content: bytes, closes: bool
) -> None:
    async with open_hub(extend) as client:
        answer = await client.post("/api/sync/ignore", content=content)
        streamed = await client.post("/api/sync/ignore", content=endless())
        read = await client.post("/api/users/login", content=content[: 32 * 1024])
    assert (answer.headers.get("connection") == "close") is closes
    assert streamed.headers["connection"] == "close"
    assert "connection" not in read.headers
