"""HEAD: what GET says, without the body."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from structlog.testing import capture_logs

from datacollect.app import create_app
from datacollect.http.protocol import HubProtocol
from tests.accounts import bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, JWT_SECRET, make_settings
from tests.description import Document
from tests.factories import make_event, make_program, push
from tests.http.conftest import OpenHub
from tests.http.test_protocol import connected

pytestmark = pytest.mark.anyio

SETTINGS = {"ADMIN_EMAIL": ADMIN_EMAIL, "ADMIN_PASSWORD": ADMIN_PASSWORD, "JWT_SECRET": JWT_SECRET}
OF_EACH_ANSWER = {"x-request-id", "ratelimit"}


async def signed_in(client: AsyncClient) -> AsyncClient:
    answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    client.headers.update(bearer(answer.json()["token"]))
    return client


def told(answer: Any) -> tuple[int, dict[str, str]]:
    return answer.status_code, {name: answer.headers[name] for name in answer.headers.keys() - OF_EACH_ANSWER}


def without_time(answer: tuple[int, dict[str, str]]) -> tuple[int, dict[str, str]]:
    """A file is called by the second in which it was asked for."""
    status, headers = answer
    return status, {name: re.sub(r"\d{8}T\d{6}Z", "", value) for name, value in headers.items()}


async def test_every_get_is_answered_to_head_by_the_same_headers(open_hub: OpenHub) -> None:
    async with open_hub(**SETTINGS) as client:
        program = await make_program(await signed_in(client))
        await push(client, program, *(make_event() for _ in range(20)))
        asked = set()
        for method, path, operation in Document((await client.get("/openapi.json")).json()).operations():
            if method != "GET":
                continue
            named = {one["name"]: "none" for one in operation.get("parameters", ()) if one["in"] == "path"}
            named |= {"id": program} if "id" in named else {}
            address = path.format(**named)
            query = {"tenantId" if path == "/api/reviews" else "configId": program} if path != "/api/apps/{id}" else {}
            plain, head = await client.get(address, params=query), await client.head(address, params=query)
            assert without_time(told(head)) == without_time(told(plain)), path
            assert head.content == b""
            asked.add(head.status_code)
    assert {200, 404} <= asked
    assert 405 not in asked


async def test_a_page_that_the_caller_has_is_not_said_to_be_another_one(open_hub: OpenHub) -> None:
    async with open_hub(**SETTINGS, CACHE_PAGES="private") as client:
        program = await make_program(await signed_in(client))
        await push(client, program, *(make_event() for _ in range(20)))
        page = f"/api/sync/pull?configId={program}"
        with capture_logs() as logged:
            first = await client.head(page)
            again = await client.head(page, headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    lines = [(one["method"], one["route"]) for one in logged if one["event"] == "request.finished"]
    assert lines == [("HEAD", "/api/sync/pull")] * 2


async def test_parts_are_asked_for_by_get_alone(open_hub: OpenHub) -> None:
    """Source: RFC 9110, 14.2."""
    asset = "/api-docs/swagger-ui.css"
    async with open_hub() as client:
        part = await client.get(asset, headers={"Range": "bytes=0-9"})
        head = await client.head(asset, headers={"Range": "bytes=0-9"})
        whole = await client.get(asset)
    assert (part.status_code, head.status_code) == (206, 200)
    assert head.headers["content-length"] == str(len(whole.content))


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("HEAD", "/api/sync/push", "POST"),
        ("PUT", "/api/sync/pull", "GET, HEAD"),
        ("PATCH", "/api/apps/none", "DELETE, GET, HEAD, PUT"),
        ("PUT", "/api/attachments/none", "DELETE, GET, HEAD"),
        ("DELETE", "/api/apps", "GET, HEAD, POST"),
    ],
)
async def test_who_asks_by_a_method_that_is_not_there_is_told_those_that_are(
    open_hub: OpenHub, method: str, path: str, allowed: str
) -> None:
    async with open_hub() as client:
        answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


class Unhurried(HubProtocol):
    head_seconds = 60.0


async def test_on_a_connection_nothing_comes_behind_the_headers(folder: Path) -> None:
    app: FastAPI = create_app(make_settings(folder, None))
    async with app.router.lifespan_context(app), connected(app, Unhurried) as (reader, writer):
        for path in ("/openapi.json", "/health/live", "/api/sync/pull", "/api-docs", "/artifacts/none.json"):
            answers = []
            for method in ("HEAD", "GET"):
                writer.write(f"{method} {path} HTTP/1.1\r\nHost: hub\r\n\r\n".encode())
                async with asyncio.timeout(20):
                    head = await reader.readuntil(b"\r\n\r\n")
                    lines = head.decode().lower().split("\r\n")
                    [length] = [int(line[16:]) for line in lines if line.startswith("content-length: ")]
                    if method == "GET":
                        await reader.readexactly(length)
                answers.append((lines[0], length))
            assert answers[0] == answers[1], path
