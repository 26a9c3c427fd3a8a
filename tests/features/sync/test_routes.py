"""Push and pull through HTTP, on both engines."""

import asyncio
import json
import uuid
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.db import EVERY_TENANT
from datacollect.http.hub import Hub
from datacollect.kernel.canonical import javascript_number
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import make_config, make_event, make_program, new_id, pull, pull_all, push
from tests.features.conftest import Alone
from tests.statements import hot

pytestmark = pytest.mark.anyio


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    return await make_program(admin)


async def test_a_pushed_event_comes_back_to_every_reader(admin: AsyncClient, program: str) -> None:
    event = make_event(data={"name": "Zoë O'Brien", "nested": {"a": [1, 2.5, None]}}, id=3)
    answer = await push(admin, program, event)
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "success", "applied": 1, "failed": [], "errors": []},
    )
    page = (await pull(admin, program)).json()
    expected = {key: value for key, value in event.items() if key != "id"} | {"syncLevel": 1}
    assert page["events"] == [expected]
    assert page["nextCursor"] is None


async def test_the_answer_tells_the_scope_in_body_and_header(admin: AsyncClient, program: str) -> None:
    answer = await pull(admin, program)
    scope = answer.json()["scope"]
    assert scope == {
        "areaIds": None,
        "entityTypes": None,
        "timeWindow": None,
        "hash": "sha256:002c2ad434fe0c7bc2a82714efd7ce909c9c676f8329619f1613e8b4c100939f",
    }
    assert answer.headers["X-Sync-Scope-Hash"] == scope["hash"]


async def test_members_of_the_body_come_in_the_order_events_first(admin: AsyncClient, program: str) -> None:
    await push(admin, program, make_event())
    assert list((await pull(admin, program)).json()) == ["events", "nextCursor", "scope"]


async def test_equal_times_page_without_loss_or_repeat(admin: AsyncClient, program: str) -> None:
    events = [make_event(timestamp="2025-02-01T00:00:00.000Z") for _ in range(25)]
    await push(admin, program, *events)
    sizes, seen, cursor = [], [], ""
    while cursor is not None:
        page = (await pull(admin, program, cursor)).json()
        sizes.append(len(page["events"]))
        seen += [event["guid"] for event in page["events"]]
        cursor = page["nextCursor"]
    assert sizes == [10, 10, 5]
    assert seen == [event["guid"] for event in events]


async def test_an_exactly_full_last_page_is_followed_by_an_empty_one(admin: AsyncClient, program: str) -> None:
    await push(admin, program, *(make_event() for _ in range(10)))
    first = (await pull(admin, program)).json()
    last = (await pull(admin, program, first["nextCursor"])).json()
    assert (len(first["events"]), last["events"], last["nextCursor"]) == (10, [], None)


@pytest.mark.parametrize(
    ("parameters", "size"), [({}, 10), ({"limit": 3}, 3), ({"areaIds": "a,b"}, 0), ({"limit": 5000}, 30)]
)
async def test_the_page_size_is_the_callers_within_bounds(
    admin: AsyncClient, program: str, parameters: dict[str, Any], size: int
) -> None:
    await push(admin, program, *(make_event() for _ in range(30)))
    assert len((await pull(admin, program, **parameters)).json()["events"]) == size


@pytest.mark.parametrize("limit", ["0", "5001", "-1", "ten", "1.5", "1_0", "٣"])
async def test_a_limit_out_of_bounds_is_refused(admin: AsyncClient, program: str, limit: str) -> None:
    answer = await pull(admin, program, limit=limit)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_LIMIT")


async def test_a_late_event_reaches_a_reader_who_was_ahead_of_its_time(admin: AsyncClient, program: str) -> None:
    await push(admin, program, make_event(timestamp="2025-02-01T00:00:00.000Z"))
    seen = (await pull(admin, program)).json()["events"][-1]
    late = make_event(timestamp="2025-01-15T00:00:00.000Z")
    await push(admin, program, late)
    for since in (f"{seen['timestamp']}|{seen['guid']}", seen["timestamp"]):
        assert late["guid"] in [event["guid"] for event in await pull_all(admin, program, since)]


