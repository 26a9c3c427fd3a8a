"""A check finds what is wrong with stored files, and repairs what can be repaired without losing anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import update

from datacollect.features.attachments.checking import Checked, Checker, Problem
from datacollect.features.attachments.contents.tables import attachment_contents
from datacollect.http.hub import Hub
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.objects import ObjectKey, tenant_folder
from datacollect.testing.objects import put
from tests.factories import make_program, new_id
from tests.features.attachments.files import a_photo, attach, delete, digest_of, download

pytestmark = pytest.mark.anyio


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    return await make_program(admin)


async def checked(hub: Hub, program: str, **options: bool) -> Checked:
    return await Checker(hub.db, hub.objects, hub.log, **options).check(system_scope(TenantId(program)))


def found(outcome: Checked) -> Sequence[tuple[Problem, str]]:
    return [(finding.problem, finding.name) for finding in outcome.findings]


async def key_of(hub: Hub, program: str, photo: bytes) -> ObjectKey:
    scope = system_scope(TenantId(program))
    async with hub.db.reading(scope) as view:
        content = await hub.contents.find(view, scope, digest_of(photo))
    key: ObjectKey = content.key(scope.tenant_id)
    return key


def file_of(hub: Hub, key: ObjectKey) -> Path:
    return hub.settings.attachments_folder / key.path


async def test_all_is_well_with_what_is_stored_and_deleted(hub: Hub, admin: AsyncClient, program: str) -> None:
    photos = [a_photo(), a_photo(300_000)]
    made = [await attach(admin, program, photo) for photo in (*photos, photos[0])]
    await delete(admin, program, made[1]["guid"])
    outcome = await checked(hub, program, deep=True)
    assert (outcome.findings, outcome.contents, outcome.size_bytes) == ([], 2, sum(map(len, photos)))
    assert outcome.ok


async def test_bytes_that_are_gone_are_found_with_the_attachments_that_have_them(
    hub: Hub, admin: AsyncClient, program: str
) -> None:
    photo = a_photo()
    made = [await attach(admin, program, photo) for _ in range(2)]
    await hub.objects.delete(await key_of(hub, program, photo))
    for repair in (False, True):
        outcome = await checked(hub, program, repair=repair)
        assert found(outcome) == [(Problem.MISSING, digest_of(photo))]
        assert list(outcome.findings[0].attachments) == sorted(one["guid"] for one in made)
        assert not outcome.ok


async def test_changed_bytes_are_found_by_a_deep_check_and_torn_ones_by_every_one(
    hub: Hub, admin: AsyncClient, program: str
) -> None:
    torn, changed = a_photo(), a_photo(600_000)
    for photo in (torn, changed):
        await attach(admin, program, photo)
    file_of(hub, await key_of(hub, program, torn)).write_bytes(torn[:-1])
    file_of(hub, await key_of(hub, program, changed)).write_bytes(changed[:-1] + bytes([changed[-1] ^ 1]))
    assert found(await checked(hub, program)) == [(Problem.DAMAGED, digest_of(torn))]
    deep = await checked(hub, program, deep=True)
    assert sorted(found(deep)) == sorted((Problem.DAMAGED, digest_of(photo)) for photo in (torn, changed))


async def test_bytes_that_nobody_has_are_found_and_deleted(hub: Hub, admin: AsyncClient, program: str) -> None:
    photo = a_photo()
    kept = await attach(admin, program, photo)
    orphan = await put(hub.objects, hub.spool, TenantId(program), a_photo())
    twin = await put(hub.objects, hub.spool, TenantId(program), photo)
    names = sorted([orphan.name, twin.name])
    assert sorted(found(await checked(hub, program))) == [(Problem.ORPHANED, name) for name in names]
    repaired = await checked(hub, program, repair=True)
    assert [finding.repaired for finding in repaired.findings] == [True, True]
    assert repaired.ok
    assert found(await checked(hub, program)) == []
    assert await hub.objects.stat(orphan) is None
    assert await download(admin, program, kept["guid"]) == photo


async def test_what_is_lost_is_found_again_in_bytes_that_nobody_has(hub: Hub, admin: AsyncClient, program: str) -> None:
    photo = a_photo()
    kept = await attach(admin, program, photo)
    twin = await put(hub.objects, hub.spool, TenantId(program), photo)
    broken = await put(hub.objects, hub.spool, TenantId(program), photo)
    file_of(hub, broken).write_bytes(photo[:-1])
    await hub.objects.delete(await key_of(hub, program, photo))
    seen = {(Problem.MISSING, digest_of(photo)), (Problem.ORPHANED, twin.name), (Problem.ORPHANED, broken.name)}
    assert set(found(await checked(hub, program))) == seen
    repaired = await checked(hub, program, repair=True)
    assert set(found(repaired)) == seen - {(Problem.ORPHANED, twin.name)} and repaired.ok
    assert await key_of(hub, program, photo) == twin
    assert found(await checked(hub, program, deep=True)) == []
    assert await download(admin, program, kept["guid"]) == photo


async def test_the_last_bytes_of_what_is_lost_are_left_alone(hub: Hub, admin: AsyncClient, program: str) -> None:
    photo = a_photo()
    await attach(admin, program, photo)
    broken = await put(hub.objects, hub.spool, TenantId(program), photo)
    file_of(hub, broken).write_bytes(photo[:-1])
    await hub.objects.delete(await key_of(hub, program, photo))
    assert not (await checked(hub, program, repair=True)).ok
    assert file_of(hub, broken).exists()


async def test_an_upload_under_way_is_nobodys_orphan(hub: Hub, program: str) -> None:
    scope = system_scope(TenantId(program))
    async with hub.spool.receiving(most_bytes=10_000) as incoming:
        await incoming.write(a_photo())
        secured = await hub.contents.secure(scope, await incoming.finish())
    assert found(await checked(hub, program, repair=True)) == []
    assert await hub.objects.stat(secured.content.key(scope.tenant_id)) is not None


async def test_what_no_hub_has_put_there_is_told_and_left_alone(hub: Hub, admin: AsyncClient, program: str) -> None:
    photo = a_photo()
    await attach(admin, program, photo)
    strange = file_of(hub, await key_of(hub, program, photo)).with_name("notes.txt")
    strange.write_text("by hand")
    outcome = await checked(hub, program, repair=True)
    assert found(outcome) == [(Problem.FOREIGN, f"{strange.parent.name}/notes.txt")]
    assert strange.exists()


@pytest.mark.parametrize("noted", [0, 5])
async def test_a_wrong_count_is_found_and_corrected(hub: Hub, admin: AsyncClient, program: str, noted: int) -> None:
    photo, scope = a_photo(), system_scope(TenantId(program))
    await attach(admin, program, photo)
    async with hub.db.transaction(scope) as tx:
        await tx.execute(update(attachment_contents).where(_of(scope)).values(refs=noted))
    assert found(await checked(hub, program)) == [(Problem.MISCOUNTED, digest_of(photo))]
    assert (await checked(hub, program, repair=True)).ok
    assert found(await checked(hub, program)) == []


async def test_folders_of_no_program_are_named(hub: Hub, admin: AsyncClient, program: str) -> None:
    await attach(admin, program, a_photo())
    stranger = TenantId(f"gone-{new_id()}")
    await put(hub.objects, hub.spool, stranger, a_photo())
    unknown = await Checker(hub.db, hub.objects, hub.log).unknown_folders([system_scope(TenantId(program))])
    assert tenant_folder(stranger) in unknown
    assert tenant_folder(TenantId(program)) not in unknown


def _of(scope: TenantScope) -> Any:
    return attachment_contents.c.tenant_id == scope.tenant_id
