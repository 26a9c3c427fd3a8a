"""What becomes of files when their entity, or their program, is gone."""

import dataclasses

import anyio
import pytest
from httpx2 import AsyncClient

from datacollect.features.attachments.contents.collecting import KIND
from datacollect.features.attachments.tidying import FORSAKEN_DAYS
from datacollect.jobs import enqueue
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.attachments import NOTHING, ask, attach, guids_of, kept, make_entity, new_guid
from tests.factories import make_event, make_program, push
from tests.features.conftest import Alone

pytestmark = pytest.mark.anyio

DAY = 86_400


async def collect(alone: Alone, program: str) -> None:
    scope = system_scope(TenantId(program))
    async with alone.hub.db.transaction(scope) as tx:
        job = await enqueue(tx, scope, KIND, {}, now=alone.clock.now())
    done = await alone.hub.jobs.wait_for(scope, job, seconds=20)
    assert done is not None and done.result is not None


async def delete_entity(admin: AsyncClient, program: str, entity: str) -> None:
    await push(admin, program, make_event("delete-entity", entity=entity, data={"id": entity}))


async def test_files_of_a_deleted_entity_are_deleted_when_it_has_not_come_back(alone: Alone) -> None:
    admin = await alone.admin()
    program = await make_program(admin)
    gone, back, here = [await make_entity(admin, program) for _ in range(3)]
    for entity in (gone, back, here):
        await attach(admin, program, entity)
    waiting = await attach(admin, program, new_guid())
    since = (await ask(admin, program, "")).json()["nextCursor"]
    for entity in (gone, back):
        await delete_entity(admin, program, entity)
    await collect(alone, program)
    alone.clock.turn(seconds=(FORSAKEN_DAYS - 1) * DAY)
    await collect(alone, program)
    admin = await alone.admin()
    await push(admin, program, make_event(entity=back))
    assert len(await guids_of(admin, program, back)) == 1
    await collect(alone, program)
    alone.clock.turn(seconds=2 * DAY)
    await collect(alone, program)
    admin = await alone.admin()
    told = (await ask(admin, program, "", params={"since": since})).json()
    assert [one["entityGuid"] for one in told["deleted"]] == [gone]
    assert len(await guids_of(admin, program, back)) == len(await guids_of(admin, program, here)) == 1
    assert [one["guid"] for one in (await ask(admin, program, "/pending")).json()["attachments"]] == [waiting["guid"]]
    alone.clock.turn(seconds=DAY)
    await collect(alone, program)
    assert (await kept(alone.hub, program)).objects == 3


async def test_files_of_who_came_back_wait_as_long_again_when_they_are_deleted_once_more(alone: Alone) -> None:
    admin = await alone.admin()
    program = await make_program(admin)
    entity = await make_entity(admin, program)
    stored = await attach(admin, program, entity)
    await delete_entity(admin, program, entity)
    await collect(alone, program)
    alone.clock.turn(seconds=20 * DAY)
    admin = await alone.admin()
    await push(admin, program, make_event(entity=entity))
    await collect(alone, program)
    await delete_entity(admin, program, entity)
    await collect(alone, program)
    alone.clock.turn(seconds=(FORSAKEN_DAYS - 1) * DAY)
    await collect(alone, program)
    admin = await alone.admin()
    await push(admin, program, make_event(entity=entity))
    assert await guids_of(admin, program, entity) == [stored["guid"]]


async def test_a_purged_program_leaves_no_file(alone: Alone) -> None:
    admin = await alone.admin()
    program, other = [await make_program(admin) for _ in range(2)]
    for one in (program, other):
        entity = await make_entity(admin, one)
        await attach(admin, one, entity)
        deleted = await attach(admin, one, entity)
        await ask(admin, one, f"/{deleted['guid']}", "DELETE")
    before = await kept(alone.hub, other)
    await admin.delete(f"/api/apps/{program}")
    with anyio.fail_after(30):
        while (await admin.delete(f"/api/apps/{program}/purge")).status_code != 404:
            pass  # it has waited for the job, as long as a request may
    assert await kept(alone.hub, program) == NOTHING
    assert await kept(alone.hub, other) == before == dataclasses.replace(before, spooled=0)