async def test_an_event_from_the_future_stops_nobody(admin: AsyncClient, program: str) -> None:
    future = make_event(timestamp="2999-01-01T00:00:00.000Z")
    await push(admin, program, future)
    after = make_event()
    await push(admin, program, after)
    for since in (f"{future['timestamp']}|{future['guid']}", future["timestamp"]):
        assert after["guid"] in [event["guid"] for event in await pull_all(admin, program, since)]


@pytest.mark.parametrize("is_sorted_by_time", [False, True])
async def test_who_was_registered_by_a_clock_that_was_ahead_is_there_for_what_was_done_since(
    admin: AsyncClient, program: str, is_sorted_by_time: bool
) -> None:
    """The push was refused for ever, and the device stopped: the group came behind what was said of it."""
    ahead, since, group, member = "2999-01-01T00:00:00.000Z", "2025-01-15T00:00:00.000Z", new_id("g"), new_id("m")
    told = [
        make_event("create-group", entity=group, data={"name": "G"}, timestamp=ahead),
        make_event("add-member", entity=group, data={"members": [{"guid": member, "name": "Leo"}]}, timestamp=since),
    ]
    answer = await push(admin, program, *sorted(told, key=lambda one: one["timestamp"]) if is_sorted_by_time else told)
    assert (answer.status_code, answer.json()["applied"]) == (200, 2)
    members = await admin.get(f"/api/entities/{group}/members", params={"configId": program})
    assert [one["guid"] for one in members.json()] == [member]


async def test_a_clock_that_is_a_little_ahead_puts_nobody_in_front_of_those_they_name(
    admin: AsyncClient, hub: Hub, program: str
) -> None:
    inner, outer, member = new_id("h"), new_id("g"), new_id("m")
    before, ahead = (format_timestamp(Millis(hub.clock.now() + seconds * 1000)) for seconds in (-240, 30))
    told = [
        make_event(
            "create-group",
            entity=inner,
            data={"name": "H", "members": [{"guid": member, "name": "M"}]},
            timestamp=before,
        ),
        make_event(
            "create-group", entity=outer, data={"name": "G", "members": [{"guid": inner, "name": "H"}]}, timestamp=ahead
        ),
    ]
    answer = await push(admin, program, *told)
    assert (answer.status_code, answer.json()["applied"]) == (200, 2)
    kept = await admin.get(f"/api/entities/{inner}", params={"configId": program})
    assert kept.json()["type"] == "group"
    assert [event["guid"] for event in await pull_all(admin, program)] == [event["guid"] for event in told]


async def test_beside_an_event_from_the_future_all_else_stays_in_the_order_of_its_time(
    admin: AsyncClient, program: str
) -> None:
    told = [
        make_event("create-individual", entity="ana", timestamp="2025-02-01T00:00:00.000Z"),
        make_event("create-individual", entity="bo", timestamp="2999-01-01T00:00:00.000Z"),
        make_event("update-individual", entity="ana", timestamp="2025-01-15T00:00:00.000Z"),
    ]
    assert (await push(admin, program, *told)).json()["applied"] == 3
    in_order = sorted(told, key=lambda one: one["timestamp"])
    assert [event["guid"] for event in await pull_all(admin, program)] == [event["guid"] for event in in_order]


@pytest.mark.parametrize(
    "since",
    ["now", "infinity", "2025-13-01T00:00:00Z", "2025-01-01T00:00:00+02:00", "|x", "2025-01-01T00:00:00Z|", "0"],
)
async def test_a_since_that_is_no_cursor_is_refused(admin: AsyncClient, program: str, since: str) -> None:
    answer = await pull(admin, program, since)
    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_CURSOR"
    assert answer.json()["status"] == "error"


