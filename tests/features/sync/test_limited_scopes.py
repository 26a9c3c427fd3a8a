"""Devices that hold a part of a program, through HTTP, on both engines. Source: the contract's sync area, 2.3 and 3.3.1."""

import uuid
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.assembly import create_importer
from datacollect.db import EVERY_TENANT, Reading
from datacollect.db.database import Within
from datacollect.db.sqlite import SqliteDatabase
from datacollect.eventstore.event import Event
from datacollect.features.integrity.service import put_back
from datacollect.features.sync import parts, scoping
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId, derived_guid
from datacollect.kernel.tenancy import Tenant
from tests.accounts import bearer, login, make_person
from tests.description import Document, json_schema_of
from tests.factories import make_event, make_program, pull_all, push
from tests.features.conftest import Alone
from tests.statements import hot

pytestmark = pytest.mark.anyio

DEVICE = {"X-Device-Id": "tablet-07"}
DAY_SECONDS = 24 * 60 * 60


@pytest.fixture
async def agent(admin: AsyncClient, client: AsyncClient) -> "Agents":
    return Agents(admin, client)


class Agents:
    """Makes clients of people who are limited in a program."""

    def __init__(self, admin: AsyncClient, client: AsyncClient) -> None:
        self.admin = admin
        self.client = client

    async def of(self, program: str, **override: Any) -> dict[str, str]:
        """The headers of somebody with this `syncScopeOverride`."""
        assignment = {"tenantId": program, "role": "enumerator", "syncScopeOverride": override}
        person = await make_person(self.admin, tenantIds=[program], roleAssignments=[assignment])
        return DEVICE | bearer((await login(self.client, person))["token"])

    async def pull_all(self, program: str, headers: dict[str, str], since: str = "", **query: Any) -> list[Any]:
        events: list[Any] = []
        cursor: str | None = since
        while cursor is not None:
            parameters = {"configId": program, "since": cursor} | query
            answer = await self.client.get("/api/sync/pull", params=parameters, headers=headers)
            assert answer.status_code == 200, answer.text
            events += answer.json()["events"]
            cursor = answer.json()["nextCursor"]
        return events

    async def push(self, program: str, headers: dict[str, str], *events: Any, **members: Any) -> Any:
        body = {"events": list(events), "configId": program} | members
        return await self.client.post("/api/sync/push", json=body, headers=headers)


def person(area: str | None, entity: str | None = None, **data: Any) -> dict[str, Any]:
    placed = {} if area is None else {"area_id": area}
    return make_event(entity=entity, data={"name": "Ana", **placed, **data})


def guids(events: list[Any]) -> list[str]:
    return [event["guid"] for event in events]


async def test_what_is_imported_reaches_who_has_read_a_part_of_the_program_while_it_was_empty(
    admin: AsyncClient, agent: Agents, hub: Hub, tmp_path: Path
) -> None:
    """It was not filed by place, and taken for filed: no device that holds a part of the program was ever given any of it."""
    source, empty = await make_program(admin), await make_program(admin)
    headers = await agent.of(empty, areaIds=["A1"])
    assert await agent.pull_all(empty, headers) == []
    await push(admin, source, person("A1", "p-1"), person("A2", "p-2"))
    file = tmp_path / "export.json"
    file.write_bytes((await admin.get("/api/entities/export", params={"configId": source})).content)
    await create_importer(hub.db).take_in(file, tenant_id=TenantId(empty))
    assert [event["entityGuid"] for event in await agent.pull_all(empty, headers)] == ["p-1"]


