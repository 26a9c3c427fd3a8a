"""A file arrives whole and once, or nothing of it is kept and its sender knows why."""

import asyncio
import hashlib
import socket
from collections.abc import Awaitable
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from structlog.testing import capture_logs

from datacollect.features.attachments.checking import Checker
from datacollect.http.guard import ATTACHMENT_BYTES
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.objects import tenant_folder
from tests.accounts import Person, assert_refused, bearer, login, make_person
from tests.attachments import (
    NOTHING,
    UPLOAD,
    Kept,
    ask,
    attach,
    form_of,
    guids_of,
    kept,
    make_entity,
    new_guid,
    send,
    upload,
)
from tests.factories import make_event, make_program, new_id, pull_audit, push
from tests.features.conftest import Installation
from tests.features.duplicates.test_routes import registered_twice, resolve
from tests.files import FILES, picture

pytestmark = pytest.mark.anyio


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    return await make_program(admin)


@pytest.fixture
async def entity(admin: AsyncClient, program: str) -> str:
    return await make_entity(admin, program)


async def member(
    admin: AsyncClient, client: AsyncClient, program: str, role: str = "enumerator", **more: Any
) -> Person:
    """The client, from now on signed in as a new member."""
    assignment = {"tenantId": program, "role": role} | more
    person = await make_person(admin, tenantIds=[program], roleAssignments=[assignment])
    client.headers.update(bearer((await login(client, person))["token"]))
    return person