@pytest.mark.parametrize("atomic", [True, False])
async def test_an_event_is_known_though_a_key_in_it_has_become_reserved_since(admin: AsyncClient, atomic: bool) -> None:
    """The answer was lost, and the programme has begun to count attendance meanwhile."""
    program = await make_program(admin)
    event = make_event(data={"name": "Ana", "attendance": "good"})
    assert (await push(admin, program, event)).json()["applied"] == 1
    counting = make_config(program, customEventTypes=["record-attendance"])
    assert (await admin.put(f"/api/apps/{program}", json=counting)).status_code == 200
    answer = await push(admin, program, event, atomic=atomic)
    assert (answer.status_code, answer.json()["applied"], answer.json()["failed"]) == (200, 1, [])
    assert "GUID_REUSED" not in {warning["code"] for warning in answer.json().get("warnings", [])}
    older = make_event(timestamp="2025-01-01T00:00:00.000Z")
    beside = await push(admin, program, event, older, atomic=atomic)
    assert (beside.status_code, beside.json()["applied"], beside.json()["failed"]) == (200, 2, [])
    other = event | {"data": {"name": "Bo", "attendance": "good"}}
    told = (await push(admin, program, other, atomic=False)).json()
    assert [one["code"] for one in told["failed"]] == ["GUID_REUSED"]


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("number", [123456789012345678, -(10**21) - 1, 2**53 + 1])
async def test_an_echo_by_a_device_with_doubles_is_known(admin: AsyncClient, number: int, atomic: bool) -> None:
    """JavaScript reads and writes `123456789012345678` as `123456789012345680`."""
    program = await make_program(admin)
    event = make_event(data={"ids": [{"national": number}], "name": "Ana"})
    await push(admin, program, event)
    written = json.loads(javascript_number(float(number)))
    echo = event | {"data": {"ids": [{"national": written}], "name": "Ana"}}
    answer = (await push(admin, program, echo, echo, atomic=atomic)).json()
    assert (answer["applied"], answer["failed"], answer.get("warnings", [])) == (2, [], [])
    for other in ({"ids": [{"national": number + 1000000}]}, {"ids": [{"national": written}], "name": "Bo"}):
        told = (await push(admin, program, event | {"data": other}, atomic=False)).json()
        assert [one["code"] for one in told["failed"]] == ["GUID_REUSED"]
    [stored] = await pull_all(admin, program)
    assert stored["data"] == event["data"]


async def test_pushing_twice_stores_once_and_counts_twice(admin: AsyncClient, program: str) -> None:
    events = [make_event() for _ in range(3)]
    answers = [await push(admin, program, *events), await push(admin, program, *events)]
    assert [answer.json()["applied"] for answer in answers] == [3, 3]
    assert len(await pull_all(admin, program)) == 3


async def test_an_echo_by_someone_else_changes_nothing(admin: AsyncClient, program: str) -> None:
    await push(admin, program, make_event(data={"b": 1, "a": {"y": 1, "x": 2}}))
    [echo] = await pull_all(admin, program)
    echo = echo | {"data": {"a": {"x": 2, "y": 1}, "b": 1}, "id": 99}
    answer = await push(admin, program, echo)
    assert answer.json() == {"status": "success", "applied": 1, "failed": [], "errors": []}
    assert len(await pull_all(admin, program)) == 1


async def test_the_same_guid_twice_in_one_push_is_stored_once(admin: AsyncClient, program: str) -> None:
    event = make_event()
    assert (await push(admin, program, event, event)).json()["applied"] == 2
    assert len(await pull_all(admin, program)) == 1


async def test_a_guid_used_for_another_event_is_reported(admin: AsyncClient, program: str) -> None:
    event = make_event()
    await push(admin, program, event)
    answer = await push(admin, program, event | {"data": {"name": "Somebody else"}})
    assert answer.status_code == 200
    assert [(w["code"], w["guid"]) for w in answer.json()["warnings"]] == [("GUID_REUSED", event["guid"])]
    assert (await pull_all(admin, program))[0]["data"] == event["data"]


async def test_one_bad_event_rolls_the_whole_push_back(admin: AsyncClient, program: str) -> None:
    bad = make_event("add-member", entity="no-such-group", data={"members": [{"guid": "m", "name": "M"}]})
    answer = await push(admin, program, make_event(timestamp="2025-01-01T00:00:00Z"), bad, make_event())
    assert answer.status_code == 422
    body = answer.json()
    assert (body["status"], body["applied"], body["failed"][0]["eventGuid"]) == ("error", 0, bad["guid"])
    assert (body["failed"][0]["index"], body["failed"][0]["reason"]) == (1, "submit_failed")
    assert await pull_all(admin, program) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"data": {}}, "INVALID_FORM"),
        ({"userId": ""}, "INVALID_FORM"),
        ({"type": ""}, "INVALID_FORM"),
        ({"type": "no-such-type"}, "UNKNOWN_EVENT_TYPE"),
        ({"data": {"externalId": "stolen"}}, "INVALID_FORM"),
    ],
)
async def test_an_event_that_cannot_be_applied_says_why(
    admin: AsyncClient, program: str, changes: dict[str, Any], code: str
) -> None:
    answer = await push(admin, program, make_event(**changes))
    assert answer.status_code == 422
    assert answer.json()["failed"][0]["code"] == code


