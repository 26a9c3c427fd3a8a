"""Logs are anchored as they grow, whichever way their events come, and never before these are on disk."""

import asyncio
import uuid
from collections.abc import Iterator

import pytest
import structlog
from httpx2 import AsyncClient
from structlog.typing import EventDict

from datacollect.assembly import event_store
from datacollect.db import EVERY_TENANT
from datacollect.eventstore.anchorer import EVERY
from datacollect.eventstore.anchors import Anchor, anchor_file, read_anchors
from datacollect.eventstore.verification import verify
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.concurrency.test_interrupted_pushes import refusing_commits
from tests.factories import make_event, make_program, push
from tests.features.conflicts.test_routes import collide, conflicts_of, decide
from tests.features.conftest import Installation
from tests.features.sync.test_lasting import signed_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


async def anchors_of(hub: Hub, program: str) -> list[Anchor]:
    await hub.anchorer.finish()
    return list(read_anchors(hub.settings.data_dir, TenantId(program)))


async def positions_of(hub: Hub, program: str) -> list[int]:
    return [anchor.position for anchor in await anchors_of(hub, program)]


async def push_many(admin: AsyncClient, program: str, count: int) -> None:
    answer = await push(admin, program, *(make_event() for _ in range(count)))
    assert answer.status_code == 200, answer.text


async def test_each_append_that_ends_in_another_segment_is_anchored(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push_many(admin, program, EVERY - 1)
    assert await positions_of(hub, program) == []
    await push_many(admin, program, 1)
    assert await positions_of(hub, program) == [EVERY]
    await push_many(admin, program, EVERY - 1)
    assert await positions_of(hub, program) == [EVERY]
    await push_many(admin, program, 3 * EVERY)
    anchors = await anchors_of(hub, program)
    assert [anchor.position for anchor in anchors] == [EVERY, 5 * EVERY - 1]
    async with hub.db.reading(EVERY_TENANT) as view:
        scope = system_scope(TenantId(program))
        outcome = await verify(view, event_store(hub.db), scope, anchors=anchors)
    assert outcome.ok
    assert outcome.sound.chain_hash == anchors[-1].chain_hash


async def test_a_push_that_adds_nothing_anchors_nothing(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    events = [make_event() for _ in range(EVERY)]
    for _ in range(2):
        assert (await push(admin, program, *events)).status_code == 200
    assert await positions_of(hub, program) == [EVERY]


async def test_seeds_are_anchored(admin: AsyncClient, hub: Hub) -> None:
    seeds = [{"id": str(uuid.uuid4()), "name": "Ana"} for _ in range(EVERY + 1)]
    program = await make_program(admin, entityData=[{"name": "individual", "data": seeds}])
    assert await positions_of(hub, program) == [EVERY + 1]


async def test_a_decided_conflict_is_anchored(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await collide(admin, program)
    await push_many(admin, program, EVERY - 1 - 3)
    assert await positions_of(hub, program) == []
    [conflict] = (await conflicts_of(admin, program))["conflicts"]
    assert (await decide(admin, program, conflict["guid"], resolution="remote")).status_code == 200
    assert await positions_of(hub, program) == [EVERY]


async def test_pushes_that_share_a_commit_are_anchored_each(admin: AsyncClient, hub: Hub) -> None:
    programs = [await make_program(admin) for _ in range(3)]
    await asyncio.gather(*(push_many(admin, program, EVERY) for program in programs for _ in range(2)))
    for program in programs:
        assert await positions_of(hub, program) == [EVERY, 2 * EVERY]


async def test_nothing_is_anchored_that_was_not_committed(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    async with refusing_commits(hub, program):
        answer = await push(admin, program, *(make_event() for _ in range(EVERY)))
        assert answer.status_code == 500
    refused = await push(admin, program, *(make_event() for _ in range(EVERY)), make_event(data={}))
    assert refused.status_code == 422
    assert await positions_of(hub, program) == []


async def test_an_anchor_that_cannot_be_written_is_logged_once_and_delays_nobody(
    admin: AsyncClient, hub: Hub, lines: list[EventDict]
) -> None:
    program = await make_program(admin)
    file = anchor_file(hub.settings.data_dir, TenantId(program))
    file.mkdir(parents=True)
    await push_many(admin, program, EVERY)
    await hub.anchorer.finish()
    warnings = [line for line in lines if line["event"].startswith("anchors.")]
    assert warnings == [
        {"event": "anchors.unwritable", "log_level": "warning", "component": "anchors", "tenant_id": program}
    ]
    file.rmdir()
    await push_many(admin, program, EVERY)
    assert await positions_of(hub, program) == [2 * EVERY]


async def test_what_waits_is_anchored_before_the_hub_stops(installation: Installation) -> None:
    async with installation.running() as (app, client):
        await signed_in(client)
        program = await make_program(client)
        await push_many(client, program, EVERY)
    assert [a.position for a in read_anchors(app.state.hub.settings.data_dir, TenantId(program))] == [EVERY]