async def test_a_file_that_the_admin_ui_sends_is_kept_as_it_was(admin: AsyncClient, program: str, entity: str) -> None:
    content = picture()
    answer = await upload(admin, program, entity, content, name="../../id card (1).jpg")
    assert answer.status_code == 201
    sent = answer.json()
    stored = sent["attachment"]
    assert sent["status"] == "success"
    assert stored["guid"] and stored["createdAt"].endswith("Z")
    assert {name: stored[name] for name in ("entityGuid", "filename", "originalName", "mimeType", "tenantId")} == {
        "entityGuid": entity,
        "filename": "id_card__1_.jpg",
        "originalName": "id card (1).jpg",
        "mimeType": "image/jpeg",
        "tenantId": program,
    }
    assert (stored["sizeBytes"], stored["hash"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert stored["syncStatus"] == "uploaded"
    assert (await ask(admin, program, f"/{stored['guid']}")).content == content
    assert (await ask(admin, program, f"/{stored['guid']}/metadata")).json()["attachment"] == stored
    assert (await ask(admin, program, f"/entity/{entity}")).json() == {"status": "success", "attachments": [stored]}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
async def test_parts_may_stand_in_any_order(
    admin: AsyncClient, program: str, entity: str, order: tuple[int, int, int]
) -> None:
    content = picture("PNG") + b"\r\n--frontie\r\n--" + bytes(range(256)) * 300
    parts = [
        ('name="file"; filename="a.png"\r\nContent-Type: IMAGE/PNG; charset=binary', content),
        ('name="entityGuid"', entity.encode()),
        ('name="configId"', program.encode()),
    ]
    body, headers = form_of(*(parts[index] for index in order))
    answer = await admin.post(UPLOAD, content=body, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.json()["attachment"]["hash"] == hashlib.sha256(content).hexdigest()


async def test_a_form_is_the_same_however_it_is_cut_on_the_way(
    app: FastAPI, admin: AsyncClient, admin_token: str, program: str, entity: str
) -> None:
    content = picture("PNG")
    body, headers = form_of(
        ('name="entityGuid"', entity.encode()),
        ('name="file"; filename="a.png"\r\nContent-Type: image/png', content),
        ('name="configId"', program.encode()),
    )
    for size in (1, 7, 100):
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        status, answer, _ = await send(app, admin_token, pieces, headers)
        assert status == 201, answer
    hashes = {one["hash"] for one in (await ask(admin, program, f"/entity/{entity}")).json()["attachments"]}
    assert hashes == {hashlib.sha256(content).hexdigest()}


# -- which program


async def test_the_program_that_counts_is_the_one_in_the_form(
    admin: AsyncClient, client: AsyncClient, hub: Hub, program: str, entity: str
) -> None:
    await member(admin, client, mine := await make_program(admin))
    assert_refused(await upload(client, program, entity), 403, "Forbidden: No access to this tenant")
    mixed = await upload(client, program, entity, query={"configId": mine})
    assert (mixed.status_code, mixed.json()["code"]) == (400, "TENANT_MISMATCH")
    assert await kept(hub, program) == await kept(hub, mine) == NOTHING
    own = await upload(client, mine, await make_entity(admin, mine), query={"configId": mine})
    assert own.status_code == 201


async def test_an_empty_program_in_the_query_names_none(
    admin: AsyncClient, client: AsyncClient, program: str, entity: str
) -> None:
    await member(admin, client, program)
    assert (await upload(client, program, entity, query={"configId": ""})).status_code == 201


async def test_a_program_named_twice_in_the_form_is_refused(
    admin: AsyncClient, hub: Hub, program: str, entity: str
) -> None:
    body, headers = form_of(
        *[('name="configId"', program.encode())] * 2,
        ('name="entityGuid"', entity.encode()),
        ('name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg', picture()),
    )
    answer = await admin.post(UPLOAD, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "TENANT_MISMATCH")
    assert await kept(hub, program) == NOTHING


async def test_whoever_may_not_send_files_is_told_before_anything_is_received(
    app: FastAPI, admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    viewer = await make_person(admin, tenantIds=[program], roleAssignments=[{"tenantId": program, "role": "viewer"}])
    token = (await login(client, viewer))["token"]
    body, headers = form_of(('name="file"; filename="a.jpg"', picture()))
    for sent, expected in ((token, 403), ("none", 401)):
        status, _, asked = await send(app, sent, [body] * 50, headers)
        assert (status, asked) == (expected, 0)


async def test_whoever_may_send_files_to_no_program_is_told_what_they_lack_wherever_it_is_named(
    admin: AsyncClient, client: AsyncClient, program: str, entity: str
) -> None:
    viewer = await make_person(admin, tenantIds=[program], roleAssignments=[{"tenantId": program, "role": "viewer"}])
    nobody = await make_person(admin, tenantIds=[])
    answers = []
    for person in (viewer, nobody):
        client.headers.update(bearer((await login(client, person))["token"]))
        form = ('name="configId"', program.encode()), ('name="entityGuid"', entity.encode()), (FILE, picture())
        body, headers = form_of(*form)
        in_query = await client.post(UPLOAD, params={"configId": program}, content=body, headers=headers)
        answers.append(
            [one.json()["code"] for one in (in_query, await client.post(UPLOAD, content=body, headers=headers))]
        )
    assert answers == [["INSUFFICIENT_PERMISSION"] * 2, ["TENANT_ACCESS_DENIED"] * 2]


async def test_unknown_programs_are_not_found(admin: AsyncClient) -> None:
    answer = await upload(admin, new_id(), "e")
    assert (answer.status_code, answer.json()["code"]) == (404, "TENANT_NOT_FOUND")


# -- what is refused, and that nothing of it is kept

FORM = ("entityGuid", "configId")
FILE = 'name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg'
JPEG = FILES["image/jpeg"]

WRONG_FORMS: dict[str, tuple[list[tuple[str, bytes]], int, str, str]] = {
    "no file": ([], 400, "ATTACHMENT_FILE_MISSING", "No file provided"),
    "a text instead of a file": ([('name="file"', b"x")], 400, "ATTACHMENT_FILE_MISSING", "No file provided"),
    "a chooser left empty": ([('name="file"; filename=""', b"")], 400, "ATTACHMENT_FILE_MISSING", "No file provided"),
    "two files": ([(FILE, JPEG), (FILE, JPEG)], 400, "UNEXPECTED_FIELD", "Unexpected field"),
    "a file elsewhere": ([('name="photo"; filename="a.jpg"', JPEG)], 400, "UNEXPECTED_FIELD", "Unexpected field"),
    "another file": ([(FILE, JPEG), ('name="b"; filename="b"', b"")], 400, "UNEXPECTED_FIELD", "Unexpected field"),
    "an empty file": ([(FILE, b"")], 400, "ATTACHMENT_EMPTY", "File size must be greater than 0 bytes"),
    "another hash": ([(FILE, JPEG), ('name="hash"', b"0" * 64)], 400, "ATTACHMENT_HASH_MISMATCH", ""),
    "no hash": ([(FILE, JPEG), ('name="hash"', b"md5")], 400, "INVALID_ATTACHMENT", ""),
    "no guid": ([(FILE, JPEG), ('name="guid"', b"../../x")], 400, "INVALID_ATTACHMENT", ""),
    "a long text": ([(FILE, JPEG), ('name="note"', b"x" * 5000)], 400, "MALFORMED_UPLOAD", ""),
    "many texts": ([(FILE, JPEG), *[('name="note"', b"x")] * 20], 400, "MALFORMED_UPLOAD", ""),
    "a part without a name": ([("filename=a", JPEG)], 400, "MALFORMED_UPLOAD", ""),
    "no UTF-8": ([(FILE, JPEG), ('name="guid"', b"\xff")], 400, "INVALID_UTF8", ""),
    "a NUL": ([(FILE, JPEG), ('name="guid"', b"\0")], 400, "NUL_CHARACTER", ""),
    "a program as a picture": ([(FILE, b"MZ\x90\0" + bytes(100))], 415, "ATTACHMENT_CONTENT_MISMATCH", ""),
    "a page as a picture": ([(FILE, b"<html><script>")], 415, "ATTACHMENT_CONTENT_MISMATCH", ""),
    "a PNG as a JPEG": (
        [(FILE, FILES["image/png"])],
        415,
        "ATTACHMENT_CONTENT_MISMATCH",
        "The file's content is not image/jpeg: it looks like image/png.",
    ),
    "a page": ([('name="file"; filename="a.html"\r\nContent-Type: text/html', b"<html>")], 415, "ATTACHMENT_TYPE_NOT_ALLOWED", ""),
    "without a type": ([('name="file"; filename="a.jpg"', JPEG)], 415, "ATTACHMENT_CONTENT_MISMATCH", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_FORMS)
async def test_what_is_wrong_is_told_and_nothing_is_kept(
    admin: AsyncClient, hub: Hub, program: str, entity: str, name: str
) -> None:
    parts, status, code, message = WRONG_FORMS[name]
    body, headers = form_of(*parts, ('name="entityGuid"', entity.encode()), ('name="configId"', program.encode()))
    answer = await admin.post(UPLOAD, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert message in answer.json()["error"]
    assert await kept(hub, program) == NOTHING


@pytest.mark.parametrize("guid", [None, "", "x" * 513, "line\nbreak", "\u202e"])
async def test_an_entity_has_to_be_named(admin: AsyncClient, hub: Hub, program: str, guid: str | None) -> None:
    parts = [] if guid is None else [('name="entityGuid"', guid.encode())]
    body, headers = form_of((FILE, JPEG), *parts, ('name="configId"', program.encode()))
    answer = await admin.post(UPLOAD, content=body, headers=headers)
    expected = "ATTACHMENT_ENTITY_MISSING" if not guid else "INVALID_ATTACHMENT"
    assert (answer.status_code, answer.json()["code"]) == (400, expected)
    assert await kept(hub, program) == NOTHING


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "multipart/form-data; boundary=other"},
        {"Content-Type": f"multipart/form-data; boundary={'x' * 300}"},
    ],
)
async def test_bodies_that_are_no_forms_are_refused(
    admin: AsyncClient, hub: Hub, program: str, entity: str, headers: dict[str, str]
) -> None:
    body, _ = form_of((FILE, JPEG), ('name="entityGuid"', entity.encode()), ('name="configId"', program.encode()))
    answer = await admin.post(UPLOAD, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_UPLOAD")
    assert await kept(hub, program) == NOTHING


async def test_a_form_without_its_end_is_refused_although_its_file_is_there(
    admin: AsyncClient, hub: Hub, program: str, entity: str
) -> None:
    parts = [('name="entityGuid"', entity.encode()), ('name="configId"', program.encode()), (FILE, JPEG)]
    body, headers = form_of(*parts, end=False)
    answer = await admin.post(UPLOAD, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_UPLOAD")
    assert await kept(hub, program) == NOTHING


async def test_json_is_no_file(admin: AsyncClient, program: str) -> None:
    answer = await admin.post(UPLOAD, json={"configId": program}, params={"configId": program})
    assert_refused(answer, 400, "No file provided")


# -- size


async def test_more_than_fifty_megabytes_are_refused_as_soon_as_they_are_there(
    app: FastAPI, hub: Hub, admin_token: str, program: str, entity: str
) -> None:
    begin, headers = form_of(('name="configId"', program.encode()), ('name="entityGuid"', entity.encode()), end=False)
    begin += b"--frontier\r\nContent-Disposition: form-data; " + FILE.encode() + b"\r\n\r\n" + JPEG
    megabyte = bytes(1024 * 1024)
    status, answer, asked = await send(app, admin_token, [begin, *[megabyte] * 80], headers)
    assert status == 413 and b'"error":"File too large"' in answer
    assert asked <= 52
    told = headers | {"Content-Length": str(ATTACHMENT_BYTES + 100_000)}
    status, answer, asked = await send(app, admin_token, [begin], told)
    assert (status, asked) == (413, 0) and b'"error":"File too large"' in answer
    assert await kept(hub, program) == NOTHING


async def test_fifty_megabytes_are_taken(app: FastAPI, hub: Hub, admin_token: str, program: str, entity: str) -> None:
    content = JPEG + bytes(ATTACHMENT_BYTES - len(JPEG))
    body, headers = form_of(
        ('name="entityGuid"', entity.encode()), ('name="configId"', program.encode()), (FILE, content)
    )
    pieces = [body[at : at + 1024 * 1024] for at in range(0, len(body), 1024 * 1024)]
    status, answer, _ = await send(app, admin_token, pieces, headers | {"Content-Length": str(len(body))})
    assert status == 201, answer
    assert (await kept(hub, program)).objects == 1


async def test_a_program_says_what_it_takes(admin: AsyncClient, hub: Hub) -> None:
    rules = {"maxBytes": 2000, "types": ["image/png", "audio/ogg"], "maxPerEntity": 2}
    program = await make_program(admin, attachments=rules)
    entity = await make_entity(admin, program)
    refused = await upload(admin, program, entity)
    assert refused.json()["error"] == 'MIME type "image/jpeg" is not allowed. Allowed types: audio/ogg, image/png'
    large = await upload(admin, program, entity, FILES["image/png"] + bytes(2000), type="image/png")
    assert (large.status_code, large.json()["code"]) == (413, "ATTACHMENT_TOO_LARGE")
    await attach(admin, program, entity, FILES["audio/ogg"], type="audio/ogg", name="a.ogg")
    await attach(admin, program, entity, FILES["image/png"], type="image/png")
    third = await upload(admin, program, entity, FILES["image/png"], type="image/png")
    assert (third.status_code, third.json()["code"]) == (409, "ATTACHMENTS_OF_ENTITY_FULL")
    assert (await kept(hub, program)).rows == 2
    # Devices read it too.
    artifact = (await admin.get(f"/api/apps/{program}")).json()["artifactId"]
    assert (await admin.get(f"/artifacts/{artifact}.json")).json()["attachments"] == rules


@pytest.mark.parametrize("rules", [{"types": ["text/html"]}, {"types": []}, {"maxBytes": 60_000_000}, {"maxBytes": 0}])
async def test_a_program_cannot_take_what_the_hub_cannot_judge(admin: AsyncClient, rules: dict[str, Any]) -> None:
    config = {"id": new_id(), "name": "P", "attachments": rules}
    assert (await admin.post("/api/apps", json=config)).status_code == 400


EXCEL = "application/vnd.ms-excel"


@pytest.mark.parametrize(
    ("types", "content", "taken_as"),
    [
        ([EXCEL, "text/csv"], b"name;age\r\nAna;3\r\n", "text/csv"),
        (["text/csv"], b"name;age\r\nAna;3\r\n", "text/csv"),
        ([EXCEL, "text/csv"], FILES[EXCEL], EXCEL),
        ([EXCEL], b"name;age\r\nAna;3\r\n", None),
        (["text/csv"], FILES[EXCEL], None),
    ],
)
async def test_a_csv_that_windows_calls_excel_is_a_csv(
    admin: AsyncClient, types: list[str], content: bytes, taken_as: str | None
) -> None:
    program = await make_program(admin, attachments={"types": types})
    answer = await upload(admin, program, await make_entity(admin, program), content, name="a.csv", type=EXCEL)
    if taken_as is None:
        assert (answer.status_code, answer.json()["code"]) == (415, "ATTACHMENT_CONTENT_MISMATCH")
    else:
        assert answer.json()["attachment"]["mimeType"] == taken_as


async def test_a_program_has_so_much_room(installation: Installation) -> None:
    async with installation.running(ATTACHMENT_QUOTA=1) as (app, client):
        answer = await client.post("/api/users/login", json={"email": "admin@hub.test", "password": "Correct-Horse-7"})
        client.headers.update(bearer(answer.json()["token"]))
        program = await make_program(client)
        entity = await make_entity(client, program)
        first = await attach(client, program, entity, JPEG + bytes(600_000))
        full = await upload(client, program, entity, JPEG + bytes(600_001))
        assert (full.status_code, full.json()["code"]) == (409, "ATTACHMENTS_OF_PROGRAM_FULL")
        assert ((there := await kept(app.state.hub, program)).rows, there.objects) == (1, 1)
        assert (await ask(client, program, f"/{first['guid']}", "DELETE")).status_code == 200
        await attach(client, program, entity, JPEG + bytes(600_001))


async def test_who_come_at_once_do_not_share_the_last_of_the_room(installation: Installation) -> None:
    async with installation.running(ATTACHMENT_QUOTA=1) as (app, client):
        answer = await client.post("/api/users/login", json={"email": "admin@hub.test", "password": "Correct-Horse-7"})
        client.headers.update(bearer(answer.json()["token"]))
        program = await make_program(client)
        entity = await make_entity(client, program)
        files = [JPEG + bytes(600_000 + number) for number in range(4)]
        answers = await asyncio.gather(*(upload(client, program, entity, file) for file in files))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
        assert (await kept(app.state.hub, program)).rows == 1


# -- once


async def test_the_same_sent_again_is_the_same(admin: AsyncClient, hub: Hub, program: str, entity: str) -> None:
    content, guid = picture(), new_guid()
    digest = hashlib.sha256(content).hexdigest()
    first = await upload(admin, program, entity, content, guid=guid.upper(), hash=digest.upper())
    again = await upload(admin, program, entity, content, guid=guid, hash=digest)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() and first.json()["attachment"]["guid"] == guid
    assert (await kept(hub, program)).rows == 1


@pytest.mark.parametrize("left", [None, b"torn"])
async def test_the_same_sent_again_is_stored_anew_if_its_bytes_are_gone(
    admin: AsyncClient, hub: Hub, program: str, entity: str, left: bytes | None
) -> None:
    """Whoever is told that it is stored deletes the last copy there is."""
    content, guid = picture(), new_guid()
    await attach(admin, program, entity, content, guid=guid)
    (stored,) = [one async for one in hub.objects.list(tenant_folder(TenantId(program)))]
    assert stored.key is not None
    file = hub.settings.attachments_folder / stored.key.path
    file.unlink()
    if left is not None:
        file.write_bytes(left)
    again = await upload(admin, program, entity, content, guid=guid)
    assert again.status_code == 200, again.text
    assert (await ask(admin, program, f"/{guid}")).content == content
    assert await kept(hub, program) == Kept(1, 1, 0 if left is None else 1, 1 if left is None else 2, 0)
    assert (await Checker(hub.db, hub.objects, hub.log).check(system_scope(TenantId(program)))).findings == []


async def test_a_guid_stands_for_one_file_of_one_entity(
    admin: AsyncClient, hub: Hub, program: str, entity: str
) -> None:
    content, guid = picture(), new_guid()
    await attach(admin, program, entity, content, guid=guid)
    for other in (
        await upload(admin, program, entity, guid=guid),
        await upload(admin, program, await make_entity(admin, program), content, guid=guid),
    ):
        assert (other.status_code, other.json()["code"]) == (409, "ATTACHMENT_GUID_TAKEN")
    assert (await kept(hub, program)).rows == 1
    assert (await ask(admin, program, f"/{guid}")).content == content


async def test_a_late_retry_does_not_bring_a_deleted_file_back(admin: AsyncClient, program: str, entity: str) -> None:
    content, guid = picture(), new_guid()
    await attach(admin, program, entity, content, guid=guid)
    assert (await ask(admin, program, f"/{guid}", "DELETE")).status_code == 200
    late = await upload(admin, program, entity, content, guid=guid)
    assert (late.status_code, late.json()["code"]) == (409, "ATTACHMENT_DELETED")
    assert await guids_of(admin, program, entity) == []


async def test_retries_side_by_side_make_one(admin: AsyncClient, hub: Hub, program: str, entity: str) -> None:
    content, guid = picture(), new_guid()
    answers = await asyncio.gather(*(upload(admin, program, entity, content, guid=guid) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.text for answer in answers}) == 1
    found = await kept(hub, program)
    assert (found.rows, found.contents) == (1, 1)


async def test_the_same_photo_is_stored_once_and_attached_twice(
    admin: AsyncClient, hub: Hub, program: str, entity: str
) -> None:
    content = picture()
    first, second = [await attach(admin, program, entity, content) for _ in range(2)]
    assert first["guid"] != second["guid"]
    found = await kept(hub, program)
    assert (found.rows, found.contents, found.objects) == (2, 1, 1)
    await ask(admin, program, f"/{first['guid']}", "DELETE")
    assert (await ask(admin, program, f"/{second['guid']}")).content == content


# -- entities


async def test_a_file_may_come_before_its_entity(admin: AsyncClient, program: str) -> None:
    event = make_event()
    stored = await attach(admin, program, event["entityGuid"])
    assert stored["syncStatus"] == "pending"
    waiting = (await ask(admin, program, "/pending")).json()
    assert [one["guid"] for one in waiting["attachments"]] == [stored["guid"]] and waiting["nextCursor"] is None
    await push(admin, program, event)
    assert (await ask(admin, program, "/pending")).json()["attachments"] == []
    settled = stored | {"syncStatus": "uploaded"}
    assert (await ask(admin, program, f"/{stored['guid']}/metadata")).json()["attachment"] == settled
    assert (await ask(admin, program, f"/entity/{event['entityGuid']}")).json()["attachments"] == [settled]
    assert (await ask(admin, program, "")).json()["attachments"] == [settled]


async def test_nothing_is_attached_to_a_deleted_entity(admin: AsyncClient, hub: Hub, program: str, entity: str) -> None:
    await push(admin, program, make_event("delete-entity", entity=entity, data={"id": entity}))
    answer = await upload(admin, program, entity)
    assert (answer.status_code, answer.json()["code"]) == (409, "ATTACHMENT_ENTITY_DELETED")
    assert await kept(hub, program) == NOTHING


async def test_a_limited_member_reaches_attachments_of_entities_within_reach(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    north, south = [await make_entity(admin, program, area_id=area) for area in ("north", "south")]
    beyond = await attach(admin, program, south)
    await member(admin, client, program, syncScopeOverride={"areaIds": ["north"]})
    mine = await attach(client, program, north)
    for entity in (south, new_guid()):
        answer = await upload(client, program, entity)
        assert (answer.status_code, answer.json()["code"]) == (404, "ATTACHMENT_ENTITY_UNKNOWN")
    assert await guids_of(client, program, north) == [mine["guid"]]
    assert await guids_of(client, program, south) == []
    listed = (await ask(client, program, "")).json()
    assert [one["guid"] for one in listed["attachments"]] == [mine["guid"]]
    for method, path in (("GET", ""), ("HEAD", ""), ("DELETE", ""), ("GET", "/metadata"), ("POST", "/link")):
        assert (await ask(client, program, f"/{beyond['guid']}{path}", method)).status_code == 404
        if method != "DELETE":
            assert (await ask(client, program, f"/{mine['guid']}{path}", method)).status_code == 200
    assert (await ask(client, program, "/pending")).status_code == 403
    assert (await ask(client, program, f"/{mine['guid']}", "DELETE")).status_code == 200


async def test_who_sends_what_is_there_beyond_their_reach_is_told_nothing_of_it(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    content, guids = picture(), (new_guid(), new_guid())
    south = await make_entity(admin, program, area_id="south")
    for guid in guids:
        await attach(admin, program, south, content, guid=guid)
    assert (await ask(admin, program, f"/{guids[1]}", "DELETE")).status_code == 200
    await member(admin, client, program, syncScopeOverride={"areaIds": ["north"]})
    there, deleted = [await upload(client, program, south, content, guid=guid) for guid in guids]
    assert (there.status_code, there.json()["code"]) == (409, "ATTACHMENT_GUID_TAKEN")
    assert (deleted.status_code, deleted.json()["code"]) == (409, "ATTACHMENT_GUID_TAKEN")


# -- the way, and the place


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
async def test_an_upload_that_is_cut_leaves_nothing(
    app: FastAPI, hub: Hub, admin_token: str, program: str, entity: str, share: float
) -> None:
    body, headers = form_of(
        ('name="configId"', program.encode()), ('name="entityGuid"', entity.encode()), (FILE, JPEG + bytes(900_000))
    )
    body = body[: int(len(body) * share)]
    pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    _, answer, _ = await send(app, admin_token, pieces, headers, cut=True)
    assert b"success" not in answer or b"BODY_INTERRUPTED" in answer
    assert await kept(hub, program) == NOTHING


async def test_storage_that_is_away_is_told_and_nothing_is_half_there(installation: Installation) -> None:
    loop = installation.folder / "loop"
    loop.symlink_to(loop)  # whoever is root may write into every folder that is one
    async with installation.running(ATTACHMENTS_DIR=loop) as (_, client):
        answer = await client.post("/api/users/login", json={"email": "admin@hub.test", "password": "Correct-Horse-7"})
        client.headers.update(bearer(answer.json()["token"]))
        program = await make_program(client)
        entity = await make_entity(client, program)
        answer = await upload(client, program, entity)
        assert (answer.status_code, answer.json()["code"]) == (503, "STORAGE_UNAVAILABLE")
        assert "retry-after" in answer.headers
        assert await guids_of(client, program, entity) == []
        loop.unlink()
        await attach(client, program, entity)


async def test_a_program_that_is_archived_takes_nothing(admin: AsyncClient, program: str, entity: str) -> None:
    stored = await attach(admin, program, entity)
    await admin.delete(f"/api/apps/{program}")
    assert (await upload(admin, program, entity)).status_code == 404
    assert (await ask(admin, program, f"/{stored['guid']}")).status_code == 404
    await admin.post(f"/api/apps/{program}/restore")
    assert (await ask(admin, program, f"/{stored['guid']}")).status_code == 200


async def test_the_audit_trail_tells_who_attached_and_deleted_what(
    admin: AsyncClient, client: AsyncClient, program: str, entity: str
) -> None:
    person = await member(admin, client, program)
    stored = await attach(client, program, entity, name="Ana.jpg")
    await ask(client, program, f"/{stored['guid']}", "DELETE")
    answer = await pull_audit(admin, program, limit=100)
    told = [one for one in answer.json() if one["action"].startswith("attachment-")]
    assert [(one["action"], one["actor"], one["entityGuid"]) for one in told] == [
        ("attachment-uploaded", str(person.id), entity),
        ("attachment-deleted", str(person.id), entity),
    ]
    assert all(one["changes"]["attachmentGuid"] == stored["guid"] for one in told)
    assert "Ana" not in str(told)


async def test_a_bucket_that_takes_connections_and_answers_nothing_keeps_no_hub_from_starting(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datacollect.app._STORAGE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, capture_logs() as logs:
        s3 = {
            "ATTACHMENTS_STORE": "s3",
            "S3_BUCKET": "hub",
            "S3_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "S3_ACCESS_KEY_ID": "hub",
            "S3_SECRET_ACCESS_KEY": "in tests",
        }
        async with asyncio.timeout(20), installation.running(**s3) as (_, client):
            assert (await client.get("/health")).status_code == 200
    assert "storage.unreachable" in [line["event"] for line in logs]


async def test_who_has_not_heard_of_a_merge_goes_on_sending_files_of_whom_they_know(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    """Who stays may be elsewhere: a file that had arrived was refused when it was sent again, and a new one for good."""

    async def code_of(sent: Awaitable[Any]) -> str:
        return str((await sent).json()["code"])

    program, stays, goes = await registered_twice(admin, hub)
    areas = {stays: "A2", goes: "A1"}
    await push(
        admin,
        program,
        *(make_event("update-individual", entity=guid, data={"area_id": area}) for guid, area in areas.items()),
    )
    await member(admin, client, program, syncScopeOverride={"areaIds": ["A1"]})
    device = {"X-Device-Id": "tablet-07"}
    pulled = await client.get("/api/sync/pull", params={"configId": program}, headers=device)
    assert pulled.status_code == 200, "from now on filed by place"
    first, second = new_guid(), new_guid()
    content, later = picture(), picture() + b"2"
    assert (await upload(client, program, goes, content, guid=first)).status_code == 201
    assert await code_of(upload(client, program, stays, content, guid=new_guid())) == "ATTACHMENT_ENTITY_UNKNOWN"
    answer = await resolve(admin, program, goes, stays, resolution="merge")
    assert answer.status_code == 200, answer.text
    assert (await upload(client, program, goes, content, guid=first)).status_code == 200
    assert await code_of(upload(client, program, goes, later, guid=first)) == "ATTACHMENT_GUID_TAKEN"
    assert await code_of(upload(client, program, stays, content, guid=first)) == "ATTACHMENT_GUID_TAKEN"
    assert (await upload(client, program, goes, later, guid=second)).status_code == 201
    assert await code_of(upload(client, program, stays, later, guid=new_guid())) == "ATTACHMENT_ENTITY_UNKNOWN"
    listed = await admin.get(f"/api/attachments/entity/{stays}", params={"configId": program})
    assert {one["guid"] for one in listed.json()["attachments"]} == {first, second}
