"""The tenant directory."""

import asyncio
from typing import cast

import pytest
from httpx2 import AsyncClient

from datacollect.db import Database
from datacollect.features.tenants.directory import CachedTenantDirectory
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import TenantId
from datacollect.testing.clock import SetClock, TurnableClock
from tests.factories import make_config, make_program, new_id
from tests.gated import GatedDatabase

pytestmark = pytest.mark.anyio


async def test_a_program_is_looked_up_once_a_second(admin: AsyncClient, hub: Hub, clock: TurnableClock) -> None:
    program = TenantId(await make_program(admin, customEventTypes=["record-attendance"]))
    directory = CachedTenantDirectory(hub.db, clock)
    with hub.db.statements.record() as statements:
        found = [await directory.find(program) for _ in range(50)]
    assert len(statements) == 1
    assert found[0] is not None and found[0] is found[49]
    assert found[0].custom_event_types == {"record-attendance"}
    # As another process would: the change is made elsewhere.
    await admin.delete(f"/api/apps/{program}")
    clock.turn(seconds=1.1)
    assert await directory.find(program) is None


async def test_strangers_cost_one_statement_too(hub: Hub, clock: TurnableClock) -> None:
    directory = CachedTenantDirectory(hub.db, clock)
    stranger = TenantId(new_id())
    with hub.db.statements.record() as statements:
        assert [await directory.find(stranger) for _ in range(50)] == [None] * 50
    assert len(statements) == 1


async def test_a_program_that_another_process_makes_or_restores_is_known_in_a_moment(
    admin: AsyncClient, hub: Hub, clock: TurnableClock
) -> None:
    """For a second its devices were told that it is unknown, at which they stop."""
    directory, program = CachedTenantDirectory(hub.db, clock), TenantId(new_id())
    for change in (admin.post("/api/apps", json=make_config(program)), admin.post(f"/api/apps/{program}/restore")):
        assert await directory.find(program) is None
        assert (await change).status_code == 200
        clock.turn(seconds=0.1)
        assert await directory.find(program) is not None
        assert (await admin.delete(f"/api/apps/{program}")).status_code == 200
        clock.turn(seconds=1)


async def test_a_change_during_a_lookup_is_not_lost(admin: AsyncClient, hub: Hub, clock: TurnableClock) -> None:
    program, gated = TenantId(await make_program(admin)), GatedDatabase(hub.db)
    directory = CachedTenantDirectory(cast(Database, gated), clock)
    lookups = [asyncio.create_task(directory.find(program)) for _ in range(5)]
    await gated.has_read.wait()
    assert gated.glances == 1, "they share one"
    directory.forget([program])
    later = asyncio.create_task(directory.find(program))
    gated.may_go.set()
    await asyncio.gather(*lookups, later)
    assert gated.glances == 2, "who asks after the change is not told what was read before it"
    await directory.find(program)
    assert gated.glances == 2, "what was read after it is remembered"


async def test_strangers_do_not_fill_the_memory(database: Database, clock: TurnableClock) -> None:
    directory = CachedTenantDirectory(database, clock)
    told = directory._tenants._told
    for number in range(10_000):
        told.keep(TenantId(str(number)), None, told.now())
    await directory.find(TenantId("one-more"))
    assert len(told._held) == 10_000
    assert told.get(TenantId("0")) is None
    assert not directory._known


async def test_who_asks_for_a_program_often_does_not_wait_when_the_second_is_over(
    admin: AsyncClient, hub: Hub, clock: TurnableClock
) -> None:
    program, gated = TenantId(await make_program(admin)), GatedDatabase(hub.db)
    directory = CachedTenantDirectory(cast(Database, gated), clock)
    gated.may_go.set()
    for _ in range(9):
        await directory.find(program)
    gated.may_go.clear()
    clock.turn(seconds=0.6)
    assert await directory.find(program) is not None, "nobody waits for what is begun now"
    await gated.until_glances(2)
    gated.may_go.set()
    async with asyncio.timeout(20):
        while directory._tenants._flights._under_way:  # noqa: ASYNC110
            await asyncio.sleep(0)
    clock.turn(seconds=0.5)
    assert await directory.find(program) is not None
    assert gated.glances == 2


async def test_nothing_of_before_the_clock_was_set_back_is_believed_when_it_has_caught_up(
    admin: AsyncClient, hub: Hub
) -> None:
    clock = SetClock(Millis(1_800_000_000_000))
    program = TenantId(await make_program(admin))
    directory = CachedTenantDirectory(hub.db, clock)
    assert await directory.find(program) is not None
    clock.turn(-5_000)
    await directory.find(TenantId(new_id()))
    await admin.delete(f"/api/apps/{program}")
    clock.turn(5_000)
    assert await directory.find(program) is None