async def test_a_push_that_asks_for_verdicts_keeps_the_good_events(admin: AsyncClient, hub: Hub, program: str) -> None:
    events = [make_event(timestamp=f"2025-01-01T00:00:0{9 - i}Z") for i in range(4)]
    events[2]["type"] = "no-such-type"
    answer = await push(admin, program, *events, atomic=False)
    assert answer.status_code == 207
    body = answer.json()
    assert (body["status"], body["applied"]) == ("partial", 3)
    [verdict] = body["failed"]
    assert (verdict["index"], verdict["guid"], verdict["code"]) == (2, events[2]["guid"], "UNKNOWN_EVENT_TYPE")
    assert len(await pull_all(admin, program)) == 3
    async with hub.db.reading(EVERY_TENANT) as view:
        quoted = "?" if hub.db.dialect == "sqlite" else "$1"
        kept = await view.fetch(f"SELECT event_guid, code FROM quarantine WHERE tenant_id = {quoted}", program)
    assert [tuple(row) for row in kept] == [(events[2]["guid"], "UNKNOWN_EVENT_TYPE")]


async def test_a_refused_event_counts_as_applied_for_none_of_its_copies(admin: AsyncClient, program: str) -> None:
    bad = make_event("add-member", entity="nobody", data={"members": [{"guid": "m", "name": "Leo"}]})
    answer = (await push(admin, program, bad, bad, atomic=False)).json()
    assert answer["applied"] == 0
    assert [(failure["index"], failure["code"]) for failure in answer["failed"]] == [
        (0, "INVALID_GROUP"),
        (1, "INVALID_GROUP"),
    ]


async def test_a_guid_is_taken_only_by_an_event_that_is_stored(admin: AsyncClient, program: str) -> None:
    good = make_event()
    answer = (await push(admin, program, good | {"type": "nonsense"}, good, atomic=False)).json()
    assert answer["applied"] == 1
    assert [(failure["index"], failure["code"]) for failure in answer["failed"]] == [(0, "UNKNOWN_EVENT_TYPE")]
    assert [event["type"] for event in await pull_all(admin, program)] == ["create-individual"]


async def test_server_managed_keys_are_never_stored(admin: AsyncClient, program: str) -> None:
    member = {"guid": str(uuid.uuid4()), "name": "M", "externalId": "x", "identifierType": "y"}
    event = make_event("create-group", data={"name": "G", "externalId": "x", "members": [member]})
    await push(admin, program, event)
    [stored] = await pull_all(admin, program)
    assert "externalId" not in str(stored)
    assert "identifierType" not in str(stored)


async def test_the_schema_version_comes_back_when_it_was_sent(admin: AsyncClient, program: str) -> None:
    await push(admin, program, make_event(schemaVersion=3), make_event())
    assert [event.get("schemaVersion") for event in await pull_all(admin, program)] == [3, None]


@pytest.mark.parametrize("size", [1, 10, 200])
async def test_a_push_takes_the_same_few_statements_whatever_its_size(
    admin: AsyncClient, hub: Hub, program: str, size: int
) -> None:
    group = make_event("create-group", data={"name": "G", "members": [{"guid": str(uuid.uuid4()), "name": "M"}]})
    events = [make_event() for _ in range(size - 1)]
    await push(admin, program, make_event())
    with hub.db.statements.record() as statements:
        await push(admin, program, group, *events)
    # Six for the events, and one for what the audit trail tells of the member. SQLite, which is asked across no network,
    # gets the new rows of the index by themselves.
    assert len(hot(statements)) <= (8 if hub.db.dialect == "sqlite" else 7), statements


