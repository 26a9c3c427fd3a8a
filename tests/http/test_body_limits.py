"""Bodies are refused by size before anybody looks into them."""

from collections.abc import AsyncIterator

import anyio
import pytest
from fastapi import FastAPI, Request
from starlette.types import Message, Scope

from datacollect.http.body import read_json
from datacollect.http.guard import RequestGuard
from datacollect.http.receiving import BodyMemory
from tests.http.conftest import OpenHub

pytestmark = pytest.mark.anyio

KIB, MIB = 1024, 1024 * 1024
MULTIPART = "multipart/form-data; boundary=x"


def extend(app: FastAPI) -> None:
    async def size(request: Request) -> int:
        return len(await request.body())

    async def swallow(request: Request) -> str:
        try:
            await request.body()
        except Exception:  # a library between us and the route that makes something else of the refusal
            return "swallowed"
        return "read"

    for path in ("/try", "/api/try", "/api/sync/try", "/api/apps/try"):
        app.add_api_route(path, size, methods=["POST"])
    app.add_api_route("/swallow", swallow, methods=["POST"])


async def in_chunks(size: int) -> AsyncIterator[bytes]:
    """A body without Content-Length."""
    for start in range(0, size, MIB // 2):
        yield b"x" * min(MIB // 2, size - start)


@pytest.mark.parametrize(
    ("path", "content_type", "limit"),
    [
        ("/try", "application/json", 64 * KIB),
        ("/api/try", "application/json", MIB),
        ("/api/apps/try", "application/json", 10 * MIB + 64 * KIB),
        ("/api/apps/try", MULTIPART, 10 * MIB + 64 * KIB),
        ("/api/try", MULTIPART, MIB),
        ("/api/sync/try", "application/json", 50 * MIB),
    ],
)
@pytest.mark.parametrize("announced", [True, False])
async def test_the_last_byte_that_fits_and_the_first_that_does_not(
    open_hub: OpenHub, path: str, content_type: str, limit: int, announced: bool
) -> None:
    headers = {"Content-Type": content_type}
    async with open_hub(extend) as client:
        fits = await client.post(path, content=b"x" * limit if announced else in_chunks(limit), headers=headers)
        excess = limit + 1
        refused = await client.post(path, content=b"x" * excess if announced else in_chunks(excess), headers=headers)
    assert (fits.status_code, fits.json()) == (200, limit)
    body = refused.json()
    assert (refused.status_code, body["success"], body["message"], body["code"]) == (
        413,
        False,
        "request entity too large",
        "PAYLOAD_TOO_LARGE",
    )
    assert body["error"] == body["message"]
    assert (body["maxBytes"], "`maxBytes`" in body["help"]) == (limit, True)


async def test_a_large_push_is_refused_before_its_sender_is_known(open_hub: OpenHub) -> None:
    async with open_hub() as client:
        answer = await client.post("/api/sync/push", content=b"x" * (51 * MIB))
    assert answer.status_code == 413


async def test_a_body_within_the_limit_is_not_parsed_for_strangers(open_hub: OpenHub) -> None:
    async with open_hub() as client:
        answer = await client.post("/api/users", content=b"{not json")
    assert answer.status_code == 401


async def test_the_refusal_wins_even_when_it_was_swallowed_on_the_way(open_hub: OpenHub) -> None:
    async with open_hub(extend) as client:
        answer = await client.post("/swallow", content=in_chunks(2 * MIB))
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_sender_that_falls_silent_is_not_waited_for() -> None:
    sent: list[Message] = []

    async def read_all(scope: Scope, receive: object, send: object) -> None:
        await Request(scope, receive).body()  # type: ignore[arg-type]

    async def silence() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    guard = RequestGuard(read_all, development=False, memory=BodyMemory(MIB), idle_seconds=0.01)
    scope = {"type": "http", "method": "POST", "path": "/try", "query_string": b"", "headers": []}
    with anyio.fail_after(5):
        await guard(scope, silence, send)
    assert sent[0]["status"] == 408
    assert b"BODY_TOO_SLOW" in sent[1]["body"]


async def test_a_body_is_decoded_once_however_many_ask_for_it() -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b'{"configId": "a"}', "more_body": False}

    scope: Scope = {"type": "http", "method": "POST", "headers": [], "path": "/", "query_string": b""}
    request = Request(scope, receive)
    document = await read_json(request)
    assert document == {"configId": "a"}
    # A policy and a route may each have a request of their own for the same one.
    assert await read_json(Request(scope, receive)) is document
