"""What the trail tells of events, on both engines: each state change once, whether the log tells it or a row does."""

from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.db import EVERY_TENANT
from datacollect.eventstore.event import event_from_body
from datacollect.eventstore.projection import Context
from datacollect.features.audit.model import entries_of
from datacollect.features.audit.queries import keep, read_trail
from datacollect.features.audit.service import BEGINNING, own_guid, pull
from datacollect.features.entities.projection import EntityRun
from datacollect.features.entities.states import States
from datacollect.features.entities.work import Rules
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.errors import BeyondReach
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sync_scope import Box, Reach
from datacollect.testing.clock import TurnableClock
from tests.factories import make_event, make_program, pull_audit, push
from tests.statements import hot

pytestmark = pytest.mark.anyio

EARLY, LATE = "2025-01-01T08:00:00.000Z", "2025-01-01T09:00:00.000Z"


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    return await make_program(admin)


async def trail_of(admin: AsyncClient, program: str, **query: Any) -> list[dict[str, Any]]:
    answer = await pull_audit(admin, program, **query)
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()
    return entries


def told(trail: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(entry["action"], entry["entityGuid"]) for entry in trail]


async def stored_count(hub: Hub, program: str) -> int:
    async with hub.db.reading(EVERY_TENANT) as view:
        mark = "?" if hub.db.dialect == "sqlite" else "$1"
        [[count]] = await view.fetch(f"SELECT count(*) FROM audit_log WHERE tenant_id = {mark}", program)
    return int(count)


async def test_an_event_is_its_own_entry(admin: AsyncClient, hub: Hub, program: str) -> None:
    event = make_event(entity="e", data={"name": "Zoë", "nested": {"a": [1, 2.5, None]}}, timestamp=EARLY)
    answer = await admin.post(
        "/api/sync/push", json={"events": [event], "configId": program}, headers={"X-Device-Id": "tablet-3"}
    )
    assert answer.status_code == 200
    [entry] = await trail_of(admin, program)
    me = (await admin.get("/api/users/me")).json()
    assert entry == {
        "guid": own_guid(event["guid"], "e"),
        "timestamp": entry["recordedAt"],
        "userId": "agent-7",
        "action": "create-individual",
        "eventGuid": event["guid"],
        "entityGuid": "e",
        "changes": event["data"],
        "signature": "",
        "actor": str(me["id"]),
        "recordedAt": entry["recordedAt"],
        "deviceId": "tablet-3",
    }
    # When the hub applied it, not when the device says it was made.
    assert entry["timestamp"] > EARLY
    assert await stored_count(hub, program) == 0


async def test_members_inside_an_event_are_told_with_what_it_wrote_of_them(
    admin: AsyncClient, hub: Hub, program: str
) -> None:
    nested = {"guid": "sub", "type": "group", "name": "S", "members": [{"guid": "leaf", "name": "L", "age": 3}]}
    group = make_event("create-group", entity="g", data={"name": "G", "members": [{"guid": "m", "name": "M"}, nested]})
    more = make_event("add-member", entity="g", data={"members": [{"guid": "n", "name": "N"}, {"guid": "m", "x": 1}]})
    await push(admin, program, group)
    await push(admin, program, more)
    trail = await trail_of(admin, program)
    assert told(trail) == [
        ("create-group", "g"),
        ("create-individual", "m"),
        ("create-group", "sub"),
        ("create-individual", "leaf"),
        # A known member's data is not touched, so nothing is told of it.
        ("add-member", "g"),
        ("create-individual", "n"),
    ]
    assert [entry["eventGuid"] for entry in trail] == [group["guid"]] * 4 + [more["guid"]] * 2
    assert trail[1]["changes"] == {"name": "M"}
    assert trail[2]["changes"] == {key: value for key, value in nested.items() if key != "guid"}
    assert trail[3]["changes"] == {"name": "L", "age": 3}
    assert {(entry["userId"], entry["actor"]) for entry in trail} == {("agent-7", trail[0]["actor"])}
    assert len({entry["guid"] for entry in trail}) == len(trail)
    # Payloads are not written twice.
    async with hub.db.reading(EVERY_TENANT) as view:
        mark = "?" if hub.db.dialect == "sqlite" else "$1"
        rows = await view.fetch(f"SELECT changes FROM audit_log WHERE tenant_id = {mark}", program)
    assert [row[0] for row in rows] == [None] * 4


