"""A log that was put back from a backup: whatever devices have seen of the history before, they miss nothing of the new one.

Real clients build the cursor they keep of the last page's latest event, and send back what they were given (echoes).
"""

import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import pytest

from datacollect.assembly import event_store
from datacollect.db import Database
from datacollect.eventstore.epochs import SKEW_MILLIS
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.pages import Pages
from datacollect.eventstore.sealer import Sealer
from datacollect.features.integrity.service import put_back
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.cursor import parse_cursor
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.kernel.tenancy import Tenant
from datacollect.testing.clock import TurnableClock
from datacollect.testing.eventstore import event_at

pytestmark = pytest.mark.anyio

PAGE = 3
Kind = Literal["v1", "v2", "keeper"]
KINDS: Sequence[Kind] = ("v1", "v2", "keeper")


@dataclass
class Device:
    """What a client keeps: v1 the latest time, v2 the latest event of the last page, others the cursor itself."""

    kind: Kind
    cursor: str = ""
    known: set[str] = field(default_factory=set)

    def kept(self, events: Sequence[dict[str, str]], given: str | None) -> str:
        latest = max(events, key=lambda event: event["timestamp"])
        if self.kind == "v1":
            return latest["timestamp"]
        if self.kind == "v2":
            return f"{latest['timestamp']}|{latest['guid']}"
        return given or f"{events[-1]['timestamp']}|{events[-1]['guid']}"


