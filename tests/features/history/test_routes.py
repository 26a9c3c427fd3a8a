"""`/api/entities/{guid}/events` and `/history` through HTTP, on both engines."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.db import Tx
from datacollect.eventstore.event import Event, Origin
from datacollect.features.audit import queries
from datacollect.features.entities.model import EVENT_TYPES
from datacollect.features.entities.rows import load
from datacollect.features.entities.touched import Touched
from datacollect.features.history import service
from datacollect.features.history.routes import LARGEST_PAGE
from datacollect.http.hub import Hub
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from tests.accounts import login, make_person
from tests.conftest import asgi_client
from tests.factories import make_audit_log, make_event, make_program, new_id, pull_audit, push, push_audit
from tests.histories import GUIDS, ChanceOfAll, guids_in

pytestmark = pytest.mark.anyio

ROUTES = ("/e/events", "/e/history")
NOON, ONE, TWO = (f"2025-01-01T{hour}:00:00.000Z" for hour in (12, 13, 14))


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    return await make_program(admin)


async def get(client: AsyncClient, program: str, path: str, **query: Any) -> Any:
    return await client.get(f"/api/entities{path}", params={"configId": program} | query)


async def send(client: AsyncClient, program: str, *events: dict[str, Any], **more: Any) -> None:
    answer = await push(client, program, *events, **more)
    assert answer.status_code == 200, answer.text


async def events_of(client: AsyncClient, program: str, guid: str) -> list[str]:
    answer = await get(client, program, f"/{guid}/events")
    assert answer.status_code == 200, answer.text
    return [event["guid"] for event in answer.json()]


async def history_of(client: AsyncClient, program: str, guid: str, **query: Any) -> list[dict[str, Any]]:
    """All pages."""
    history: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await get(client, program, f"/{guid}/history", **(query | ({"cursor": cursor} if cursor else {})))
        assert answer.status_code == 200, answer.text
        history += answer.json()["history"]
        cursor = answer.json()["nextCursor"]
    return history


def person(guid: str = "e", **changes: Any) -> dict[str, Any]:
    return make_event(entity=guid, data={"name": "Ana"}, **changes)


def household(guid: str, *members: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    data = {"name": "Smith Family", "members": list(members)}
    return make_event("create-group", entity=guid, data=data, **changes)


# -- who may look


@pytest.mark.parametrize("path", ROUTES)
async def test_who_may_look(admin: AsyncClient, app: FastAPI, client: AsyncClient, program: str, path: str) -> None:
    other = await make_program(admin)
    await send(admin, program, person())
    assert (await get(client, program, path)).status_code == 401
    for tenants, status in (([program], 200), ([other], 403)):
        member = await make_person(admin, tenantIds=tenants)
        tokens = await login(client, member)
        async with asgi_client(app, tokens["token"]) as signed_in:
            assert (await get(signed_in, program, path)).status_code == status
    unknown = await get(admin, new_id(), path)
    assert (unknown.status_code, unknown.json()["error"]) == (404, "Tenant not found")


async def test_an_entity_nobody_knows_has_no_events_and_no_history(admin: AsyncClient, program: str) -> None:
    await send(admin, program, person())
    # What devices note of it is not what happened to it.
    await push_audit(admin, program, make_audit_log(entityGuid="nobody"))
    assert (await get(admin, program, "/nobody/events")).json() == []
    answer = await get(admin, program, "/nobody/history")
    assert (answer.status_code, answer.json()["error"]) == (404, "Entity not found")


async def test_programs_with_equal_guids_do_not_meet(admin: AsyncClient, program: str) -> None:
    other = await make_program(admin)
    ours, theirs = household("g", {"guid": "e", "name": "E"}), household("g", {"guid": "e", "name": "X"})
    await send(admin, program, ours)
    await send(admin, other, person("p"), theirs)
    for guid in ("g", "e"):
        assert await events_of(admin, program, guid) == [ours["guid"]]
        assert [entry["eventGuid"] for entry in await history_of(admin, program, guid)] == [ours["guid"]]


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"cursor": "x"}, {"cursor": "-1"}]
)
async def test_what_is_no_page_is_refused(admin: AsyncClient, program: str, query: dict[str, str]) -> None:
    await send(admin, program, person())
    answer = await get(admin, program, "/e/history", **query)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_HISTORY_QUERY")


# -- events


async def test_events_that_touched_it_through_another_entity_are_there_once(admin: AsyncClient, program: str) -> None:
    born = household("g", {"guid": "sub", "type": "group", "name": "S", "members": [{"guid": "e", "name": "E"}]})
    own = make_event("update-individual", entity="e", data={"age": 7})
    other, gone = person("p"), make_event("delete-entity", entity="g", data={"x": 1})
    await send(admin, program, born, other, own)
    await send(admin, program, gone)
    assert await events_of(admin, program, "e") == [event["guid"] for event in (born, own, gone)]
    assert await events_of(admin, program, "sub") == [born["guid"], gone["guid"]]
    # Its own delete makes an entry of the trail too.
    assert await events_of(admin, program, "g") == [born["guid"], gone["guid"]]
    [first, *_] = (await get(admin, program, "/e/events")).json()
    assert first == born | {"syncLevel": 1}


async def test_events_are_by_the_devices_time_then_by_position(admin: AsyncClient, program: str) -> None:
    late, early = person(timestamp=TWO), household("g", {"guid": "e", "age": 1}, timestamp=NOON)
    same = make_event("update-individual", entity="e", data={"age": 2}, timestamp=NOON)
    await send(admin, program, late, early, same)
    assert await events_of(admin, program, "e") == [early["guid"], same["guid"], late["guid"]]
    assert [entry["position"] for entry in await history_of(admin, program, "e")] == [1, 2, 3]


# -- history


async def test_an_entry_tells_who_when_and_what(admin: AsyncClient, program: str) -> None:
    created = person(timestamp=NOON, userId="agent-7")
    answer = await admin.post(
        "/api/sync/push", json={"events": [created], "configId": program}, headers={"X-Device-Id": "tablet-3"}
    )
    assert answer.status_code == 200
    me = (await admin.get("/api/users/me")).json()
    [entry] = await history_of(admin, program, "e")
    assert entry == {
        "eventGuid": created["guid"],
        "type": "create-individual",
        "entityGuid": "e",
        "position": 1,
        "claimedAt": NOON,
        "receivedAt": entry["receivedAt"],
        "claimedUserId": "agent-7",
        "actor": str(me["id"]),
        "deviceId": "tablet-3",
        "origin": "client",
        "change": "created",
        "version": 1,
        "changes": [{"field": "name", "after": "Ana"}],
        "members": {"added": [], "removed": []},
        "lost": [],
    }
    assert entry["receivedAt"] > NOON


async def test_null_is_a_value_and_an_absent_side_is_left_out(admin: AsyncClient, program: str) -> None:
    created = person()
    ages = [make_event("update-individual", entity="e", data={"age": age}) for age in (None, 3, 3)]
    await send(admin, program, created, *ages)
    entries = (await history_of(admin, program, "e"))[1:]
    assert [entry["changes"] for entry in entries] == [
        [{"field": "age", "after": None}],
        [{"field": "age", "before": None, "after": 3}],
        [],
    ]
    assert [(entry["change"], entry["version"]) for entry in entries] == [("updated", 2), ("updated", 3), ("none", 4)]


async def test_the_life_of_a_member(admin: AsyncClient, program: str) -> None:
    await send(
        admin,
        program,
        household("g", {"guid": "e", "name": "E"}, timestamp=NOON),
        make_event("delete-entity", entity="g", data={"x": 1}, timestamp=ONE),
        person(timestamp=TWO),
    )
    entries = await history_of(admin, program, "e")
    assert [(entry["change"], entry["version"], entry["entityGuid"]) for entry in entries] == [
        ("created", 1, "g"),
        ("deleted", 2, "g"),
        ("recreated", 3, "e"),
    ]
    assert entries[1]["changes"] == [{"field": "name", "before": "E"}]
    of_group = await history_of(admin, program, "g")
    assert [entry["members"] for entry in of_group] == [
        {"added": ["e"], "removed": []},
        {"added": [], "removed": ["e"]},
    ]


async def test_a_member_that_leaves_changes_the_group_only(admin: AsyncClient, program: str) -> None:
    await send(admin, program, household("g", {"guid": "e", "name": "E"}, {"guid": "f", "name": "F"}))
    await send(admin, program, make_event("remove-member", entity="g", data={"memberId": "e"}))
    entry = (await history_of(admin, program, "g"))[-1]
    assert (entry["change"], entry["changes"], entry["members"]) == ("members", [], {"added": [], "removed": ["e"]})
    assert len(await history_of(admin, program, "e")) == 1


async def test_values_that_lost_are_those_of_the_conflict(admin: AsyncClient, program: str) -> None:
    kept = make_event("update-individual", entity="e", data={"age": 2, "village": "B"}, timestamp=TWO)
    late = make_event("update-individual", entity="e", data={"age": 1, "phone": "7", "village": "A"}, timestamp=ONE)
    await send(admin, program, person(timestamp=NOON), kept)
    await send(admin, program, late)
    entry = (await history_of(admin, program, "e"))[-1]
    assert entry["lost"] == [
        {"field": "age", "value": 1, "keptEventGuid": kept["guid"]},
        {"field": "village", "value": "A", "keptEventGuid": kept["guid"]},
    ]
    assert entry["changes"] == [{"field": "phone", "after": "7"}]
    [conflict] = await conflicts_of(admin, program)
    assert conflict["remoteEventGuid"] == entry["eventGuid"]
    assert conflict["fields"] == [lost["field"] for lost in entry["lost"]]


async def conflicts_of(admin: AsyncClient, program: str) -> list[dict[str, Any]]:
    answer = await admin.get("/api/conflicts", params={"configId": program, "status": "all"})
    conflicts: list[dict[str, Any]] = answer.json()["conflicts"]
    return conflicts


async def test_what_came_after_its_groups_end_names_the_delete_it_lost_against(
    admin: AsyncClient, program: str
) -> None:
    gone = make_event("delete-entity", entity="g", data={"x": 1}, timestamp=TWO)
    await send(admin, program, make_event("create-group", entity="g", data={"name": "G"}, timestamp=NOON), gone)
    late = make_event("add-member", entity="g", data={"members": [{"guid": "e", "name": "E"}]}, timestamp=ONE)
    await send(admin, program, late)
    [entry] = await history_of(admin, program, "e")
    assert (entry["change"], entry["version"]) == ("none", 0)
    assert entry["lost"] == [{"field": "name", "value": "E", "keptEventGuid": gone["guid"]}]
    assert await events_of(admin, program, "e") == [late["guid"]]


async def test_what_a_known_groups_object_says_of_others_is_not_told(
    admin: AsyncClient, hub: Hub, program: str
) -> None:
    known, new = (
        {"guid": guid, "type": "group", "members": [{"guid": "e", "name": guid}]} for guid in ("known", "new")
    )
    await send(admin, program, household("g"), household("known"))
    await send(admin, program, make_event("add-member", entity="g", data={"members": [known, new]}))
    with hub.db.statements.record() as statements:
        [entry] = await history_of(admin, program, "e")
    assert (entry["version"], entry["changes"]) == (1, [{"field": "name", "after": "new"}])
    assert len([sql for sql in statements if "audit_log" in sql]) == 2


async def test_pages_have_every_entry_once(admin: AsyncClient, program: str) -> None:
    updates = [make_event("update-individual", entity="e", data={"n": n}) for n in range(8)]
    await send(admin, program, person(), household("g", {"guid": "e", "m": 1}), *updates)
    whole = (await get(admin, program, "/e/history", limit=LARGEST_PAGE)).json()
    assert (len(whole["history"]), whole["nextCursor"]) == (10, None)
    for limit in (1, 3, 5, 9, 10):
        assert await history_of(admin, program, "e", limit=limit) == whole["history"], limit
    full = (await get(admin, program, "/e/history", limit=10)).json()
    assert full["nextCursor"] is None
    behind = (await get(admin, program, "/e/history", cursor="999")).json()
    assert behind == {"history": [], "nextCursor": None}


# -- whatever the events are


@pytest.mark.parametrize("seed", range(6))
async def test_the_stored_log_tells_how_each_entity_came_to_be(hub: Hub, admin: AsyncClient, seed: int) -> None:
    """What the statements find is what `tests/features/entities/test_history.py` replays, on each engine."""
    program = await make_program(admin)
    scope = system_scope(TenantId(program))
    chance = ChanceOfAll(seed)
    for _ in range(40):
        await append(hub, scope, [event for event in chance.batch() if names_whom_it_adds_once(event)], chance.origin())
    lost: set[tuple[str, str, str]] = set()
    for guid in GUIDS:
        history = await history_of(admin, program, guid, limit=7) if await events_of(admin, program, guid) else []
        positions = [entry["position"] for entry in history]
        assert positions == sorted(set(positions))
        assert sorted(entry["eventGuid"] for entry in history) == sorted(await events_of(admin, program, guid))
        lost |= {(guid, entry["eventGuid"], value["field"]) for entry in history for value in entry["lost"]}
        data, members = followed(history)
        async with hub.db.transaction(scope) as tx:
            await assert_is_stored(tx, scope, guid, data, members, history[-1]["version"] if history else None)
    found = await conflicts_of(admin, program)
    assert lost == {(one["entityGuid"], one["remoteEventGuid"], field) for one in found for field in one["fields"]}
    assert lost


def names_whom_it_adds_once(event: Event) -> bool:
    """A replay may misread an event that does not; see `names_often`."""
    if event.type != "add-member":
        return True
    members = event.data["members"]
    named = Counter(guids_in(members))
    return all(named[member["guid"]] == 1 for member in members)


async def append(hub: Hub, scope: TenantScope, events: Sequence[Event], origin: Origin) -> None:
    tenant = Tenant(scope.tenant_id, "Program", custom_event_types=EVENT_TYPES)
    async with hub.db.transaction(scope) as tx:
        await hub.log.append(tx, scope, tenant, events, origin=origin, on_rejection=lambda _: None)


def followed(history: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    data: dict[str, Any] = {}
    members: list[str] = []
    for entry in history:
        for change in entry["changes"]:
            data.pop(change["field"], None)
            if "after" in change:
                data[change["field"]] = change["after"]
        gone = entry["members"]["removed"]
        members = [guid for guid in members if guid not in gone] + entry["members"]["added"]
    return data, members


async def assert_is_stored(
    tx: Tx, scope: TenantScope, guid: str, data: Mapping[str, Any], members: Sequence[str], version: int | None
) -> None:
    stored = await load(tx, scope, Touched(guids={guid}, pairs={(guid, member) for member in GUIDS}))
    entity = stored.entities.get(guid)
    held = sorted((one for one in stored.members_of(guid).values() if one.present), key=lambda one: one.ordinal)
    assert members == [one.member_guid for one in held]
    assert version == (None if entity is None else entity.version)
    assert data == ({} if entity is None else entity.data)


# -- cost


async def test_a_long_history_is_read_in_batches_of_constant_size(
    admin: AsyncClient, hub: Hub, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates = [make_event("update-individual", entity="e", data={"n": n}) for n in range(45)]
    await send(admin, program, person(), *updates)
    monkeypatch.setattr(service, "BATCH", 10)
    whole = await history_of(admin, program, "e", limit=LARGEST_PAGE)
    assert await history_of(admin, program, "e", limit=7) == whole
    assert [entry["version"] for entry in whole] == list(range(1, 47))


async def test_the_next_page_goes_on_where_the_last_one_ended(
    admin: AsyncClient, hub: Hub, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates = [make_event("update-individual", entity="e", data={"n": n}) for n in range(45)]
    await send(admin, program, person(), *updates)
    whole = await history_of(admin, program, "e", limit=LARGEST_PAGE)
    monkeypatch.setattr(service, "BATCH", 10)
    monkeypatch.setattr(service, "WORTH_KEEPING", 5)

    async def read_from(cursor: str) -> int:
        """How many batches of events it takes."""
        with hub.db.statements.record() as statements:
            answer = (await get(admin, program, "/e/history", limit=3, cursor=cursor)).json()
        assert answer["history"] == whole[int(cursor) : int(cursor) + 3]
        return sum("weighed" in sql for sql in statements)

    assert [await read_from("40"), await read_from("40"), await read_from("43"), await read_from("43")] == [5, 1, 1, 1]
    assert await read_from("20") == 3
    # Of another log, as it is behind a purge, nothing is taken up.
    kept = hub.replays.find(TenantId(program), "e", through=43)
    hub.replays.keep(TenantId(program), "e", replace(kept, chain_hash=b"other"))
    assert await read_from("43") == 6


async def test_a_limited_reader_goes_on_in_the_life_that_is_theirs(
    admin: AsyncClient, app: FastAPI, program: str
) -> None:
    first = [make_event("update-individual", entity="e", data={"n": n, "area_id": "south"}) for n in range(5)]
    again = [make_event("update-individual", entity="e", data={"n": n, "area_id": "north"}) for n in range(5)]
    await send(admin, program, person(), *first)
    await send(admin, program, make_event("delete-entity", entity="e", data={"reason": "moved"}))
    await send(admin, program, make_event(entity="e", data={"name": "Ana", "area_id": "north"}), *again)
    whole = await history_of(admin, program, "e", limit=2)
    north = await make_person(
        admin,
        tenantIds=[program],
        roleAssignments=[{"tenantId": program, "role": "viewer", "areaId": "north"}],
    )
    async with asgi_client(app, (await login(admin, north))["token"]) as reader:
        assert await history_of(reader, program, "e", limit=2) == whole[7:]


async def test_two_histories_are_replayed_at_once_and_who_waits_holds_no_view_of_the_database(
    admin: AsyncClient, hub: Hub, program: str
) -> None:
    await send(admin, program, person())
    whole = await history_of(admin, program, "e")
    async with hub.replays.begun(), hub.replays.begun():
        waiting = [asyncio.ensure_future(history_of(admin, program, "e")) for _ in range(30)]
        for _ in range(10):
            assert (await get(admin, program, "/e/events")).status_code == 200
        assert not any(history.done() for history in waiting)
    assert await asyncio.gather(*waiting) == [whole] * 30


async def test_others_have_their_turn_between_the_portions_of_a_replay(
    admin: AsyncClient, hub: Hub, program: str
) -> None:
    updates = [make_event("update-individual", entity="e", data={"n": n}) for n in range(5 * service.AT_ONCE)]
    await send(admin, program, person(), *updates)
    scope, rounds = system_scope(TenantId(program)), 0

    async def others() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    beside = asyncio.ensure_future(others())
    async with hub.db.reading(scope) as view:
        # Of one batch, so that nothing but a turn of theirs comes between two events.
        touches = service._touches(view, hub.log, scope, "e", after=0, wanted=service.BATCH)
        when = [rounds async for _ in touches]
    beside.cancel()
    assert [len(list(portion)) for _, portion in groupby(when)] == [service.AT_ONCE] * 5 + [1]


async def test_a_history_of_large_events_is_read_in_pieces_and_told_whole(
    admin: AsyncClient, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(admin, program, person())
    for number in range(6):
        await send(admin, program, make_event("update-individual", entity="e", data={"n": f"{number}" + "ä" * 30_000}))
    whole = await history_of(admin, program, "e")
    assert len(whole) == 7
    monkeypatch.setattr(queries, "MOST_TOUCHING_BYTES", 100_000)
    assert await history_of(admin, program, "e") == whole
    assert await history_of(admin, program, "e", limit=4) == whole


async def test_a_page_takes_a_constant_number_of_statements(admin: AsyncClient, hub: Hub, program: str) -> None:
    members = [{"guid": f"m-{n}", "name": "M"} for n in range(30)]
    await send(admin, program, household("g", *members, timestamp=TWO), person(timestamp=TWO))
    updates = [make_event("update-individual", entity="m-1", data={"name": f"{n}"}, timestamp=NOON) for n in range(40)]
    await send(admin, program, *updates)
    for path, most in {"/g/events": 1, "/m-1/events": 1, "/e/history": 1, "/g/history": 1, "/m-1/history": 2}.items():
        with hub.db.statements.record() as statements:
            assert (await get(admin, program, path)).status_code == 200
        own = [sql for sql in statements if "users" not in sql and "programs" not in sql]
        assert len(own) == most, (path, own)


async def test_the_trail_and_the_history_name_the_same_events(admin: AsyncClient, program: str) -> None:
    await send(admin, program, household("g", {"guid": "e", "name": "E"}), make_event("update-individual", entity="e"))
    trail = (await pull_audit(admin, program, entityGuid="e")).json()
    history = await history_of(admin, program, "e")
    assert [entry["eventGuid"] for entry in trail] == [entry["eventGuid"] for entry in history]
