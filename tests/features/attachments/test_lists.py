"""Who follows the changes misses none, however they are paged and whoever writes meanwhile."""

import asyncio
import re
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import delete, update

from datacollect.db import EVERY_TENANT
from datacollect.features.attachments.tables import attachment_heads, attachments
from datacollect.features.integrity.service import put_back
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.attachments import ask, attach, make_entity, new_guid
from tests.factories import make_program

pytestmark = pytest.mark.anyio


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    return await make_program(admin)


async def follow(
    client: AsyncClient, program: str, since: str = "", *, limit: int = 2
) -> tuple[list[Any], list[str], str]:
    """What there is now: attachments, guids of deleted ones, and where to go on."""
    found: list[Any] = []
    gone: list[str] = []
    while True:
        answer = await ask(client, program, "", params={"since": since, "limit": str(limit)})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["attachments"]
        gone += [one["guid"] for one in page["deleted"]]
        since = page["nextCursor"]
        if not page["hasMore"]:
            return found, gone, since


async def test_each_change_is_told_once_and_in_order(admin: AsyncClient, program: str) -> None:
    assert await follow(admin, program) == ([], [], "")
    entity = await make_entity(admin, program)
    stored = [await attach(admin, program, entity) for _ in range(5)]
    found, gone, since = await follow(admin, program)
    assert (found, gone) == (stored, [])
    await ask(admin, program, f"/{stored[1]['guid']}", "DELETE")
    late = await attach(admin, program, entity)
    assert (await follow(admin, program, since))[:2] == ([late], [stored[1]["guid"]])
    found, gone, since = await follow(admin, program)
    assert found == [stored[0], *stored[2:], late] and gone == [stored[1]["guid"]]
    assert await follow(admin, program, since) == ([], [], since)


async def test_a_deleted_file_keeps_nothing_of_what_it_was(admin: AsyncClient, hub: Hub, program: str) -> None:
    stored = await attach(admin, program, await make_entity(admin, program), name="Ana.jpg")
    await ask(admin, program, f"/{stored['guid']}", "DELETE")
    [told] = (await ask(admin, program, "")).json()["deleted"]
    assert set(told) == {"guid", "entityGuid", "deletedAt", "tenantId"}
    async with hub.db.reading(EVERY_TENANT) as view:
        rows = await view.fetch("SELECT * FROM attachments")
    assert "Ana" not in str([tuple(row) for row in rows])


async def test_a_reader_beside_writers_misses_nothing(admin: AsyncClient, program: str) -> None:
    entity = await make_entity(admin, program)
    writing = [asyncio.create_task(attach(admin, program, entity)) for _ in range(12)]
    seen: list[str] = []
    since = ""
    while not all(task.done() for task in writing):
        found, _, since = await follow(admin, program, since)
        seen += [one["guid"] for one in found]
    found, _, since = await follow(admin, program, since)
    seen += [one["guid"] for one in found]
    assert sorted(seen) == sorted([task.result()["guid"] for task in writing])


async def test_a_mark_that_is_not_known_begins_anew(admin: AsyncClient, program: str) -> None:
    entity = await make_entity(admin, program)
    stored = [await attach(admin, program, entity) for _ in range(2)]
    _, _, since = await follow(admin, program)
    history = since.rpartition("|")[2]
    of_an_earlier_release = since.removesuffix(f"|{history}")
    for mark in (f"7|{new_guid()}|{history}", f"999|{stored[0]['guid']}|{history}", of_an_earlier_release):
        assert (await follow(admin, program, mark))[0] == stored


async def test_what_is_sent_again_after_a_restore_hides_nothing(admin: AsyncClient, hub: Hub, program: str) -> None:
    """What the reader has seen last stands behind files that came first this time."""
    scope, entity = system_scope(TenantId(program)), await make_entity(admin, program)
    stored = [await attach(admin, program, entity)]
    guid, content = new_guid(), b"\xff\xd8\xff\xe0 of the phone that sends it again"
    lost = await attach(admin, program, entity, content, guid=guid)
    found, _, since = await follow(admin, program)
    assert found == [*stored, lost]

    async with hub.db.transaction(scope) as tx:
        await tx.execute(delete(attachments).where(attachments.c.tenant_id == program, attachments.c.guid == guid))
        await tx.execute(
            update(attachment_heads).where(attachment_heads.c.tenant_id == program).values(position=1, files=1)
        )
        await put_back(tx, hub.log, scope, backup_at=None, now=hub.clock.now())
    stored += [await attach(admin, program, entity) for _ in range(2)]
    stored.append(await attach(admin, program, entity, content, guid=guid))
    found, _, since = await follow(admin, program, since)
    assert found == stored
    assert await follow(admin, program, since) == ([], [], since)


@pytest.mark.parametrize("query", [{"since": "x"}, {"limit": "0"}, {"limit": "1001"}, {"limit": "ten"}])
@pytest.mark.parametrize("path", ["", "/pending"])
async def test_odd_questions_are_refused(admin: AsyncClient, program: str, path: str, query: dict[str, str]) -> None:
    answer = await ask(admin, program, path, params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ATTACHMENT_QUERY")


async def test_files_that_wait_are_paged(admin: AsyncClient, program: str) -> None:
    stored = [await attach(admin, program, new_guid()) for _ in range(5)]
    found: list[Any] = []
    since: str | None = ""
    while since is not None:
        page = (await ask(admin, program, "/pending", params={"since": since, "limit": "2"})).json()
        found += page["attachments"]
        since = page["nextCursor"]
    assert found == stored


async def test_attachments_of_an_entity_are_by_time(admin: AsyncClient, program: str) -> None:
    entity = await make_entity(admin, program)
    stored = [await attach(admin, program, entity) for _ in range(4)]
    listed = (await ask(admin, program, f"/entity/{entity}")).json()["attachments"]
    assert listed == sorted(stored, key=lambda one: (one["createdAt"], one["guid"]))
    assert (await ask(admin, program, f"/entity/{new_guid()}")).json() == {"status": "success", "attachments": []}


async def test_every_statement_finds_its_rows_by_key(admin: AsyncClient, hub: Hub, program: str) -> None:
    if hub.db.dialect != "sqlite":
        pytest.skip("PostgreSQL reads small tables whole; the statements are the same")
    entity = await make_entity(admin, program)
    with hub.db.statements.record() as statements:
        stored = await attach(admin, program, entity)
        for path in ("", "/pending", f"/entity/{entity}", f"/{stored['guid']}/metadata"):
            assert (await ask(admin, program, path)).status_code == 200
        await follow(admin, program, (await follow(admin, program))[2])
        await ask(admin, program, f"/{stored['guid']}", "DELETE")
    ours = {one for one in statements if "attachment" in one and one.startswith(("SELECT", "UPDATE"))}
    assert len(ours) >= 8
    async with hub.db.reading(EVERY_TENANT) as view:
        for statement in ours:
            sql = re.sub(r":\w+", "?", statement)
            plan = [row[3] for row in await view.fetch(f"EXPLAIN QUERY PLAN {sql}", *[""] * sql.count("?"))]
            assert not [step for step in plan if "SCAN" in step or "TEMP B-TREE" in step], (sql, plan)
            assert all("(tenant_id=? AND" in step or "heads" in step for step in plan if "SEARCH" in step), (sql, plan)
