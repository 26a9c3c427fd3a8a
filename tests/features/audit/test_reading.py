"""Who has read what is told for programs that ask for it, and costs nothing for others."""

from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.features.audit.reading import MOST_NAMED
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


async def test_a_read_of_a_groups_members_is_told_of_each_of_them(admin: AsyncClient) -> None:
    program = await make_program(admin, auditReads=True)
    family = [{"guid": guid, "name": guid} for guid in ("ana", "ben")]
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G", "members": family}))
    assert (await admin.get("/api/entities/g/members", params={"configId": program})).status_code == 200
    entries = (await pull_audit(admin, program)).json()
    told = [("read-entity", "g"), ("read-entity", "ana"), ("read-entity", "ben")]
    assert reads(entries) == told
    assert [one["changes"] for one in entries[-3:]] == [{"members": 2}, {"groupGuid": "g"}, {"groupGuid": "g"}]
    crowd = [{"guid": f"m-{n}", "name": "M"} for n in range(MOST_NAMED + 1)]
    await push(admin, program, make_event("create-group", entity="crowd", data={"name": "C", "members": crowd}))
    assert (await admin.get("/api/entities/crowd/members", params={"configId": program})).status_code == 200
    assert reads((await pull_audit(admin, program)).json())[-2:] == [("read-entity", "crowd"), ("read-members", "*")]


async def test_reads_of_what_lost_and_of_what_was_refused_are_told(admin: AsyncClient) -> None:
    program = await make_program(admin, auditReads=True)
    query = {"configId": program}
    lists = ("/api/conflicts", "/api/sync/quarantine")
    for path in lists:
        assert (await admin.get(path, params=query)).status_code == 200  # nothing in it, so nothing is read
    await push(admin, program, make_event(entity="ana", data={"name": "A", "entityName": "individual"}))
    for minute, name in ((2, "B"), (1, "C")):
        at = f"2025-03-01T00:0{minute}:00.000Z"
        await push(admin, program, make_event("update-individual", entity="ana", data={"name": name}, timestamp=at))
    refused = make_event("no-such-type", entity="ben")
    answer = await push(admin, program, refused, atomic=False)
    assert answer.status_code == 207, answer.text
    found = {path: (await admin.get(path, params=query)).json() for path in lists}
    [conflict], [kept] = found["/api/conflicts"]["conflicts"], found["/api/sync/quarantine"]["quarantined"]
    for path, item, guid in ((lists[0], conflict["guid"], "ana"), (lists[1], kept["id"], kept["entityGuid"])):
        assert (await admin.get(f"{path}/{item}", params=query)).status_code == 200
        assert (await admin.get(path, params=query | {"entityGuid": guid})).status_code == 200
    assert reads((await pull_audit(admin, program)).json()) == [
        ("read-conflicts", "*"),
        ("read-quarantine", "*"),
        ("read-conflicts", "ana"),
        ("read-conflicts", "ana"),
        ("read-quarantine", kept["entityGuid"]),
        ("read-quarantine", kept["entityGuid"]),
    ]


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
