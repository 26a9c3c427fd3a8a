"""What comes out is what went in, or an error; and nobody else's."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from structlog.testing import capture_logs

from datacollect.app import create_app
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.s3 import S3Server
from tests.accounts import assert_refused, bearer
from tests.attachments import ask, attach, make_entity, new_guid
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, asgi_client, make_settings
from tests.factories import make_event, make_program, push
from tests.files import picture

pytestmark = pytest.mark.anyio


@dataclass
class Stored:
    """An attachment."""

    client: AsyncClient
    hub: Hub
    program: str
    entity: str
    guid: str
    content: bytes
    etag: str

    async def get(self, path: str = "", method: str = "GET", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await ask(self.client, self.program, f"/{self.guid}{path}", method, headers=named)

    async def path(self) -> Path:
        """Of its bytes, in a local store."""
        scope = system_scope(TenantId(self.program))
        async with self.hub.db.reading(scope) as view:
            content = await self.hub.contents.find(view, scope, self.etag.strip('"'))
        return Path(self.hub.settings.attachments_folder / content.key(scope.tenant_id).path)


async def store(client: AsyncClient, hub: Hub, **more: Any) -> Stored:
    program = await make_program(client)
    entity = await make_entity(client, program)
    content = picture() + bytes(600_000)
    stored = await attach(client, program, entity, content, **more)
    return Stored(client, hub, program, entity, stored["guid"], content, f'"{stored["hash"]}"')


@pytest.fixture
async def stored(admin: AsyncClient, hub: Hub) -> Stored:
    return await store(admin, hub, name="ບັດ ana.jpg")


async def test_the_headers_let_nobody_run_or_keep_it(stored: Stored) -> None:
    answer = await stored.get()
    assert (answer.status_code, answer.content) == (200, stored.content)
    told = {name: answer.headers[name] for name in ("content-type", "content-length", "etag", "accept-ranges")}
    assert told == {
        "content-type": "image/jpeg",
        "content-length": str(len(stored.content)),
        "etag": stored.etag,
        "accept-ranges": "bytes",
    }
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"____ana.jpg\"; filename*=UTF-8''%E0%BA%9A%E0%BA%B1%E0%BA%94%20ana.jpg"
    )
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


async def test_looking_gives_the_same_headers_and_no_bytes(stored: Stored) -> None:
    whole, looked = await stored.get(), await stored.get(method="HEAD")
    assert (looked.status_code, looked.content) == (200, b"")
    ignored = {"x-request-id"}
    assert {k: v for k, v in looked.headers.items() if k not in ignored} == {
        k: v for k, v in whole.headers.items() if k not in ignored
    }


async def test_a_text_is_told_as_the_type_it_was_sent_as(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    entity = await make_entity(admin, program)
    kept = await attach(admin, program, entity, "ສະບາຍດີ".encode("utf-16"), name="a.csv", type="Text/CSV; charset=x")
    answer = await ask(admin, program, f"/{kept['guid']}")
    assert answer.headers["content-type"] == "text/csv"


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("bytes=0-0", 0, 0), ("bytes=300000-", 300_000, None), ("bytes=-10", -10, None)]
)
async def test_parts_are_parts_of_the_file(stored: Stored, asked: str, first: int, last: int | None) -> None:
    answer = await stored.get(range=asked)
    expected = stored.content[first : None if last is None else last + 1]
    begin = first % len(stored.content)
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["content-range"] == f"bytes {begin}-{begin + len(expected) - 1}/{len(stored.content)}"
    assert answer.headers["content-length"] == str(len(expected))


async def test_a_download_that_broke_off_goes_on_only_with_the_same_file(stored: Stored) -> None:
    assert (await stored.get(range="bytes=5-9", if_range=stored.etag)).content == stored.content[5:10]
    for other in ('"other"', f"W/{stored.etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert (await stored.get(range="bytes=5-9", if_range=other)).status_code == 200
    behind = await stored.get(range="bytes=99999999-")
    assert (behind.status_code, behind.json()["code"]) == (416, "RANGE_NOT_SATISFIABLE")
    assert behind.headers["content-range"] == f"bytes */{len(stored.content)}"
    assert (await stored.get(range="bytes=0-1,4-5")).status_code == 200


async def test_who_has_the_file_is_told_so(stored: Stored) -> None:
    for tag in (stored.etag, f'"x", W/{stored.etag}', "*"):
        answer = await stored.get(if_none_match=tag, range="bytes=0-1")
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", stored.etag)
    assert (await stored.get(if_none_match='"x"')).status_code == 200


# -- what is not there


async def test_another_programs_file_is_not_found(admin: AsyncClient, stored: Stored) -> None:
    other = await make_program(admin)
    for method, path in (("GET", ""), ("HEAD", ""), ("GET", "/metadata"), ("POST", "/link"), ("DELETE", "")):
        answer = await ask(admin, other, f"/{stored.guid}{path}", method)
        assert answer.status_code == 404
        if method != "HEAD":
            assert_refused(answer, 404, "Attachment not found", "ATTACHMENT_NOT_FOUND")
    assert (await ask(admin, other, f"/entity/{stored.entity}")).json()["attachments"] == []
    assert (await stored.get()).status_code == 200


@pytest.mark.parametrize("guid", ["nothing", "..%2f..%2fetc%2fpasswd", "%F0%9F%98%80", "x" * 3000])
async def test_what_is_no_guid_is_not_found(stored: Stored, guid: str) -> None:
    answer = await ask(stored.client, stored.program, f"/{guid}")
    assert answer.status_code == 404


async def test_a_deleted_file_is_gone_for_everybody(stored: Stored) -> None:
    answer = await stored.get(method="DELETE")
    assert answer.json() == {"status": "success", "message": "Attachment deleted"}
    assert_refused(await stored.get(method="DELETE"), 404, "Attachment not found")
    assert_refused(await stored.get(), 404, "Attachment not found")
    assert (await ask(stored.client, stored.program, f"/entity/{stored.entity}")).json()["attachments"] == []


@pytest.mark.parametrize("body", [{"configId": "{}"}, {"configId": "{}", "more": 1}])
async def test_deleting_takes_the_program_from_the_body_too(stored: Stored, body: dict[str, Any]) -> None:
    named = body | {"configId": stored.program}
    path = f"/api/attachments/{stored.guid}"
    other = await stored.client.request("DELETE", path, json=named, params={"configId": "other"})
    assert (other.status_code, other.json()["code"]) == (400, "TENANT_MISMATCH")
    assert (await stored.client.request("DELETE", path, json=named)).status_code == 200


async def test_guids_are_found_in_any_letters(stored: Stored) -> None:
    assert (await ask(stored.client, stored.program, f"/{stored.guid.upper()}")).status_code == 200


async def test_files_of_a_deleted_entity_are_out_of_reach_until_it_comes_back(stored: Stored) -> None:
    deleted = make_event("delete-entity", entity=stored.entity, data={"id": stored.entity})
    await push(stored.client, stored.program, deleted)
    assert (await stored.get()).status_code == 404
    assert (await ask(stored.client, stored.program, f"/entity/{stored.entity}")).json()["attachments"] == []
    await push(stored.client, stored.program, make_event(entity=stored.entity))
    assert (await stored.get()).content == stored.content


async def test_bytes_that_are_missing_are_never_a_file(stored: Stored) -> None:
    (await stored.path()).unlink()
    for headers in ({}, {"range": "bytes=0-5"}):
        answer = await stored.get(**headers)
        assert (answer.status_code, answer.json()["code"]) == (500, "OBJECT_MISSING")
    assert (await stored.get(method="HEAD")).status_code == 500


async def test_bytes_that_are_torn_are_never_a_whole_file(stored: Stored) -> None:
    path = await stored.path()
    path.write_bytes(stored.content[:-1])
    assert (await stored.get()).json()["code"] == "OBJECT_DAMAGED"
    path.write_bytes(stored.content[:-1] + b"x")
    with capture_logs():  # else the whole file is written out with the crash
        came = (await stored.get()).content
        assert len(came) < len(stored.content)
        while len(came) < len(stored.content):
            answer = await stored.get(range=f"bytes={len(came)}-", if_range=stored.etag)
            if answer.status_code != 206:
                break
            came += answer.content
    assert (answer.status_code, answer.json()["code"]) == (500, "OBJECT_DAMAGED")


# -- the other stores


@pytest.fixture(params=["s3", "memory"])
async def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[FastAPI, AsyncClient]]:
    settings: dict[str, object] = {"ATTACHMENTS_STORE": request.param}
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3")
        options = server.options()
        settings |= {
            "S3_BUCKET": options.bucket,
            "S3_PREFIX": options.prefix,
            "S3_ENDPOINT": options.endpoint,
            "S3_ACCESS_KEY_ID": options.access_key_id,
            "S3_SECRET_ACCESS_KEY": options.secret_access_key,
        }
    app = create_app(make_settings(tmp_path, None, **settings))
    async with app.router.lifespan_context(app), asgi_client(app) as client:
        answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        client.headers.update(bearer(answer.json()["token"]))
        yield app, client


async def test_every_store_gives_back_what_it_was_given(elsewhere: tuple[FastAPI, AsyncClient]) -> None:
    app, client = elsewhere
    stored = await store(client, app.state.hub)
    assert (await stored.get()).content == stored.content
    assert (await stored.get(range="bytes=400000-400009")).content == stored.content[400_000:400_010]
    assert (await stored.get(method="HEAD")).headers["content-length"] == str(len(stored.content))
    link = (await stored.get("/link", "POST")).json()["path"]
    assert (await client.get(link)).content == stored.content
    guid = new_guid()
    for status in (201, 200):
        answer = await client.post(
            "/api/attachments/upload",
            data={"entityGuid": stored.entity, "configId": stored.program, "guid": guid},
            files={"file": ("a.jpg", stored.content, "image/jpeg")},
        )
        assert answer.status_code == status
    assert (await stored.get(method="DELETE")).status_code == 200
    assert (await ask(client, stored.program, f"/{guid}")).content == stored.content
