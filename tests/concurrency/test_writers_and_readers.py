"""Many at once, through the routes: nothing lost, nothing twice, one order for everybody."""

import asyncio
import os
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.db import EVERY_TENANT
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from datacollect.testing.simulation.rules import preload
from datacollect.testing.wire import Wire, asgi_wire
from tests.factories import make_event, make_program, pull_all, push

pytestmark = pytest.mark.anyio

SOAK_SECONDS = float(os.environ.get("HUB_SOAK_SECONDS", "3"))
WRITERS, READERS = 8, 4
FIELD_WRITERS = 32

_TIMES = [
    parse_timestamp(text)
    for text in (
        "1999-12-31T23:59:59.999Z",
        "2025-02-01T00:00:00.000Z",
        "2025-02-01T00:00:00.001Z",
        "2999-01-01T00:00:00.000Z",
    )
]


@dataclass
class _Reader:
    """Follows the log from the beginning with the cursors a client has: `nextCursor`, or what it makes of the last
    event it got."""

    wire: Wire
    program: str
    token: str
    page_size: int
    guids: list[str] = field(default_factory=list)
    cursor: str = ""

    async def read(self) -> int:
        target = f"/api/sync/pull?since={self.cursor}&configId={self.program}&limit={self.page_size}"
        answer = await self.wire("GET", target, headers={"authorization": f"Bearer {self.token}"})
        assert answer.status == 200, answer.body
        events = answer.json()["events"]
        self.guids += [event["guid"] for event in events]
        if events:
            self.cursor = f"{events[-1]['timestamp']}|{events[-1]['guid']}"
        return len(events)


async def test_following_readers_get_every_event_once_and_all_in_one_order(
    app: FastAPI, admin: AsyncClient, admin_token: str, measured: Callable[[str, object], None]
) -> None:
    program, wire = await make_program(admin), asgi_wire(app)
    acknowledged: set[str] = set()
    end = asyncio.get_running_loop().time() + SOAK_SECONDS
    writing = [WRITERS]

    async def write(chance: random.Random) -> None:
        while asyncio.get_running_loop().time() < end:
            events = [
                make_event(timestamp=format_timestamp(Millis(chance.choice(_TIMES) + chance.choice((0, 0, 7)))))
                for _ in range(chance.randint(1, 10))
            ]
            body = msgspec.json.encode({"events": events, "configId": program})
            answer = await wire("POST", "/api/sync/push", headers={"authorization": f"Bearer {admin_token}"}, body=body)
            assert answer.status == 200, answer.body
            acknowledged.update(event["guid"] for event in events)
        writing[0] -= 1

    async def follow(reader: _Reader) -> None:
        while await reader.read() or writing[0]:
            pass
        # Whatever was committed between the last empty page and the end of writing.
        while await reader.read():
            pass

    readers = [_Reader(wire, program, admin_token, page_size) for page_size in (10, 37, 500, 5000)]
    assert len(readers) == READERS
    async with asyncio.TaskGroup() as tasks:
        for number in range(WRITERS):
            tasks.create_task(write(random.Random(number)))
        for reader in readers:
            tasks.create_task(follow(reader))

    measured(f"events in {SOAK_SECONDS:g} s", len(acknowledged))
    assert len(acknowledged) > WRITERS
    for reader in readers:
        assert len(reader.guids) == len(set(reader.guids)), "an event came twice"
        assert set(reader.guids) == acknowledged
        assert reader.guids == readers[0].guids


async def test_writers_of_different_fields_of_one_entity_lose_none(admin: AsyncClient) -> None:
    program = await make_program(admin)
    entity = str(uuid.uuid4())
    await push(admin, program, make_event(entity=entity))
    edits = [
        make_event("update-individual", entity=entity, data={f"field{number}": number})
        for number in range(FIELD_WRITERS)
    ]
    answers = await asyncio.gather(*(push(admin, program, edit) for edit in edits))
    assert {answer.status_code for answer in answers} == {200}
    data = (await admin.get(f"/api/entities/{entity}", params={"configId": program})).json()["data"]
    assert {name: data.get(name) for name in _FIELDS} == _FIELDS


_FIELDS = {f"field{number}": number for number in range(FIELD_WRITERS)}


@pytest.mark.parametrize("loads", ["under the lock", "before it locks"])
async def test_what_saves_them_is_that_states_are_loaded_under_the_lock(
    hub: Hub, admin: AsyncClient, loads: str
) -> None:
    """The same writers with a barrier that holds each until all have arrived. Loading before it, as a store does that
    locks too late, loses edits; loading after the lock loses none."""
    program = await make_program(admin)
    entity = str(uuid.uuid4())
    await push(admin, program, make_event(entity=entity))
    scope, tenant = system_scope(TenantId(program)), Tenant(TenantId(program), program)
    barrier = asyncio.Barrier(FIELD_WRITERS)

    async def write(number: int) -> None:
        moment = parse_timestamp(make_event()["timestamp"])
        event = Event(str(uuid.uuid4()), entity, "update-individual", {f"field{number}": number}, moment, "agent-7")
        log = hub.log
        if loads == "before it locks":
            async with hub.db.reading(EVERY_TENANT) as view:
                loaded = await preload(view, hub.log._projections, scope, tenant, [event])
            log = EventLog(hub.log._store, loaded, hub.clock)
        await barrier.wait()
        async with hub.db.transaction(scope) as tx:
            await log.append(tx, scope, tenant, [event])

    await asyncio.gather(*(write(number) for number in range(FIELD_WRITERS)))
    data = (await admin.get(f"/api/entities/{entity}", params={"configId": program})).json()["data"]
    kept = _FIELDS.items() & data.items()
    if loads == "under the lock":
        assert len(kept) == FIELD_WRITERS
    else:
        assert len(kept) < FIELD_WRITERS
    assert len(await pull_all(admin, program)) == 1 + FIELD_WRITERS


async def test_the_same_push_from_eight_connections_at_once_stores_once_and_counts_all_as_applied(
    admin: AsyncClient, hub: Hub
) -> None:
    program = await make_program(admin)
    events = [make_event() for _ in range(10)]
    answers = await asyncio.gather(*(push(admin, program, *events) for _ in range(8)))
    assert [(answer.status_code, answer.json()["applied"]) for answer in answers] == [(200, 10)] * 8
    delivered: list[Any] = await pull_all(admin, program)
    assert [event["guid"] for event in delivered] == [event["guid"] for event in events]
    async with hub.db.reading(EVERY_TENANT) as view:
        head = await hub.log.head(view, system_scope(TenantId(program)))
    assert head is not None and head.position == 10
