"""`/api/sync/quarantine` through HTTP, on both engines: nothing refused is lost, and a blocked device gets on."""

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.db import EVERY_TENANT
from datacollect.features.quarantine import queries, service
from datacollect.features.quarantine.model import Status
from datacollect.features.sync.payload import MOST_ISSUES
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.accounts import Person, bearer, login, make_person
from tests.conftest import asgi_client
from tests.factories import make_config, make_event, make_program, new_id, pull_all, pull_audit, push
from tests.statements import hot

pytestmark = pytest.mark.anyio

BASE = "/api/sync/quarantine"
SHAPE = {
    "id",
    "tenantId",
    "kind",
    "status",
    "eventGuid",
    "entityGuid",
    "type",
    "code",
    "message",
    "path",
    "actor",
    "deviceId",
    "receivedAt",
    "lastSeenAt",
    "attempts",
    "event",
    "replayedEvent",
    "closedAt",
    "closedBy",
    "reason",
}


def unknown_type(**changes: Any) -> dict[str, Any]:
    return make_event("no-such-type", **changes)


def orphan(group: str, **changes: Any) -> dict[str, Any]:
    """Waits for its group."""
    return make_event("add-member", entity=group, data={"members": [{"guid": new_id("m"), "name": "Leo"}]}, **changes)


async def push_from(client: AsyncClient, program: str, device: str, *events: Any, **members: Any) -> Any:
    body = {"events": list(events), "configId": program} | members
    return await client.post("/api/sync/push", json=body, headers={"X-Device-Id": device})


