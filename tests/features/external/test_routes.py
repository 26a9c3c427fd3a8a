"""Starting, watching, cancelling and repeating runs, and who may. Source: the contract's acceptance checks."""

import asyncio
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.adapters.errors import Failure
from datacollect.features.external.runner import ExternalSync
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId, new_guid
from tests.accounts import assert_refused, bearer, login, make_person
from tests.factories import make_program
from tests.features.external.exchanging import Exchange, another_system, counts
from tests.features.external.remote import SECRET

pytestmark = pytest.mark.anyio


async def held(exchange: Exchange) -> tuple[str, asyncio.Event]:
    """A run that is in the middle of its first batch until the event is set."""
    await exchange.save("in-1", name="Ana")
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await go_on.wait()

    exchange.remote.on_push = wait
    job_id = await exchange.start()
    await asyncio.wait_for(reached.wait(), 20)
    return job_id, go_on


@pytest.mark.parametrize("path", ["status", "events"])
async def test_a_program_has_to_be_named(admin: AsyncClient, path: str) -> None:
    answer = await admin.get(f"/api/sync/{path}")
    assert_refused(answer, 400, "configId query parameter is required", "CONFIG_ID_REQUIRED")
    assert answer.json()["status"] == "error"


async def test_of_an_unknown_program_there_is_nothing(admin: AsyncClient) -> None:
    status = await admin.get("/api/sync/status", params={"configId": "no-such-program"})
    events = await admin.get("/api/sync/events", params={"configId": "no-such-program"})
    assert (status.status_code, status.json()) == (200, {"isSyncing": False, "lastEvent": None, "activeJob": None})
    assert (events.status_code, events.json()) == (200, {"events": [], "nextCursor": None})


async def test_a_run_is_seen_at_once_and_holds_off_others_until_it_ends(exchange: Exchange) -> None:
    job_id, go_on = await held(exchange)
    of_program = {"configId": exchange.program}

    job = await exchange.job(job_id)
    status = (await exchange.admin.get("/api/sync/status", params=of_program)).json()
    again = await exchange.admin.post("/api/sync/external", json=of_program)
    retry = await exchange.admin.post(f"/api/sync/external/{job_id}/retry")
    go_on.set()
    ended = await exchange.ended(job_id)

    assert (job["status"], job["phase"], job["durationMs"], job["errors"]) == ("pending", "pushing", 0, None)
    assert job["startedAt"] and job["completedAt"] is None
    assert (status["isSyncing"], status["activeJob"]["jobId"], status["lastEvent"]["jobId"]) == (True, job_id, job_id)
    for refused in (again, retry):
        assert_refused(refused, 409, "A sync is already in progress for this configuration.", "SYNC_IN_PROGRESS")
    assert (ended["status"], ended["phase"], ended["triggeredBy"]) == ("success", "completed", "admin@hub.test")
    assert ended["completedAt"] == ended["updatedAt"]
    exchange.remote.on_push = None
    assert (await exchange.run())["status"] == "success"


async def test_of_twenty_starts_at_the_same_time_one_is_taken(exchange: Exchange) -> None:
    exchange.remote.is_away = True
    body = {"configId": exchange.program}
    answers = await asyncio.gather(*(exchange.admin.post("/api/sync/external", json=body) for _ in range(20)))
    events = (await exchange.admin.get("/api/sync/events", params={"configId": exchange.program})).json()["events"]
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 19
    assert len(events) == 1
    await exchange.admin.post(f"/api/sync/external/{events[0]['jobId']}/cancel")


