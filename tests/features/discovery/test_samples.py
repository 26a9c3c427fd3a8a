"""`/api/openspp-fields/parse` and `/parse-file`: fields from a sample, by any member of staff."""

import tempfile
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from tests.accounts import assert_refused, login, make_person
from tests.conftest import asgi_client

pytestmark = pytest.mark.anyio

SAMPLE = {"firstname": "John", "birthdate": "1990-01-01", "gender_id": {"id": 1, "display_name": "Male"}}
FIELDS = [
    {"name": "firstname", "type": "text", "valueType": "text", "label": "Firstname", "required": False},
    {"name": "birthdate", "type": "date", "valueType": "date", "label": "Birthdate", "required": False},
    {
        "name": "gender_id",
        "type": "relation",
        "valueType": "one",
        "label": "Gender Id",
        "required": False,
        "options": [{"id": 1, "label": "Male"}],
    },
]


@pytest.fixture(scope="module")
async def user_token(anyio_backend: str, discovery_app: FastAPI, boss_token: str) -> str:
    async with asgi_client(discovery_app, boss_token) as client:
        return str((await login(client, await make_person(client)))["token"])


@pytest.fixture
async def user(discovery_app: FastAPI, user_token: str) -> AsyncIterator[AsyncClient]:
    """Not an administrator."""
    async with asgi_client(discovery_app, user_token) as client:
        yield client


async def test_a_record_or_the_first_of_an_array_is_read(user: AsyncClient) -> None:
    for body in (SAMPLE, [SAMPLE, {"other": 1}]):
        answer = await user.post("/api/openspp-fields/parse", json=body)
        assert (answer.status_code, answer.json()) == (200, {"fields": FIELDS})
    assert (await user.post("/api/openspp-fields/parse", json={})).json() == {"fields": []}


@pytest.mark.parametrize(
    ("body", "error", "code"),
    [
        (b"", "No payload provided", "NO_PAYLOAD"),
        (b"null", "No payload provided", "NO_PAYLOAD"),
        (b"[]", "Invalid payload: expected a single object", "NOT_ONE_RECORD"),
        (b"[1]", "Invalid payload: expected a single object", "NOT_ONE_RECORD"),
        (b'"text"', "Invalid payload: expected a single object", "NOT_ONE_RECORD"),
    ],
)
async def test_what_is_no_record_is_refused(user: AsyncClient, body: bytes, error: str, code: str) -> None:
    answer = await user.post("/api/openspp-fields/parse", content=body)
    assert_refused(answer, 400, error, code)
    assert answer.json()["success"] is False


@pytest.mark.parametrize("path", ["parse", "parse-file"])
@pytest.mark.parametrize(
    "record", [{f"field{number}": 1 for number in range(10_001)}, {"a": [{"id": 1, "display_name": "b"}] * 10_000}]
)
async def test_a_record_that_would_keep_others_waiting_is_refused(
    user: AsyncClient, path: str, record: dict[str, Any]
) -> None:
    """A second for each hundred thousand fields, and a file has room for a million."""
    file = {"payload": ("a.json", msgspec.json.encode(record), "application/json")}
    sent: dict[str, Any] = {"json": record} if path == "parse" else {"files": file}
    answer = await user.post(f"/api/openspp-fields/{path}", **sent)
    assert_refused(answer, 400, "Invalid payload: too many fields and choices", "LARGE_SAMPLE")


async def test_strangers_are_told_so_before_anything_is_read(discovery_app: FastAPI) -> None:
    async with asgi_client(discovery_app, "nobody's") as client:
        assert_refused(await client.post("/api/openspp-fields/parse", content=b"{"), 401, "Invalid token")
        file = {"payload": ("fields.txt", b"{", "text/plain")}
        assert_refused(await client.post("/api/openspp-fields/parse-file", files=file), 401, "Invalid token")


@pytest.mark.parametrize(
    "file", [("sample.json", "text/plain"), ("sample.txt", "application/json"), ("SAMPLE.JSON", "")]
)
async def test_a_file_is_json_by_its_name_or_its_type(user: AsyncClient, file: tuple[str, str]) -> None:
    name, media_type = file
    content = b'{"firstname": "John", "birthdate": "1990-01-01", "gender_id": {"id": 1, "display_name": "Male"}}'
    answer = await _sent(user, (name, content, media_type))
    assert (answer.status_code, answer.json()) == (200, {"fields": FIELDS})


@pytest.mark.parametrize(
    ("file", "error", "code"),
    [
        (("a.txt", b"{}", "text/plain"), "Only JSON files are allowed", "NOT_A_JSON_FILE"),
        (("a.json", b"{", "application/json"), "Invalid JSON file", "INVALID_JSON_FILE"),
        (("a.json", b"[]", "application/json"), "Invalid payload: expected a single object", "NOT_ONE_RECORD"),
        (
            ("a.json", b'{"a": 1, "a": 2}', "application/json"),
            "An object in the body has the same key twice.",
            "DUPLICATE_KEY",
        ),
    ],
)
async def test_files_that_are_no_sample_are_refused(
    user: AsyncClient, file: tuple[str, bytes, str], error: str, code: str
) -> None:
    answer = await _sent(user, file)
    assert_refused(answer, 400, error, code)
    assert answer.json()["success"] is False


async def test_a_form_without_a_file_is_refused(user: AsyncClient) -> None:
    answer = await user.post(
        "/api/openspp-fields/parse-file", data={"payload": "{}"}, files={"other": ("", b"", "text/plain")}
    )
    assert answer.status_code == 400
    answer = await user.post("/api/openspp-fields/parse-file")
    assert_refused(answer, 400, "No JSON file uploaded", "NO_FIELD_FILE")


async def test_a_large_file_is_read_in_memory_and_a_larger_one_refused(
    user: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")  # any file on disk would fail here
    room = 10 * 1024 * 1024 - len(b'{"a": ""}')
    answer = await _sent(user, ("a.json", b'{"a": "%s"}' % (b"x" * room), "application/json"))
    assert answer.status_code == 200, answer.text
    answer = await _sent(user, ("a.json", b'{"a": "%s"}' % (b"x" * (room + 1)), "application/json"))
    assert_refused(answer, 413, "File too large", "PAYLOAD_TOO_LARGE")


async def _sent(client: AsyncClient, file: tuple[str, bytes, str]) -> Any:
    return await client.post("/api/openspp-fields/parse-file", files={"payload": file})