async def kept(client: AsyncClient, program: str, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(BASE, params={"configId": program} | query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["quarantined"]
    return rows


def guids_of(events: Sequence[Any]) -> set[str]:
    return {event["guid"] for event in events}


async def decide(client: AsyncClient, program: str, path: str, body: Any = None) -> Any:
    return await client.post(f"{BASE}/{path}", params={"configId": program}, json=body)


async def refuse(admin: AsyncClient, program: str, *events: dict[str, Any]) -> list[dict[str, Any]]:
    """Push events that cannot be applied, and give their rows in the same order."""
    assert (await push(admin, program, *events, atomic=False)).status_code == 207
    rows = {row["eventGuid"]: row for row in await kept(admin, program)}
    return [rows[event["guid"]] for event in events]


async def names_of(admin: AsyncClient, program: str, entity: str) -> Any:
    return await admin.get(f"/api/entities/{entity}", params={"configId": program})


@pytest.mark.parametrize("bad_of_1000", [10, 100, 500])
async def test_of_a_thousand_events_every_good_one_is_applied_and_every_bad_one_explained(
    admin: AsyncClient, measured: Callable[[str, object], None], bad_of_1000: int
) -> None:
    program = await make_program(admin)
    every = 1000 // bad_of_1000
    events = [
        (unknown_type() if n % (2 * every) else orphan(new_id())) if n % every == 0 else make_event()
        for n in range(1000)
    ]
    bad = {n: event["guid"] for n, event in enumerate(events) if n % every == 0}
    began = time.perf_counter()
    answer = await push(admin, program, *events, atomic=False)
    measured(f"{bad_of_1000} bad of 1,000", f"{1000 * (time.perf_counter() - began):.0f} ms")
    body = answer.json()
    assert (answer.status_code, body["applied"]) == (207, 1000 - bad_of_1000)
    assert {failure["index"]: failure["guid"] for failure in body["failed"]} == bad
    assert {failure["code"] for failure in body["failed"]} == {"UNKNOWN_EVENT_TYPE", "INVALID_GROUP"}
    assert all(failure["message"] for failure in body["failed"])
    delivered = {event["guid"] for event in await pull_all(admin, program, limit=1000)}
    assert delivered == {event["guid"] for event in events} - set(bad.values())
    rows, cursor = [], None
    while cursor != "":
        query = {"configId": program, "limit": "300"} | ({"cursor": cursor} if cursor else {})
        page = (await admin.get(BASE, params=query)).json()
        rows += page["quarantined"]
        cursor = page["nextCursor"] or ""
    assert sorted(row["eventGuid"] for row in rows) == sorted(bad.values())
    failed = {failure["guid"]: failure for failure in body["failed"]}
    for row in rows:
        assert (row["code"], row["message"]) == (failed[row["eventGuid"]]["code"], failed[row["eventGuid"]]["message"])


async def test_a_refused_event_is_shown_with_who_sent_it_and_why(admin: AsyncClient) -> None:
    program = await make_program(admin)
    event = orphan("nobody")
    await push_from(admin, program, "tablet-07", event, atomic=False)
    [row] = await kept(admin, program)
    assert set(row) == SHAPE
    assert row["event"] == event | {"syncLevel": 1}
    assert (row["kind"], row["status"], row["code"], row["attempts"]) == ("refused", "open", "INVALID_GROUP", 1)
    assert (row["deviceId"], row["entityGuid"], row["type"]) == ("tablet-07", "nobody", "add-member")
    assert row["actor"].isdigit() and row["receivedAt"] == row["lastSeenAt"]
    one = await admin.get(f"{BASE}/{row['id']}", params={"configId": program})
    assert one.json() == {"quarantined": row}


async def test_lists_are_narrowed_by_device_code_and_entity(admin: AsyncClient) -> None:
    program = await make_program(admin)
    one, other = orphan("g"), unknown_type(entity="e")
    await push_from(admin, program, "tablet-1", one, atomic=False)
    await push_from(admin, program, "tablet-2", other, atomic=False)

    async def guids(**query: str) -> list[str]:
        return [row["eventGuid"] for row in await kept(admin, program, **query)]

    assert await guids() == [other["guid"], one["guid"]]
    assert await guids(deviceId="tablet-1") == await guids(code="INVALID_GROUP") == [one["guid"]]
    assert await guids(entityGuid="e") == [other["guid"]]
    assert await guids(deviceId="tablet-1", entityGuid="e") == []
    assert await guids(status="all") == [other["guid"], one["guid"]]
    assert await guids(status="blocking") == []
    assert await guids(status="", deviceId="", code="", entityGuid="") == [other["guid"], one["guid"]]


@pytest.mark.parametrize(
    "query", [{"status": "new"}, {"limit": "0"}, {"limit": "1001"}, {"limit": "ten"}, {"cursor": "x"}, {"cursor": ""}]
)
async def test_a_list_that_is_none_is_refused(admin: AsyncClient, query: dict[str, str]) -> None:
    answer = await admin.get(BASE, params={"configId": await make_program(admin)} | query)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_QUARANTINE_QUERY")


# -- replaying


async def test_a_replay_applies_the_event_and_reaches_every_device(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    event = orphan("g")
    await push_from(admin, program, "tablet-1", event, atomic=False)
    [row] = await kept(admin, program)
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G"}))
    answer = await decide(admin, program, f"{row['id']}/replay")
    assert answer.status_code == 200, answer.text
    done = answer.json()["quarantined"]
    assert (done["status"], done["closedBy"], done["replayedEvent"]) == ("replayed", "admin@hub.test", None)
    assert done["closedAt"] >= row["receivedAt"]
    assert (done["actor"], done["deviceId"]) == (row["actor"], "tablet-1")
    assert (await pull_all(admin, program))[-1] == event | {"syncLevel": 1}
    assert await kept(admin, program) == []
    assert await kept(admin, program, status="replayed") == [done]


async def test_in_the_log_a_replayed_event_is_the_operators(
    app: FastAPI, admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    program = await make_program(admin)
    person = await make_member(admin, program, "enumerator")
    async with asgi_client(app, (await login(client, person))["token"]) as agent:
        await push_from(agent, program, "tablet-1", orphan("g"), atomic=False)
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G"}))
    [row] = await kept(admin, program)
    assert row["actor"] == str(person.id)
    # The hub has not noticed yet that it could be applied: nobody has sent it again.
    assert (await decide(admin, program, f"{row['id']}/replay")).status_code == 200
    async with hub.db.reading(EVERY_TENANT) as view:
        mark = "?" if view.dialect == "sqlite" else "$1"
        logged = await view.fetch(
            f"SELECT actor, device_id FROM events WHERE tenant_id = {mark} ORDER BY position DESC LIMIT 1", program
        )
    assert logged[0][0] != str(person.id) and logged[0][1] is None


async def test_a_replay_may_carry_an_edited_event_and_both_are_kept(admin: AsyncClient) -> None:
    program = await make_program(admin)
    [row] = await refuse(admin, program, unknown_type(entity="e"))
    edited = row["event"] | {"type": "create-individual", "data": {"name": "Ana", "externalId": "x"}, "id": 7}
    answer = await decide(admin, program, f"{row['id']}/replay", {"event": edited})
    assert answer.status_code == 200, answer.text
    done = answer.json()["quarantined"]
    assert done["event"]["type"] == "no-such-type"
    assert done["replayedEvent"] == row["event"] | {"type": "create-individual", "data": {"name": "Ana"}}
    assert (await names_of(admin, program, "e")).json()["data"]["name"] == "Ana"


async def test_a_replay_that_fails_says_why_and_leaves_the_event_open(admin: AsyncClient) -> None:
    program = await make_program(admin)
    [row] = await refuse(admin, program, orphan("g"))
    answer = await decide(admin, program, f"{row['id']}/replay", {"event": row["event"] | {"type": "no-such-type"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "REPLAY_REJECTED")
    assert answer.json()["failed"][0]["code"] == "UNKNOWN_EVENT_TYPE"
    answer = await decide(admin, program, f"{row['id']}/replay")
    body = answer.json()
    assert (answer.status_code, body["status"], body["failed"][0]["code"]) == (422, "error", "INVALID_GROUP")
    assert (body["failed"][0]["message"], body["failed"][0]["path"]) == (row["message"], row["path"])
    assert await kept(admin, program) == [row]
    assert await pull_all(admin, program) == []


async def test_an_edited_event_is_held_to_what_a_push_is_held_to(admin: AsyncClient) -> None:
    program = await make_program(admin)
    [row] = await refuse(admin, program, unknown_type())
    wrong = row["event"] | {"timestamp": "yesterday", "entityGuid": ""}
    answer = await decide(admin, program, f"{row['id']}/replay", {"event": wrong})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_PAYLOAD")
    assert sorted(issue["path"] for issue in answer.json()["errors"]) == [
        ["event", "entityGuid"],
        ["event", "timestamp"],
    ]
    other = row["event"] | {"guid": str(uuid.uuid4())}
    answer = await decide(admin, program, f"{row['id']}/replay", {"event": other})
    assert (answer.status_code, answer.json()["code"]) == (400, "GUID_CHANGED")
    for body in ([], {"event": 1}):
        assert (await decide(admin, program, f"{row['id']}/replay", body)).status_code == 400


@pytest.mark.parametrize("given", [None, "4a1f1f64-95a5-4d0e-8b06-5f8a8f1b6a52"])
async def test_an_event_under_anothers_guid_gets_a_guid_of_its_own(admin: AsyncClient, given: str | None) -> None:
    program = await make_program(admin)
    first = make_event(entity="one")
    await push(admin, program, first)
    await push(admin, program, first | {"entityGuid": "two", "data": {"name": "Leo"}})
    [row] = await kept(admin, program)
    assert row["code"] == "GUID_REUSED"
    body = None if given is None else {"event": row["event"] | {"guid": given}}
    answer = await decide(admin, program, f"{row['id']}/replay", body)
    assert answer.status_code == 200, answer.text
    guid = answer.json()["quarantined"]["replayedEvent"]["guid"]
    assert guid == given if given else guid not in ("", first["guid"])
    assert [event["guid"] for event in await pull_all(admin, program)] == [first["guid"], guid]
    assert (await names_of(admin, program, "two")).json()["data"] == {"name": "Leo"}


async def test_a_replay_under_a_guid_that_is_taken_too_leaves_the_event_open(admin: AsyncClient) -> None:
    program = await make_program(admin)
    first, taken = make_event(entity="one"), make_event(entity="three")
    await push(admin, program, first, taken)
    await push(admin, program, first | {"entityGuid": "two", "data": {"name": "Leo"}})
    [row] = await kept(admin, program)
    answer = await decide(admin, program, f"{row['id']}/replay", {"event": row["event"] | {"guid": taken["guid"]}})
    assert (answer.status_code, answer.json()["code"]) == (422, "REPLAY_REJECTED"), answer.text
    assert [one["code"] for one in answer.json()["failed"]] == ["GUID_REUSED"]
    assert [(one["id"], one["status"]) for one in await kept(admin, program)] == [(row["id"], "open")]
    assert (await names_of(admin, program, "two")).status_code == 404


async def test_several_events_that_bear_one_guid_are_all_kept(admin: AsyncClient) -> None:
    program = await make_program(admin)
    first = unknown_type(entity="e", data={"name": "Ana"})
    sent = [first, first | {"data": {"name": "Leo"}}, first | {"entityGuid": "f"}]
    for event in sent:
        assert (await push(admin, program, event, atomic=False)).status_code == 207
    rows = await kept(admin, program)
    told = [(row["event"]["entityGuid"], row["event"]["data"]["name"]) for row in rows]
    assert sorted(told) == [("e", "Ana"), ("e", "Leo"), ("f", "Ana")]


async def test_an_event_under_anothers_guid_is_open_also_where_the_two_are_of_one_kind(admin: AsyncClient) -> None:
    program = await make_program(admin)
    first = make_event(entity="one", data={"name": "Ana"})
    await push(admin, program, first)
    await push(admin, program, first | {"data": {"name": "Leo"}})
    [row] = await kept(admin, program)
    assert (row["status"], row["code"], row["event"]["data"]) == ("open", "GUID_REUSED", {"name": "Leo"})


async def test_a_replay_overwrites_no_balance_that_is_kept_since_the_event_came(admin: AsyncClient) -> None:
    config = make_config()
    assert (await admin.post("/api/apps", json=config)).status_code == 200
    first = make_event(entity="e")
    late = make_event("update-individual", entity="e", data={"age": 7, "entitlements": []}) | {"guid": first["guid"]}
    await push(admin, config["id"], first)
    await push(admin, config["id"], late)
    [row] = await kept(admin, config["id"])
    types = {"customEventTypes": ["grant-entitlement"]}
    assert (await admin.put(f"/api/apps/{config['id']}", json=config | types)).status_code == 200
    rice = {"entitlements": [{"id": "rice", "allocated": 10}]}
    grant = make_event("grant-entitlement", entity="e", data=rice, timestamp="2001-01-01T00:00:00.000Z")
    assert (await push(admin, config["id"], grant)).status_code == 200
    answer = await decide(admin, config["id"], "replay", {"ids": [row["id"]]})
    assert answer.json()["done"] == 1, answer.text
    data = (await names_of(admin, config["id"], "e")).json()["data"]
    assert (data["age"], data["entitlements"]) == (7, rice["entitlements"])


async def test_of_concurrent_replays_one_wins(admin: AsyncClient) -> None:
    program = await make_program(admin)
    [row] = await refuse(admin, program, orphan("g"))
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G"}))
    answers = await asyncio.gather(
        *(decide(admin, program, f"{row['id']}/replay") for _ in range(4)),
        decide(admin, program, f"{row['id']}/discard", {"reason": "late"}),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert {answer.json().get("code") for answer in answers} == {None, "QUARANTINED_CLOSED"}


async def test_several_are_replayed_oldest_first_with_a_verdict_each(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    member = make_event("add-member", entity="g", data={"members": [{"guid": "m", "name": "Leo"}]})
    later = make_event("add-member", entity="g", data={"members": [{"guid": "n", "name": "Ana"}]})
    rows = await refuse(admin, program, later, unknown_type(), member)
    [gone] = await refuse(admin, program, unknown_type())
    await decide(admin, program, f"{gone['id']}/discard", {"reason": "a test"})
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G"}))
    ids = [row["id"] for row in rows] + [gone["id"], "nothing", rows[0]["id"]]
    with hub.db.statements.record() as statements:
        answer = await decide(admin, program, "replay", {"ids": ids})
    # The joins are told to the audit trail as well. SQLite changes entities, and puts them into lists, by statements of their own.
    assert len(hot(statements)) <= (14 if hub.db.dialect == "sqlite" else 12), statements
    body = answer.json()
    assert (answer.status_code, body["status"], body["done"]) == (200, "partial", 2)
    assert [one["outcome"] for one in body["results"]] == ["replayed", "refused", "replayed", "closed", "not-found"]
    assert body["results"][1]["code"] == "UNKNOWN_EVENT_TYPE" and body["results"][1]["message"]
    assert [event["guid"] for event in await pull_all(admin, program)][1:] == [
        event["guid"] for event in sorted((later, member), key=lambda event: event["timestamp"])
    ]
    assert [row["id"] for row in await kept(admin, program)] == [rows[1]["id"]]


async def test_several_are_discarded_with_a_verdict_each(admin: AsyncClient) -> None:
    program = await make_program(admin)
    ids = [row["id"] for row in await refuse(admin, program, unknown_type(), unknown_type())]
    answer = await decide(admin, program, "discard", {"ids": [*ids, "nothing"], "reason": "  twice  "})
    assert [one["outcome"] for one in answer.json()["results"]] == ["discarded", "discarded", "not-found"]
    told = (await pull_audit(admin, program)).json()
    assert [(one["action"], one["changes"]["reason"]) for one in told] == [("quarantined-event-discarded", "twice")] * 2
    done = await kept(admin, program, status="discarded")
    assert {(row["reason"], row["closedBy"]) for row in done} == {("twice", "admin@hub.test")}
    assert sorted(row["id"] for row in done) == sorted(ids)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("x/discard", {}),
        ("x/discard", {"reason": " "}),
        ("x/discard", {"reason": "a" * 1001}),
        ("discard", {"ids": ["x"]}),
        ("discard", {"ids": [], "reason": "a"}),
        ("replay", {"ids": ["x"] * 501}),
        ("replay", {"ids": "x"}),
        ("replay", {}),
    ],
)
async def test_a_decision_that_says_too_little_or_too_much_is_refused(admin: AsyncClient, path: str, body: Any) -> None:
    answer = await decide(admin, await make_program(admin), path, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_PAYLOAD")
    assert answer.json()["errors"]


async def test_an_event_that_is_sent_again_and_taken_is_closed_by_itself(admin: AsyncClient) -> None:
    program = await make_program(admin)
    event, other = orphan("g"), unknown_type()
    waiting, _ = await refuse(admin, program, event, other)
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G"}))
    assert (await push(admin, program, event)).status_code == 200
    assert (await decide(admin, program, f"{waiting['id']}/replay")).status_code == 409
    assert (await decide(admin, program, f"{waiting['id']}/discard", {"reason": "x"})).status_code == 409
    # Pages are full although one event of the first has been accepted.
    page = (await admin.get(BASE, params={"configId": program, "limit": 1})).json()
    assert [row["eventGuid"] for row in page["quarantined"]] == [other["guid"]]
    assert [row["eventGuid"] for row in await kept(admin, program)] == [other["guid"]]
    [done] = await kept(admin, program, status="accepted")
    assert (done["eventGuid"], done["attempts"]) == (event["guid"], 1)
    assert done["closedAt"] and done["closedBy"].isdigit()


async def test_an_event_is_not_accepted_because_another_one_has_its_guid(admin: AsyncClient) -> None:
    program, member, group = await make_program(admin), new_id("m"), new_id("g")
    refused = make_event("add-member", entity=group, data={"members": [{"guid": member, "name": "Leo"}]})
    [waiting] = await refuse(admin, program, refused)
    assert (await push(admin, program, make_event() | {"guid": refused["guid"]})).status_code == 200
    [row] = await kept(admin, program)
    assert (row["id"], row["status"], row["code"]) == (waiting["id"], "open", "GUID_REUSED")
    assert row["message"] == waiting["message"]
    await push(admin, program, make_event("create-group", entity=group, data={"name": "G"}))
    assert (await push(admin, program, refused)).json()["warnings"][0]["code"] == "GUID_REUSED"
    assert [row["id"] for row in await kept(admin, program)][-1] == waiting["id"]
    answer = await decide(admin, program, f"{waiting['id']}/replay")
    assert answer.status_code == 200, answer.text
    assert (await names_of(admin, program, member)).status_code == 200


async def test_what_was_told_as_accepted_and_is_not_in_the_log_is_open_again(admin: AsyncClient, hub: Hub) -> None:
    """Earlier releases looked at guids only."""
    program, refused = await make_program(admin), orphan(new_id("g"))
    [waiting] = await refuse(admin, program, refused)
    assert (await push(admin, program, make_event() | {"guid": refused["guid"]})).status_code == 200
    scope = system_scope(TenantId(program))
    async with hub.db.transaction(scope) as tx:
        row = await queries.find(tx, scope, waiting["id"])
        assert row is not None
        await queries.close(tx, scope, [replace(row, status=Status.ACCEPTED, closed_at=row.received_at, closed_by="1")])
    assert await kept(admin, program) == []
    assert (await push(admin, program, refused, atomic=False)).json()["failed"][0]["code"] == "GUID_REUSED"
    [row_again] = await kept(admin, program)
    assert (row_again["id"], row_again["attempts"], row_again["closedAt"]) == (waiting["id"], 2, None)


async def test_a_discarded_event_that_is_applied_later_is_told_as_accepted(admin: AsyncClient) -> None:
    program, group = await make_program(admin), new_id("g")
    discarded, other = orphan(group), unknown_type()
    for row in await refuse(admin, program, discarded, other):
        assert (await decide(admin, program, f"{row['id']}/discard", {"reason": "fraud"})).status_code == 200
    await push(admin, program, make_event("create-group", entity=group, data={"name": "G"}))
    assert (await push(admin, program, discarded)).json()["applied"] == 1
    assert [row["eventGuid"] for row in await kept(admin, program, status="discarded")] == [other["guid"]]
    [done] = await kept(admin, program, status="accepted")
    assert (done["eventGuid"], done["reason"]) == (discarded["guid"], "fraud")


# -- events that block a device


async def test_an_event_that_blocks_its_device_is_recorded_and_replaying_it_unblocks(admin: AsyncClient) -> None:
    program = await make_program(admin)
    poison, good = unknown_type(entity="e"), make_event()
    for _ in range(3):
        assert (await push_from(admin, program, "tablet-1", poison, good)).status_code == 422
    [row] = await kept(admin, program, status="blocking")
    assert await kept(admin, program) == [row]
    assert (row["kind"], row["status"], row["attempts"], row["deviceId"]) == ("blocking", "open", 3, "tablet-1")
    assert (row["code"], row["event"]) == ("UNKNOWN_EVENT_TYPE", poison | {"syncLevel": 1})
    assert row["lastSeenAt"] > row["receivedAt"]
    edited = {"event": row["event"] | {"type": "create-individual", "data": {"name": "Ana"}}}
    assert (await decide(admin, program, f"{row['id']}/replay", edited)).status_code == 200
    answer = await push_from(admin, program, "tablet-1", poison, good)
    assert (answer.status_code, answer.json()["applied"]) == (200, 2)
    # The device sends what it made, not what the operator made of it; that is no new case.
    assert (await push_from(admin, program, "tablet-1", poison, atomic=False)).status_code == 207
    assert await kept(admin, program) == []
    assert [event["entityGuid"] for event in await pull_all(admin, program)] == ["e", good["entityGuid"]]


async def test_a_blocking_event_that_is_taken_later_is_closed_by_itself(admin: AsyncClient) -> None:
    program = await make_program(admin)
    event = orphan("g")
    assert (await push(admin, program, event)).status_code == 422
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G"}))
    assert (await push(admin, program, event)).status_code == 200
    assert await kept(admin, program, status="blocking") == []
    [row] = await kept(admin, program, status="all")
    assert (row["kind"], row["status"]) == ("blocking", "accepted")


async def test_a_blocking_event_is_accepted_as_its_device_has_corrected_it_and_not_as_somebody_elses(
    admin: AsyncClient,
) -> None:
    program = await make_program(admin)
    corrected, other = unknown_type(entity="ana"), unknown_type(entity="bo")
    for event in (corrected, other):
        assert (await push(admin, program, event)).status_code == 422
    taken = [make_event(entity="ana") | {"guid": corrected["guid"]}, make_event(entity="leo") | {"guid": other["guid"]}]
    assert (await push(admin, program, *taken)).json()["applied"] == 2
    [row] = await kept(admin, program)
    assert (row["event"]["entityGuid"], row["kind"], row["code"]) == ("bo", "blocking", "GUID_REUSED")
    [done] = await kept(admin, program, status="accepted")
    assert done["event"]["entityGuid"] == "ana"


async def test_a_blocking_event_that_was_discarded_stays_so_when_its_device_has_corrected_it(
    admin: AsyncClient,
) -> None:
    program = await make_program(admin)
    poison = unknown_type(entity="ana")
    assert (await push(admin, program, poison)).status_code == 422
    [row] = await kept(admin, program)
    assert (await decide(admin, program, f"{row['id']}/discard", {"reason": "an old app"})).status_code == 200
    assert (await push(admin, program, make_event(entity="ana") | {"guid": poison["guid"]})).status_code == 200
    assert await kept(admin, program, status="accepted") == []
    [discarded] = await kept(admin, program, status="discarded")
    assert (discarded["id"], discarded["reason"]) == (row["id"], "an old app")


async def test_a_device_gets_past_a_discarded_event(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    poison, good, more = unknown_type(), make_event(), unknown_type()
    for event in (poison, more):
        await push_from(admin, program, "tablet-1", event)
    for row in await kept(admin, program, status="blocking"):
        answer = await decide(admin, program, f"{row['id']}/discard", {"reason": "an old app"})
        assert answer.status_code == 200
    with hub.db.statements.record() as statements:
        answer = await push_from(admin, program, "tablet-1", poison, good, more)
    # Twice, however many of its events have been discarded.
    tries = [s for s in statements if "log_heads" in s and s.lstrip().startswith("SELECT")]
    assert len(tries) == 2, statements
    body = answer.json()
    assert (answer.status_code, body["applied"], body["failed"]) == (200, 3, [])
    assert [(one["index"], one["guid"], one["code"]) for one in body["warnings"]] == [
        (0, poison["guid"], "EVENT_DISCARDED"),
        (2, more["guid"], "EVENT_DISCARDED"),
    ]
    assert [event["guid"] for event in await pull_all(admin, program)] == [good["guid"]]
    assert await kept(admin, program) == []
    # One that nobody has decided about still stops the push.
    assert (await push_from(admin, program, "tablet-1", poison, unknown_type())).status_code == 422
    assert len(await kept(admin, program, status="blocking")) == 1


MALFORMED = (
    ({"userId": 7}, "userId"),
    ({"syncLevel": None}, "syncLevel"),
    ({"timestamp": "2025-01-01T02:00:00+02:00"}, "timestamp"),
    ({"data": [1]}, "data"),
    ({"guid": 9}, "guid"),
)


async def test_of_a_push_with_verdicts_what_is_no_event_is_kept_as_it_was_sent_and_the_rest_applied(
    admin: AsyncClient,
) -> None:
    program = await make_program(admin)
    bad: list[Any] = [make_event() | changes for changes, _ in MALFORMED] + [0]
    first, last = make_event(), make_event()
    answer = await push(admin, program, first, *bad, last, atomic=False)
    body = answer.json()
    assert (answer.status_code, body["status"], body["applied"]) == (207, "partial", 2)
    paths: list[Any] = [[name] for _, name in MALFORMED]
    assert [(one["index"], one["code"], one["path"]) for one in body["failed"]] == [
        (index, "INVALID_EVENT", path) for index, path in enumerate([*paths, []], 1)
    ]
    assert guids_of(await pull_all(admin, program)) == {first["guid"], last["guid"]}
    rows = {row["eventGuid"]: row for row in await kept(admin, program)}
    assert [rows[one["guid"]]["event"] for one in body["failed"]] == [*bad[:-1], {"asSent": 0}]
    # Only edited can it be applied; and what a device made of it itself closes it.
    [numeric, other] = [rows[one["guid"]] for one in body["failed"][:2]]
    refused = await decide(admin, program, f"{numeric['id']}/replay")
    assert (refused.status_code, refused.json()["failed"][0]["code"]) == (422, "INVALID_FORM")
    edited = await decide(admin, program, f"{numeric['id']}/replay", {"event": bad[0] | {"userId": "7"}})
    assert edited.status_code == 200, edited.text
    await push(admin, program, bad[1] | {"syncLevel": 1})
    assert other["id"] not in {row["id"] for row in await kept(admin, program)}
    assert other["id"] in {row["id"] for row in await kept(admin, program, status="accepted")}
    # Its device goes on sending it as it was.
    again = (await push(admin, program, bad[0], atomic=False)).json()
    assert (again["failed"], [one["code"] for one in again["warnings"]]) == ([], ["EVENT_DISCARDED"])


@pytest.mark.parametrize("decision", ["discard", "replay"])
async def test_what_is_no_event_blocks_its_device_until_that_is_decided(admin: AsyncClient, decision: str) -> None:
    program = await make_program(admin)
    bad, good = make_event() | {"userId": 7}, make_event()
    for attempts in (1, 2):
        answer = await push_from(admin, program, "tablet-1", good, bad)
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, ["events", 1, "userId"])
        [row] = await kept(admin, program, status="blocking")
        assert (row["event"], row["code"], row["attempts"]) == (bad, "INVALID_EVENT", attempts)
    body = {"reason": "a test build"} if decision == "discard" else {"event": bad | {"userId": "7"}}
    assert (await decide(admin, program, f"{row['id']}/{decision}", body)).status_code == 200
    answer = await push_from(admin, program, "tablet-1", good, bad)
    assert (answer.status_code, answer.json()["applied"]) == (200, 2)
    assert [(one["index"], one["code"]) for one in answer.json()["warnings"]] == [(1, "EVENT_DISCARDED")]
    assert good["guid"] in guids_of(await pull_all(admin, program))


@pytest.mark.parametrize("atomic", [True, False])
async def test_what_is_no_event_and_has_the_guid_of_one_that_is_held_does_not_stop_its_device(
    admin: AsyncClient, atomic: bool
) -> None:
    program = await make_program(admin)
    event, good = make_event(), make_event()
    await push(admin, program, event)
    bad = {name: value for name, value in event.items() if name != "syncLevel"}
    body = (await push_from(admin, program, "tablet-1", good, bad, atomic=atomic)).json()
    assert [(one["index"], one["code"]) for one in body["warnings" if atomic else "failed"]] == [(1, "GUID_REUSED")]
    assert good["guid"] in guids_of(await pull_all(admin, program))
    [row] = await kept(admin, program)
    assert (row["event"], row["code"], row["kind"]) == (bad, "GUID_REUSED", "refused")
    assert (await decide(admin, program, f"{row['id']}/discard", {"reason": "an echo"})).status_code == 200
    answer = await push_from(admin, program, "tablet-1", good, bad, atomic=atomic)
    assert (answer.status_code, answer.json()["applied"]) == (200, 2)
    assert [one["code"] for one in answer.json()["warnings"]] == ["EVENT_DISCARDED"]
    # Of another entity it is no echo, and not accepted either.
    other = bad | {"entityGuid": "another"}
    answer = await push_from(admin, program, "tablet-1", other, atomic=atomic)
    assert answer.status_code == (400 if atomic else 207)
    assert [row["event"] for row in await kept(admin, program)] == [other]


async def test_of_no_entity_it_is_not_accepted_because_its_guid_is_held(admin: AsyncClient) -> None:
    program = await make_program(admin)
    event = make_event()
    await push(admin, program, event)
    bad = make_event("update-individual", data={"name": "quite another one"}) | {"guid": event["guid"]}
    del bad["entityGuid"]
    assert (await push(admin, program, bad, atomic=False)).json()["failed"][0]["code"] == "INVALID_EVENT"
    [row] = await kept(admin, program)
    assert (row["event"], row["code"]) == (bad, "GUID_REUSED")


@pytest.mark.parametrize("changes", [{"userId": 7}, {"guid": 9}, {"data": None}])
async def test_what_is_no_event_is_known_when_it_comes_with_another_running_number(
    admin: AsyncClient, changes: dict[str, Any]
) -> None:
    program = await make_program(admin)
    bad, good = make_event() | changes, make_event()
    assert (await push_from(admin, program, "tablet-1", good, bad | {"id": 1})).status_code == 400
    [row] = await kept(admin, program)
    assert row["event"] == bad | {"id": 1}
    assert (await decide(admin, program, f"{row['id']}/discard", {"reason": "a test build"})).status_code == 200
    answer = await push_from(admin, program, "tablet-1", good, bad | {"id": 2, "syncLevel": 1})
    assert (answer.status_code, answer.json()["applied"]) == (200, 2)
    again = await push_from(admin, program, "tablet-1", bad | {"id": 3}, atomic=False)
    assert (again.status_code, await kept(admin, program)) == (200, [])


@pytest.mark.parametrize("name", ["Ana", "a\0b"])
async def test_a_verdict_names_what_is_no_event_by_the_guid_that_its_device_gave_it(
    admin: AsyncClient, name: str
) -> None:
    program = await make_program(admin)
    bad = make_event(data={"name": name}) | {"guid": "local-17"}
    told = (await push(admin, program, make_event(), bad, atomic=False)).json()
    assert [(one["index"], one["guid"]) for one in told["failed"]] == [(1, "local-17")]
    [row] = await kept(admin, program)
    assert str(uuid.UUID(row["eventGuid"])) == row["eventGuid"]
    assert (await decide(admin, program, f"{row['id']}/discard", {"reason": "a test build"})).status_code == 200
    told = (await push(admin, program, bad, atomic=False)).json()
    assert [(one["code"], one["guid"]) for one in told["warnings"]] == [("EVENT_DISCARDED", "local-17")]


@pytest.mark.parametrize("guid", ['"\\ud83d"', '"a\\u0000"', "[1]", '"\udcff"'], ids=repr)
async def test_a_guid_that_is_no_text_is_not_told(admin: AsyncClient, guid: str) -> None:
    program = await make_program(admin)
    sent = json.dumps(make_event() | {"guid": "HERE", "data": {"name": "a\0b"}}).replace('"HERE"', guid)
    body = f'{{"events": [{sent}], "atomic": false, "configId": "{program}"}}'
    answer = await admin.post("/api/sync/push", content=body.encode(errors="surrogateescape"))
    assert answer.status_code == 207, answer.text
    [row] = await kept(admin, program)
    assert answer.json()["failed"][0]["guid"] == row["eventGuid"]


@pytest.mark.parametrize("text", ['"a\\u0000b"', '"a\\ud83d"', "1e999", '{"k": 1, "k": 2}', '"\udcff"'], ids=repr)
async def test_with_verdicts_what_cannot_be_decoded_is_kept_as_text(admin: AsyncClient, text: str) -> None:
    program = await make_program(admin)
    first, bad, last = make_event(), make_event(), make_event()
    events = [json.dumps(one) for one in (first, bad | {"data": "HERE"}, last)]
    sent = ", ".join(events).replace('"HERE"', f'{{"name": {text}}}').encode(errors="surrogateescape")
    for envelope in (
        b'{"events": [%s], "atomic": false, "configId": "%s"}',
        b'{"atomic":false,"events":[%s],"configId":"%s"}',
        b'\xef\xbb\xbf{"events": [%s], "atomic": false, "configId": "%s"}',
    ):
        answer = await admin.post("/api/sync/push", content=envelope % (sent, program.encode()))
        assert (answer.status_code, answer.json()["applied"]) == (207, 2), answer.text
        [refused] = answer.json()["failed"]
        assert (refused["index"], refused["guid"], refused["code"]) == (1, bad["guid"], "INVALID_EVENT")
    [row] = await kept(admin, program)
    assert (row["eventGuid"], row["entityGuid"], row["attempts"]) == (bad["guid"], bad["entityGuid"], 3)
    assert text.replace("\udcff", "\ufffd") in row["event"]["asSent"]
    # All or nothing, it is refused as it was.
    body = b'{"events": [%s], "configId": "%s"}' % (sent, program.encode())
    assert (await admin.post("/api/sync/push", content=body)).status_code == 400
    # The operator's word lets the device go on.
    edited = {"event": bad | {"data": {"name": "put right"}}}
    assert (await decide(admin, program, f"{row['id']}/replay", edited)).status_code == 200
    answer = await admin.post("/api/sync/push", content=envelope % (sent, program.encode()))
    assert (answer.status_code, answer.json()["applied"]) == (200, 3), answer.text


async def test_very_many_that_are_no_events_are_refused_with_verdicts_too(admin: AsyncClient) -> None:
    """What tells of one takes much more room than it."""
    program = await make_program(admin)
    answer = await push(admin, program, *[0] * MOST_ISSUES, atomic=False)
    assert (answer.status_code, len(answer.json()["errors"])) == (400, MOST_ISSUES)
    assert await kept(admin, program) == []


async def test_a_push_that_had_looked_before_a_decision_does_not_undo_it(admin: AsyncClient, hub: Hub) -> None:
    """On PostgreSQL the two may be at work side by side."""
    program = await make_program(admin)
    scope = system_scope(TenantId(program))
    assert (await push_from(admin, program, "tablet-1", unknown_type())).status_code == 422
    [row] = await kept(admin, program)
    async with hub.db.reading(scope) as view:
        seen = await service.get(view, scope, row["id"])
    assert (await decide(admin, program, f"{row['id']}/discard", {"reason": "an old app"})).status_code == 200
    async with hub.db.transaction(scope) as tx:
        await queries.keep_blocking(tx, scope, seen)
    assert await kept(admin, program) == []
    [discarded] = await kept(admin, program, status="discarded")
    assert (discarded["id"], discarded["reason"]) == (row["id"], "an old app")
    assert (discarded["attempts"], discarded["lastSeenAt"]) == (1, row["lastSeenAt"])


async def test_whoever_had_looked_before_a_replay_does_not_undo_it(admin: AsyncClient, hub: Hub) -> None:
    """A push that brings the event once more, and a list that found it accepted."""
    program = await make_program(admin)
    scope, group = system_scope(TenantId(program)), new_id("g")
    [row] = await refuse(admin, program, orphan(group))
    async with hub.db.reading(scope) as view:
        seen = await service.get(view, scope, row["id"])
    await push(admin, program, make_event("create-group", entity=group, data={"name": "G"}))
    assert (await decide(admin, program, f"{row['id']}/replay")).status_code == 200
    async with hub.db.transaction(scope) as tx:
        await queries.keep(tx, scope, [seen])
        accepted = replace(seen, status=Status.ACCEPTED, closed_at=seen.received_at, closed_by="1")
        await service.close_accepted(tx, scope, [accepted])
    assert await kept(admin, program) == await kept(admin, program, status="accepted") == []
    assert [one["id"] for one in await kept(admin, program, status="replayed")] == [row["id"]]


async def test_what_is_discarded_is_an_event_and_not_its_guid(admin: AsyncClient) -> None:
    program = await make_program(admin)
    poison, other = unknown_type(), unknown_type()
    for event in (poison, other):
        await push_from(admin, program, "tablet-1", event)
    for row in await kept(admin, program, status="blocking"):
        await decide(admin, program, f"{row['id']}/discard", {"reason": "an old app"})
    corrected = make_event() | {"guid": poison["guid"]}
    answer = await push_from(admin, program, "tablet-1", other, corrected)
    assert (answer.status_code, answer.json()["applied"]) == (200, 2)
    assert [one["guid"] for one in answer.json()["warnings"]] == [other["guid"]]
    assert [event["entityGuid"] for event in await pull_all(admin, program)] == [corrected["entityGuid"]]
    # And one that cannot be applied either is kept beside what was discarded.
    again = unknown_type() | {"guid": other["guid"]}
    assert (await push_from(admin, program, "tablet-1", again)).status_code == 422
    [waiting] = await kept(admin, program, status="blocking")
    assert waiting["event"]["entityGuid"] == again["entityGuid"]
    events = {row["event"]["entityGuid"] for row in await kept(admin, program, status="discarded")}
    assert events == {poison["entityGuid"], other["entityGuid"]}


async def test_a_clean_push_is_not_looked_up(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push(admin, program, make_event())
    with hub.db.statements.record() as statements:
        await push(admin, program, make_event())
    assert [s for s in statements if "quarantine" in s] == []


async def test_a_quarantine_that_cannot_be_written_changes_no_answer(alone: Any) -> None:
    admin = await alone.admin()
    program = await make_program(admin)
    poison = unknown_type()
    expected = (await push(admin, program, poison)).json()
    async with alone.hub.db.transaction(EVERY_TENANT) as tx:
        await tx.run("ALTER TABLE quarantine RENAME TO elsewhere")
    answer = await push(admin, program, poison)
    assert answer.status_code == 422
    assert {name: value for name, value in answer.json().items() if name != "requestId"} == {
        name: value for name, value in expected.items() if name != "requestId"
    }


# -- who may


async def make_member(admin: AsyncClient, program: str, role: str, **more: Any) -> Person:
    return await make_person(admin, roleAssignments=[{"tenantId": program, "role": role} | more])


@pytest.mark.parametrize(
    ("role", "more", "code"),
    [
        ("viewer", {}, "INSUFFICIENT_PERMISSION"),
        ("enumerator", {}, "INSUFFICIENT_PERMISSION"),
        ("supervisor", {"areaId": "cedar-bay"}, "BEYOND_REACH"),
        ("supervisor", {}, None),
        ("program-admin", {}, None),
    ],
)
async def test_the_quarantine_is_for_supervisors_of_the_whole_program(
    app: FastAPI, admin: AsyncClient, client: AsyncClient, role: str, more: dict[str, str], code: str | None
) -> None:
    program = await make_program(admin)
    [row, other] = await refuse(admin, program, unknown_type(), unknown_type())
    person = await make_member(admin, program, role, **more)
    async with asgi_client(app, (await login(client, person))["token"]) as member:
        answers = [
            await member.get(BASE, params={"configId": program}),
            await member.get(f"{BASE}/{row['id']}", params={"configId": program}),
            await decide(member, program, "replay", {"ids": [row["id"]]}),
            await decide(member, program, f"{row['id']}/discard", {"reason": "x"}),
            await decide(member, program, "discard", {"ids": [other["id"]], "reason": "x"}),
        ]
        last = await decide(member, program, f"{other['id']}/replay")
    expected = (200, 409) if code is None else (403, 403)
    assert [answer.status_code for answer in answers] == [expected[0]] * 5
    assert last.status_code == expected[1]
    if code is not None:
        assert {answer.json()["code"] for answer in [*answers, last]} == {code}
        assert len(await kept(admin, program)) == 2
    else:
        assert {item["closedBy"] for item in await kept(admin, program, status="discarded")} == {person.email}


async def test_another_program_sees_and_decides_nothing(app: FastAPI, admin: AsyncClient, client: AsyncClient) -> None:
    program, other = await make_program(admin), await make_program(admin)
    [row] = await refuse(admin, program, unknown_type())
    assert await kept(admin, other, status="all") == []
    for answer in (
        await admin.get(f"{BASE}/{row['id']}", params={"configId": other}),
        await decide(admin, other, f"{row['id']}/replay"),
        await decide(admin, other, f"{row['id']}/discard", {"reason": "x"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "QUARANTINED_NOT_FOUND")
    [verdict] = (await decide(admin, other, "replay", {"ids": [row["id"]]})).json()["results"]
    assert verdict["outcome"] == "not-found"
    person = await make_member(admin, other, "supervisor")
    token = (await login(client, person))["token"]
    foreign = await client.get(BASE, params={"configId": program}, headers=bearer(token))
    assert (foreign.status_code, foreign.json()["code"]) == (403, "TENANT_ACCESS_DENIED")
    assert (await client.get(BASE, params={"configId": program})).status_code == 401
    split = await admin.post(f"{BASE}/replay", params={"configId": program}, json={"ids": ["x"], "configId": other})
    assert (split.status_code, split.json()["code"]) == (400, "TENANT_MISMATCH")
    assert await kept(admin, program) == [row]