async def test_a_pull_takes_two_statements(admin: AsyncClient, hub: Hub, program: str) -> None:
    await push(admin, program, *(make_event() for _ in range(20)))
    cursor = (await pull(admin, program)).json()["nextCursor"]
    with hub.db.statements.record() as statements:
        await pull(admin, program, cursor)
    assert len(hot(statements)) == 2, statements


async def test_pushes_at_once_to_one_program_are_all_stored(admin: AsyncClient, program: str) -> None:
    answers = await asyncio.gather(*(push(admin, program, make_event(), make_event()) for _ in range(20)))
    assert [answer.json()["applied"] for answer in answers] == [2] * 20
    assert len(await pull_all(admin, program, limit=7)) == 40


async def test_nothing_is_answered_for_an_unknown_program(admin: AsyncClient) -> None:
    for answer in (await pull(admin, new_id()), await push(admin, new_id(), make_event())):
        assert (answer.status_code, answer.json()["error"]) == (400, "App instance not found")


async def test_a_body_that_is_no_object_is_told_so_where_there_is_no_default_program(alone: Alone) -> None:
    """The contract asks for the program before it looks at the shape: status, error and code are its own."""
    admin = await alone.admin()
    for body, is_told in (("[]", True), ("7", True), ('{"events": []}', False)):
        told = (await admin.post("/api/sync/push", content=body)).json()
        assert (told["error"], told["code"]) == ("App instance not found", "TENANT_UNKNOWN")
        assert told["help"].startswith("Send an object with `configId`, a push with `events` beside it") is is_told
    elsewhere = await admin.post("/api/sync/push", params={"configId": "elsewhere"}, content="[]")
    assert elsewhere.json()["help"].startswith("Check `configId`")


async def test_an_absent_config_id_means_default(admin: AsyncClient) -> None:
    await admin.post("/api/apps", json={"id": "default", "name": "Default"})
    event = make_event()
    assert (await admin.post("/api/sync/push", json={"events": [event]})).status_code == 200
    page = (await admin.get("/api/sync/pull", params={"limit": 5000})).json()
    assert event["guid"] in [e["guid"] for e in page["events"]]
    assert (await admin.get("/api/sync/pull", params={"limit": 5000, "configId": ""})).json() == page


async def test_an_empty_config_id_in_the_query_is_none(admin: AsyncClient, program: str) -> None:
    body = {"events": [make_event()], "configId": program}
    assert (await admin.post("/api/sync/push", params={"configId": ""}, json=body)).status_code == 200
    assert (await admin.post("/api/sync/push?configId=&configId=x", json=body)).status_code == 400


async def test_query_and_body_that_differ_write_nothing(admin: AsyncClient, program: str) -> None:
    other = await make_program(admin)
    answer = await admin.post(
        "/api/sync/push", params={"configId": program}, json={"events": [make_event()], "configId": other}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "TENANT_MISMATCH")
    assert await pull_all(admin, program) == await pull_all(admin, other) == []


async def test_callers_without_a_token_are_told_so(client: AsyncClient, program: str) -> None:
    for answer in (await pull(client, program), await push(client, program, make_event())):
        assert (answer.status_code, answer.json()["error"]) == (401, "Authorization header missing")


async def test_the_callback_is_reserved(admin: AsyncClient, program: str) -> None:
    answer = await admin.get("/api/sync/pull/callback", params={"configId": program})
    assert (answer.status_code, answer.json()) == (200, {"status": "not implemented"})


async def test_the_log_keeps_the_authenticated_caller_beside_the_claimed_one(
    admin: AsyncClient, hub: Hub, program: str
) -> None:
    event = make_event(userId="somebody-else")
    await push(admin, program, event)
    me = (await admin.get("/api/users/me")).json()
    async with hub.db.reading(EVERY_TENANT) as view:
        quoted = "?" if hub.db.dialect == "sqlite" else "$1"
        rows = await view.fetch(f"SELECT actor FROM events WHERE tenant_id = {quoted}", program)
        head = await hub.log.head(view, system_scope(TenantId(program)))
    assert [row[0] for row in rows] == [str(me["id"])]
    assert head is not None
    assert head.position == 1