async def test_a_program_without_another_system_ends_at_once_and_says_why(admin: AsyncClient, hub: Hub) -> None:
    exchange = Exchange(admin, hub, await make_program(admin), None, "")  # type: ignore[arg-type]
    job = await exchange.run()
    assert (job["status"], job["phase"]) == ("failed", "failed")
    assert [error["code"] for error in job["errors"]] == ["NOT_CONFIGURED"]
    assert job["errorMessage"]


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ({"type": "no-such-adapter", "url": "https://x.test"}, "no-such-adapter"),
        ({"type": "double", "url": "https://x.test"}, "double"),
    ],
)
async def test_settings_that_cannot_work_name_the_adapter(
    admin: AsyncClient, hub: Hub, section: dict[str, Any], names: str
) -> None:
    program = await make_program(admin, externalSync=section)
    exchange = Exchange(admin, hub, program, None, "")  # type: ignore[arg-type]
    job = await exchange.run()
    [error] = job["errors"]
    assert (job["status"], job["phase"], error["code"]) == ("failed", "failed", "NOT_INITIALIZED")
    assert names in error["message"]


async def test_a_run_tells_how_much_of_it_has_worked(exchange: Exchange) -> None:
    refusal = Failure(code="PUSH_FAILED", message="It is refused.", retryable=False)
    exchange.remote.refusals["in-1"] = refusal
    await exchange.save("in-1", name="Ana")
    nothing = await exchange.run()
    await exchange.save("in-1", name="Ana M")
    await exchange.save("in-2", name="Ben")
    some = await exchange.run()

    assert (nothing["status"], nothing["phase"], counts(nothing)) == ("failed", "completed", (0, 0, 1, 0))
    assert (some["status"], some["phase"], counts(some)) == ("partial", "completed", (1, 0, 1, 0))
    told = {"entityGuid": "in-1", "code": "PUSH_FAILED", "message": "It is refused.", "retryable": False}
    assert nothing["errors"] == some["errors"] == [told]
    assert nothing["errorMessage"] is None


async def test_a_run_that_cannot_go_on_is_tried_again_and_then_given_up(exchange: Exchange, clock: Any) -> None:
    await exchange.save("in-1", name="Ana")
    exchange.remote.is_away = True
    job_id = await exchange.start()
    turned_at = 0
    async with asyncio.timeout(60):
        while (job := await exchange.job(job_id))["phase"] != "failed":
            tried = exchange.remote.calls.count("push")
            # Once for each try: a lease that ends by the clock is a lost one.
            if tried > turned_at and await exchange.state(job_id) == "retryable":
                turned_at = tried
                clock.turn(seconds=70)
                exchange.hub.jobs.wake()
            await asyncio.sleep(0.02)
    assert (job["status"], job["phase"]) == ("failed", "failed")
    [error] = job["errors"]
    assert (error["code"], error["cause"]) == ("SYNC_ERROR", "SYSTEM_AWAY")
    assert job["errorMessage"].startswith("SYSTEM_AWAY")
    assert 2 <= exchange.remote.calls.count("push") <= ExternalSync.retries.attempts

    exchange.remote.is_away = False
    assert counts(await exchange.run()) == (1, 0, 0, 0)


async def test_a_run_that_is_under_way_tells_how_far_it_has_come(exchange: Exchange) -> None:
    for number in range(9):
        await exchange.save(f"in-{number}", name=f"Person {number}")
    told: list[tuple[str, int]] = []

    async def look() -> None:
        status = await exchange.admin.get("/api/sync/status", params={"configId": exchange.program})
        told.append((status.json()["activeJob"]["phase"], status.json()["activeJob"]["pushed"]))

    exchange.remote.on_push = look
    assert counts(await exchange.run()) == (9, 0, 0, 0)
    assert told == [("pushing", 0), ("pushing", 4), ("pushing", 8)]


