"""One shape for whatever the hub refuses, from whatever source."""

import uuid
from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from fastapi import FastAPI, HTTPException, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from datacollect.http.body import json_body
from datacollect.kernel.errors import DataCollectError, Unavailable, Unprocessable
from tests.http.conftest import OpenHub

pytestmark = pytest.mark.anyio

SECRET = "duplicate key value (national_id)=(12345)"


class Pair(BaseModel):
    left: int
    right: str = Field(min_length=2)


class WithStatus(Unprocessable):
    """It cannot be applied."""

    code = "NOT_APPLICABLE"


def extend(app: FastAPI) -> None:
    async def raise_known() -> None:
        raise WithStatus(status="error", guid="g1")

    async def raise_from_framework() -> None:
        raise HTTPException(418, "Teapot")

    async def crash() -> None:
        raise ValueError(SECRET)

    async def validate(number: Annotated[int, Query()]) -> int:
        return number

    async def read(pair: Annotated[Pair, json_body(Pair)]) -> Pair:
        return pair

    async def without_database() -> None:
        raise Unavailable() from OSError(SECRET)

    async def crash_while_streaming() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            raise ValueError(SECRET)

        return StreamingResponse(parts())

    for endpoint in (raise_known, raise_from_framework, crash, validate, without_database, crash_while_streaming):
        app.add_api_route(f"/try/{endpoint.__name__}", endpoint, response_model=None)
    app.add_api_route("/try/read", read, methods=["POST"])


SOURCES = [
    ("GET", "/try/raise_known", 422, "NOT_APPLICABLE", "It cannot be applied."),
    ("GET", "/try/raise_from_framework", 418, "IM_A_TEAPOT", "Teapot"),
    ("GET", "/try/crash", 500, "INTERNAL_ERROR", None),
    ("GET", "/try/validate?number=x", 400, "INVALID_PAYLOAD", None),
    ("GET", "/try/without_database", 503, "DATABASE_UNAVAILABLE", None),
    ("POST", "/try/read", 400, "INVALID_JSON", None),
    ("GET", "/nowhere?x=1&y=%20", 404, "NOT_FOUND", "Not Found - /nowhere?x=1&y=%20"),
    ("DELETE", "/health", 405, "METHOD_NOT_ALLOWED", "Method Not Allowed"),
]