async def test_a_push_that_was_let_in_before_the_program_was_archived_stores_nothing(
    admin: AsyncClient, hub: Hub, program: str
) -> None:
    """Another process has archived it within the second for which this one remembers that it runs."""
    async with hub.db.transaction(EVERY_TENANT) as tx:
        await hub.log.close(tx, system_scope(TenantId(program)))
    answer = await push(admin, program, make_event())
    assert (answer.status_code, answer.json()["error"]) == (400, "App instance not found")
    async with hub.db.reading(EVERY_TENANT) as view:
        head = await hub.log.head(view, system_scope(TenantId(program)))
    assert head is not None
    assert head.position == 0


async def test_a_restored_program_takes_pushes_again(admin: AsyncClient, program: str) -> None:
    await admin.delete(f"/api/apps/{program}")
    assert (await push(admin, program, make_event())).status_code == 400
    await admin.post(f"/api/apps/{program}/restore")
    assert (await push(admin, program, make_event())).status_code == 200


async def test_a_refused_event_that_is_retried_is_kept_in_quarantine_once(
    admin: AsyncClient, hub: Hub, program: str
) -> None:
    bad = make_event("no-such-type")
    for _ in range(2):
        assert (await push(admin, program, bad, atomic=False)).status_code == 207
    async with hub.db.reading(EVERY_TENANT) as view:
        quoted = "?" if hub.db.dialect == "sqlite" else "$1"
        kept = await view.fetch(f"SELECT event_guid FROM quarantine WHERE tenant_id = {quoted}", program)
    assert [row[0] for row in kept] == [bad["guid"]]


async def test_a_failure_names_its_event_also_when_the_push_was_not_in_time_order(
    admin: AsyncClient, program: str
) -> None:
    bad = make_event("no-such-type", timestamp="2025-01-02T00:00:00.000Z")
    late = make_event(timestamp="2025-01-03T00:00:00.000Z")
    early = make_event(timestamp="2025-01-01T00:00:00.000Z")
    failure = (await push(admin, program, late, bad, early)).json()["failed"][0]
    assert (failure["index"], failure["eventGuid"]) == (1, bad["guid"])


async def test_keys_that_mean_something_elsewhere_are_plain_data(admin: AsyncClient, program: str) -> None:
    data = {"__proto__": {"admin": True}, "constructor": 1, "$where": "1", "name": "N"}
    event = make_event(data=data)
    await push(admin, program, event)
    assert (await pull_all(admin, program))[0]["data"] == data
    entity = await admin.get(f"/api/entities/{event['entityGuid']}", params={"configId": program})
    assert entity.json()["data"] == data


FAULTS: list[tuple[str, dict[str, Any], str, list[str | int]]] = [
    ("no-such-type", {}, "UNKNOWN_EVENT_TYPE", ["type"]),
    ("create-individual", {"data": {}}, "INVALID_FORM", ["data"]),
    ("create-individual", {"userId": ""}, "INVALID_FORM", ["userId"]),
    ("add-member", {"data": {"members": [{"guid": "m", "name": "M"}]}}, "INVALID_GROUP", ["entityGuid"]),
    ("create-group", {"data": {"members": [{"name": "M"}]}}, "INVALID_MEMBER_DATA", ["data", "members", 0, "guid"]),
    ("create-group", {"data": {"members": [{"guid": "m"}]}}, "INVALID_FORM", ["data", "members", 0]),
    (
        "create-group",
        {"entityGuid": "g", "data": {"members": [{"guid": "g", "name": "G", "type": "group"}]}},
        "MEMBER_CYCLE",
        ["data", "members", 0, "guid"],
    ),
]


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize(("event_type", "changes", "code", "path"), FAULTS)
async def test_a_refused_event_is_answered_with_code_place_and_what_to_do(
    admin: AsyncClient,
    program: str,
    event_type: str,
    changes: dict[str, Any],
    code: str,
    path: list[str | int],
    atomic: bool,
) -> None:
    answer = await push(admin, program, make_event(event_type, **changes), atomic=atomic)
    [failure] = answer.json()["failed"]
    assert (failure["code"], failure["path"]) == (code, path)
    assert failure["message"]
    assert failure["help"]
