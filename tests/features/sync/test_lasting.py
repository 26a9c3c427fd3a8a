"""What sync promises across processes, restarts, archiving and clocks that are set back."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.db import EVERY_TENANT
from datacollect.eventstore.event import Event
from datacollect.eventstore.integrity import EMPTY_CHAIN, hash_event
from datacollect.http.hub import Hub
from datacollect.kernel.clock import parse_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.accounts import bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.factories import make_config, make_event, make_program, pull, pull_all, push
from tests.features.conftest import Alone, Installation

pytestmark = pytest.mark.anyio


async def signed_in(client: AsyncClient) -> AsyncClient:
    answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    client.headers.update(bearer(answer.json()["token"]))
    return client


def cursor_of(event: dict[str, Any]) -> str:
    return f"{event['timestamp']}|{event['guid']}"


async def rows_of(app: FastAPI | Hub, program: str) -> list[tuple[int, int]]:
    """Position and time of recording of each event, in the log's order."""
    hub = app if isinstance(app, Hub) else app.state.hub
    marker = "?" if hub.db.dialect == "sqlite" else "$1"
    sql = f"SELECT position, recorded_ms FROM events WHERE tenant_id = {marker} ORDER BY position"
    async with hub.db.reading(EVERY_TENANT) as view:
        return [tuple(row) for row in await view.fetch(sql, program)]


async def test_two_processes_append_to_one_program_without_gap_or_loss(installation: Installation) -> None:
    async with installation.running() as (app, one), installation.running() as (_, two):
        await signed_in(one)
        await signed_in(two)
        program = await make_program(one)
        events = [make_event() for _ in range(40)]
        shared = make_event()
        answers = await asyncio.gather(
            *(push(client, program, event, shared) for event, client in zip(events, [one, two] * 20, strict=True))
        )
        assert {(answer.status_code, answer.json()["applied"]) for answer in answers} == {(200, 2)}
        assert [position for position, _ in await rows_of(app, program)] == list(range(1, 42))
        delivered = [event["guid"] for event in await pull_all(two, program)]
        assert sorted(delivered) == sorted(event["guid"] for event in [*events, shared])
        assert (await one.get("/api/entities/count", params={"configId": program})).json() == {"count": 41}


async def test_a_program_archived_by_another_process_stops_within_a_second(installation: Installation) -> None:
    async with installation.running() as (_, one), installation.running() as (app, two):
        await signed_in(one)
        await signed_in(two)
        program = await make_program(one)
        assert (await push(two, program, make_event())).status_code == 200
        await one.delete(f"/api/apps/{program}")
        installation.clock.turn(seconds=1)
        assert (await push(two, program, make_event())).json()["code"] == "TENANT_UNKNOWN"
        assert (await pull(two, program)).json()["code"] == "TENANT_UNKNOWN"
        assert len(await rows_of(app, program)) == 1


async def test_a_cursor_outlives_restarting_archiving_and_uploading_again(installation: Installation) -> None:
    config = make_config()
    program = config["id"]
    first, second, third = (make_event() for _ in range(3))
    async with installation.running() as (_, client):
        await signed_in(client)
        await client.post("/api/apps", json=config)
        await push(client, program, first, second)
        await client.delete(f"/api/apps/{program}")
    async with installation.running() as (_, client):
        await signed_in(client)
        await client.post("/api/apps", json=config | {"name": "Again"})
        await push(client, program, third)
        for seen, rest in ((first, [second, third]), (second, [third]), (third, [])):
            delivered = await pull_all(client, program, cursor_of(seen))
            assert [event["guid"] for event in delivered] == [event["guid"] for event in rest]


async def test_a_clock_that_is_set_back_turns_no_record_back(alone: Alone) -> None:
    admin = await alone.admin()
    program = await make_program(admin)
    before = make_event(entity="p-1", data={"name": "Ana", "note": "old"})
    after = make_event("update-individual", entity="p-1", data={"note": "new"})
    await push(admin, program, before)
    alone.clock.turn(seconds=-30)
    await push(admin, program, after)
    recorded = [moment for _, moment in await rows_of(alone.hub, program)]
    assert recorded == sorted(recorded)
    delivered = await pull_all(admin, program, cursor_of(before))
    assert [event["guid"] for event in delivered] == [after["guid"]]
    entity = (await admin.get("/api/entities/p-1", params={"configId": program})).json()
    assert entity["data"] == {"name": "Ana", "note": "new"}


async def test_programs_may_use_the_same_guids_and_none_learns_of_the_other(alone: Alone) -> None:
    admin = await alone.admin()
    one, two = await make_program(admin), await make_program(admin)
    event = make_event(entity="p-1", data={"name": "Ana"})
    other = event | {"data": {"name": "Leo"}}
    for program, sent in ((one, event), (two, other)):
        answer = await push(admin, program, sent)
        assert answer.json() == {"status": "success", "applied": 1, "failed": [], "errors": []}
    for program, name in ((one, "Ana"), (two, "Leo")):
        assert [stored["data"]["name"] for stored in await pull_all(admin, program)] == [name]
        assert (await admin.get("/api/entities/p-1", params={"configId": program})).json()["name"] == name
    late = make_event()
    await push(admin, one, late)
    # A cursor of one program is an unknown event in the other: everything comes, and only its own.
    assert [stored["data"]["name"] for stored in await pull_all(admin, two, cursor_of(late))] == ["Leo"]


async def test_the_chain_can_be_checked_from_what_was_delivered(alone: Alone) -> None:
    admin = await alone.admin()
    program = await make_program(admin)
    await push(admin, program, make_event(schemaVersion=3), make_event(data={"é": 1.0, "b": [1e21, None]}))
    await push(admin, program, make_event(timestamp="2020-01-01T00:00:00Z"))
    chain = EMPTY_CHAIN
    for wire in await pull_all(admin, program):
        event = Event(
            wire["guid"],
            wire["entityGuid"],
            wire["type"],
            wire["data"],
            parse_timestamp(wire["timestamp"]),
            wire["userId"],
            wire.get("schemaVersion"),
        )
        chain = hash_event(event).chained_to(chain)
    async with alone.hub.db.reading(EVERY_TENANT) as view:
        head = await alone.hub.log.head(view, system_scope(TenantId(program)))
    assert head is not None
    assert head.chain_hash == chain
