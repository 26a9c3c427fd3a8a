"""Programs with more seeds than one transaction takes: seeded batch by batch, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.features.tenants import seeding_job
from datacollect.features.tenants.seeding import AT_ONCE, BATCH_RECORDS
from datacollect.http.hub import Hub, SeedAmounts
from datacollect.jobs import find_active
from datacollect.kernel.clock import parse_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.accounts import bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.factories import make_config, make_event, pull_all, push
from tests.features.conftest import Installation
from tests.features.tenants.test_routes import FORMS, make_member, upload

pytestmark = pytest.mark.anyio

MANY = AT_ONCE + 5 * BATCH_RECORDS

FEW_AT_ONCE, BATCH = 10, 5
FEW = FEW_AT_ONCE + 5 * BATCH
"""More than is seeded at once by a hub whose amounts are these: the tests are about the steps, not about their size."""


def households(count: int, *, name: str = "House", first: int = 0) -> list[dict[str, Any]]:
    return [
        {"name": "household", "data": [{"id": f"h-{n}", "name": f"{name} {n}"} for n in range(first, first + count)]}
    ]


class Hand:
    """A hub whose jobs go on only when the test says so."""

    def __init__(self, app: FastAPI, client: AsyncClient) -> None:
        self.app, self.client = app, client
        self.hub: Hub = app.state.hub

    async def post(self, config: dict[str, Any], seeds: list[dict[str, Any]]) -> dict[str, Any]:
        answer = await self.client.post("/api/apps", **upload(config | {"entityData": seeds}))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def seeding(self, config: dict[str, Any]) -> dict[str, Any]:
        return dict((await self.client.get(f"/api/apps/{config['id']}")).json()["seeding"])

    async def step(self, config: dict[str, Any], times: int = 1) -> None:
        scope = system_scope(TenantId(config["id"]))
        for _ in range(times):
            async with self.hub.db.transaction(scope) as tx:
                await seeding_job.seed_next(tx, self.hub.log, scope, now=self.hub.clock.now())

    async def drain(self) -> None:
        await self.hub.jobs.drain()

    async def events(self, config: dict[str, Any]) -> list[dict[str, Any]]:
        return await pull_all(self.client, config["id"], limit=1000)

    async def line(self, config: dict[str, Any]) -> dict[str, Any]:
        found = (await self.client.get("/api/apps", params={"search": config["id"], "includeArchived": "true"})).json()
        return dict(found["data"][0])


def dividing_little(app: FastAPI) -> FastAPI:
    app.state.hub = replace(app.state.hub, seed_amounts=SeedAmounts(FEW_AT_ONCE, BATCH))
    return app


@pytest.fixture
async def hand(installation: Installation) -> AsyncIterator[Hand]:
    async with installation.running(JOBS_AT_ONCE=0) as (app, client):
        await sign_in(client)
        yield Hand(dividing_little(app), client)


@pytest.fixture
async def as_shipped(installation: Installation) -> AsyncIterator[Hand]:
    async with installation.running(JOBS_AT_ONCE=0) as (app, client):
        await sign_in(client)
        yield Hand(app, client)


async def sign_in(client: AsyncClient) -> None:
    answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    client.headers.update(bearer(answer.json()["token"]))


def program() -> dict[str, Any]:
    return make_config(entityForms=FORMS)


async def test_a_large_upload_answers_at_once_and_is_seeded_in_the_background(as_shipped: Hand) -> None:
    hand = as_shipped
    config, begun = program(), hand.hub.clock.now()
    answer = await hand.post(config, households(MANY))
    assert set(answer) == {"status", "artifactId", "seeding"}
    assert answer["seeding"] == {"total": MANY, "done": 0}
    assert await hand.events(config) == []
    line = await hand.line(config)
    assert (line["status"], line["seeding"], line["entitiesCount"]) == ("running", {"total": MANY, "done": 0}, 0)

    await hand.step(config, 3)
    seeding = await hand.seeding(config)
    assert (seeding["state"], seeding["done"], seeding["finishedAt"]) == ("running", 3 * BATCH_RECORDS, None)
    assert (await hand.line(config))["seeding"] == {"total": MANY, "done": 3 * BATCH_RECORDS}

    await hand.drain()
    seeding = await hand.seeding(config)
    assert {key: seeding[key] for key in ("state", "total", "done", "added", "existing", "changed", "rejected")} == {
        "state": "done",
        "total": MANY,
        "done": MANY,
        "added": MANY,
        "existing": 0,
        "changed": 0,
        "rejected": 0,
    }
    line = await hand.line(config)
    assert "seeding" not in line
    assert line["entitiesCount"] == MANY
    events = await hand.events(config)
    assert [event["entityGuid"] for event in events] == [f"h-{n}" for n in range(MANY)]
    times = [parse_timestamp(event["timestamp"]) for event in events]
    assert times == list(range(times[-1] - MANY + 1, times[-1] + 1))
    assert begun <= times[-1] <= hand.hub.clock.now()


async def test_the_hub_seeds_by_itself(installation: Installation) -> None:
    config = program()
    async with installation.running() as (app, client):
        await sign_in(client)
        hand = Hand(dividing_little(app), client)
        await hand.post(config, households(FEW))
        await hand.drain()  # beside the hub's own workers
        assert len(await hand.events(config)) == FEW


async def test_another_hub_goes_on_where_one_has_ended(installation: Installation) -> None:
    config = program()
    async with installation.running(JOBS_AT_ONCE=0) as (app, client):
        await sign_in(client)
        hand = Hand(dividing_little(app), client)
        await hand.post(config, households(FEW))
        await hand.step(config, 4)
        before = await hand.events(config)
    installation.clock.turn(seconds=3600)
    async with installation.running(JOBS_AT_ONCE=0) as (app, client):
        await sign_in(client)
        hand = Hand(dividing_little(app), client)
        await hand.drain()
        events = await hand.events(config)
    assert events[: len(before)] == before
    assert [event["entityGuid"] for event in events] == [f"h-{n}" for n in range(FEW)]
    times = [parse_timestamp(event["timestamp"]) for event in events]
    # As if nothing had come between.
    assert times == list(range(times[0], times[0] + FEW))


async def test_what_devices_push_meanwhile_stands_and_wins(hand: Hand) -> None:
    config = program()
    await hand.post(config, households(FEW))
    await hand.step(config)
    edit = make_event("update-group", entity=f"h-{FEW - 1}", data={"name": "Edited", "entityName": "household"})
    assert (await push(hand.client, config["id"], edit)).status_code == 200
    await hand.drain()
    found = (await hand.client.get(f"/api/entities/h-{FEW - 1}", params={"configId": config["id"]})).json()
    assert found["data"]["name"] == "Edited"
    assert (await hand.seeding(config))["added"] == FEW


async def test_an_upload_meanwhile_takes_the_place_of_what_is_left(hand: Hand) -> None:
    config = program()
    await hand.post(config, households(FEW))
    await hand.step(config, 2)
    held = 2 * BATCH
    # The first hundred stay, of the second the content is another, what follows is new.
    seeds = households(BATCH)
    seeds += [{**group} for group in households(BATCH, name="Other", first=BATCH)]
    seeds += households(FEW, first=100_000)
    answer = await hand.post(config, seeds)
    assert answer["seeding"] == {"total": held + FEW, "done": 0}
    await hand.drain()
    seeding = await hand.seeding(config)
    counts = [seeding[key] for key in ("state", "existing", "changed", "added", "rejected")]
    assert counts == ["done", BATCH, BATCH, FEW, 0]
    events = await hand.events(config)
    wanted = [f"h-{n}" for n in range(held)] + [f"h-{100_000 + n}" for n in range(FEW)]
    assert [event["entityGuid"] for event in events] == wanted
    assert len({event["timestamp"] for event in events}) == len(events)


async def test_a_small_upload_meanwhile_is_seeded_at_once_and_ends_the_large_one(hand: Hand) -> None:
    config = program()
    await hand.post(config, households(FEW))
    await hand.step(config)
    answer = await hand.post(config, households(2, first=100_000))
    assert "seeding" not in answer
    await hand.drain()
    seeding = await hand.seeding(config)
    assert (seeding["state"], seeding["total"], seeding["added"]) == ("done", 2, 2)
    assert len(await hand.events(config)) == BATCH + 2


@pytest.mark.parametrize("seeds", [[], households(0)])
async def test_an_upload_without_seeds_ends_the_seeding(hand: Hand, seeds: list[dict[str, Any]]) -> None:
    config = program()
    await hand.post(config, households(FEW))
    await hand.step(config)
    await hand.post(config, seeds)
    await hand.drain()
    seeding = await hand.seeding(config)
    assert (seeding["state"], seeding["done"]) == ("done", BATCH)
    assert "seeding" not in await hand.line(config)
    assert len(await hand.events(config)) == BATCH


async def test_replacing_the_config_meanwhile_changes_nothing_of_the_seeding(hand: Hand) -> None:
    config = program()
    await hand.post(config, households(FEW))
    await hand.step(config)
    as_records = [form | {"entityType": "record"} for form in FORMS]
    answer = await hand.client.put(f"/api/apps/{config['id']}", **upload(config | {"entityForms": as_records}))
    assert answer.status_code == 200
    await hand.drain()
    assert {event["type"] for event in await hand.events(config)} == {"create-group"}
    assert (await hand.seeding(config))["added"] == FEW


async def test_uploading_the_onboarding_file_meanwhile_changes_nothing_of_the_seeding(hand: Hand) -> None:
    config = program()
    artifact_id = (await hand.post(config, households(FEW)))["artifactId"]
    await hand.step(config)
    file = (await hand.client.get(f"/artifacts/{artifact_id}.json")).json()
    assert (await hand.client.post("/api/apps", **upload(file))).status_code == 200
    await hand.step(config)
    # Also when the config has none any more: such a file never has.
    assert (await hand.client.put(f"/api/apps/{config['id']}", **upload(config))).status_code == 200
    assert (await hand.client.post("/api/apps", **upload(file))).status_code == 200
    await hand.drain()
    assert (await hand.seeding(config))["added"] == FEW


async def test_a_program_that_is_being_seeded_is_never_answered_by_not_modified(hand: Hand) -> None:
    config = program()
    await hand.post(config, households(FEW))
    path = f"/api/apps/{config['id']}"
    before = await hand.client.get(path)
    again = await hand.client.get(path, headers={"If-None-Match": before.headers["etag"]})
    assert (before.headers["cache-control"], again.status_code) == ("no-store", 200)
    await hand.drain()
    after = await hand.client.get(path)
    again = await hand.client.get(path, headers={"If-None-Match": after.headers["etag"]})
    assert (after.headers["etag"], again.status_code) == (before.headers["etag"], 304)


async def test_archiving_pauses_the_seeding_and_restoring_goes_on(hand: Hand) -> None:
    config = program()
    await hand.post(config, households(FEW))
    await hand.step(config)
    await hand.client.delete(f"/api/apps/{config['id']}")
    await hand.drain()
    seeding = await hand.seeding(config)
    assert (seeding["state"], seeding["done"]) == ("paused", BATCH)
    assert (await hand.line(config))["status"] == "archived"
    assert (await hand.client.post(f"/api/apps/{config['id']}/restore")).status_code == 200
    assert (await hand.seeding(config))["state"] == "running"
    await hand.drain()
    assert (await hand.seeding(config))["state"] == "done"
    assert len(await hand.events(config)) == FEW


async def test_purging_takes_what_is_left_along_and_the_id_can_be_seeded_anew(hand: Hand) -> None:
    config = program()
    await hand.post(config, households(FEW))
    await hand.step(config)
    path = f"/api/apps/{config['id']}"
    await hand.client.delete(path)
    await hand.client.delete(f"{path}/purge")
    await hand.drain()
    assert (await hand.client.get(path)).status_code == 404
    await hand.post(config, households(FEW, first=5))
    assert (await hand.seeding(config))["done"] == 0
    await hand.drain()
    assert [event["entityGuid"] for event in await hand.events(config)] == [f"h-{n}" for n in range(5, FEW + 5)]


async def test_restoring_before_the_job_has_noticed_makes_no_second_one(hand: Hand) -> None:
    config = program()
    await hand.post(config, households(FEW))
    await hand.client.delete(f"/api/apps/{config['id']}")
    await hand.client.post(f"/api/apps/{config['id']}/restore")
    await hand.drain()
    assert len(await hand.events(config)) == FEW


async def test_a_seeding_that_was_given_up_says_so_and_an_upload_begins_anew(hand: Hand) -> None:
    config = program()
    scope = system_scope(TenantId(config["id"]))
    await hand.post(config, households(FEW))
    await hand.step(config)
    async with hand.hub.db.transaction(scope) as tx:
        job = await find_active(tx, scope, seeding_job.KIND)
        assert job is not None
        assert await hand.hub.jobs.cancel(tx, scope, job.id)
    seeding = await hand.seeding(config)
    assert (seeding["state"], seeding["done"]) == ("failed", BATCH)
    await hand.post(config, households(FEW))
    await hand.drain()
    assert (await hand.seeding(config))["state"] == "done"
    assert len(await hand.events(config)) == FEW


async def test_two_uploads_of_one_program_at_once_seed_one_of_them(hand: Hand) -> None:
    config = program()
    seeds = households(FEW)
    await asyncio.gather(*(hand.post(config, seeds) for _ in range(4)))
    await hand.drain()
    assert (await hand.seeding(config))["state"] == "done"
    assert len(await hand.events(config)) == FEW


async def test_what_cannot_be_applied_is_counted_and_told_to_those_who_may_see_seeds(hand: Hand) -> None:
    config = program()
    await hand.post(config, [])
    # For the devices it is a person already, so nobody can be its member.
    assert (await push(hand.client, config["id"], make_event("create-individual", entity="nowhere"))).status_code == 200
    household = {"name": "household", "data": [{"id": "nowhere", "name": "No house"}]}
    people = [{"id": f"p-{n}", "name": f"Person {n}", "parentId": "nowhere"} for n in range(FEW)]
    await hand.post(config, [household, {"name": "individual", "data": people}])
    await hand.drain()
    seeding = await hand.seeding(config)
    assert (seeding["state"], seeding["done"]) == ("done", FEW + 1)
    assert seeding["rejected"] >= FEW
    assert len(seeding["rejections"]) == 20
    assert seeding["rejections"][-1]["type"] == "add-member"
    assert {one["entityGuid"] for one in seeding["rejections"]} == {"nowhere"}
    # The people themselves are there.
    assert (await hand.line(config))["entitiesCount"] == FEW + 1
    member = await make_member(hand.client, hand.app, config["id"])
    shown = (await member.get(f"/api/apps/{config['id']}")).json()
    assert "rejections" not in shown["seeding"]
    assert shown["seeding"]["rejected"] == seeding["rejected"]


async def test_a_changed_seed_is_told_in_the_answer_of_a_small_upload(hand: Hand) -> None:
    config = program()
    await hand.post(config, households(3))
    answer = await hand.post(config, households(3, name="Other"))
    assert answer["warnings"] == ["3 seeds were seeded before with other content; what is there stays as it is"]


async def test_a_seed_that_names_another_household_now_stays_in_the_one_it_was_seeded_into(hand: Hand) -> None:
    config = program()
    houses = [{"id": f"h-{config['id']}-{n}", "name": "House"} for n in range(2)]
    person = {"id": f"p-{config['id']}", "name": "Ana", "parentId": houses[0]["id"]}
    seeds = [{"name": "household", "data": houses}, {"name": "individual", "data": [person]}]
    assert "warnings" not in await hand.post(config, seeds)
    person["parentId"] = houses[1]["id"]
    answer = await hand.post(config, seeds)
    assert answer["warnings"] == ["1 seeds were seeded before with other content; what is there stays as it is"]
    members = [
        await hand.client.get(f"/api/entities/{house['id']}/members", params={"configId": config["id"]})
        for house in houses
    ]
    assert [[member["guid"] for member in answer.json()] for answer in members] == [[person["id"]], []]


async def test_the_list_takes_three_statements_while_programs_are_seeded(hand: Hand) -> None:
    for _ in range(2):
        await hand.post(program(), households(FEW))
    with hand.hub.db.statements.record() as statements:
        body = (await hand.client.get("/api/apps", params={"pageSize": "100"})).json()
    assert [line["seeding"]["total"] for line in body["data"]] == [FEW, FEW]
    assert len([sql for sql in statements if "FROM users" not in sql]) == 3


async def test_a_batch_takes_a_constant_number_of_statements(as_shipped: Hand) -> None:
    hand, counts = as_shipped, []
    for size in (1, 100):
        config = program()
        long_ones = [{"id": f"x-{n}", "name": "X" * (3000 if size == 100 else 300_000)} for n in range(size)]
        await hand.post(config, [{"name": "household", "data": long_ones}, *households(MANY)])
        with hand.hub.db.statements.record() as statements:
            await hand.step(config)
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 14