async def test_a_cancelled_run_keeps_what_it_has_done(exchange: Exchange) -> None:
    for number in range(9):
        await exchange.save(f"in-{number}", name=f"Person {number}")
    cancelled = asyncio.Event()
    calls = 0

    async def cancel_in_the_second_batch() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            job_id = (await exchange.admin.get("/api/sync/status", params={"configId": exchange.program})).json()[
                "activeJob"
            ]["jobId"]
            first = await exchange.admin.post(f"/api/sync/external/{job_id}/cancel")
            second = await exchange.admin.post(f"/api/sync/external/{job_id}/cancel")
            assert first.json() == second.json() == {"status": "cancelling"}
            cancelled.set()

    exchange.remote.on_push = cancel_in_the_second_batch
    job = await exchange.run()
    late = await exchange.admin.post(f"/api/sync/external/{job['jobId']}/cancel")
    exchange.remote.on_push = None
    after = await exchange.run()

    assert cancelled.is_set()
    assert (job["status"], job["phase"], job["errors"]) == ("failed", "cancelled", None)
    assert job["pushed"] == 8 and job["errorMessage"]
    assert_refused(late, 404, "No active sync job found with that ID", "NO_ACTIVE_SYNC_JOB")
    assert counts(after) == (1, 0, 0, 0)
    assert len(exchange.remote.live) == 9


async def test_a_repeated_run_names_the_one_it_repeats(exchange: Exchange) -> None:
    first = await exchange.run()
    answer = await exchange.admin.post(f"/api/sync/external/{first['jobId']}/retry")
    second = await exchange.ended(answer.json()["jobId"])
    events = (await exchange.admin.get("/api/sync/events", params={"configId": exchange.program})).json()["events"]
    assert answer.status_code == 202
    assert (second["status"], second["retryOf"]) == ("success", first["jobId"])
    assert [event["id"] for event in events] == [2, 1]


async def test_runs_are_listed_in_pages(exchange: Exchange) -> None:
    for _ in range(3):
        await exchange.run()
    query = {"configId": exchange.program, "limit": "2"}
    first = (await exchange.admin.get("/api/sync/events", params=query)).json()
    second = (await exchange.admin.get("/api/sync/events", params=query | {"cursor": first["nextCursor"]})).json()
    wrong = await exchange.admin.get("/api/sync/events", params=query | {"cursor": "x"})
    assert [[run["id"] for run in page["events"]] for page in (first, second)] == [[3, 2], [1]]
    assert second["nextCursor"] is None
    assert wrong.status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "", "Sync job not found"),
        ("GET", "/errors", "Sync job not found"),
        ("POST", "/cancel", "No active sync job found with that ID"),
        ("POST", "/retry", "Original sync job not found"),
    ],
)
async def test_a_run_that_is_not_there(admin: AsyncClient, method: str, path: str, error: str) -> None:
    for unknown in (new_guid(), "anything"):
        assert_refused(await admin.request(method, f"/api/sync/external/{unknown}{path}"), 404, error)


async def test_whose_run_it_is_decides_who_may_touch_it(client: AsyncClient, exchange: Exchange) -> None:
    job = await exchange.run()
    other = await make_program(exchange.admin)
    stranger = await make_person(exchange.admin, tenantIds=[other])
    tokens = bearer((await login(client, stranger))["token"])
    paths = [("GET", ""), ("GET", "/errors"), ("POST", "/cancel"), ("POST", "/retry")]
    for method, path in paths:
        # Naming a program of one's own changes nothing.
        answer = await client.request(
            method, f"/api/sync/external/{job['jobId']}{path}", params={"configId": other}, headers=tokens
        )
        assert_refused(answer, 403, "Forbidden: No access to this tenant")
    confused = await exchange.admin.post(
        "/api/sync/external", params={"configId": other}, json={"configId": exchange.program}
    )
    assert confused.status_code == 400


async def test_members_watch_and_program_admins_act(client: AsyncClient, exchange: Exchange) -> None:
    job = await exchange.run()
    of_program = {"configId": exchange.program}
    role = lambda name: {"roleAssignments": [{"tenantId": exchange.program, "role": name}]}  # noqa: E731
    statuses = {}
    for name in ("viewer", "supervisor", "program-admin"):
        person = await make_person(exchange.admin, **role(name))
        headers = bearer((await login(client, person))["token"])
        watch = [
            await client.get("/api/sync/status", params=of_program, headers=headers),
            await client.get(f"/api/sync/external/{job['jobId']}", headers=headers),
        ]
        assert {answer.status_code for answer in watch} == {200}
        started = await client.post("/api/sync/external", json=of_program, headers=headers)
        tested = await client.post("/api/sync/connection", params=of_program, headers=headers)
        statuses[name] = (started.status_code, tested.status_code)
        if started.status_code == 202:
            await exchange.ended(started.json()["jobId"])
    assert statuses == {"viewer": (403, 403), "supervisor": (403, 403), "program-admin": (202, 200)}