async def test_a_page_that_begins_inside_an_event_tells_the_same(admin: AsyncClient, program: str) -> None:
    members = [{"guid": f"m{n}", "name": f"M{n}"} for n in range(5)]
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G", "members": members}))
    whole = await trail_of(admin, program)
    seen, cursor = [], ""
    while cursor is not None:
        answer = await pull_audit(admin, program, limit=2, cursor=cursor)
        seen += answer.json()
        cursor = answer.headers.get("X-Next-Cursor")
    assert seen == whole
    assert len(whole) == 6


async def test_everything_a_delete_takes_along_is_told(admin: AsyncClient, program: str) -> None:
    nested = {"guid": "sub", "type": "group", "name": "S", "members": [{"guid": "leaf", "name": "L"}]}
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G", "members": [nested]}))
    gone = make_event("delete-entity", entity="g", data={"why": "moved away"})
    await push(admin, program, gone)
    trail = [entry for entry in await trail_of(admin, program) if entry["eventGuid"] == gone["guid"]]
    assert told(trail) == [
        ("delete-entity", "g"),
        ("cascade-delete-entity", "leaf"),
        ("cascade-delete-entity", "sub"),
        ("cascade-delete-entity", "g"),
    ]
    assert trail[0]["changes"] == {"why": "moved away"}
    assert trail[1]["changes"] == {"type": "cascade-delete-entity", "entityGuid": "leaf"}
    assert trail[1]["userId"] == "agent-7"


async def test_a_subgroup_removed_from_its_group_is_told_as_deleted(admin: AsyncClient, program: str) -> None:
    nested = {"guid": "sub", "type": "group", "name": "S", "members": [{"guid": "leaf", "name": "L"}]}
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G", "members": [nested]}))
    await push(admin, program, make_event("remove-member", entity="g", data={"memberId": "sub"}))
    assert told(await trail_of(admin, program))[-3:] == [
        ("remove-member", "g"),
        ("cascade-delete-entity", "leaf"),
        ("cascade-delete-entity", "sub"),
    ]


async def test_a_value_that_lost_is_told_by_the_system(admin: AsyncClient, program: str) -> None:
    await push(admin, program, make_event(entity="e", data={"name": "Ana", "age": 1}, timestamp=EARLY))
    await push(admin, program, make_event("update-individual", entity="e", data={"age": 3}, timestamp=LATE))
    lost = make_event("update-individual", entity="e", data={"age": 2, "phone": "7"}, timestamp=EARLY)
    await push(admin, program, lost)
    trail = await trail_of(admin, program)
    entry = trail[-1]
    assert (entry["action"], entry["userId"]) == ("conflict-resolution", "system")
    assert (entry["eventGuid"], entry["entityGuid"]) == (lost["guid"], "e")
    assert entry["actor"] == trail[0]["actor"]
    assert entry["changes"] == {
        "resolution": "kept-local",
        "eventType": "update-individual",
        "localLastUpdated": trail[1]["recordedAt"],
        "remoteTimestamp": EARLY,
        "localVersion": 2,
    }
    # An echo of the event is no second conflict.
    await push(admin, program, lost)
    assert await trail_of(admin, program) == trail


async def test_a_refused_push_leaves_no_trace(admin: AsyncClient, hub: Hub, program: str) -> None:
    group = make_event("create-group", entity="g", data={"name": "G", "members": [{"guid": "m", "name": "M"}]})
    answer = await push(admin, program, group, make_event("add-member", entity="nobody", data={"members": []}))
    assert answer.status_code == 422
    assert await trail_of(admin, program) == []
    assert await stored_count(hub, program) == 0