class Place:
    """A hub's logs, with a clock, and a way for devices to sync."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = TurnableClock()
        store = event_store(database)
        self.log = EventLog(store, [], self.clock)
        self.pages = Pages(store, Sealer(database, store))

    async def new_log(self) -> TenantScope:
        scope = system_scope(TenantId(f"t-{uuid.uuid4().hex[:10]}"))
        async with self.database.transaction(scope) as tx:
            await self.log.create(tx, scope)
        return scope

    async def push(self, scope: TenantScope, *events: Event) -> None:
        async with self.database.transaction(scope) as tx:
            await self.log.append(tx, scope, Tenant(scope.tenant_id, "Program"), events, device_id=None)
        self.clock.turn(seconds=1)

    async def put_back(self, scope: TenantScope, *, backup_at: Millis | None = None) -> int:
        async with self.database.transaction(scope) as tx:
            return await put_back(tx, self.log, scope, backup_at=backup_at, now=self.clock.now())

    async def sync(self, scope: TenantScope, device: Device, *, most_pages: int = 200) -> int:
        """Pull until there is no more, as clients do; how many events came that the device knew."""
        since: str | None = device.cursor
        again = 0
        while since is not None:
            most_pages -= 1
            assert most_pages, "the pull does not end"
            async with self.database.reading(scope) as view:
                page = await self.pages.read(view, scope, "1", parse_cursor(since), limit=PAGE)
            events = [msgspec.json.decode(body) for body in page.bodies]
            again += sum(event["guid"] in device.known for event in events)
            device.known.update(event["guid"] for event in events)
            since = None if page.next_cursor is None else str(page.next_cursor)
            if events:
                device.cursor = device.kept(events, since)
        return again


@pytest.fixture
def place(database: Database) -> Place:
    return Place(database)


def times(dice: random.Random, now: Millis) -> Iterator[int]:
    """When devices say it was: now, while they were offline, by a clock that is wrong; some at the same moment."""
    while True:
        ahead = dice.choice((0, 0, 0, 3_600_000, SKEW_MILLIS - 1, 10**12))
        yield now - dice.choice((0, 1, 1, 5_000, 86_400_000)) + ahead


@pytest.mark.parametrize("seed", range(8))
async def test_nobody_misses_an_event_of_the_new_history_whoever_sends_what_again(place: Place, seed: int) -> None:
    dice = random.Random(seed)
    before, after = await place.new_log(), await place.new_log()
    moments = times(dice, place.clock.now())
    history = [event_at(next(moments)) for _ in range(14)]
    kept = 0 if seed == 0 else dice.randrange(1, 11)
    devices = [Device(kind) for kind in KINDS for _ in range(2)]
    for at in range(0, len(history), 2):
        await place.push(before, *history[at : at + 2])
        await place.sync(before, dice.choice(devices))
    # What is put back is the beginning of the same log.
    await place.push(after, *history[:kept])
    await place.put_back(after)
    everything = [*history[:kept]]
    for _ in range(30):
        match dice.choice(("new", "echo", "sync")):
            case "new":
                pushed = [event_at(next(times(dice, place.clock.now())))]
            case "echo":
                pushed = dice.sample(history, dice.randrange(1, 4))
            case _:
                await place.sync(after, dice.choice(devices))
                continue
        await place.push(after, *pushed)
        everything += pushed
        place.clock.turn(seconds=dice.choice((0, 60, 90_000)))
    for device in devices:
        await place.sync(after, device)
        assert device.known >= {event.guid for event in everything}, (seed, device.kind)


async def test_what_was_made_after_the_restore_is_delivered_once(place: Place) -> None:
    scope = await place.new_log()
    await place.push(scope, *map(event_at, range(5)))
    await place.put_back(scope)
    place.clock.turn(seconds=SKEW_MILLIS // 1000 + 1)
    devices = [Device(kind) for kind in ("v2", "keeper")]
    for device in devices:
        await place.sync(scope, device)
    for _ in range(3):
        await place.push(scope, *(event_at(place.clock.now() + at) for at in range(-4, 1)))
        assert [await place.sync(scope, device) for device in devices] == [0, 0]


async def test_a_first_page_says_of_which_history_it_is(place: Place) -> None:
    scope = await place.new_log()
    await place.push(scope, *map(event_at, range(2)))
    await place.put_back(scope)
    await place.push(scope, *map(event_at, range(2, 6)))
    device = Device("keeper")
    assert await place.sync(scope, device) == 0
    assert len(device.known) == 6


async def test_a_hub_that_ran_before_it_was_told_is_told_when_the_backup_was_made(place: Place) -> None:
    scope = await place.new_log()
    await place.push(scope, event_at(1), event_at(2))
    backup_at = place.clock.now()
    await place.push(scope, event_at(3))
    assert await place.put_back(scope, backup_at=backup_at) == 2
    device = Device("v2", "1970-01-01T00:00:09.000Z|lost")
    assert await place.sync(scope, device) == 0
    assert len(device.known) == 1


async def test_a_second_restore_leaves_the_first_one_known(place: Place) -> None:
    """There are still devices of the history before the first."""
    scope = await place.new_log()
    lost, first = event_at(5), event_at(1)
    await place.push(scope, first)
    await place.put_back(scope)
    await place.push(scope, event_at(2), lost)
    await place.put_back(scope)
    device = Device("v2", f"1970-01-01T00:00:00.005Z|{lost.guid}", {first.guid, lost.guid})
    await place.sync(scope, device)
    assert len(device.known) == 3


async def test_also_where_the_first_restore_left_nothing(place: Place) -> None:
    scope = await place.new_log()
    lost = event_at(5)
    await place.put_back(scope)
    await place.push(scope, event_at(1))
    await place.put_back(scope)
    await place.push(scope, lost)
    device = Device("v2", f"1970-01-01T00:00:00.005Z|{lost.guid}", {lost.guid})
    await place.sync(scope, device)
    assert len(device.known) == 2


async def test_also_where_a_hub_did_the_first_restore_that_did_not_note_when(place: Place) -> None:
    scope = await place.new_log()
    lost, first = event_at(5), event_at(1)
    await place.push(scope, first)
    async with place.database.transaction(scope) as tx:
        await event_store(place.database).renew(tx, scope, epoch=new_guid(), position=1)
    await place.push(scope, event_at(2))
    await place.put_back(scope)
    await place.push(scope, lost)
    device = Device("v2", f"1970-01-01T00:00:00.005Z|{lost.guid}", {first.guid, lost.guid})
    await place.sync(scope, device)
    assert len(device.known) == 3


async def test_a_time_that_no_event_has_is_of_the_history_before(place: Place) -> None:
    """Whatever the clock was that it comes from, and though nothing was left of that history."""
    scope = await place.new_log()
    await place.put_back(scope)
    place.clock.turn(seconds=3 * SKEW_MILLIS // 1000)
    await place.push(scope, event_at(place.clock.now() - 4 * SKEW_MILLIS))
    device = Device("v1", format_timestamp(Millis(place.clock.now() - SKEW_MILLIS)))
    await place.sync(scope, device)
    assert len(device.known) == 1
