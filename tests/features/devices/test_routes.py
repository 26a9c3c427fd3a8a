"""`/api/admin/devices` through HTTP, on both engines: what devices did, how their clocks go, and shutting them out."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.app import create_app
from datacollect.db import EVERY_TENANT, Reading
from datacollect.features.devices.model import Activity, DeviceKey
from datacollect.features.devices.service import DeviceRegistry
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.ids import TenantId
from datacollect.testing.clock import TurnableClock
from tests.accounts import assert_refused, bearer, login, make_person
from tests.conftest import asgi_client, make_settings
from tests.factories import make_audit_log, make_event, make_program, new_id, pull, push
from tests.features.conftest import Alone, Installation

pytestmark = pytest.mark.anyio

UNLIMITED = "sha256:002c2ad434fe0c7bc2a82714efd7ce909c9c676f8329619f1613e8b4c100939f"
ROW_42 = (
    "tenantId",
    "userId",
    "deviceId",
    "lastPullAt",
    "lastPushAt",
    "totalPulled",
    "totalPushed",
    "lastScopeHash",
)


def device(id: str, **more: str) -> dict[str, str]:
    return {"X-Device-Id": id} | more


async def push_from(client: AsyncClient, program: str, id: str, *events: Any, **headers: str) -> Any:
    body = {"events": list(events), "configId": program}
    return await client.post("/api/sync/push", json=body, headers=device(id, **headers))


async def pull_from(client: AsyncClient, program: str, id: str, since: str = "") -> Any:
    return await client.get("/api/sync/pull", params={"configId": program, "since": since}, headers=device(id))


async def devices_of(hub: Hub, admin: AsyncClient, program: str, **query: Any) -> Any:
    await hub.devices.flush()
    answer = await admin.get("/api/admin/devices", params={"configId": program} | query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def count_activity(view: Reading, program: str) -> int:
    mark = "?" if view.dialect == "sqlite" else "$1"
    rows = await view.fetch(f"SELECT count(*) FROM sync_activity WHERE tenant_id = {mark}", program)
    return int(rows[0][0])


async def test_what_a_device_pulls_and_pushes_adds_up(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    events = [make_event() for _ in range(3)]
    await push_from(admin, program, "tablet-07", *events)
    await push_from(admin, program, "tablet-07", events[0])  # known already, and counts
    await pull_from(admin, program, "tablet-07")
    [row] = await devices_of(hub, admin, program)
    await pull_from(admin, program, "tablet-07")
    [later] = await devices_of(hub, admin, program)
    assert [row[name] for name in ("totalPushed", "totalPulled", "lastScopeHash")] == [4, 3, UNLIMITED]
    assert later["totalPulled"] == 6
    assert later["lastPullAt"] > row["lastPullAt"] >= row["lastPushAt"] >= row["firstSeenAt"]
    assert set(row) == {*ROW_42, "firstSeenAt", "clockSkewMs", "clockAhead", "revokedAt", "revokedBy"}
    assert (row["tenantId"], row["deviceId"], row["revokedAt"]) == (program, "tablet-07", None)
    async with hub.db.reading(EVERY_TENANT) as view:
        assert await count_activity(view, program) == 4


async def test_only_calls_that_succeed_with_a_valid_id_are_counted(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    program = await make_program(admin)
    await push(admin, program, make_event())
    await pull(admin, program)
    await pull_from(admin, program, "no/id")
    await pull_from(admin, program, "tablet-1", since="now")
    await push_from(admin, program, "tablet-1", make_event("no-such-type"))
    await pull_from(client, program, "tablet-1")
    await pull_from(admin, new_id(), "tablet-1")
    assert await devices_of(hub, admin, program) == []


async def test_a_burst_becomes_one_write(admin: AsyncClient, hub: Hub) -> None:
    hub.devices.recorder.flush_seconds = 3600
    program = await make_program(admin)
    await push(admin, program, make_event())
    await pull_from(admin, program, "tablet-1")
    await hub.devices.flush()
    with hub.db.statements.record() as statements:
        await asyncio.gather(*(pull_from(admin, program, "tablet-1") for _ in range(20)))
        await hub.devices.flush()
    # Two for ours, and two for the one that the timer may have begun with before it was slowed down.
    assert len([s for s in statements if "device_sync_summary" in s]) <= 4, statements
    [row] = await devices_of(hub, admin, program)
    assert row["totalPulled"] == 21


async def test_counting_adds_no_statement_to_a_sync(installation: Installation) -> None:
    app = create_app(make_settings(installation.folder, installation.url), clock=installation.clock)
    hub: Hub = app.state.hub
    assert isinstance(hub.devices, DeviceRegistry)
    hub.devices.recorder.flush_seconds = 3600
    async with app.router.lifespan_context(app), asgi_client(app) as client:
        alone = await Alone(app, client, installation.clock).admin()
        program = await make_program(alone)
        await pull_from(alone, program, "tablet-1")  # what is remembered of the program for a second
        await push(alone, program, make_event())  # which begins the index

        async def statements_of(headers: dict[str, str]) -> Sequence[str]:
            with hub.db.statements.record() as statements:
                await alone.post(
                    "/api/sync/push", json={"events": [make_event()], "configId": program}, headers=headers
                )
                await alone.get("/api/sync/pull", params={"configId": program}, headers=headers)
            return [s for s in statements if not any(known in s for known in ("users", "programs", "revocations"))]

        assert await statements_of(device("tablet-1")) == await statements_of({})


async def test_a_database_that_is_away_delays_the_figures_only(alone: Alone) -> None:
    admin = await alone.admin()
    program = await make_program(admin)
    await pull_from(admin, program, "tablet-1")
    async with alone.hub.db.transaction(EVERY_TENANT) as tx:
        await tx.run("ALTER TABLE device_sync_summary RENAME TO elsewhere")
    assert (await push_from(admin, program, "tablet-1", make_event())).status_code == 200
    await alone.hub.devices.flush()
    assert (await pull_from(admin, program, "tablet-1")).status_code == 200
    async with alone.hub.db.transaction(EVERY_TENANT) as tx:
        await tx.run("ALTER TABLE elsewhere RENAME TO device_sync_summary")
    [row] = await devices_of(alone.hub, admin, program)
    assert (row["totalPulled"], row["totalPushed"]) == (1, 1)
    async with alone.hub.db.reading(EVERY_TENANT) as view:
        assert await count_activity(view, program) == 3


async def test_overload_costs_activity_and_never_totals(admin: AsyncClient, hub: Hub) -> None:
    assert isinstance(hub.devices, DeviceRegistry)
    program = await make_program(admin)
    await hub.devices.flush()
    key = DeviceKey(TenantId(program), "7", "tablet-1")
    for _ in range(10_050):
        hub.devices.recorder.note(Activity(key, "pull", 2, UNLIMITED, hub.clock.now()))
    [row] = await devices_of(hub, admin, program)
    assert row["totalPulled"] == 20_100
    async with hub.db.reading(EVERY_TENANT) as view:
        assert await count_activity(view, program) == 10_000


async def test_stopping_the_hub_writes_what_is_left(installation: Installation) -> None:
    async with installation.running() as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        program = await make_program(admin)
        await push_from(admin, program, "tablet-1", make_event())
    async with installation.running() as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        answer = await admin.get("/api/admin/devices", params={"configId": program})
    assert [row["totalPushed"] for row in answer.json()] == [1]


async def test_two_processes_add_to_the_same_totals(installation: Installation) -> None:
    async with installation.running() as (app, client), installation.running() as (other_app, other_client):
        admin = await Alone(app, client, installation.clock).admin()
        other = await Alone(other_app, other_client, installation.clock).admin()
        program = await make_program(admin)
        await asyncio.gather(
            *(push_from(one, program, "tablet-1", make_event()) for one in (admin, other) for _ in range(5))
        )
        await asyncio.gather(app.state.hub.devices.flush(), other_app.state.hub.devices.flush())
        [row] = await devices_of(app.state.hub, admin, program)
    assert row["totalPushed"] == 10


async def test_activity_lasts_for_ninety_days(alone: Alone) -> None:
    program = await make_program(await alone.admin())
    await pull_from(alone.client, program, "tablet-1")
    await alone.hub.devices.flush()
    alone.clock.turn(seconds=91 * 24 * 3600)
    await pull_from(await alone.admin(), program, "tablet-1")
    [row] = await devices_of(alone.hub, alone.client, program)
    assert row["totalPulled"] == 0 and row["firstSeenAt"] < row["lastPullAt"]
    async with alone.hub.db.reading(EVERY_TENANT) as view:
        assert await count_activity(view, program) == 1


async def test_a_user_gets_fifty_new_devices_a_day_and_may_sync_on_more(alone: Alone) -> None:
    admin = await alone.admin()
    program = await make_program(admin)
    for n in range(60):
        assert (await pull_from(admin, program, f"tablet-{n:02}")).status_code == 200
    assert len(await devices_of(alone.hub, admin, program)) == 50
    await pull_from(admin, program, "tablet-99")
    await pull_from(admin, program, "tablet-00")
    assert len(await devices_of(alone.hub, admin, program)) == 50
    alone.clock.turn(seconds=25 * 3600)
    await pull_from(await alone.admin(), program, "tablet-99")
    assert len(await devices_of(alone.hub, admin, program)) == 51


async def test_devices_come_in_pages_in_a_fixed_order(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    for id in ("t-3", "t-1", "t-2"):
        await pull_from(admin, program, id)
    assert [row["deviceId"] for row in await devices_of(hub, admin, program)] == ["t-1", "t-2", "t-3"]
    first = await admin.get("/api/admin/devices", params={"configId": program, "limit": 2})
    rest = await admin.get("/api/admin/devices", params={"configId": program, "cursor": first.headers["X-Next-Cursor"]})
    assert [row["deviceId"] for row in first.json() + rest.json()] == ["t-1", "t-2", "t-3"]
    assert "X-Next-Cursor" not in rest.headers
    path = first.headers["Link"].split(">")[0].removeprefix("<")
    assert (await admin.get(path)).json() == rest.json()


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"cursor": "x"}, {"cursor": ""}])
async def test_a_page_that_is_none_is_refused(admin: AsyncClient, query: dict[str, str]) -> None:
    program = await make_program(admin)
    answer = await admin.get("/api/admin/devices", params={"configId": program} | query)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_DEVICE_QUERY")


async def test_the_list_is_for_administrators_and_names_its_program(admin: AsyncClient, client: AsyncClient) -> None:
    program = await make_program(admin)
    person = await make_person(admin, tenantIds=[program])
    user = bearer((await login(client, person))["token"])
    for path, method in (("", "GET"), ("/tablet-1/revoke", "POST"), ("/tablet-1/restore", "POST")):
        target, query = f"/api/admin/devices{path}", {"configId": program}
        stranger = await client.request(method, target, params=query, headers=bearer("no.such.token"))
        assert_refused(stranger, 401, "Invalid token")
        refused = await client.request(method, target, params=query, headers=user)
        assert_refused(refused, 403, "Forbidden: Admin access required", "ADMIN_REQUIRED")
        absent = await admin.request(method, target)
        assert_refused(absent, 400, "configId is required")
        assert absent.json()["status"] == "error"
        unknown = await admin.request(method, target, params={"configId": new_id()})
        assert (unknown.status_code, unknown.json()["code"]) == (400, "TENANT_UNKNOWN")


async def test_another_programs_devices_are_not_shown(admin: AsyncClient, hub: Hub) -> None:
    program, other = await make_program(admin), await make_program(admin)
    await pull_from(admin, program, "tablet-1")
    assert await devices_of(hub, admin, other) == []
    assert [row["tenantId"] for row in await devices_of(hub, admin, program)] == [program]


# -- clocks


def made_at(clock: TurnableClock, seconds: float) -> dict[str, Any]:
    return make_event(timestamp=format_timestamp(Millis(clock.now() + round(seconds * 1000))))


async def test_events_pushed_as_they_are_made_show_the_clock(
    admin: AsyncClient, hub: Hub, clock: TurnableClock
) -> None:
    program = await make_program(admin)
    for _ in range(3):
        [*before] = await devices_of(hub, admin, program)
        assert [row["clockSkewMs"] for row in before] in ([], [None])
        await push_from(admin, program, "tablet-1", made_at(clock, 3600), made_at(clock, -900))
    [row] = await devices_of(hub, admin, program)
    assert row["clockAhead"] is True
    # Taken a moment after the event was made: behind the truth by what the request took.
    assert 3_540_000 < row["clockSkewMs"] <= 3_600_000


async def test_an_echo_of_anothers_event_says_nothing_of_the_clock(
    admin: AsyncClient, hub: Hub, clock: TurnableClock
) -> None:
    program = await make_program(admin)
    event = made_at(clock, 7200)
    await push_from(admin, program, "ahead", event)
    await push_from(admin, program, "right", event)
    rows = await devices_of(hub, admin, program)
    assert {row["deviceId"]: row["clockAhead"] for row in rows} == {"ahead": True, "right": False}


async def test_a_device_may_tell_its_time(admin: AsyncClient, hub: Hub, clock: TurnableClock) -> None:
    program = await make_program(admin)
    behind = format_timestamp(Millis(clock.now() - 600_000))
    await push_from(admin, program, "tablet-1", **{"X-Device-Time": behind})
    [row] = await devices_of(hub, admin, program)
    assert -660_000 < row["clockSkewMs"] <= -600_000
    assert row["clockAhead"] is False


# -- revoking


async def revoke(admin: AsyncClient, program: str, id: str, to: str = "revoke", **query: Any) -> Any:
    answer = await admin.post(f"/api/admin/devices/{id}/{to}", params={"configId": program} | query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def statuses(client: AsyncClient, program: str, id: str) -> list[int]:
    return [
        (await pull_from(client, program, id)).status_code,
        (await push_from(client, program, id, make_event())).status_code,
    ]


async def test_a_revoked_device_is_shut_out_at_once_whoever_signs_in(
    app: FastAPI, admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    program, other = await make_program(admin), await make_program(admin)
    person = await make_person(admin, tenantIds=[program, other])
    async with asgi_client(app, (await login(client, person))["token"]) as user:
        assert await statuses(user, program, "tablet-1") == [200, 200]
        told = await revoke(admin, program, "tablet-1")
        for caller in (user, admin):
            assert await statuses(caller, program, "tablet-1") == [403, 403]
        refused = await pull_from(user, program, "tablet-1")
        assert (refused.json()["code"], refused.json()["status"]) == ("DEVICE_REVOKED", "error")
        assert await statuses(user, program, "tablet-2") == [200, 200]
        assert await statuses(user, other, "tablet-1") == [200, 200]
        [shown] = [row for row in await devices_of(hub, admin, program) if row["deviceId"] == "tablet-1"]
        [revocation] = told["revocations"]
        assert (shown["revokedAt"], shown["revokedBy"]) == (revocation["revokedAt"], "admin@hub.test")
        assert await revoke(admin, program, "tablet-1") == told
        assert (await revoke(admin, program, "tablet-1", "restore"))["revocations"] == []
        assert await statuses(user, program, "tablet-1") == [200, 200]
        assert (await revoke(admin, program, "tablet-1"))["revocations"][0]["revokedAt"] > revocation["revokedAt"]


async def test_a_revoked_device_is_shut_out_of_everything_about_the_program(
    app: FastAPI, admin: AsyncClient, client: AsyncClient
) -> None:
    program, event = await make_program(admin), make_event()
    assert (await push(admin, program, event)).status_code == 200
    assignment = {"tenantId": program, "role": "supervisor"}
    person = await make_person(admin, tenantIds=[program], roleAssignments=[assignment])
    query, file = {"configId": program}, ("a.png", b"\x89PNG\r\n\x1a\n" + b"0" * 64, "image/png")
    async with asgi_client(app, (await login(client, person))["token"]) as user:
        submission = {"tenantId": program, "formData": make_event()}
        policy = f"/api/reviews/config/{program}/{submission['formData']['type']}"
        given = await admin.put(policy, json={"policy": "internal-review", "requiredRole": "supervisor"})
        assert given.status_code == 200, given.text
        waiting = (await user.post("/api/reviews/submit", json=submission)).json()["review"]["id"]
        await revoke(admin, program, "tablet-1")
        user.headers |= device("tablet-1")
        for method, path, sent in (
            ("GET", f"/api/entities/{event['entityGuid']}", {"params": query}),
            ("GET", "/api/entities", {"params": query}),
            ("GET", "/api/attachments", {"params": query}),
            ("POST", "/api/attachments/upload", {"params": query, "data": {"entityGuid": event["entityGuid"]}, "files": {"file": file}}),
            ("POST", "/api/sync/push/audit-logs", {"json": query | {"auditLogs": [make_audit_log()]}}),
            ("GET", "/api/conflicts", {"params": query}),
            ("POST", "/api/reviews/submit", {"json": submission}),
            ("GET", "/api/reviews", {"params": {"tenantId": program}}),
            ("GET", f"/api/reviews/{waiting}", {}),
            ("GET", f"/api/apps/{program}", {}),
        ):  # fmt: skip
            answer = await user.request(method, path, **sent)
            assert (answer.status_code, answer.json()["code"]) == (403, "DEVICE_REVOKED"), (path, answer.text)
        many = (await user.post("/api/reviews/bulk-approve", json={"reviewIds": [waiting]})).json()
        assert (many["approved"], [one["code"] for one in many["errors"]]) == (0, ["DEVICE_REVOKED"])
        assert (await user.get("/api/users/me")).status_code == 200
        await revoke(admin, program, "tablet-1", "restore")
        assert (await user.get("/api/entities", params=query)).status_code == 200


async def test_a_device_can_be_shut_out_for_one_user(
    app: FastAPI, admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    program = await make_program(admin)
    person = await make_person(admin, tenantIds=[program])
    async with asgi_client(app, (await login(client, person))["token"]) as user:
        await statuses(user, program, "tablet-1")
        await revoke(admin, program, "tablet-1", userId=person.id)
        assert await statuses(user, program, "tablet-1") == [403, 403]
        assert await statuses(admin, program, "tablet-1") == [200, 200]
        rows = {row["userId"]: row["revokedAt"] is not None for row in await devices_of(hub, admin, program)}
        assert rows.pop(str(person.id)) is True
        assert list(rows.values()) == [False]
        await revoke(admin, program, "tablet-1")
        left = await revoke(admin, program, "tablet-1", "restore", userId=person.id)
        assert [one["userId"] for one in left["revocations"]] == [None]
        assert await statuses(user, program, "tablet-1") == [403, 403]


async def test_another_process_hears_of_a_revocation_within_a_second(installation: Installation) -> None:
    async with installation.running() as (app, client), installation.running() as (other_app, other_client):
        admin = await Alone(app, client, installation.clock).admin()
        other = await Alone(other_app, other_client, installation.clock).admin()
        program = await make_program(admin)
        assert await statuses(other, program, "tablet-1") == [200, 200]
        await revoke(admin, program, "tablet-1")
        installation.clock.turn(seconds=1)
        assert await statuses(other, program, "tablet-1") == [403, 403]


@pytest.mark.parametrize(("id", "query"), [("a b", {}), ("x" * 65, {}), ("a", {"userId": "me"}), ("a", {"userId": ""})])
async def test_what_is_no_device_cannot_be_revoked(admin: AsyncClient, id: str, query: dict[str, str]) -> None:
    program = await make_program(admin)
    answer = await admin.post(f"/api/admin/devices/{id}/revoke", params={"configId": program} | query)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_DEVICE")
