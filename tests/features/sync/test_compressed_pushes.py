"""Phones compress what they push; what cannot be read stores nothing."""

import gzip
import json
import random
import zlib
from typing import Any

import pytest
from httpx2 import AsyncClient, Response

from tests.factories import make_event, make_program, pull_all

pytestmark = pytest.mark.anyio

EVENTS = 300


def body(program: str) -> bytes:
    return json.dumps({"configId": program, "events": [make_event() for _ in range(EVENTS)]}).encode()


async def send(client: AsyncClient, content: Any, encoding: str) -> Response:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    return await client.post("/api/sync/push", content=content, headers=headers)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "X-GZIP", "identity"])
async def test_a_compressed_push_is_a_push(admin: AsyncClient, encoding: str) -> None:
    program = await make_program(admin)
    plain = body(program)
    packed = {"deflate": zlib.compress, "identity": bytes}.get(encoding, gzip.compress)(plain)
    answer = await send(admin, packed, encoding)
    assert (answer.status_code, answer.json()["applied"]) == (200, EVENTS)
    assert len(await pull_all(admin, program, limit=1000)) == EVENTS


async def test_a_compressed_push_may_come_in_chunks_of_unknown_length(admin: AsyncClient) -> None:
    program = await make_program(admin)
    packed = gzip.compress(body(program))

    async def chunks() -> Any:
        for start in range(0, len(packed), 1000):
            yield packed[start : start + 1000]

    assert (await send(admin, chunks(), "gzip")).json()["applied"] == EVENTS


@pytest.mark.parametrize("spoil", [lambda p: p[:-1], lambda p: p[: len(p) // 2], lambda p: p + b"x", lambda p: p + p])
async def test_what_does_not_inflate_to_its_end_stores_nothing(admin: AsyncClient, spoil: Any) -> None:
    program = await make_program(admin)
    answer = await send(admin, spoil(gzip.compress(body(program))), "gzip")
    error = answer.json()
    assert (answer.status_code, error["code"]) == (400, "BODY_NOT_DECOMPRESSIBLE")
    assert error["error"] == error["message"] != ""
    assert await pull_all(admin, program) == []


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip, deflate", "aes128gcm"])
async def test_what_is_not_understood_is_answered_with_what_is(admin: AsyncClient, encoding: str) -> None:
    program = await make_program(admin)
    answer = await send(admin, gzip.compress(gzip.compress(body(program))), encoding)
    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_ENCODING")
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert await pull_all(admin, program) == []


async def test_a_bomb_is_refused_and_a_stranger_learns_nothing_of_it(admin: AsyncClient, client: AsyncClient) -> None:
    bomb = gzip.compress(b"[" + b" " * 49_000_000 + b"]")
    assert len(bomb) < 100_000
    answer = await send(admin, bomb, "gzip")
    assert (answer.status_code, answer.json()["code"]) == (413, "BODY_INFLATES_TOO_MUCH")
    assert (await send(client, bomb, "gzip")).status_code == 401


async def test_the_limit_of_size_is_of_what_the_body_inflates_to(admin: AsyncClient) -> None:
    # 1 MiB elsewhere than in sync; as sent this is far below it.
    account = json.dumps({"email": "a@hub.test", "padding": random.Random(7).randbytes(600_000).hex()}).encode()
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await admin.post("/api/users", content=gzip.compress(account), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_what_is_hidden_in_a_compressed_body_passes_the_same_checks(admin: AsyncClient) -> None:
    for content, code in ((b'{"a":1,"a":2}', "DUPLICATE_KEY"), (b"[" * 100 + b"]" * 100, "JSON_TOO_DEEP")):
        assert (await send(admin, gzip.compress(content), "gzip")).json()["code"] == code


async def test_a_compressed_config_file_is_a_config_file(admin: AsyncClient) -> None:
    config = json.dumps({"id": "packed-1", "name": "Packed", "entityForms": []}).encode()
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await admin.post("/api/apps", content=gzip.compress(config), headers=headers)
    assert answer.status_code == 200, answer.text