async def test_what_one_entity_went_through(admin: AsyncClient, program: str) -> None:
    await push(admin, program, make_event("create-group", entity="g", data={"members": [{"guid": "m", "name": "M"}]}))
    await push(admin, program, make_event("update-individual", entity="m", data={"age": 4}), make_event(entity="other"))
    await push(admin, program, make_event("delete-entity", entity="m", data={"why": "x"}))
    assert [entry["action"] for entry in await trail_of(admin, program, entityGuid="m")] == [
        "create-individual",
        "update-individual",
        "delete-entity",
        "cascade-delete-entity",
    ]
    assert await trail_of(admin, program, entityGuid="nobody") == []


async def test_who_goes_on_by_time_misses_nothing_of_a_push_larger_than_a_page(
    admin: AsyncClient, program: str
) -> None:
    """All of a push is recorded in one millisecond. Clients of v1 know no cursor."""
    group = make_event(
        "create-group", data={"name": "H", "members": [{"guid": f"m-{n}", "name": "M"} for n in range(500)]}
    )
    first, *rest = [make_event() for _ in range(1900)]
    await push(admin, program, first)
    await push(admin, program, *rest, group)
    await push(admin, program, last := make_event())
    found: list[dict[str, Any]] = []
    since = ""
    while entries := await trail_of(admin, program, since=since):
        found += entries
        since = entries[-1]["timestamp"]
    assert len(found) == len({entry["guid"] for entry in found}) == 1 + 1900 + 500 + 1
    assert found[-1]["eventGuid"] == last["guid"]
    # Who follows the cursor, or names a size, gets pages of that size.
    answer = await pull_audit(admin, program, limit=1000)
    assert len(answer.json()) == 1000
    cursor = answer.headers["X-Next-Cursor"]
    assert [entry["guid"] for entry in await trail_of(admin, program, cursor=cursor)] == [
        entry["guid"] for entry in found[1000:2000]
    ]
    whole = await pull_audit(admin, program)
    assert await trail_of(admin, program, cursor=whole.headers["X-Next-Cursor"]) == found[-1:]


async def test_since_is_a_time_of_the_hub(admin: AsyncClient, program: str, clock: TurnableClock) -> None:
    await push(admin, program, make_event(entity="a"))
    clock.turn(seconds=1)
    await push(admin, program, make_event("create-group", entity="b", data={"members": [{"guid": "m", "name": "M"}]}))
    clock.turn(seconds=1)
    await push(admin, program, make_event(entity="c"))
    trail = await trail_of(admin, program)
    assert len(trail) == 4
    for index, entry in enumerate(trail):
        later = [other for other in trail if other["recordedAt"] > entry["recordedAt"]]
        assert await trail_of(admin, program, since=entry["recordedAt"]) == later, index
    assert await trail_of(admin, program, since="1970-01-01T00:00:00.000Z") == trail
    assert await trail_of(admin, program, since="9999-12-31T23:59:59.999Z") == []


@pytest.mark.parametrize(("members", "more"), [((), 0), (("m", "n"), 1)])
async def test_a_push_takes_one_statement_more_if_there_is_more_to_tell(
    admin: AsyncClient, hub: Hub, program: str, members: tuple[str, ...], more: int
) -> None:
    data = {"name": "G", "members": [{"guid": guid, "name": "M"} for guid in members]} if members else {"name": "G"}
    with hub.db.statements.record() as statements:
        await push(admin, program, make_event("create-group", entity="g", data=data), make_event())
    assert len([sql for sql in statements if "audit_log" in sql]) == more


async def test_a_page_takes_three_statements_whatever_its_size(admin: AsyncClient, hub: Hub, program: str) -> None:
    groups = [
        make_event("create-group", data={"members": [{"guid": f"{g}-{n}", "name": "M"} for n in range(4)]})
        for g in range(20)
    ]
    await push(admin, program, *groups)
    for limit in (1, 50, 5000):
        with hub.db.statements.record() as statements:
            await trail_of(admin, program, limit=limit, cursor="1-2", since="2024-01-01T00:00:00.000Z")
        assert len(hot(statements)) == 3, statements