async def test_the_usual_page_of_a_part_is_read_on_the_loop_and_a_large_one_in_threads(
    admin: AsyncClient, agent: Agents, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(hub.db, SqliteDatabase):
        pytest.skip("PostgreSQL reads neither way")
    program = await make_program(admin)
    area, many = await agent.of(program, areaIds=["A1"]), await agent.of(program, areaIds=[f"A{n}" for n in range(100)])
    for headers in (area, many):
        await agent.pull_all(program, headers)  # what the first one of a program brings about
    await push(admin, program, *(person("A1") for _ in range(120)))
    opened: list[Within] = []
    reading = hub.db.reading

    def counted(within: Within = None) -> AbstractAsyncContextManager[Reading]:
        opened.append(within)
        return reading(within)

    monkeypatch.setattr(hub.db._glance, "_reading", counted)
    # However long this machine takes: a disk that is slow is asked in threads.
    monkeypatch.setattr(hub.db._bet, "_monotonic", lambda: 0.0)
    monkeypatch.setattr(hub.db._bet, "_not_before", 0.0)
    found, ways = [], []
    for headers, limit in ((area, 100), (area, 1000), (many, 100)):
        parameters = {"configId": program, "limit": limit}
        answer = await agent.client.get("/api/sync/pull", params=parameters, headers=headers)
        found.append(len(answer.json()["events"]))
        ways.append(len(opened))
        opened.clear()
    assert found == [100, 120, 100]
    assert ways == [0, 2, 1], "their positions and the events; of many places the positions only"


# -- who must say which device it is


async def test_a_limited_scope_needs_a_device_id_and_a_plain_one_does_not(admin: AsyncClient) -> None:
    limited, plain = await make_program(admin, syncScope={"areaIds": ["A1"]}), await make_program(admin)
    for program, header, status in (
        (limited, {}, 400),
        (limited, {"X-Device-Id": "not a device"}, 400),
        (limited, {"X-Device-Id": "x" * 65}, 400),
        (limited, DEVICE, 200),
        (plain, {}, 200),
        (plain, {"X-Device-Id": "not a device"}, 200),
    ):
        pulled = await admin.get("/api/sync/pull", params={"configId": program}, headers=header)
        pushed = await admin.post("/api/sync/push", json={"events": [], "configId": program}, headers=header)
        assert (pulled.status_code, pushed.status_code) == (status, status), pulled.text
        if status == 400:
            assert pulled.json()["code"] == pushed.json()["code"] == "DEVICE_ID_REQUIRED"
            assert "X-Device-Id" in pulled.json()["message"]


# -- push


async def test_of_a_mixed_batch_what_is_within_scope_is_applied(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    headers = await agent.of(program, areaIds=["A1"])
    mine, theirs = person("A1"), person("A2", "p-2")
    answer = await agent.push(program, headers, mine, theirs)
    assert answer.status_code == 207
    [refused] = answer.json()["failed"]
    assert answer.json() | {"failed": []} == {"status": "partial", "applied": 1, "failed": [], "errors": []}
    assert {name: refused[name] for name in ("guid", "entityGuid", "type", "reason")} == {
        "guid": theirs["guid"],
        "entityGuid": "p-2",
        "type": "create-individual",
        "reason": "out_of_scope",
    }
    assert guids(await pull_all(admin, program, limit=5000)) == [mine["guid"]]


async def test_a_batch_that_is_all_foreign_is_refused_and_kept_for_an_operator(
    admin: AsyncClient, agent: Agents, hub: Hub
) -> None:
    program = await make_program(admin)
    headers = await agent.of(program, areaIds=["A1"])
    answer = await agent.push(program, headers, person("A2"), person(None))
    body = answer.json()
    assert (answer.status_code, body["status"], body["applied"], body["errors"]) == (422, "error", 0, [])
    assert [one["reason"] for one in body["failed"]] == ["out_of_scope", "out_of_scope"]
    async with hub.db.reading(EVERY_TENANT) as view:
        place = "?" if hub.db.dialect == "sqlite" else "$1"
        kept = await view.fetch(f"SELECT code FROM quarantine WHERE tenant_id = {place}", program)
    assert [row[0] for row in kept] == ["OUT_OF_SCOPE", "OUT_OF_SCOPE"]


async def test_a_device_gets_past_what_is_out_of_scope_once_it_is_discarded(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    headers = await agent.of(program, areaIds=["A1"])
    foreign, other, mine = person("A2"), person("A2"), person("A1")
    query = {"configId": program}
    assert (await agent.push(program, headers, foreign, other)).status_code == 422
    rows = (await admin.get("/api/sync/quarantine", params=query)).json()["quarantined"]
    [row] = [row for row in rows if row["eventGuid"] == foreign["guid"]]
    path = f"/api/sync/quarantine/{row['id']}/discard"
    assert (await admin.post(path, params=query, json={"reason": "not ours"})).status_code == 200

    sent = {"foreign": foreign, "other": other, "mine": mine}
    for events, status, applied in (
        (("foreign",), 200, 1),
        (("other", "foreign"), 207, 1),
        (("other", "foreign", "mine"), 207, 2),
        (("other",), 422, 0),
    ):
        for members in ({}, {"atomic": False}):
            if events == ("other",) and members:
                continue
            answer = await agent.push(program, headers, *(sent[name] for name in events), **members)
            body = answer.json()
            assert (answer.status_code, body["applied"]) == (status, applied), (events, members, body)
            refused = [other["guid"]] if "other" in events else []
            assert [one["guid"] for one in body["failed"]] == refused
            warned = [(events.index("foreign"), "EVENT_DISCARDED")] if "foreign" in events else []
            assert [(one["index"], one["code"]) for one in body.get("warnings", ())] == warned
    # And what has the guid of what was discarded, but is another event, is not.
    edited = foreign | {"data": {"name": "Other", "area_id": "A2"}}
    assert (await agent.push(program, headers, edited)).status_code == 422


async def test_what_is_said_of_an_entity_whose_creation_was_refused_is_out_of_scope(
    admin: AsyncClient, agent: Agents
) -> None:
    program = await make_program(admin)
    headers = await agent.of(program, areaIds=["A1"])
    batch = (
        person("A2", "p-2"),
        make_event("update-individual", entity="p-2", data={"age": 3}),
        make_event("update-individual", entity="unheard-of", data={"age": 3}),
        person("A1", "p-1"),
        make_event("update-individual", entity="p-1", data={"age": 3}),
    )
    answer = (await agent.push(program, headers, *batch)).json()
    assert answer["applied"] == 2
    assert [one["reason"] for one in answer["failed"]] == ["out_of_scope", "out_of_scope", "unknown_entity"]


async def test_a_record_of_somebody_unknown_is_told_so_and_of_somebody_refused_is_out_of_scope(
    admin: AsyncClient, agent: Agents
) -> None:
    program = await make_program(admin)
    headers = await agent.of(program, areaIds=["A1"])
    batch = (
        make_event("create-record", entity="r-1", data={"parentId": "unheard-of", "weight": 3}),
        make_event("update-record", entity="r-1", data={"weight": 4}),
        person("A2", "p-2"),
        make_event("create-record", entity="r-2", data={"parentId": "p-2", "weight": 3}),
        make_event("update-record", entity="r-2", data={"weight": 4}),
    )
    failed = (await agent.push(program, headers, *batch)).json()["failed"]
    assert [one["reason"] for one in failed] == ["unknown_entity"] * 2 + ["out_of_scope"] * 3
    assert (failed[0]["code"], failed[0]["path"]) == ("UNKNOWN_ENTITY", ["data", "parentId"])


async def test_what_cannot_be_applied_ends_the_push_whatever_was_out_of_scope(
    admin: AsyncClient, agent: Agents
) -> None:
    program = await make_program(admin)
    await push(admin, program, person("A2", "victim"), person("A1", "mine"))
    headers = await agent.of(program, areaIds=["A1"])
    foreign, fine = person("A2"), person("A1")
    stealing = make_event("create-group", data={"name": "G", "area_id": "A1", "members": [{"guid": "victim", "x": 1}]})
    answer = await agent.push(program, headers, foreign, fine, stealing)
    assert answer.status_code == 422
    assert "errors" not in answer.json()
    failure, rejection = answer.json()["failed"]
    assert (failure["index"], failure["eventGuid"], failure["code"]) == (1, stealing["guid"], "UNAUTHORIZED_MEMBER")
    assert (rejection["guid"], rejection["reason"]) == (foreign["guid"], "out_of_scope")
    assert {event["entityGuid"] for event in await pull_all(admin, program)} == {"victim", "mine"}


async def test_with_verdicts_each_event_is_judged_by_itself(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    headers = await agent.of(program, areaIds=["A1"])
    batch = (person("A2"), person("A1"), make_event("nonsense", data={"area_id": "A1"}))
    answer = await agent.push(program, headers, *batch, atomic=False)
    assert (answer.status_code, answer.json()["applied"]) == (207, 1)
    assert [(one["index"], one["code"]) for one in answer.json()["failed"]] == [
        (0, "OUT_OF_SCOPE"),
        (2, "UNKNOWN_EVENT_TYPE"),
    ]


@pytest.mark.parametrize("atomic", [True, False])
async def test_whatever_a_push_is_told_is_told_as_the_description_says(
    admin: AsyncClient, agent: Agents, atomic: bool
) -> None:
    program = await make_program(admin, formValidation="warn", customEventTypes=["redeem-entitlement"])
    headers = await agent.of(program, areaIds=["A1"])
    unknown = make_event("update-individual", entity="unheard-of", data={"age": 3})
    batches = (
        [person("A1")],
        [],
        [person("A1"), person("A2"), unknown],
        [person("A2")],
        [person("A1"), person("A2"), make_event("nonsense", data={"area_id": "A1"})],
        [make_event("nonsense", data={"area_id": "A1"})],
        [person("A1", entitlements=[{"id": "e-1"}])],
    )
    document = Document((await admin.get("/openapi.json")).json())
    described = document.whole["paths"]["/api/sync/push"]["post"]["responses"]
    told = []
    for batch in batches:
        answer = await agent.push(program, headers, *batch, atomic=atomic)
        body, schema = answer.json(), json_schema_of(described[str(answer.status_code)]["content"])
        assert document.problems(schema, body) == [], body
        for name, model in (("failed", "Refusal"), ("warnings", "Verdict")):
            known = document.whole["components"]["schemas"][model]["properties"].keys()
            for one in body.get(name, ()) if answer.status_code < 300 else ():
                assert one.keys() <= known, "no more than is described"
        told.append((answer.status_code, [one.get("index") for one in body["failed"]], "warnings" in body))
    if atomic:
        assert told == [
            (200, [], False),
            (200, [], False),
            (207, [None, None], False),
            (422, [None], False),
            (422, [1, None], False),
            (422, [0], False),
            (200, [], True),
        ]
    else:
        assert told == [
            (200, [], False),
            (200, [], False),
            (207, [1, 2], False),
            (207, [0], False),
            (207, [1, 2], False),
            (207, [0], False),
            (200, [], True),
        ]


async def test_a_known_event_is_a_success_whoever_sends_it_again(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    foreign = person("A2")
    await push(admin, program, foreign)
    headers = await agent.of(program, areaIds=["A1"])
    answer = await agent.push(program, headers, foreign)
    assert (answer.status_code, answer.json()["applied"]) == (200, 1)


# -- pull


async def test_a_device_gets_what_is_in_its_areas_and_nothing_else(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    headers = await agent.of(program, areaIds=["A1", "A3"])
    assert await agent.pull_all(program, headers) == []
    events = [person(area) for area in ("A1", "A2", "A3", "A4", None, "A1", "a1")]
    await push(admin, program, *events)
    mine = [events[0], events[2], events[5]]
    assert guids(await agent.pull_all(program, headers)) == guids(mine)
    assert guids(await agent.pull_all(program, headers, limit=1)) == guids(mine)


async def test_what_was_there_before_anybody_was_limited_comes_as_one_snapshot_each(
    admin: AsyncClient, agent: Agents
) -> None:
    program = await make_program(admin)
    await push(admin, program, person("A1", "e", age=1), person("A2", "far"))
    await push(admin, program, make_event("update-individual", entity="e", data={"age": 2, "sex": "f"}))
    await push(admin, program, person("A1", "gone"), make_event("delete-entity", entity="gone", data={"x": 1}))
    headers = await agent.of(program, areaIds=["A1"])
    [snapshot] = await agent.pull_all(program, headers)
    assert (snapshot["entityGuid"], snapshot["type"], snapshot["userId"]) == ("e", "create-individual", "system")
    assert snapshot["data"] == {"name": "Ana", "area_id": "A1", "age": 2, "sex": "f"}
    # Only once, and it is an event like any other.
    assert guids(await agent.pull_all(program, headers)) == [snapshot["guid"]]
    entity = (await admin.get("/api/entities/e", params={"configId": program})).json()
    assert entity["data"] == snapshot["data"]


@pytest.mark.parametrize("count", [2, 3, 5, 7])
async def test_a_large_program_is_filed_in_batches_and_whole(
    admin: AsyncClient, agent: Agents, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Who comes too early is told to come again; whoever is answered is given everything."""
    monkeypatch.setattr(scoping, "_BATCH", 3)
    monkeypatch.setattr(scoping, "_MOST_BATCHES", 1)
    program = await make_program(admin)
    entities = [f"p-{number}" for number in range(count)]
    await push(admin, program, *(person("A1", entity) for entity in entities))
    headers, calls = await agent.of(program, areaIds=["A1"]), 1
    asked = {"configId": program, "limit": 100}
    while (answer := await agent.client.get("/api/sync/pull", params=asked, headers=headers)).status_code == 503:
        assert (answer.json()["code"], answer.headers["Retry-After"]) == ("SCOPE_BEING_PREPARED", "1")
        calls += 1
    assert sorted(event["entityGuid"] for event in answer.json()["events"]) == entities
    assert calls == count // 3 + 1
    others = await agent.of(program, areaIds=["A1"])
    assert len(await agent.pull_all(program, others)) == count, "filed once"


async def test_a_snapshot_older_than_what_a_device_has_seen_is_delivered_all_the_same(
    admin: AsyncClient, agent: Agents
) -> None:
    """It has the time of what it tells: cursors stand in the log, whatever the times of what comes behind them."""
    program = await make_program(admin)
    created, moved = person("A2", "e", age=1), make_event("update-individual", entity="e", data={"area_id": "A1"})
    visit = make_event("create-record", entity="visit", data={"parentId": "e"})
    newest = person("A1", "other")
    await push(admin, program, created, visit, newest)
    here = await agent.of(program, areaIds=["A1"])
    [told] = await agent.pull_all(program, here)
    assert (told["entityGuid"], told["timestamp"]) == ("other", newest["timestamp"])
    filed = [event["entityGuid"] for event in await pull_all(admin, program, since=newest["timestamp"])]
    assert filed == ["other", "e", "other", "visit"]
    await push(admin, program, moved)
    for since in (told["timestamp"], f"{told['timestamp']}|{told['guid']}"):
        for limit in (1, 100):
            got = await agent.pull_all(program, here, since=since, limit=limit)
            fresh = [(event["entityGuid"], event["timestamp"]) for event in got if event["guid"] != told["guid"]]
            assert fresh == [("e", moved["timestamp"]), ("e", moved["timestamp"]), ("visit", visit["timestamp"])]
        assert [event["data"].get("age") for event in got if event["entityGuid"] == "e"] == [None, 1]


async def test_an_entity_that_moves_is_complete_where_it_comes_and_told_where_it_was(
    admin: AsyncClient, agent: Agents
) -> None:
    program = await make_program(admin)
    here, there, elsewhere = [await agent.of(program, areaIds=[area]) for area in ("A1", "A2", "A3")]
    await agent.pull_all(program, here)
    created = person("A1", "e", age=1)
    await push(admin, program, created)
    visit = make_event("create-record", entity="visit", data={"parentId": "e", "result": "well"})
    await push(admin, program, visit)
    moved = make_event("update-individual", entity="e", data={"area_id": "A2"})
    await push(admin, program, moved)
    assert guids(await agent.pull_all(program, here)) == guids([created, visit, moved])
    arrived = await agent.pull_all(program, there)
    assert guids(arrived[:1]) == [moved["guid"]]
    assert {event["entityGuid"]: event["data"] for event in arrived[1:]} == {
        "e": {"name": "Ana", "area_id": "A2", "age": 1},
        "visit": {"parentId": "e", "result": "well"},
    }
    assert await agent.pull_all(program, elsewhere) == []


async def test_a_name_that_nobody_has_written_is_not_told_as_written(admin: AsyncClient, agent: Agents) -> None:
    """It hid the name that came later, by an older event, from every device."""
    program = await make_program(admin)
    here = await agent.of(program, areaIds=["A1"])
    await agent.pull_all(program, here)
    moved = [make_event("update-individual", entity="e", data={"area_id": area}) for area in ("A2", "A1")]
    await push(admin, program, *moved)
    assert [each["data"] for each in await agent.pull_all(program, here)] == [{"area_id": "A1"}] * 2
    await push(admin, program, person("A1", "e"))
    written = [each for each in await pull_all(admin, program) if "name" in each["data"]]
    assert [each["data"]["name"] for each in written] == ["Ana"]


async def test_a_record_that_came_before_its_person_arrives_with_it(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    here, there = [await agent.of(program, areaIds=[area]) for area in ("A1", "A2")]
    await agent.pull_all(program, here)
    visit = make_event("create-record", entity="visit", data={"parentId": "e", "result": "well"})
    answer = make_event("create-record", entity="answer", data={"parentId": "visit"})
    await push(admin, program, visit, answer)
    created = person("A1", "e")
    await push(admin, program, created)
    assert [event["entityGuid"] for event in await agent.pull_all(program, here)] == ["e", "visit", "answer"]
    # The same when the person comes back somewhere else after a delete.
    await push(admin, program, make_event("delete-entity", entity="e", data={"x": 1}))
    await push(admin, program, person("A2", "e"))
    assert [event["entityGuid"] for event in await agent.pull_all(program, there)] == ["e", "visit", "answer"]


async def test_what_comes_with_its_person_in_one_push_needs_no_snapshot(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    here = await agent.of(program, areaIds=["A1"])
    await agent.pull_all(program, here)
    sent = [person("A1", "e"), make_event("create-record", entity="visit", data={"parentId": "e"}), person("A1", "f")]
    await push(admin, program, *sent)
    assert guids(await agent.pull_all(program, here)) == guids(sent)


async def test_what_is_created_below_somebody_who_leaves_and_returns_in_one_push_returns_too(
    admin: AsyncClient, agent: Agents
) -> None:
    program = await make_program(admin)
    here = await agent.of(program, areaIds=["A1"])
    await agent.pull_all(program, here)
    await push(admin, program, person("A1", "e"))
    before = await agent.pull_all(program, here)
    visit = make_event("create-record", entity="visit", data={"parentId": "e"})
    moves = [make_event("update-individual", entity="e", data={"area_id": area}) for area in ("A2", "A1")]
    await push(admin, program, visit, *moves, person("A1", "f"))
    after = [event["entityGuid"] for event in await agent.pull_all(program, here)][len(before) :]
    assert after == ["visit", "e", "e", "f", "e", "visit"]


async def test_what_leaves_somebody_who_has_left_and_returned_in_one_push_comes_complete(
    admin: AsyncClient, agent: Agents
) -> None:
    """It went with them on devices, and was not told of again: it was below them no more, and where it had been before."""
    program = await make_program(admin)
    here = await agent.of(program, areaIds=["A1"])
    await agent.pull_all(program, here)
    await push(admin, program, person("A1", "e"), person("A1", "f"))
    await push(admin, program, make_event("create-record", entity="visit", data={"parentId": "e", "result": "well"}))
    before = await agent.pull_all(program, here)
    moves = [make_event("update-individual", entity="e", data={"area_id": area}) for area in ("A2", "A1")]
    given = make_event("update-record", entity="visit", data={"parentId": "f"})
    await push(admin, program, *moves, given)
    after = (await agent.pull_all(program, here))[len(before) :]
    assert [event["entityGuid"] for event in after] == ["e", "e", "visit", "e", "visit"]
    assert after[-1]["data"]["result"] == "well"


async def test_parents_are_told_of_before_who_is_where_they_are(admin: AsyncClient, agent: Agents) -> None:
    """Whoever came before their parents was nowhere for a device that looks whether they are in its areas."""
    program = await make_program(admin)
    here = await agent.of(program, areaIds=["A1"])
    await agent.pull_all(program, here)
    await push(admin, program, person("A2", "e"), person(None, "f", parentId="e"), person("A1", "g"))
    await push(admin, program, make_event("create-record", entity="visit", data={"parentId": "g"}))
    before = await agent.pull_all(program, here)
    given = make_event("update-record", entity="visit", data={"parentId": "f"})
    moved = make_event("update-individual", entity="e", data={"area_id": "A1"})
    await push(admin, program, given, moved)
    after = (await agent.pull_all(program, here))[len(before) :]
    assert [event["entityGuid"] for event in after] == ["visit", "e", "e", "f", "visit"]


async def test_what_is_created_below_a_member_of_a_group_elsewhere_comes_behind_them(
    admin: AsyncClient, agent: Agents
) -> None:
    """Its own event came before the one that tells of the member, and it was nowhere, likewise."""
    program = await make_program(admin)
    here = await agent.of(program, areaIds=["A1"])
    await agent.pull_all(program, here)
    members = [{"guid": "p", "name": "P", "area_id": "A1"}]
    group = make_event("create-group", entity="g", data={"area_id": "A2", "members": members})
    await push(admin, program, group, make_event("create-record", entity="visit", data={"parentId": "p"}))
    assert [event["entityGuid"] for event in await agent.pull_all(program, here)] == ["visit", "p", "visit"]


async def test_a_record_that_gets_a_parent_comes_complete(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    here = await agent.of(program, areaIds=["A1"])
    await agent.pull_all(program, here)
    await push(admin, program, person("A1", "e"))
    await push(admin, program, make_event("create-record", entity="visit", data={"result": "well"}))
    await push(admin, program, make_event("update-record", entity="visit", data={"parentId": "e"}))
    last = (await agent.pull_all(program, here))[-1]
    assert (last["entityGuid"], last["data"].get("result")) == ("visit", "well")


async def test_who_loses_their_own_area_is_where_their_parent_is(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    there = await agent.of(program, areaIds=["A2"])
    await agent.pull_all(program, there)
    await push(admin, program, person("A2", "parent"))
    await push(admin, program, person("A1", "child", parentId="parent", age=1))
    assert [event["entityGuid"] for event in await agent.pull_all(program, there)] == ["parent"]
    await push(admin, program, make_event("update-individual", entity="child", data={"area_id": None}))
    last = (await agent.pull_all(program, there))[-1]
    assert (last["entityGuid"], last["data"].get("age")) == ("child", 1)


async def test_a_member_is_where_the_parent_is_that_only_the_group_names(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    there = await agent.of(program, areaIds=["A2"])
    await agent.pull_all(program, there)
    await push(admin, program, person("A2", "parent"))
    inner = {"guid": "sub", "type": "group", "members": [{"guid": "child", "name": "C", "parentId": "parent"}]}
    await push(admin, program, make_event("create-group", entity="g", data={"area_id": "A1", "members": [inner]}))
    assert [event["entityGuid"] for event in await agent.pull_all(program, there)] == ["parent", "child"]


async def test_nobody_can_take_the_guid_of_a_snapshot_to_come(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    here = await agent.of(program, areaIds=["A1", "A2"])
    await agent.pull_all(program, here)
    created = person("A1", "e")
    moved = make_event("update-individual", entity="e", data={"area_id": "A2"})
    taken = person("A1", "f") | {"guid": derived_guid(moved["guid"], "snapshot", "e")}
    assert (await agent.push(program, here, created, taken)).status_code == 200
    assert (await agent.push(program, here, moved)).status_code == 200
    assert [event["entityGuid"] for event in await agent.pull_all(program, here)] == ["e", "f", "e", "e"]


async def test_what_is_told_anew_after_a_restore_is_another_event(alone: Alone) -> None:
    """It had the guid of what had been told before, and was ignored by who had that."""
    admin = await alone.admin()
    program = await make_program(admin)
    agent = Agents(admin, alone.client)
    await agent.pull_all(program, await agent.of(program, areaIds=["A1"]))
    await push(admin, program, person("A2", "e", age=1))
    scope, tenant = system_scope(TenantId(program)), Tenant(TenantId(program), program)
    moved = Event(str(uuid.uuid4()), "e", "update-individual", {"area_id": "A1"}, alone.clock.now(), "agent-7")
    # A transaction that is undone stands for a history that the backup does not hold.
    with pytest.raises(KeyError):
        async with alone.hub.db.transaction(scope) as tx:
            [lost] = (await alone.hub.log.append(tx, scope, tenant, [moved])).snapshots
            raise KeyError
    alone.clock.turn(seconds=1)
    await push(admin, program, make_event("update-individual", entity="e", data={"age": 2}))
    async with alone.hub.db.transaction(scope) as tx:
        [told] = (await alone.hub.log.append(tx, scope, tenant, [moved])).snapshots
    assert told.guid != lost.guid


async def test_who_holds_a_part_comes_to_the_end_of_a_log_that_was_put_back(
    admin: AsyncClient, agent: Agents, hub: Hub
) -> None:
    program = await make_program(admin)
    headers, scope = await agent.of(program, areaIds=["A1"]), system_scope(TenantId(program))
    async with hub.db.transaction(scope) as tx:
        await put_back(tx, hub.log, scope, backup_at=None, now=hub.clock.now())
    await agent.pull_all(program, headers)
    events, cursor, seen = [person("A1") for _ in range(3)], "", []
    await push(admin, program, *events)
    while cursor is not None and len(seen) <= len(events):
        asked = {"configId": program, "since": cursor, "limit": 1}
        answer = (await agent.client.get("/api/sync/pull", params=asked, headers=headers)).json()
        seen += guids(answer["events"])
        cursor = answer["nextCursor"]
    assert seen == guids(events)


async def test_a_delete_reaches_who_holds_what_it_takes_along(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    here, there = [await agent.of(program, areaIds=[area]) for area in ("A1", "A2")]
    await agent.pull_all(program, here)
    members = [{"guid": "near", "name": "N", "area_id": "A1"}, {"guid": "far", "name": "F", "area_id": "A2"}]
    await push(admin, program, make_event("create-group", entity="g", data={"area_id": "A1", "members": members}))
    assert [event["entityGuid"] for event in await agent.pull_all(program, there)] == ["far"]
    deleted = make_event("delete-entity", entity="g", data={"x": 1})
    await push(admin, program, deleted)
    assert [(event["entityGuid"], event["type"]) for event in await agent.pull_all(program, there)] == [
        ("far", "create-individual"),
        ("far", "delete-entity"),
    ]
    assert [(event["entityGuid"], event["type"]) for event in await agent.pull_all(program, here)] == [
        ("g", "create-group"),
        ("near", "create-individual"),
        ("g", "delete-entity"),
        ("near", "delete-entity"),
    ]


@pytest.mark.parametrize("lives_on", [False, True])
async def test_a_group_that_stays_when_its_own_group_goes_stays_with_its_members(
    admin: AsyncClient, agent: Agents, lives_on: bool
) -> None:
    """Only the group was told of, and not even that where the other one was written later than it was deleted: devices
    that do not hold what it is in took its members along, and lacked them."""
    program = await make_program(admin)
    here = await agent.of(program, areaIds=["A1"])
    await agent.pull_all(program, here)
    person_ = {"guid": "p", "name": "P", "area_id": "A1"}
    inner = {"guid": "inner", "type": "group", "area_id": "A1", "members": [person_]}
    await push(admin, program, make_event("create-group", entity="g", data={"area_id": "A1", "members": [inner]}))
    also = [{"guid": "inner", "type": "group", "area_id": "A1"}]
    await push(admin, program, make_event("create-group", entity="other", data={"area_id": "A2", "members": also}))
    await push(admin, program, make_event("create-record", entity="visit", data={"parentId": "p"}))
    deleted = make_event("delete-entity", entity="g", data={"x": 1})
    if lives_on:
        await push(admin, program, make_event("update-group", entity="g", data={"name": "G"}))
    before = await agent.pull_all(program, here)
    await push(admin, program, deleted)
    after = (await agent.pull_all(program, here))[len(before) :]
    assert [(event["entityGuid"], event["type"]) for event in after] == [
        ("g", "delete-entity"),
        ("inner", "create-group"),
        ("p", "create-individual"),
        ("visit", "create-record"),
    ]


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_group_that_comes_back_comes_with_who_has_joined_it_while_it_was_gone(
    admin: AsyncClient, agent: Agents, is_known: bool
) -> None:
    """Who joined was told of where the group is, and it was nowhere: devices that hold a part never heard of it."""
    program = await make_program(admin)
    here = await agent.of(program, areaIds=["A1"])
    await agent.pull_all(program, here)
    if is_known:
        await push(admin, program, make_event("create-group", entity="g", data={"area_id": "A1"}))
    await push(admin, program, make_event("delete-entity", entity="g", data={"x": 1}), person("A1", "p"))
    joined = {"members": [{"guid": "p"}]}
    assert (await push(admin, program, make_event("add-member", entity="g", data=joined))).status_code == 200
    before = await agent.pull_all(program, here)
    await push(admin, program, make_event("update-group", entity="g", data={"area_id": "A1", "name": "G"}))
    after = (await agent.pull_all(program, here))[len(before) :]
    assert [event["type"] for event in after] == ["update-group", "create-group"]
    assert [member["guid"] for member in after[1]["data"]["members"]] == ["p"]


async def test_of_who_comes_back_their_group_is_told_too(admin: AsyncClient, agent: Agents) -> None:
    """A snapshot of a group names those who exist: who was gone then stayed out of it on the device for good."""
    program = await make_program(admin)
    members = [{"guid": "p", "name": "P", "area_id": "A1"}]
    await push(admin, program, make_event("create-group", entity="g", data={"area_id": "A1", "members": members}))
    await push(admin, program, make_event("delete-entity", entity="p", data={"x": 1}))
    here = await agent.of(program, areaIds=["A1"])
    [before] = await agent.pull_all(program, here)
    await push(admin, program, person("A1", "p"))
    _, back, group = await agent.pull_all(program, here)
    assert "members" not in before["data"]
    assert back["entityGuid"] == "p"
    assert (group["entityGuid"], group["data"]["members"]) == ("g", [{"guid": "p", "area_id": "A1"}])


async def test_who_is_made_anew_in_the_push_that_deleted_them_with_their_group_has_ended_in_between(
    admin: AsyncClient, agent: Agents
) -> None:
    """Only the new life was told of, to devices that hold no group: they kept fields of the one before."""
    program = await make_program(admin)
    here = await agent.of(program, areaIds=["A1"])
    await agent.pull_all(program, here)
    members = [{"guid": "p", "name": "P", "area_id": "A1", "age": 1}]
    await push(admin, program, make_event("create-group", entity="g", data={"area_id": "A2", "members": members}))
    before = await agent.pull_all(program, here)
    deleted, anew = make_event("delete-entity", entity="g", data={"x": 1}), person("A1", "p")
    visit = make_event("create-record", entity="visit", data={"parentId": "p"})
    await push(admin, program, deleted, anew, visit)
    after = (await agent.pull_all(program, here))[len(before) :]
    assert [(event["entityGuid"], event["type"]) for event in after] == [
        ("p", "create-individual"),
        ("visit", "create-record"),
        ("p", "delete-entity"),
        ("p", "create-individual"),
        ("visit", "create-record"),
    ]
    assert after[3]["data"] == {"name": "Ana", "area_id": "A1"}
    times = [deleted["timestamp"], anew["timestamp"], visit["timestamp"]]
    assert [event["timestamp"] for event in after[2:]] == times, (
        "in the order in which they were made, not of the telling"
    )


async def test_a_member_without_a_place_of_its_own_comes_with_its_group(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    here, there = [await agent.of(program, areaIds=[area]) for area in ("A1", "A2")]
    await agent.pull_all(program, here)
    members = [{"guid": "m", "name": "M"}]
    await push(admin, program, make_event("create-group", entity="g", data={"area_id": "A1", "members": members}))
    # An event of its own, so that a device that cleans up after a change of its scope keeps it.
    assert [event["entityGuid"] for event in await agent.pull_all(program, here)] == ["g", "m"]
    assert await agent.pull_all(program, there) == []


async def test_a_snapshot_names_as_members_only_who_is_one(admin: AsyncClient, agent: Agents) -> None:
    """An event about a person says nothing of members, though its entity is a group."""
    program = await make_program(admin)
    await push(admin, program, make_event("create-group", entity="g", data={"area_id": "A1", "name": "G"}))
    members = [{"guid": "nobody", "name": "N"}]
    await push(admin, program, make_event("update-individual", entity="g", data={"members": members}))
    [snapshot] = await agent.pull_all(program, await agent.of(program, areaIds=["A1"]))
    assert (snapshot["type"], snapshot["data"]) == ("create-group", {"area_id": "A1", "name": "G"})


async def test_kinds_limit_what_is_delivered(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    headers = await agent.of(program, entityTypes=["group"])
    await agent.pull_all(program, headers)
    group = make_event("create-group", entity="g", data={"name": "G"})
    person_, of_person, of_group = (
        person("A1", "p"),
        make_event("create-record", data={"parentId": "p"}),
        make_event("create-record", data={"parentId": "g"}),
    )
    await push(admin, program, group, person_, of_person, of_group)
    assert guids(await agent.pull_all(program, headers)) == guids([group, of_group])


async def test_a_hint_narrows_and_never_widens(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    headers = await agent.of(program, areaIds=["A1", "A2"])
    await agent.pull_all(program, headers)
    events = [person(area) for area in ("A1", "A2", "A3")]
    await push(admin, program, *events)
    assert guids(await agent.pull_all(program, headers, areaIds="A2,A3")) == [events[1]["guid"]]
    assert guids(await agent.pull_all(program, headers, areaIds="A2, ,A1")) == guids(events[:2])
    parameters = {"configId": program, "areaIds": "A3"}
    disjoint = (await agent.client.get("/api/sync/pull", params=parameters, headers=headers)).json()
    assert (disjoint["events"], disjoint["nextCursor"]) == ([], None)
    assert disjoint["scope"]["areaIds"] == ["A1", "A2"]
    many = ",".join(f"A{n % 10}" for n in range(200))
    assert guids(await agent.pull_all(program, headers, areaIds=many)) == guids(events[:2])


async def test_whoever_may_have_everything_can_ask_for_areas(admin: AsyncClient) -> None:
    program = await make_program(admin)
    assert await pull_all(admin, program, areaIds="A1") == []
    events = [person(area) for area in ("A1", "A2", "A1", None)]
    await push(admin, program, *events)
    assert guids(await pull_all(admin, program, areaIds="A1")) == [events[0]["guid"], events[2]["guid"]]
    assert guids(await pull_all(admin, program, areaIds="A1", limit=1)) == [events[0]["guid"], events[2]["guid"]]
    assert guids(await pull_all(admin, program)) == guids(events)


async def test_who_asks_for_areas_is_told_who_leaves_them_and_gets_who_comes_whole(admin: AsyncClient) -> None:
    program = await make_program(admin)
    here = [person("A1", "gone"), person("A1", "leaves")]
    for event in (person("A2", "comes", phone="1"), *here):
        await push(admin, program, event)
    known = await pull_all(admin, program, areaIds="A1")
    assert guids(known) == guids(here), "no more than before for anybody: a wish has nothing told anew"
    assert guids(await pull_all(admin, program))[1:] == guids(here)
    await push(
        admin,
        program,
        make_event("delete-entity", entity="gone", data={"id": "gone"}),
        make_event("update-individual", entity="leaves", data={"area_id": "A2"}),
        make_event("update-individual", entity="comes", data={"area_id": "A1"}),
    )
    since = f"{known[-1]['timestamp']}|{known[-1]['guid']}"
    told = await pull_all(admin, program, since=since, areaIds="A1")
    assert {(event["type"], event["entityGuid"]) for event in told[:3]} == {
        ("delete-entity", "gone"),
        ("update-individual", "leaves"),
        ("update-individual", "comes"),
    }
    [whole] = told[3:]
    assert (whole["entityGuid"], whole["data"]["phone"]) == ("comes", "1")


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_who_asks_for_areas_later_is_told_what_came_before_anybody_did(admin: AsyncClient, limit: int) -> None:
    """Before that nothing is filed by place: a delete from then would be passed over for good."""
    program = await make_program(admin)
    held = person("A1", "gone")
    await push(admin, program, held)
    missed = [
        make_event("delete-entity", entity="gone", data={"id": "gone"}),
        person("A1", "new"),
        person("A2", "elsewhere"),
    ]
    await push(admin, program, *missed)
    since = f"{held['timestamp']}|{held['guid']}"
    told = await pull_all(admin, program, since=since, areaIds="A1", limit=limit)
    assert guids(told) == guids(missed[:2])
    begun = await pull_all(admin, program, areaIds="A1", limit=limit)
    assert guids(begun) == guids(missed[:2]), "where somebody was who is gone is not known any more"


async def test_what_is_asked_for_is_found_behind_however_many_others(
    admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page ends when so many events have been looked at: it may be short, or empty, and is not the last for that."""
    monkeypatch.setattr(parts, "_EXAMINED", 4)
    program = await make_program(admin)
    events = [person(area) for area in ("A1", *["A2"] * 9, "A1", "A2", "A2", "A1")]
    await push(admin, program, *events)
    wanted = {events[at]["entityGuid"] for at in (0, 10, 13)}
    for limit in (1, 2, 3, 4, 100):
        pulled = await pull_all(admin, program, areaIds="A1", limit=limit)
        assert ({each["entityGuid"] for each in pulled}, len(pulled)) == (wanted, len(wanted)), limit


async def test_a_hint_that_comes_more_than_once_is_none(admin: AsyncClient) -> None:
    program = await make_program(admin)
    events = [person(area) for area in ("A1", "A2", "A3")]
    await push(admin, program, *events)
    answer = await admin.get(f"/api/sync/pull?configId={program}&since=&areaIds=A1&areaIds=A2")
    assert guids(answer.json()["events"]) == guids(events)


async def test_a_policy_limits_administrators_too(admin: AsyncClient) -> None:
    program = await make_program(admin, syncScope={"areaIds": ["A1"]})
    parameters = {"configId": program}
    refused = await admin.post("/api/sync/push", json={"events": [person("A2")], "configId": program}, headers=DEVICE)
    assert refused.status_code == 422
    mine = person("A1")
    await admin.post("/api/sync/push", json={"events": [mine], "configId": program}, headers=DEVICE)
    answer = await admin.get("/api/sync/pull", params=parameters, headers=DEVICE)
    assert guids(answer.json()["events"]) == [mine["guid"]]
    assert answer.headers["x-sync-scope-hash"] == answer.json()["scope"]["hash"]


async def test_an_empty_scope_delivers_nothing(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin, syncScope={"areaIds": ["A1"]})
    headers = await agent.of(program, areaIds=["A2"])
    await agent.push(program, headers, person("A1"), person("A2"))
    assert await agent.pull_all(program, headers) == []


async def test_the_answer_costs_the_same_number_of_statements_whatever_it_holds(
    admin: AsyncClient, agent: Agents, hub: Hub
) -> None:
    program = await make_program(admin)
    headers = await agent.of(program, areaIds=["A1", "A2"])
    await agent.pull_all(program, headers)
    await push(admin, program, person("A9"))  # which begins the index
    counts = []
    for size in (1, 40):
        events = [person(area) for _ in range(size) for area in ("A1", "A2", "A9")]
        with hub.db.statements.record() as pushing:
            await push(admin, program, *events)
        with hub.db.statements.record() as pulling:
            answer = await agent.client.get(
                "/api/sync/pull", params={"configId": program, "limit": 5000}, headers=headers
            )
        counts.append((len(hot(pushing)), len(hot(pulling))))
    assert len(answer.json()["events"]) == 82
    assert counts[0] == counts[1]


# -- time windows


async def test_a_window_holds_entities_that_changed_in_it_with_their_whole_history(alone: Alone) -> None:
    admin = await alone.admin()
    agent = Agents(admin, alone.client)
    program = await make_program(admin)
    old, stale = person("A1", "old"), person("A1", "stale")
    await push(admin, program, old, stale)
    alone.clock.turn(seconds=40 * DAY_SECONDS)
    await alone.admin()
    edit, new = make_event("update-individual", entity="old", data={"age": 3}), person("A1", "new")
    await push(admin, program, edit, new)
    for scope in (
        {"timeWindow": {"type": "rolling", "days": 30}},
        {"areaIds": ["A1"], "timeWindow": {"type": "rolling", "days": 30}},
    ):
        headers = await agent.of(program, **scope)
        for limit in (1, 100):
            got = await agent.pull_all(program, headers, limit=limit)
            assert {event["entityGuid"] for event in got} == {"old", "new"}, scope
    whole = await agent.of(program, timeWindow={"type": "rolling", "days": 90})
    assert {event["entityGuid"] for event in await agent.pull_all(program, whole)} == {"old", "new", "stale"}


async def test_what_comes_back_into_a_window_comes_complete(alone: Alone) -> None:
    admin = await alone.admin()
    agent = Agents(admin, alone.client)
    program = await make_program(admin)
    await push(admin, program, person("A1", "e", age=1))
    alone.clock.turn(seconds=40 * DAY_SECONDS)
    await alone.admin()
    headers = await agent.of(program, timeWindow={"type": "rolling", "days": 30})
    assert await agent.pull_all(program, headers) == []
    recent = person("A1", "other")
    await push(admin, program, recent)
    seen = f"{(await agent.pull_all(program, headers))[-1]['timestamp']}|{recent['guid']}"
    edit = make_event("update-individual", entity="e", data={"sex": "f"})
    await push(admin, program, edit)
    first, snapshot = await agent.pull_all(program, headers, since=seen)
    assert first["guid"] == edit["guid"]
    assert snapshot["data"] == {"name": "Ana", "area_id": "A1", "age": 1, "sex": "f"}
    # From then on it is an entity like any other.
    await push(admin, program, make_event("update-individual", entity="e", data={"sex": "m"}))
    assert len(await agent.pull_all(program, headers, since=seen)) == 3


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("is_fixed", [True, False])
async def test_what_comes_back_into_the_shorter_of_two_windows_comes_complete(
    alone: Alone, is_fixed: bool, is_first: bool
) -> None:
    admin = await alone.admin()
    agent = Agents(admin, alone.client)
    program = await make_program(admin)
    await push(admin, program, person("A1", "e", age=1))
    alone.clock.turn(seconds=40 * DAY_SECONDS)
    await alone.admin()

    def window(days: int) -> dict[str, Any]:
        floor = format_timestamp(Millis(alone.clock.now() - days * DAY_SECONDS * 1000))
        return {"type": "fixed", "floor": floor} if is_fixed else {"type": "rolling", "days": days}

    headers, other = [await agent.of(program, timeWindow=window(days)) for days in (30, 90)]
    for reader in (headers, other) if is_first else (other, headers):
        await agent.pull_all(program, reader)
    recent = person("A1", "other")
    await push(admin, program, recent)
    assert guids(await agent.pull_all(program, headers)) == [recent["guid"]]
    await agent.pull_all(program, other)  # who has come last tells no more than who came before
    await push(admin, program, make_event("update-individual", entity="e", data={"sex": "f"}))
    seen = f"{recent['timestamp']}|{recent['guid']}"
    snapshot = (await agent.pull_all(program, headers, since=seen))[-1]
    assert snapshot["data"] == {"name": "Ana", "area_id": "A1", "age": 1, "sex": "f"}


async def test_what_is_written_while_it_leaves_a_window_comes_complete(alone: Alone) -> None:
    """The push was applied while the window held what it is about, and committed when readers had passed that by."""
    admin = await alone.admin()
    agent = Agents(admin, alone.client)
    program = await make_program(admin)
    await push(admin, program, person("A1", "e", age=1))
    alone.clock.turn(seconds=30 * DAY_SECONDS - 60)
    await alone.admin()
    headers = await agent.of(program, timeWindow={"type": "rolling", "days": 30})
    await agent.pull_all(program, headers)
    recent = person("A1", "other")
    await push(admin, program, recent)
    assert guids(await agent.pull_all(program, headers))[-1] == recent["guid"]
    scope, tenant = system_scope(TenantId(program)), Tenant(TenantId(program), program)
    edit = Event(str(uuid.uuid4()), "e", "update-individual", {"sex": "f"}, alone.clock.now(), "agent-7")
    async with alone.hub.db.transaction(scope) as tx:
        await alone.hub.log.append(tx, scope, tenant, [edit])
        alone.clock.turn(seconds=120)
        assert guids(await agent.pull_all(program, headers)) == [recent["guid"]]
    seen = f"{recent['timestamp']}|{recent['guid']}"
    first, snapshot = await agent.pull_all(program, headers, since=seen)
    assert first["guid"] == edit.guid
    assert snapshot["data"] == {"name": "Ana", "area_id": "A1", "age": 1, "sex": "f"}


async def test_who_is_saved_unchanged_with_a_group_comes_back_into_a_window_complete(alone: Alone) -> None:
    admin = await alone.admin()
    agent = Agents(admin, alone.client)
    program = await make_program(admin)
    await push(admin, program, person("A1", "e", age=1), make_event("create-group", entity="g", data={"name": "G"}))
    alone.clock.turn(seconds=40 * DAY_SECONDS)
    await alone.admin()
    headers = await agent.of(program, timeWindow={"type": "rolling", "days": 30})
    assert await agent.pull_all(program, headers) == []
    again = {"guid": "e", "name": "Ana"}
    saved = make_event("update-group", entity="g", data={"name": "G", "members": [again]})
    await push(admin, program, saved)
    edit = make_event("update-individual", entity="e", data={"sex": "f"})
    await push(admin, program, edit)
    seen = f"{saved['timestamp']}|{saved['guid']}"
    later = [event for event in await agent.pull_all(program, headers, since=seen) if event["entityGuid"] == "e"]
    held: dict[str, Any] = {}
    for event in later:
        held |= event["data"]
    assert held == {"name": "Ana", "area_id": "A1", "age": 1, "sex": "f"}


async def test_who_was_made_inside_a_group_before_anybody_had_a_window_is_in_it_complete(alone: Alone) -> None:
    """Of a member that was edited lately only the edit came: the group it was made in had not changed for longer."""
    admin = await alone.admin()
    agent = Agents(admin, alone.client)
    program = await make_program(admin)
    member = {"guid": "e", "name": "Ana", "age": 1}
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G", "members": [member]}))
    alone.clock.turn(seconds=40 * DAY_SECONDS)
    await alone.admin()
    await push(admin, program, make_event("update-individual", entity="e", data={"sex": "f"}))
    headers = await agent.of(program, timeWindow={"type": "rolling", "days": 30})
    got = await agent.pull_all(program, headers)
    assert {event["entityGuid"] for event in got} == {"e"}
    assert got[-1]["data"] == {"name": "Ana", "age": 1, "sex": "f"}


async def test_a_fixed_floor_is_a_window_too(alone: Alone) -> None:
    admin = await alone.admin()
    agent = Agents(admin, alone.client)
    program = await make_program(admin)
    await push(admin, program, person("A1", "before"))
    alone.clock.turn(seconds=DAY_SECONDS)
    await alone.admin()
    floor = (await admin.get("/api/entities/before", params={"configId": program})).json()["lastUpdated"]
    await push(admin, program, person("A1", "after"))
    later = (await admin.get("/api/entities/after", params={"configId": program})).json()["lastUpdated"]
    for begin, expected in ((floor, {"before", "after"}), (later, {"after"})):
        headers = await agent.of(program, timeWindow={"type": "fixed", "floor": begin})
        assert {event["entityGuid"] for event in await agent.pull_all(program, headers)} == expected


async def test_what_a_device_says_about_who_was_deleted_in_its_area_meanwhile_is_taken(
    admin: AsyncClient, agent: Agents
) -> None:
    """It was refused, and the whole push with it, as if it were somebody else's."""
    program = await make_program(admin, customEventTypes=["record-attendance"])
    here, there = [await agent.of(program, areaIds=[area]) for area in ("A1", "A2")]
    await agent.pull_all(program, here)
    household = {"area_id": "A1", "members": [{"guid": "ben", "name": "Ben", "area_id": "A1"}]}
    await push(
        admin,
        program,
        person("A1", "ana"),
        make_event("create-group", entity="g", data=household),
        make_event("create-record", entity="visit", data={"parentId": "ana"}),
        make_event("delete-entity", entity="ana", data={"x": 1}),
        make_event("delete-entity", entity="g", data={"x": 1}),
    )
    at = {"timestamp": "2999-01-01T00:00:00.000Z"}
    session = {"sessionId": "s", "date": "2026-01-01", "status": "present"}
    baby = {"guid": "baby", "name": "Tariro", "area_id": "A1"}
    said = [
        make_event("update-individual", entity="ana", data={"school": "yes"}, **at),
        make_event("update-individual", entity="ana", data={"class": 3}, **at),
        make_event("record-attendance", entity="ben", data=session, **at),
        make_event("add-member", entity="g", data={"members": [{"guid": "ben"}, baby]}, **at),
        make_event("remove-member", entity="g", data={"memberId": "ben"}, **at),
        make_event("create-record", entity="late-visit", data={"parentId": "ben"}, **at),
        make_event("update-record", entity="late-visit", data={"result": "well"}, **at),
        make_event("update-record", entity="visit", data={"result": "well"}, **at),
        make_event("delete-entity", entity="ben", data={"x": 1}, **at),
    ]
    for event in said:
        stranger = await agent.push(program, there, event)
        assert (stranger.status_code, stranger.json()["code"]) == (422, "PUSH_OUT_OF_SCOPE"), event["type"]
    for events in (said[:1], said[1:]):
        answer = await agent.push(program, here, *events)
        assert (answer.status_code, answer.json()["failed"]) == (200, []), answer.text
    seen = (await admin.get("/api/entities/ana", params={"configId": program})).json()["data"]
    assert (seen["school"], seen["class"]) == ("yes", 3)
    assert await agent.pull_all(program, there) == []


async def test_what_a_device_says_about_who_was_deleted_as_a_duplicate_meanwhile_is_taken(
    admin: AsyncClient, agent: Agents
) -> None:
    program = await make_program(admin)
    here, there = [await agent.of(program, areaIds=[area]) for area in ("A1", "A2")]
    await agent.pull_all(program, here)
    ended = make_event("resolve-duplicate", entity="ana", data={"shouldDelete": True})
    await push(admin, program, person("A1", "ana"), person("A1", "bo"), ended)
    said = make_event("update-individual", entity="ana", data={"school": "yes"}, timestamp="2999-01-01T00:00:00.000Z")
    assert (await agent.push(program, there, said)).status_code == 422
    assert (await agent.push(program, here, said)).status_code == 200


async def test_who_is_deleted_is_no_way_to_another_area(admin: AsyncClient, agent: Agents) -> None:
    program = await make_program(admin)
    here = await agent.of(program, areaIds=["A1"])
    await agent.pull_all(program, here)
    await push(
        admin,
        program,
        *(person("A1", guid) for guid in ("ana", "moved")),
        person("A2", "far"),
        person("A2", "there"),
        make_event("update-individual", entity="moved", data={"area_id": "A2"}),
        *(make_event("delete-entity", entity=guid, data={"x": 1}) for guid in ("ana", "moved", "far")),
    )
    refused = [
        make_event("update-individual", entity="ana", data={"area_id": "A2"}),
        make_event("update-individual", entity="ana", data={"parentId": "there"}),
        make_event("update-individual", entity="moved", data={"school": "yes"}),
        make_event("update-individual", entity="far", data={"school": "yes"}),
        make_event("delete-entity", entity="far", data={"x": 1}),
        make_event("create-record", entity="visit", data={"parentId": "far"}),
        make_event("update-individual", entity="unknown", data={"school": "yes"}),
    ]
    for event in refused:
        answer = await agent.push(program, here, event)
        assert answer.status_code == 422 and answer.json()["code"] == "PUSH_OUT_OF_SCOPE", event
    # In a life that is not this device's, nor after one.
    await push(
        admin, program, person("A2", "ana"), make_event("update-individual", entity="ana", data={"area_id": None})
    )
    answer = await agent.push(program, here, make_event("update-individual", entity="ana", data={"school": "yes"}))
    assert answer.status_code == 422


async def test_who_is_told_of_as_a_member_of_a_group_elsewhere_is_not_taken_for_somebody_there(
    admin: AsyncClient, agent: Agents
) -> None:
    """Devices that hold the group made somebody of what it says of its members, whom nobody told them of again."""
    program = await make_program(admin)
    here, there = [await agent.of(program, areaIds=[area]) for area in ("A1", "A2")]
    await agent.pull_all(program, here)
    people = {"moved": "A2", "far": "A2", "known": "A2", "near": "A1"}
    await push(
        admin,
        program,
        *(person(area, guid) for guid, area in people.items()),
        person(None, "nowhere"),
        person("A1", "gone"),
        make_event("create-record", entity="child", data={"parentId": "far"}),
        make_event("delete-entity", entity="gone", data={"x": 1}, timestamp="2998-01-01T00:00:00.000Z"),
        make_event("create-group", entity="g", data={"name": "G", "area_id": "A1"}),
    )
    before, before_there = await agent.pull_all(program, here), await agent.pull_all(program, there)
    members = [
        {"guid": "moved", "name": "M", "area_id": "A1"},
        {"guid": "known", "name": "K", "area_id": "A2"},
        {"guid": "nowhere"},
        {"guid": "near", "name": "N"},
        {"guid": "gone", "name": "G", "area_id": "A1"},
    ]
    joined = make_event("add-member", entity="g", data={"members": members}, timestamp="2020-01-01T00:00:00.000Z")
    again = make_event("update-group", entity="g", data={"members": [{"guid": "far", "age": 3}]})
    await push(admin, program, joined, again)
    after = (await agent.pull_all(program, here))[len(before) :]
    told = {event["entityGuid"]: (event["type"], event["data"]) for event in after if event["entityGuid"] != "g"}
    assert told == {
        "nowhere": ("create-individual", {"name": "Ana"}),
        "moved": ("update-individual", {"area_id": "A2"}),
        "far": ("update-individual", {"area_id": "A2"}),
        "gone": ("delete-entity", {"deletedWith": joined["guid"]}),
    }
    assert len(after) == 6
    # Who has them keeps them as they are.
    assert [event["entityGuid"] for event in (await agent.pull_all(program, there))[len(before_there) :]] == ["far"]
    whereabouts = [event for event in after if event["data"].keys() == {"area_id"}]
    made = {event["entityGuid"]: event["timestamp"] for event in before_there}
    assert all(event["timestamp"] == made[event["entityGuid"]] for event in whereabouts)
