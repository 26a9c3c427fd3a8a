"""Who has read what is told for programs that ask for it, and costs nothing for others."""

from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import make_event, make_program, pull, pull_audit, push

pytestmark = pytest.mark.anyio


async def read_everything(admin: AsyncClient, program: str) -> None:
    for path in ("", "/g", "/g/members", "/g/events"):
        assert (await admin.get(f"/api/entities{path}", params={"configId": program})).status_code == 200
    assert (await pull(admin, program)).status_code == 200


def reads(entries: list[Any]) -> list[tuple[str, str]]:
    return [(one["action"], one["entityGuid"]) for one in entries if one["action"].startswith("read-")]


async def test_reads_are_told_where_the_program_asks_for_it(admin: AsyncClient) -> None:
    program = await make_program(admin, auditReads=True)
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G"}))
    await read_everything(admin, program)
    entries = (await pull_audit(admin, program)).json()
    assert reads(entries) == [
        ("read-all-entities", "*"),
        ("read-entity", "g"),
        ("read-entity", "g"),
        ("read-events", "g"),
        ("read-events", "events"),
    ]
    me = (await admin.get("/api/users/me")).json()
    told = next(one for one in entries if one["action"] == "read-events" and one["entityGuid"] == "events")
    assert (told["userId"], told["eventGuid"], told["changes"]) == (str(me["id"]), "", {"count": 1, "since": ""})
    # Reading the trail is told in it.
    assert reads((await pull_audit(admin, program)).json())[-1] == ("read-audit-trail", "*")


async def test_reads_write_nothing_otherwise(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G"}))
    with hub.db.statements.record() as statements:
        await read_everything(admin, program)
    assert not [sql for sql in statements if "INSERT INTO audit_log" in sql]
    assert reads((await pull_audit(admin, program)).json()) == []


async def test_what_the_trail_cannot_take_is_read_all_the_same(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin, auditReads=True)
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G"}))
    # As when the program is archived between the look-up and the note.
    scope = system_scope(TenantId(program))
    async with hub.db.transaction(scope) as tx:
        await hub.log.close(tx, scope)
    answer = await admin.get("/api/entities/g", params={"configId": program})
    assert (answer.status_code, answer.json()["guid"]) == (200, "g")