async def test_a_rebuild_makes_the_entries_that_are_stored(admin: AsyncClient, hub: Hub, program: str) -> None:
    nested = {"guid": "sub", "type": "group", "name": "S", "members": [{"guid": "leaf", "name": "L"}]}
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G", "members": [nested]}))
    await push(
        admin,
        program,
        make_event(entity="e", data={"age": 1}, timestamp=LATE),
        make_event("delete-entity", entity="g", data={"x": 1}),
    )
    await push(admin, program, make_event("update-individual", entity="e", data={"age": 2}, timestamp=EARLY))
    scope = system_scope(TenantId(program))
    async with hub.db.reading(scope) as view:
        rows = await hub.log._store.read_rows(view, scope, after=0, limit=100)
        lines = await read_trail(
            view, scope, after=BEGINNING, border=BEGINNING, since=Millis(0), entity_guid=None, limit=100
        )
    run = EntityRun(scope, States(), Rules(), ())
    for row in rows:
        run.apply(event_from_body(row.body), Context(row.position, row.recorded_at, row.origin))
    made = [entry for applied in run._applied for entry in entries_of(applied)]
    assert made == [line.entry for line in lines.rows if line.body is None]
    assert {entry.action for entry in made} == {
        "create-group",
        "create-individual",
        "cascade-delete-entity",
        "conflict-resolution",
    }
    before = await trail_of(admin, program)
    async with hub.db.transaction(scope) as tx:
        await keep(tx, scope, made)
    assert await trail_of(admin, program) == before


async def test_a_caller_limited_to_a_part_is_not_told_of_the_whole(admin: AsyncClient, hub: Hub, program: str) -> None:
    part: TenantScope = system_scope(TenantId(program)).limited_to(Reach((Box(area_ids=frozenset({"north"})),)))
    async with hub.db.reading(EVERY_TENANT) as view:
        with pytest.raises(BeyondReach):
            await pull(view, hub.log, part, since=None, after=BEGINNING, entity_guid=None, limit=10)


async def test_a_member_that_came_after_its_groups_end_names_the_delete_it_went_with(
    admin: AsyncClient, program: str
) -> None:
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G"}, timestamp=EARLY))
    await push(admin, program, make_event("delete-entity", entity="g", data={"x": 1}, timestamp=LATE))
    members = [{"guid": "m", "name": "M"}]
    await push(admin, program, make_event("add-member", entity="g", data={"members": members}, timestamp=EARLY))
    trail = await trail_of(admin, program, entityGuid="m")
    assert told(trail) == [("cascade-delete-entity", "m"), ("conflict-resolution", "m")]
    by = {"position": 2, "timeMs": parse_timestamp(LATE)}
    assert trail[0]["changes"] == {"type": "cascade-delete-entity", "entityGuid": "m", "deletedBy": by}


async def test_a_group_inside_an_event_that_changed_none_of_its_values_is_told(
    admin: AsyncClient, program: str
) -> None:
    """It says again who its members are: a removal made before it, that comes later, does not count any more."""
    hours = [f"2025-01-01T0{hour}:00:00.000Z" for hour in range(4)]
    sub = {"type": "group", "members": [{"guid": "leaf", "name": "L"}]}
    await push(admin, program, make_event("create-group", entity="g", data={"name": "G"}, timestamp=hours[0]))
    await push(admin, program, make_event("create-group", entity="sub", data=sub, timestamp=hours[1]))
    await push(admin, program, make_event("update-group", entity="sub", data={"type": "group"}, timestamp=hours[3]))
    outer = {"name": "G", "members": [{"guid": "sub", **sub}]}
    again = make_event("update-group", entity="g", data=outer, timestamp=hours[2])
    await push(admin, program, again)
    entries = [entry for entry in await trail_of(admin, program) if entry["eventGuid"] == again["guid"]]
    assert told(entries) == [("update-group", "g"), ("create-individual", "leaf"), ("create-group", "sub")]
    assert entries[2]["changes"] == sub