async def test_who_is_limited_to_a_part_is_not_told_of_whom_a_run_did_not_bring(
    client: AsyncClient, exchange: Exchange
) -> None:
    refusal = Failure(code="PUSH_FAILED", message="Ana's number is taken.", retryable=False)
    exchange.remote.refusals["in-1"] = refusal
    await exchange.save("in-1", name="Ana")
    job = await exchange.run()
    limited = {"tenantId": exchange.program, "role": "viewer", "areaId": "A1"}
    person = await make_person(exchange.admin, tenantIds=[exchange.program], roleAssignments=[limited])
    headers, of_program = bearer((await login(client, person))["token"]), {"configId": exchange.program}
    status = await client.get("/api/sync/status", params=of_program, headers=headers)
    events = await client.get("/api/sync/events", params=of_program, headers=headers)
    run = await client.get(f"/api/sync/external/{job['jobId']}", headers=headers)
    told = {"code": "PUSH_FAILED", "message": "A record did not arrive.", "retryable": False}
    for shown in (status.json()["lastEvent"], events.json()["events"][0], run.json()):
        assert shown == job | {"errors": [told]}
    assert job["errors"] == [told | {"entityGuid": "in-1", "message": "Ana's number is taken."}]


async def test_why_a_run_could_not_go_on_is_told_to_all_members(
    client: AsyncClient, admin: AsyncClient, hub: Hub
) -> None:
    exchange = Exchange(admin, hub, await make_program(admin), None, "")  # type: ignore[arg-type]
    job = await exchange.run()
    limited = {"tenantId": exchange.program, "role": "viewer", "areaId": "A1"}
    person = await make_person(admin, tenantIds=[exchange.program], roleAssignments=[limited])
    headers = bearer((await login(client, person))["token"])
    assert (await client.get(f"/api/sync/external/{job['jobId']}", headers=headers)).json() == job


@pytest.mark.parametrize(
    "body",
    [
        {"configId": 7},
        {"credentials": {"username": "u"}},
        {"credentials": {"username": "", "password": "p"}},
        {"credentials": "u:p"},
        [],
    ],
)
async def test_a_start_that_cannot_be_read(admin: AsyncClient, body: Any) -> None:
    answer = await admin.post("/api/sync/external", json=body)
    assert answer.status_code == 400
    assert answer.json()["status"] == "error"


async def test_credentials_of_a_start_are_dropped(exchange: Exchange, capsys: Any, caplog: Any) -> None:
    secret = "s3cret-of-the-start"
    body = {"configId": exchange.program, "credentials": {"username": "ann", "password": secret}}
    answer = await exchange.admin.post("/api/sync/external", json=body)
    job = await exchange.ended(answer.json()["jobId"])
    kept = []
    async with exchange.hub.db.reading(system_scope(TenantId(exchange.program))) as view:
        for table in ("jobs", "external_jobs", "external_runs"):
            rows = await view.fetch(f"SELECT * FROM {table} WHERE tenant_id = '{exchange.program}'")
            assert [row for row in rows if job["jobId"] in tuple(row)], table
            kept += [str(tuple(row)) for row in rows]
    assert job["status"] == "success"
    for text in (*kept, str(job), capsys.readouterr().out, caplog.text):
        assert secret not in text and SECRET not in text


