"""A hub that ends between every two steps of a review: nothing is in its memory, so nothing is lost with it."""

import asyncio
from dataclasses import replace

import pytest

from tests.factories import make_event, make_program, pull_all, push
from tests.features.conftest import Alone, Installation
from tests.features.reviews.world import Staff, make_staff, set_policy

pytestmark = pytest.mark.anyio


async def test_a_review_goes_on_where_it_was_whatever_ends_in_between(installation: Installation) -> None:
    early, late = "2025-01-01T08:00:00.000Z", "2025-01-01T09:00:00.000Z"
    async with installation.running() as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        program = await make_program(admin)
        await push(admin, program, make_event(entity="e", timestamp=early))
        assert (await set_policy(admin, program, "update-individual", "internal-review")).status_code == 200
        agent = await make_staff(admin, client, (program, "enumerator"))
        supervisor = await make_staff(admin, client, (program, "supervisor"))
        headers = dict(admin.headers)

    def speaking(staff: Staff, client: object) -> Staff:
        return replace(staff, client=client)  # type: ignore[arg-type]

    change = make_event("update-individual", entity="e", data={"phone": "1"}, timestamp=late)
    async with installation.running() as (_, client):
        first = await speaking(agent, client).submitted(change)
    async with installation.running() as (_, client):
        assert [one["id"] for one in await speaking(supervisor, client).reviews(status="pending")] == [first["id"]]
        assert await speaking(agent, client).submitted(change) == first
    async with installation.running() as (_, client):
        await speaking(supervisor, client).done(first, "comments", comment="Whose is it?")
    async with installation.running() as (_, client):
        # A policy that is changed makes nothing forget what waits.
        client.headers.update(headers)
        assert (await set_policy(client, program, "update-individual", "auto-approve")).status_code == 200
    async with installation.running() as (_, client):
        await speaking(supervisor, client).done(first, "request-changes", comment="Ask again")
    async with installation.running() as (_, client):
        client.headers.update(headers)
        assert (await set_policy(client, program, "update-individual", "internal-review")).status_code == 200
    again = make_event("update-individual", entity="e", data={"phone": "2"}, timestamp=late)
    async with installation.running() as (_, client):
        second = await speaking(agent, client).submitted(again, replaces=first["id"])
    async with installation.running() as (_, client):
        await speaking(supervisor, client).done(second, "approve")
    async with installation.running() as (_, client):
        client.headers.update(headers)
        told = {one["id"]: one for one in await speaking(supervisor, client).reviews()}
        assert [told[one["id"]]["status"] for one in (first, second)] == ["changes-requested", "approved"]
        assert told[first["id"]]["replacedBy"] == second["id"]
        said = (await speaking(agent, client).get(first, "/comments")).json()["comments"]
        assert [one["text"] for one in said] == ["Whose is it?", "Ask again"]
        pulled = await pull_all(client, program)
        assert [event["data"].get("phone") for event in pulled] == [None, "2"]


async def test_of_two_hubs_on_one_database_one_applies_it(installation: Installation) -> None:
    if installation.url is None:
        pytest.skip("SQLite is one process's: a second hub does not start")
    async with installation.running() as (app, client), installation.running() as (_, other):
        admin = await Alone(app, client, installation.clock).admin()
        program = await make_program(admin)
        await set_policy(admin, program, "create-individual", "internal-review")
        agent = await make_staff(admin, client, (program, "enumerator"))
        supervisor = await make_staff(admin, client, (program, "supervisor"))
        there = replace(supervisor, client=other)
        reviews = [await agent.submitted() for _ in range(10)]
        one, two = await asyncio.gather(supervisor.bulk(*reviews), there.bulk(*reversed(reviews)))
        assert one.json()["approved"] + two.json()["approved"] == 10
        assert len(await pull_all(admin, program)) == 10
