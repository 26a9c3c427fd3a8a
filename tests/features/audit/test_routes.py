"""Pushing and pulling audit logs through HTTP, on both engines: what is taken, from whom, and who is told."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.eventstore.event import Event
from datacollect.features.audit.model import own_guid
from datacollect.http.hub import Hub
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from datacollect.testing.clock import TurnableClock
from tests.accounts import assert_refused, bearer, login, make_person
from tests.factories import make_audit_log, make_event, make_program, pull_audit, push, push_audit

pytestmark = pytest.mark.anyio

LATER = "2999-01-01T00:00:00.000Z"


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    return await make_program(admin)


async def member(admin: AsyncClient, client: AsyncClient, program: str, role: str) -> dict[str, str]:
    """The headers of a new account with that role in the program."""
    person = await make_person(admin, tenantIds=[program], roleAssignments=[{"tenantId": program, "role": role}])
    return bearer((await login(client, person))["token"])


async def test_a_pushed_log_comes_back_with_the_caller_as_its_user(admin: AsyncClient, program: str) -> None:
    log = make_audit_log(timestamp="2025-01-01T00:00:00.123456Z", more=1)
    answer = await push_audit(admin, program, log, headers={"X-Device-Id": "tablet-3"})
    assert (answer.status_code, answer.json()) == (200, {"status": "success"})
    [entry] = (await pull_audit(admin, program)).json()
    me = str((await admin.get("/api/users/me")).json()["id"])
    expected = {key: value for key, value in log.items() if key != "more"}
    assert entry == expected | {
        "timestamp": "2025-01-01T00:00:00.123Z",
        "userId": me,
        "actor": me,
        "claimedUserId": "agent-7",
        "deviceId": "tablet-3",
        "recordedAt": entry["recordedAt"],
    }


async def test_a_retry_stores_nothing_twice(admin: AsyncClient, program: str) -> None:
    logs = [make_audit_log(), make_audit_log()]
    await push_audit(admin, program, *logs)
    await push(admin, program, make_event())
    again = await push_audit(admin, program, logs[1], logs[0], make_audit_log(), logs[0])
    assert again.json() == {"status": "success"}
    assert len((await pull_audit(admin, program)).json()) == 4


async def test_another_log_with_a_known_guid_is_reported_and_changes_nothing(admin: AsyncClient, program: str) -> None:
    log = make_audit_log()
    await push_audit(admin, program, log)
    before = (await pull_audit(admin, program)).json()
    for changed in ({"changes": {"age": 2}}, {"action": "x"}, {"timestamp": LATER}, {"signature": "s"}):
        answer = await push_audit(admin, program, make_audit_log(), log | changed)
        assert answer.status_code == 200
        [warning] = answer.json()["warnings"]
        assert (warning["index"], warning["guid"], warning["code"]) == (1, log["guid"], "GUID_REUSED")
    after = (await pull_audit(admin, program)).json()
    assert after[0] == before[0]
    assert len(after) == 5


async def test_nobody_can_take_the_guid_of_an_entry_that_the_hub_is_going_to_make(
    admin: AsyncClient, program: str
) -> None:
    gone = make_event("delete-entity", entity="e", data={"why": "x"})
    await push(admin, program, make_event(entity="e"))
    await push(admin, program, gone)
    trail = (await pull_audit(admin, program)).json()
    other = await make_program(admin)
    answer = await push_audit(admin, other, *(make_audit_log(guid=entry["guid"]) for entry in trail))
    assert [warning["code"] for warning in answer.json()["warnings"]] == ["GUID_RESERVED"] * 3
    await push(admin, other, make_event(entity="e"))
    await push(admin, other, gone)
    told = (await pull_audit(admin, other)).json()
    assert [entry["action"] for entry in told] == ["create-individual", "delete-entity", "cascade-delete-entity"]
    assert told[1]["guid"] == own_guid(gone["guid"], "e")


async def test_a_log_pushed_before_there_is_any_event_is_told(admin: AsyncClient, program: str) -> None:
    log = make_audit_log()
    await push_audit(admin, program, log)
    await push(admin, program, make_event())
    for query in ({}, {"since": "2024-01-01T00:00:00.000Z"}, {"entityGuid": log["entityGuid"]}):
        assert (await pull_audit(admin, program, **query)).json()[0]["guid"] == log["guid"], query


async def test_a_log_pushed_late_reaches_a_reader_who_follows_the_time(
    admin: AsyncClient, program: str, clock: TurnableClock
) -> None:
    """However old it claims to be, and whether or not an event came meanwhile."""
    await push(admin, program, make_event())
    for between in ((), (make_event(),)):
        clock.turn(seconds=1)
        seen = format_timestamp(clock.now())
        clock.turn(seconds=1)
        late = make_audit_log(timestamp="2020-01-01T00:00:00.000Z")
        await push_audit(admin, program, late)
        if between:
            await push(admin, program, *between)
        told = (await pull_audit(admin, program, since=seen)).json()
        assert [entry["guid"] for entry in told] == [
            late["guid"],
            *(own_guid(e["guid"], e["entityGuid"]) for e in between),
        ]


async def test_a_log_of_a_clock_that_is_ahead_is_told_once_to_who_asks_for_that_time(
    admin: AsyncClient, program: str, clock: TurnableClock
) -> None:
    await push(admin, program, make_event())
    ahead = [make_audit_log(timestamp=LATER), make_audit_log(timestamp="2998-06-01T00:00:00.000Z")]
    await push_audit(admin, program, ahead[0], make_audit_log(), ahead[1])
    await push(admin, program, make_event())
    guids = [log["guid"] for log in ahead]
    told = (await pull_audit(admin, program, since="2998-01-01T00:00:00.000Z")).json()
    assert [entry["guid"] for entry in told] == guids
    told = (await pull_audit(admin, program, since="2998-06-01T00:00:00.000Z")).json()
    assert [entry["guid"] for entry in told] == guids[:1]
    clock.turn(seconds=1)
    now = format_timestamp(clock.now())
    clock.turn(seconds=1)
    await push_audit(admin, program, make_audit_log(timestamp="2998-07-01T00:00:00.000Z"))
    told = (await pull_audit(admin, program, since=now)).json()
    assert len(told) == len({entry["guid"] for entry in told}) == 3
    paged, cursor = [], ""
    for _ in range(4):
        answer = await pull_audit(admin, program, since=now, limit=1, cursor=cursor)
        paged += answer.json()
        cursor = answer.headers.get("X-Next-Cursor", cursor)
    assert paged == told


async def test_pages_join_without_gap_or_overlap_whatever_their_size(admin: AsyncClient, program: str) -> None:
    for number in range(4):
        members = [{"guid": f"m{number}-{n}", "name": "M"} for n in range(3)]
        await push(admin, program, make_event("create-group", data={"members": members}), make_event())
        await push_audit(admin, program, make_audit_log(), make_audit_log())
    whole = (await pull_audit(admin, program)).json()
    assert len(whole) == 28
    for limit in (1, 3, 7, 28):
        paged: list[Any] = []
        target: str | None = f"/api/sync/pull/audit-logs?configId={program}&limit={limit}"
        while target is not None:
            answer = await admin.get(target)
            page = answer.json()
            assert ("X-Next-Cursor" in answer.headers) == (len(page) == limit)
            target = answer.links["next"]["url"] if "next" in answer.links else None
            paged += page
        assert paged == whole, limit


async def test_a_call_is_stored_as_a_whole_or_not_at_all(admin: AsyncClient, program: str) -> None:
    answer = await push_audit(admin, program, make_audit_log(), make_audit_log(timestamp="yesterday"))
    assert answer.status_code == 400
    body = answer.json()
    assert (body["status"], body["message"]) == ("error", "Invalid audit log payload")
    assert [issue["path"] for issue in body["errors"]] == [["auditLogs", 1, "timestamp"]]
    assert (await pull_audit(admin, program)).json() == []


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({}, [["auditLogs"]]),
        ([], [[]]),
        ({"auditLogs": [{}]}, [["auditLogs", 0, name] for name in ("guid", "timestamp", "action")]),
        ({"auditLogs": [make_audit_log(guid="")]}, [["auditLogs", 0, "guid"]]),
        ({"auditLogs": [make_audit_log(changes=None)]}, [["auditLogs", 0, "changes"]]),
        ({"auditLogs": [make_audit_log(signature=1)]}, [["auditLogs", 0, "signature"]]),
        ({"auditLogs": [make_audit_log(entityGuid="x" * 513)]}, [["auditLogs", 0, "entityGuid"]]),
        ({"auditLogs": [make_audit_log(timestamp="2025-01-01T00:00:00+07:00")]}, [["auditLogs", 0, "timestamp"]]),
    ],
)
async def test_a_payload_of_another_shape_is_refused_with_every_issue(
    admin: AsyncClient, program: str, body: Any, paths: list[Any]
) -> None:
    answer = await admin.post("/api/sync/push/audit-logs", params={"configId": program}, json=body)
    assert answer.status_code == 400
    found = [issue["path"] for issue in answer.json()["errors"]]
    assert all(path in found for path in paths), found


async def test_of_many_wrong_logs_the_first_is_told(admin: AsyncClient, program: str) -> None:
    """A megabyte of zeros held the hub for 14 seconds and took half a gigabyte; a body may have fifty of them."""
    for wrong, issues in ((0, 1), ({}, 7), (make_audit_log(timestamp="yesterday", guid=7), 2)):
        body = {"auditLogs": [make_audit_log(), *[wrong] * 50_000]}
        answer = await admin.post("/api/sync/push/audit-logs", params={"configId": program}, json=body)
        assert answer.status_code == 400
        assert {tuple(issue["path"][:2]) for issue in answer.json()["errors"]} == {("auditLogs", 1)}
        assert len(answer.json()["errors"]) == issues


async def test_no_logs_are_fine(admin: AsyncClient, program: str) -> None:
    assert (await push_audit(admin, program)).json() == {"status": "success"}


async def test_a_push_of_many_takes_a_constant_number_of_statements(admin: AsyncClient, hub: Hub, program: str) -> None:
    counts = []
    for size in (2, 300):
        with hub.db.statements.record() as statements:
            await push_audit(admin, program, *(make_audit_log() for _ in range(size)))
        counts.append(len([sql for sql in statements if "users" not in sql and "programs" not in sql]))
    assert counts[0] == counts[1] <= 5
    assert len((await pull_audit(admin, program)).json()) == 302


@pytest.mark.parametrize(
    "query",
    [{"since": "yesterday"}, {"limit": "0"}, {"limit": "5001"}, {"limit": "x"}, {"cursor": "1"}, {"cursor": "-1-2"}],
)
async def test_a_query_that_cannot_be_is_refused(admin: AsyncClient, program: str, query: Any) -> None:
    answer = await pull_audit(admin, program, **query)
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (400, "INVALID_AUDIT_QUERY", "error")


@pytest.mark.parametrize(
    ("role", "may_push", "may_pull"),
    [("viewer", 403, 403), ("enumerator", 200, 403), ("supervisor", 200, 200), ("program-admin", 200, 200)],
)
async def test_noting_needs_an_enumerator_and_reading_a_supervisor(
    admin: AsyncClient, client: AsyncClient, program: str, role: str, may_push: int, may_pull: int
) -> None:
    headers = await member(admin, client, program, role)
    pushed = await push_audit(client, program, make_audit_log(), headers=headers)
    pulled = await client.get("/api/sync/pull/audit-logs", params={"configId": program}, headers=headers)
    assert (pushed.status_code, pulled.status_code) == (may_push, may_pull)


async def test_another_program_is_closed_and_knows_nothing_of_it(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    other = await make_program(admin)
    headers = await member(admin, client, other, "supervisor")
    await push(admin, program, make_event("create-group", data={"members": [{"guid": "m", "name": "M"}]}))
    log = make_audit_log()
    await push_audit(admin, program, log)
    assert_refused(await push_audit(client, program, log, headers=headers), 403, "Forbidden: No access to this tenant")
    pulled = await client.get("/api/sync/pull/audit-logs", params={"configId": program}, headers=headers)
    assert_refused(pulled, 403, "Forbidden: No access to this tenant")
    mine = await client.get("/api/sync/pull/audit-logs", params={"configId": other}, headers=headers)
    assert mine.json() == []
    # Guids are one program's own.
    assert (await push_audit(client, other, log | {"changes": {}}, headers=headers)).json() == {"status": "success"}


async def test_two_programs_in_one_request_are_refused(admin: AsyncClient, program: str) -> None:
    other = await make_program(admin)
    body = {"auditLogs": [make_audit_log()], "configId": program}
    answer = await admin.post("/api/sync/push/audit-logs", params={"configId": other}, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "TENANT_MISMATCH")
    assert (await pull_audit(admin, program)).json() == (await pull_audit(admin, other)).json() == []


@pytest.mark.parametrize("archived", [False, True])
async def test_a_program_that_does_not_run_is_not_found(admin: AsyncClient, program: str, archived: bool) -> None:
    name = program if archived else "no-such-program"
    if archived:
        assert (await admin.delete(f"/api/apps/{program}")).is_success
    for answer in (await push_audit(admin, name, make_audit_log()), await pull_audit(admin, name)):
        assert_refused(answer, 404, "App instance not found")
        assert answer.json()["status"] == "error"


async def test_only_staff_is_let_in(client: AsyncClient, hub: Hub, program: str) -> None:
    citizen = {"scope": "self-service", "identifier": "x", "tenantId": program}
    token = hub.tokens._sign(citizen, hub.clock.now(), 3600)
    for headers, status in (({}, 401), (bearer("nonsense"), 401), (bearer(token), 403)):
        pushed = await push_audit(client, program, make_audit_log(), headers=headers)
        pulled = await client.get("/api/sync/pull/audit-logs", params={"configId": program}, headers=headers)
        assert (pushed.status_code, pulled.status_code) == (status, status)


async def test_a_log_waits_for_the_events_that_are_being_stored(admin: AsyncClient, hub: Hub, program: str) -> None:
    """Else it would take a place that a reader passes before it is committed, or the other way round."""
    scope, tenant = system_scope(TenantId(program)), Tenant(TenantId(program), program)
    event = Event(str(uuid.uuid4()), "e", "create-individual", {"name": "Ana"}, hub.clock.now(), "agent-7")
    log = make_audit_log()
    async with hub.db.transaction(scope) as tx:
        await hub.log.append(tx, scope, tenant, [event])
        pushing = asyncio.create_task(push_audit(admin, program, log))
        for _ in range(20):
            assert (await pull_audit(admin, program)).json() == []
    assert (await pushing).status_code == 200
    told = (await pull_audit(admin, program)).json()
    assert [entry["guid"] for entry in told] == [own_guid(event.guid, "e"), log["guid"]]


async def test_a_follower_misses_nothing_while_events_and_logs_are_pushed(
    admin: AsyncClient, program: str, measured: Callable[[str, object], None]
) -> None:
    expected: set[str] = set()
    writing = [8]

    async def write(number: int) -> None:
        for turn in range(12):
            if (number + turn) % 2:
                logs = [make_audit_log() for _ in range(3)]
                assert (await push_audit(admin, program, *logs)).status_code == 200
                expected.update(log["guid"] for log in logs)
            else:
                leaf = str(uuid.uuid4())
                group = make_event("create-group", data={"members": [{"guid": leaf, "name": "M"}]})
                assert (await push(admin, program, group)).status_code == 200
                expected.update((group["guid"], leaf))
        writing[0] -= 1

    async def follow(limit: int) -> list[str]:
        seen: dict[str, str] = {}
        cursor = ""
        while True:
            ended = not writing[0]
            answer = await pull_audit(admin, program, cursor=cursor, limit=limit)
            for entry in answer.json():
                seen[entry["guid"]] = _name(entry)
            # At the end the last full page's cursor is kept, and what follows it comes again.
            if "X-Next-Cursor" in answer.headers:
                cursor = answer.headers["X-Next-Cursor"]
            elif ended:
                return list(seen.values())

    async with asyncio.TaskGroup() as tasks:
        for number in range(8):
            tasks.create_task(write(number))
        followers = [tasks.create_task(follow(limit)) for limit in (1, 7, 50)]
    whole = [_name(entry) for entry in (await pull_audit(admin, program, limit=5000)).json()]
    measured("entries", len(whole))
    assert len(whole) == len(expected)
    for follower in followers:
        assert set(follower.result()) == expected
        # All are told in one order.
        assert follower.result() == whole


def _name(entry: dict[str, Any]) -> str:
    """What the writer knows it by: a log by its guid, an event by its guid, a member by its own."""
    made_by_hub = entry["guid"][14] == "5"
    if not made_by_hub:
        return str(entry["guid"])
    return str(entry["eventGuid"] if entry["action"] == "create-group" else entry["entityGuid"])