@pytest.mark.parametrize(("method", "path", "status", "code", "message"), SOURCES)
@pytest.mark.parametrize("node_env", [None, "production", "development"])
async def test_every_source_gives_the_one_shape(
    open_hub: OpenHub, method: str, path: str, status: int, code: str, message: str | None, node_env: str | None
) -> None:
    async with open_hub(extend, NODE_ENV=node_env) as client:
        answer = await client.request(method, path)
    body = answer.json()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert body["error"] == body["message"]
    assert body["code"] == code
    assert body["help"]
    assert body["requestId"] == answer.headers["x-request-id"]
    assert uuid.UUID(body["requestId"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    if message is not None:
        assert body["message"] == message
    told = node_env == "development" and body.get("success") is False
    assert ("stack" in body, body.get("status") == status) == (told, told)
    if node_env != "development":
        assert "national_id" not in answer.text


@pytest.mark.parametrize(("method", "path", "status", "code", "message"), SOURCES)
async def test_every_source_gives_a_problem_document_when_asked(
    open_hub: OpenHub, method: str, path: str, status: int, code: str, message: str | None
) -> None:
    async with open_hub(extend) as client:
        answer = await client.request(method, path, headers={"Accept": "application/problem+json"})
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, body["status"]) == (status, status)
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"] == body["error"] == body["message"]
    assert body["code"] == code
    assert body["requestId"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("accept", "is_problem"),
    [
        ("application/problem+json;q=0, application/json", False),
        ("application/problem+json; q=0.000", False),
        ("application/json, Application/Problem+JSON;q=0.5", True),
        ("application/problem+json;profile=x;q=1.0", True),
        ("application/problem+json-seq", False),
        ("*/*", False),
    ],
)
async def test_whoever_accepts_no_problem_document_gets_none(open_hub: OpenHub, accept: str, is_problem: bool) -> None:
    async with open_hub(extend) as client:
        answer = await client.get("/nowhere", headers={"Accept": accept})
    assert (answer.headers["content-type"] == "application/problem+json") == is_problem


async def test_errors_that_the_reference_throws_carry_success_false(open_hub: OpenHub) -> None:
    async with open_hub(extend) as client:
        answers = [
            await client.get("/nowhere"),
            await client.get("/try/crash"),
            await client.post("/try/read", content=b"{"),
            await client.post("/try/read", content=b" " * (1024 * 1024 + 1)),
        ]
    assert [answer.status_code for answer in answers] == [404, 500, 400, 413]
    assert all(answer.json()["success"] is False for answer in answers)


async def test_members_a_route_names_stand_beside_the_common_ones(open_hub: OpenHub) -> None:
    async with open_hub(extend) as client:
        body = (await client.get("/try/raise_known")).json()
    assert body == {
        "error": "It cannot be applied.",
        "message": "It cannot be applied.",
        "code": "NOT_APPLICABLE",
        "status": "error",
        "guid": "g1",
        "help": WithStatus.help,
        "requestId": body["requestId"],
    }


async def test_an_invalid_payload_names_every_issue_and_repeats_no_value(open_hub: OpenHub) -> None:
    async with open_hub(extend) as client:
        answer = await client.post("/try/read", json={"left": "secret-left", "right": "s"})
    body = answer.json()
    assert (answer.status_code, body["code"], body["error"]) == (400, "INVALID_PAYLOAD", "Invalid payload")
    assert [(issue["path"], bool(issue["code"] and issue["message"])) for issue in body["details"]] == [
        (["left"], True),
        (["right"], True),
    ]
    assert "secret-left" not in answer.text


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain", "nonsense"])
async def test_json_is_read_whatever_the_content_type_says(open_hub: OpenHub, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    async with open_hub(extend) as client:
        answer = await client.post("/try/read", content=b'{"left":1,"right":"ab"}', headers=headers)
    assert answer.json() == {"left": 1, "right": "ab"}


async def test_a_request_id_is_ours_and_new_each_time(open_hub: OpenHub) -> None:
    async with open_hub() as client:
        seen = {(await client.get("/health", headers={"X-Request-Id": "mine"})).headers["x-request-id"] for _ in "ab"}
    assert len(seen) == 2
    assert "mine" not in seen


async def test_a_crash_while_streaming_ends_the_answer_instead_of_mixing_an_error_into_it(open_hub: OpenHub) -> None:
    async with open_hub(extend) as client:
        answer = await client.get("/try/crash_while_streaming")
    assert answer.content == b"first"


def _all_errors(base: type[DataCollectError]) -> list[type[DataCollectError]]:
    return [base, *(found for inner in base.__subclasses__() for found in _all_errors(inner))]


def test_every_error_has_a_stable_code_and_a_message() -> None:
    for error in _all_errors(DataCollectError):
        assert error.code == error.code.upper()
        assert error.__doc__, error


async def test_browsers_get_json_too(open_hub: OpenHub) -> None:
    async with open_hub() as client:
        answer = await client.get("/nowhere", headers={"Accept": "text/html"})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("application/x-www-form-urlencoded; charset=utf-8", "this body came as `application/x-www-form-urlencoded`."),
        ("text/plain", "this body came as `text/plain`."),
        ("application/json", None),
        ("application/vnd.hub+json", None),
        ("", None),
    ],
)
async def test_what_is_no_json_is_told_with_what_it_was_declared_to_be(
    open_hub: OpenHub, declared: str, told: str | None
) -> None:
    headers = {"Content-Type": declared} if declared else {}
    async with open_hub(extend) as client:
        refused = await client.post("/try/read", content=b"left=1&right=xy", headers=headers)
        taken = await client.post("/try/read", content=b'{"left": 1, "right": "xy"}', headers=headers)
    assert (refused.status_code, refused.json()["code"], taken.status_code) == (400, "INVALID_JSON", 200)
    if told is None:
        assert "came as" not in refused.json()["help"]
    else:
        assert refused.json()["help"] == f"Send JSON, as `application/json`: {told}"