async def test_an_unknown_program_cannot_be_exchanged(admin: AsyncClient) -> None:
    answer = await admin.post("/api/sync/external", json={"configId": "no-such-program"})
    assert_refused(answer, 404, "App instance not found", "APP_INSTANCE_NOT_FOUND")
    assert answer.json()["status"] == "error"


async def test_the_connection_is_tested_without_exchanging_anything(exchange: Exchange) -> None:
    await exchange.save("in-1", name="Ana")
    query = {"configId": exchange.program}
    well = await exchange.admin.post("/api/sync/connection", params=query)
    exchange.remote.is_away = True
    ill = await exchange.admin.post("/api/sync/connection", params=query)
    assert (well.json()["healthy"], well.json()["adapter"], well.json()["latencyMs"]) == (True, "double", 1.0)
    assert (ill.json()["healthy"], ill.json()["code"]) == (False, "UNHEALTHY")
    assert exchange.remote.calls == ["check", "check"]
    for _ in range(4):
        await exchange.admin.post("/api/sync/connection", params=query)
    refused = await exchange.admin.post("/api/sync/connection", params=query)
    assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_CONNECTION_TESTS")
    assert int(refused.headers["retry-after"]) >= 1


async def test_a_connection_that_cannot_be_made_says_why(admin: AsyncClient) -> None:
    program = await make_program(admin)
    answer = await admin.post("/api/sync/connection", params={"configId": program})
    assert (answer.json()["healthy"], answer.json()["code"]) == (False, "NOT_CONFIGURED")


async def test_every_kind_of_adapter_is_told_with_its_settings(admin: AsyncClient) -> None:
    adapters = {one["type"]: one for one in (await admin.get("/api/adapters")).json()["adapters"]}
    fields = {field["name"]: field for field in adapters["double"]["fields"]}
    assert (fields["secret"]["type"], fields["secret"]["required"]) == ("password", True)
    assert adapters["double"]["capabilities"] == ["pull", "push"]
    assert SECRET not in str(adapters)


async def test_an_archived_program_is_not_exchanged(exchange: Exchange) -> None:
    job_id, go_on = await held(exchange)
    await exchange.admin.delete(f"/api/apps/{exchange.program}")
    go_on.set()
    job = await exchange.ended(job_id)
    again = await exchange.admin.post("/api/sync/external", json={"configId": exchange.program})
    retry = await exchange.admin.post(f"/api/sync/external/{job_id}/retry")
    status = (await exchange.admin.get("/api/sync/status", params={"configId": exchange.program})).json()

    assert job["phase"] == "failed"
    assert [error["code"] for error in job["errors"]] == ["PROGRAM_STOPPED"]
    for refused in (again, retry):
        assert_refused(refused, 404, "App instance not found")
    assert status["isSyncing"] is False


async def test_a_purged_program_leaves_nothing_of_its_exchange(exchange: Exchange) -> None:
    await exchange.save("in-1", name="Ana")
    job = await exchange.run()
    await exchange.admin.delete(f"/api/apps/{exchange.program}")
    finished = False
    while not finished:
        answer = await exchange.admin.delete(f"/api/apps/{exchange.program}/purge")
        finished = answer.status_code == 404 or answer.json()["finished"]  # a slow one is ended by the job
    async with exchange.hub.db.reading() as view:
        rows = await view.fetch("SELECT tenant_id FROM external_jobs")
    assert exchange.program not in {row[0] for row in rows}
    answer = await exchange.admin.get(f"/api/sync/external/{job['jobId']}")
    assert_refused(answer, 404, "Sync job not found")


async def test_a_program_that_is_turned_to_another_system_begins_anew(exchange: Exchange) -> None:
    await exchange.save("in-1", name="Ana")
    await exchange.run()
    with another_system() as (url, other):
        await exchange.turn_to(url)
        there = await exchange.run()
        await exchange.turn_to(exchange.url)
        back = await exchange.run()
        assert (counts(there), counts(back)) == ((1, 0, 0, 0), (0, 0, 0, 0))
        assert (len(other.live), len(exchange.remote.live)) == (1, 1)
