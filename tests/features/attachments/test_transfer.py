"""Attachments leave a hub as a folder and come back from it, whole, and nothing of the folder is believed."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest
from httpx2 import AsyncClient

from datacollect.assembly import create_attachment_exporter, create_attachment_importer
from datacollect.features.attachments.errors import ImportContradicts, TransferFailed
from datacollect.features.attachments.service import hand_over
from datacollect.features.attachments.transfer import MANIFEST, AttachmentExporter, Transferred
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.objects import LocalStore, ObjectKey, Opened
from tests.factories import make_program, new_id, pull_audit
from tests.features.attachments.files import a_photo, attach, delete, digest_of, download
from tests.features.duplicates.test_routes import registered_twice, resolve

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "taken-out"


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    return await make_program(admin)


async def take_out(hub: Hub, program: str, folder: Path) -> Transferred:
    return await create_attachment_exporter(hub.settings, hub.db).export(system_scope(TenantId(program)), folder)


async def take_in(hub: Hub, program: str, folder: Path) -> Transferred:
    return await create_attachment_importer(hub.settings, hub.db).take_in(system_scope(TenantId(program)), folder)


def files_in(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


async def test_what_is_taken_out_is_taken_in_again(hub: Hub, admin: AsyncClient, program: str, folder: Path) -> None:
    photos = [a_photo(), a_photo(700_000)]
    made = [await attach(admin, program, photo, entity=new_id()) for photo in (*photos, photos[0])]
    gone = await attach(admin, program, a_photo())
    await delete(admin, program, gone["guid"])
    out = await take_out(hub, program, folder)
    assert (out.attachments, out.files, out.size_bytes) == (3, 2, sum(map(len, photos)))
    assert (folder / MANIFEST).stat().st_mode & 0o077 == 0

    other = await make_program(admin)
    first = await take_in(hub, other, folder)
    assert (first.attachments, first.there_before) == (3, 0)
    for one, photo in zip(made, (*photos, photos[0]), strict=True):
        assert await download(admin, other, one["guid"]) == photo
    again = await take_in(hub, other, folder)
    assert (again.attachments, again.there_before) == (0, 3)
    listed = await admin.get(f"/api/attachments/entity/{made[0]['entityGuid']}", params={"configId": other})
    assert listed.json()["attachments"] == [made[0] | {"tenantId": other}]


async def test_a_deletion_is_taken_along(hub: Hub, admin: AsyncClient, program: str, folder: Path) -> None:
    photo, entity = a_photo(), new_id()
    gone, stays = [await attach(admin, program, photo, entity=entity) for _ in range(2)]
    await delete(admin, program, gone["guid"])
    await take_out(hub, program, folder)
    other = await make_program(admin)
    for expected in (1, 0):
        assert (await take_in(hub, other, folder)).attachments == expected
    told = (await admin.get("/api/attachments", params={"configId": other})).json()
    assert [one["guid"] for one in told["attachments"]] == [stays["guid"]]
    [told_gone] = told["deleted"]
    assert (told_gone["guid"], told_gone["entityGuid"]) == (gone["guid"], entity)
    again = await admin.post(
        "/api/attachments/upload",
        data={"entityGuid": entity, "configId": other, "guid": gone["guid"]},
        files={"file": ("photo.jpg", photo, "image/jpeg")},
    )
    assert (again.status_code, again.json()["code"]) == (409, "ATTACHMENT_DELETED")


async def test_a_folder_of_an_earlier_release_is_taken_in(
    hub: Hub, admin: AsyncClient, program: str, folder: Path
) -> None:
    await attach(admin, program, a_photo())
    await take_out(hub, program, folder)
    head, line, end = [json.loads(line) for line in (folder / MANIFEST).read_text().splitlines()]
    del end["deleted"]
    (folder / MANIFEST).write_text("\n".join(map(json.dumps, (head | {"version": 1}, line, end))))
    assert (await take_in(hub, await make_program(admin), folder)).attachments == 1


async def test_an_export_that_was_cut_is_gone_on_with(hub: Hub, admin: AsyncClient, program: str, folder: Path) -> None:
    photo = a_photo()
    await attach(admin, program, photo)
    await take_out(hub, program, folder)
    (folder / MANIFEST).unlink()
    await attach(admin, program, a_photo())
    out = await take_out(hub, program, folder)
    assert (out.attachments, out.files) == (2, 1)
    # What is not what its name says is written anew.
    (folder / MANIFEST).unlink()
    [first, _] = sorted(file for file in (folder / "files").rglob("*") if file.is_file())
    first.write_bytes(first.read_bytes()[:-1])
    out = await take_out(hub, program, folder)
    assert (out.attachments, out.files) == (2, 1)
    assert hashlib.sha256(first.read_bytes()).hexdigest() == first.name


async def test_two_exports_into_one_folder_do_not_write_into_one_file(
    hub: Hub, admin: AsyncClient, program: str, folder: Path
) -> None:
    await attach(admin, program, photo := a_photo())
    done = await asyncio.gather(*[take_out(hub, program, folder) for _ in range(2)], return_exceptions=True)
    refused = [one for one in done if isinstance(one, BaseException)]
    assert len(refused) < 2 and all("is there already" in str(one) for one in refused)
    assert files_in(folder) == {MANIFEST, f"files/{digest_of(photo)[:2]}/{digest_of(photo)}"}
    assert (await take_in(hub, await make_program(admin), folder)).attachments == 1


async def test_an_export_that_breaks_off_leaves_no_part_of_a_file(
    hub: Hub, admin: AsyncClient, program: str, folder: Path
) -> None:
    await attach(admin, program, a_photo())

    def stop(_: int) -> None:
        raise asyncio.CancelledError

    exporter = create_attachment_exporter(hub.settings, hub.db)
    with pytest.raises(asyncio.CancelledError):
        await exporter.export(system_scope(TenantId(program)), folder, progress=stop)
    assert [name for name in files_in(folder) if name.endswith(".part")] == []


async def test_a_folder_with_missing_bytes_never_looks_whole(
    hub: Hub, admin: AsyncClient, program: str, folder: Path
) -> None:
    made = await attach(admin, program, photo := a_photo())
    scope = system_scope(TenantId(program))
    async with hub.db.reading(scope) as view:
        content = await hub.contents.find(view, scope, digest_of(photo))
    await hub.objects.delete(content.key(scope.tenant_id))
    with pytest.raises(TransferFailed, match=made["guid"]):
        await take_out(hub, program, folder)
    assert not (folder / MANIFEST).exists()
    with pytest.raises(TransferFailed):
        await take_in(hub, program, folder)


@pytest.mark.parametrize("damage", [None, b"!"])
async def test_one_missing_file_keeps_no_other_from_being_taken_out(
    hub: Hub, admin: AsyncClient, program: str, folder: Path, damage: bytes | None
) -> None:
    photos = [a_photo(700_000) for _ in range(3)]
    made = [await attach(admin, program, photo) for photo in photos]
    scope = system_scope(TenantId(program))
    async with hub.db.reading(scope) as view:
        content = await hub.contents.find(view, scope, digest_of(photos[1]))
    assert content is not None
    file = hub.settings.attachments_folder / content.key(scope.tenant_id).path
    file.unlink()
    if damage:
        file.write_bytes(damage + photos[1][1:])
    exporter = create_attachment_exporter(hub.settings, hub.db)
    out = await exporter.export(scope, folder, skip_missing=True)
    assert (out.attachments, [guid for guid, _ in out.left_out]) == (2, [made[1]["guid"]])
    assert files_in(folder) == {
        MANIFEST,
        *(f"files/{digest_of(photo)[:2]}/{digest_of(photo)}" for photo in (photos[0], photos[2])),
    }
    assert (await take_in(hub, await make_program(admin), folder)).attachments == 2


@pytest.mark.parametrize("change", ["a byte", "a byte more", "no file"])
async def test_a_file_that_was_changed_is_not_stored(
    hub: Hub, admin: AsyncClient, program: str, folder: Path, change: str
) -> None:
    made = await attach(admin, program, photo := a_photo())
    await take_out(hub, program, folder)
    file = folder / "files" / digest_of(photo)[:2] / digest_of(photo)
    match change:
        case "a byte":
            file.write_bytes(photo[:-1] + bytes([photo[-1] ^ 1]))
        case "a byte more":
            file.write_bytes(photo + b"!")
        case _:
            file.unlink()
    other = await make_program(admin)
    with pytest.raises(TransferFailed):
        await take_in(hub, other, folder)
    answer = await admin.get(f"/api/attachments/{made['guid']}", params={"configId": other})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "changed",
    [
        {"guid": "../../etc/passwd"},
        {"hash": "../" * 21 + "x"},
        {"sizeBytes": -1},
        {"createdAt": "yesterday"},
        {"mimeType": "image/png\r\nX: y"},
        {"entityGuid": ""},
        {"more": 1},
    ],
)
async def test_a_manifest_that_no_hub_has_written_is_refused(
    hub: Hub, admin: AsyncClient, program: str, folder: Path, changed: dict[str, object]
) -> None:
    await attach(admin, program, a_photo())
    await take_out(hub, program, folder)
    head, line, end = (folder / MANIFEST).read_text().splitlines()
    (folder / MANIFEST).write_text("\n".join([head, json.dumps(json.loads(line) | changed), end]) + "\n")
    with pytest.raises(ImportContradicts):
        await take_in(hub, await make_program(admin), folder)


async def test_a_manifest_without_its_end_is_refused(hub: Hub, admin: AsyncClient, program: str, folder: Path) -> None:
    await attach(admin, program, a_photo())
    await take_out(hub, program, folder)
    lines = (folder / MANIFEST).read_text().splitlines()
    for kept in ([], lines[:1], lines[:2], [lines[0], lines[2]]):
        (folder / MANIFEST).write_text("".join(f"{line}\n" for line in kept))
        with pytest.raises(TransferFailed):
            await take_in(hub, program, folder)


async def test_what_was_deleted_at_the_target_stays_deleted_and_holds_up_nothing(
    hub: Hub, admin: AsyncClient, program: str, folder: Path
) -> None:
    made = [await attach(admin, program, a_photo()) for _ in range(3)]
    gone, kept, late = sorted(one["guid"] for one in made)
    await take_out(hub, program, folder)
    other = await make_program(admin)
    await take_in(hub, other, folder)
    for guid in (gone, late):
        await delete(admin, other, guid)
    again = await take_in(hub, other, folder)
    assert (again.attachments, again.there_before, again.deleted_here, again.contradicting) == (0, 1, 2, [])
    told = (await admin.get("/api/attachments", params={"configId": other})).json()
    assert [one["guid"] for one in told["attachments"]] == [kept]


async def test_another_attachment_of_the_same_guid_is_named_and_the_others_are_made(
    hub: Hub, admin: AsyncClient, program: str, folder: Path
) -> None:
    made = [await attach(admin, program, a_photo()) for _ in range(2)]
    taken, free = sorted(made, key=lambda one: str(one["guid"]))
    await take_out(hub, program, folder)
    other = await make_program(admin)
    await attach(admin, other, a_photo(), entity=taken["entityGuid"], guid=taken["guid"])
    done = await take_in(hub, other, folder)
    assert (done.attachments, done.there_before) == (1, 0)
    assert done.contradicting == [f"Attachment {taken['guid']} is here, and is another one."]
    assert digest_of(await download(admin, other, free["guid"])) == free["hash"]


async def test_what_is_handed_over_meanwhile_is_taken_out_once(
    hub: Hub, admin: AsyncClient, program: str, folder: Path
) -> None:
    """Told twice, of two entities, it would contradict itself, and the folder could never be taken in."""
    scope, survivor = system_scope(TenantId(program)), new_id()

    class Meanwhile(LocalStore):
        async def open(self, key: ObjectKey, size_bytes: int, *, start: int = 0, end: int | None = None) -> Opened:
            async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
                await hub.log.hold(tx, scope)
                for one in made:
                    await hand_over(tx, scope, one["entityGuid"], survivor)
            return await super().open(key, size_bytes, start=start, end=end)

    made = [await attach(admin, program, a_photo()) for _ in range(3)]
    store = Meanwhile(hub.settings.attachments_folder)
    out = await AttachmentExporter(hub.db, store, hub.contents, hub.clock, page=1).export(scope, folder)
    assert out.attachments == 3
    taken = await take_in(hub, await make_program(admin), folder)
    assert (taken.attachments, taken.there_before) == (3, 0)


async def test_what_is_deleted_while_the_folder_is_written_does_not_come_back(
    hub: Hub, admin: AsyncClient, program: str, folder: Path
) -> None:
    made = [await attach(admin, program, a_photo()) for _ in range(2)]
    gone, stays = sorted(one["guid"] for one in made)

    class Meanwhile(LocalStore):
        opened = 0

        async def open(self, key: ObjectKey, size_bytes: int, *, start: int = 0, end: int | None = None) -> Opened:
            self.opened += 1
            if self.opened == 2:
                await delete(admin, program, gone)
            return await super().open(key, size_bytes, start=start, end=end)

    store = Meanwhile(hub.settings.attachments_folder)
    scope = system_scope(TenantId(program))
    await AttachmentExporter(hub.db, store, hub.contents, hub.clock).export(scope, folder)
    other = await make_program(admin)
    for expected in ((1, 0), (0, 1)):
        taken = await take_in(hub, other, folder)
        assert (taken.attachments, taken.there_before) == expected
    told = (await admin.get("/api/attachments", params={"configId": other})).json()
    assert [[one["guid"] for one in told[part]] for part in ("attachments", "deleted")] == [[stays], [gone]]


async def test_a_folder_that_is_older_than_a_merge_can_be_taken_in_and_again(
    hub: Hub, admin: AsyncClient, program: str, folder: Path
) -> None:
    merged_in, older, newer = await registered_twice(admin, hub)
    made = await attach(admin, program, a_photo(), entity=newer)
    await take_out(hub, program, folder)
    assert (await resolve(admin, merged_in, newer, older, resolution="merge")).status_code == 200
    for expected in ((1, 0), (0, 1)):
        taken = await take_in(hub, merged_in, folder)
        assert (taken.attachments, taken.there_before) == expected
    listed = await admin.get(f"/api/attachments/entity/{older}", params={"configId": merged_in})
    assert [(one["guid"], one["syncStatus"]) for one in listed.json()["attachments"]] == [(made["guid"], "uploaded")]


async def test_what_a_folder_brought_before_it_was_refused_is_in_the_audit_trail(
    hub: Hub, admin: AsyncClient, program: str, folder: Path
) -> None:
    for _ in range(3):
        await attach(admin, program, a_photo())
    await take_out(hub, program, folder)
    last = json.loads((folder / MANIFEST).read_text().splitlines()[-2])["hash"]
    (folder / "files" / last[:2] / last).write_bytes(b"another one")
    other = await make_program(admin)
    with pytest.raises(ImportContradicts):
        await take_in(hub, other, folder)
    entries = (await pull_audit(admin, other, limit=100)).json()
    told = [entry["changes"] for entry in entries if entry["action"] == "attachments-imported"]
    assert told == [{"attachments": 2}]
