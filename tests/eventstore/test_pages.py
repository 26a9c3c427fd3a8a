"""Pages from sealed segments are the pages of the table: on both engines, for whatever cursor and size."""

import itertools
import random
import struct
import sys
import uuid
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import NamedTuple

import pytest
import structlog.testing

from datacollect.assembly import event_store
from datacollect.db import EVERY_TENANT, Database, Reading
from datacollect.db.database import Within
from datacollect.db.sqlite import SqliteDatabase
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.pages import Pages
from datacollect.eventstore.sealer import Sealer
from datacollect.eventstore.segments import MOST_TEXT_BYTES, SIZE, Segment, seal
from datacollect.eventstore.store import MOST_PAGE_BYTES, EventStore, Page, Place, Run
from datacollect.eventstore.verification import verify
from datacollect.features.sync.parts import Part, read_part
from datacollect.kernel.clock import Millis, SystemClock
from datacollect.kernel.cursor import Cursor
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.testing.clock import SetClock
from datacollect.testing.eventstore import append, event_at
from datacollect.testing.simulation.rules import DelegatingStore

pytestmark = pytest.mark.anyio

VERSION = "1"
"""Of the program's config."""

LENGTH = 3 * SIZE + 137
LIMITS = (1, 2, 9, 10, 99, 100, 137, SIZE - 1, SIZE, SIZE + 1, 1000, 2 * SIZE + 3, LENGTH, 5000)


@pytest.fixture
def store(database: Database) -> EventStore:
    return event_store(database)


async def new_log(database: Database, store: EventStore, times: Sequence[int]) -> TenantScope:
    scope = system_scope(TenantId(f"t-{uuid.uuid4().hex[:10]}"))
    async with database.transaction(scope) as tx:
        await store.create(tx, scope, epoch=new_guid(), now=Millis(0))
    for batch in _batches(times, 400):
        await append(database, store, scope, [event_at(time) for time in batch])
    return scope


def _batches(times: Sequence[int], size: int) -> list[Sequence[int]]:
    return [times[begin : begin + size] for begin in range(0, len(times), size)]


async def sealed(database: Database, store: EventStore, scope: TenantScope) -> Sealer:
    sealer = Sealer(database, store)
    async with sealer.running():
        sealer.want(scope.tenant_id)
        await sealer.settle()
    return sealer


def bodies_of(page: Page) -> list[str]:
    """The events of a page, however they are held."""
    held = [part.segment.between(at, at + 1).decode() for part in page.sealed for at in range(part.begin, part.end)]
    return [*held, *page.bodies]


async def expect_pages_of_the_table(
    database: Database,
    store: EventStore,
    pages: Pages,
    scope: TenantScope,
    cursors: Sequence[Cursor | None],
    page_bytes: int = MOST_PAGE_BYTES,
) -> int:
    """How many events came from segments."""
    from_segments = 0
    async with database.reading(scope) as view, database.glancing(scope) as glance:
        for cursor, limit in itertools.product(cursors, LIMITS):
            after = await store.resolve(view, scope, cursor)
            expected = await store.read(view, scope, after=after, limit=limit, most_bytes=page_bytes)
            page = await pages.read(glance, scope, VERSION, cursor, limit=limit)
            assert bodies_of(page) == list(expected.bodies), (cursor, limit)
            assert (page.next_cursor, page.last_position, len(page)) == (
                expected.next_cursor,
                expected.last_position,
                len(expected),
            ), (cursor, limit)
            text = b",".join([*(part.text for part in page.sealed), *(body.encode() for body in page.bodies)])
            assert text.decode() == ",".join(expected.bodies)
            from_segments += sum(map(len, page.sealed))
            again = pages.at_once(scope, VERSION, cursor, limit=limit)
            if again is not None:
                assert bodies_of(again) == list(expected.bodies), (cursor, limit)
                assert (again.next_cursor, again.last_position) == (expected.next_cursor, expected.last_position)
    return from_segments


async def some_cursors(database: Database, store: EventStore, scope: TenantScope, count: int) -> list[Cursor | None]:
    """The beginning, events all over the log, their times alone, times of no event, and an unknown guid."""
    dice = random.Random(11)
    async with database.reading(scope) as view:
        rows = await store.read_rows(view, scope, after=0, limit=10_000)
    edges = [rows[at] for at in (0, SIZE - 2, SIZE - 1, SIZE, 2 * SIZE - 1, 3 * SIZE - 1, -1)]
    picked = [*edges, *dice.sample(rows, count)]
    cursors: list[Cursor | None] = [None, Cursor(Millis(0)), Cursor(Millis(10**15)), Cursor(Millis(5), "unknown")]
    cursors += [Cursor(row.occurred_at, row.guid) for row in picked]
    cursors += [Cursor(row.occurred_at) for row in dice.sample(picked, 5)]
    return cursors


async def test_every_page_is_the_page_of_the_table(database: Database, store: EventStore) -> None:
    dice = random.Random(3)
    scope = await new_log(database, store, [dice.randrange(100_000) for _ in range(LENGTH)])
    other = await new_log(database, store, [dice.randrange(100_000) for _ in range(SIZE + 3)])
    pages = Pages(store, await sealed(database, store, scope))
    await sealed(database, store, other)
    cursors = await some_cursors(database, store, scope, 12)
    assert await expect_pages_of_the_table(database, store, pages, scope, cursors) > LENGTH
    assert await expect_pages_of_the_table(database, store, pages, other, cursors[:6]) > SIZE


@pytest.mark.parametrize(("left", "in_threads"), [(3, 0), (100, 0), (101, 1)])
async def test_a_large_page_with_little_left_for_it_is_read_as_a_small_one(
    database: Database, store: EventStore, monkeypatch: pytest.MonkeyPatch, left: int, in_threads: int
) -> None:
    """Nearly every pull of a device that names a large page finds little or nothing new."""
    if not isinstance(database, SqliteDatabase):
        pytest.skip("PostgreSQL reads neither way")
    scope = await new_log(database, store, range(300))
    pages = Pages(store, Sealer(database, store))
    async with database.reading(scope) as view:
        [last] = await store.read_rows(view, scope, after=299 - left, limit=1)
    opened: list[Within] = []
    reading = database.reading

    def counted(within: Within = None) -> AbstractAsyncContextManager[Reading]:
        opened.append(within)
        return reading(within)

    monkeypatch.setattr(database._glance, "_reading", counted)
    async with database.glancing(scope) as glance:
        page = await pages.read(glance, scope, VERSION, Cursor(last.occurred_at, last.guid), limit=1000)
    assert len(page) == left
    assert len(opened) == in_threads


async def test_also_where_bytes_end_a_page_before_it_has_as_many_as_are_asked_for(
    database: Database, store: EventStore
) -> None:
    scope = await new_log(database, store, range(LENGTH))
    sealer, cursors = await sealed(database, store, scope), await some_cursors(database, store, scope, 3)
    size = len(event_at(1).body().encode())
    # Within a segment, with the end of one, over several, and with what is behind them.
    for page_bytes in (1, 7 * size, 7 * size + 1, SIZE * size, 2 * SIZE * size + 5, (LENGTH - 10) * size):
        pages = Pages(store, sealer, page_bytes=page_bytes)
        assert await expect_pages_of_the_table(database, store, pages, scope, cursors, page_bytes) > 100


async def test_also_when_nothing_is_remembered_and_when_only_some_is_sealed(
    database: Database, store: EventStore
) -> None:
    scope = await new_log(database, store, range(LENGTH))
    pages = Pages(store, await sealed(database, store, scope), remembered_bytes=1)
    cursors = await some_cursors(database, store, scope, 5)
    async with database.transaction(scope) as tx:
        await tx.run(f"DELETE FROM log_segments WHERE tenant_id = '{scope.tenant_id}' AND number = 1")
    assert await expect_pages_of_the_table(database, store, pages, scope, cursors) > SIZE


async def test_walking_through_the_log_gives_each_event_once_whatever_is_sealed_meanwhile(
    database: Database, store: EventStore
) -> None:
    scope = await new_log(database, store, range(LENGTH))
    sealer = Sealer(database, store)
    pages, seen, cursor = Pages(store, sealer), list[str](), None
    async with sealer.running():
        while True:
            async with database.reading(scope) as view:
                page = await pages.read(view, scope, VERSION, cursor, limit=7)
            seen += bodies_of(page)
            if len(seen) == 7 * 40:
                await append(database, store, scope, [event_at(time) for time in range(SIZE)])
            if len(seen) % (7 * 60) == 0:
                sealer.want(scope.tenant_id)
                await sealer.settle()
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
    async with database.reading(scope) as view:
        assert seen == list((await store.read(view, scope, after=0, limit=10_000)).bodies)


async def test_reading_what_is_not_sealed_has_it_sealed(database: Database, store: EventStore) -> None:
    scope = await new_log(database, store, range(2 * SIZE))
    sealer = Sealer(database, store)
    pages = Pages(store, sealer)
    async with sealer.running(), database.reading(scope) as view:
        assert not (await pages.read(view, scope, VERSION, None, limit=1000)).sealed
        await sealer.settle()
        page = await pages.read(view, scope, VERSION, None, limit=1000)
    assert [(part.segment.number, len(part)) for part in page.sealed] == [(0, SIZE), (1, SIZE)]


class Watched(DelegatingStore):
    """Remembers how much text was read at once."""

    most_read = 0

    async def read(
        self,
        view: Reading,
        scope: TenantScope,
        *,
        after: int,
        limit: int,
        epoch: str | None = None,
        most_bytes: int = MOST_PAGE_BYTES,
    ) -> Page:
        page = await super().read(view, scope, after=after, limit=limit, epoch=epoch, most_bytes=most_bytes)
        self.most_read = max(self.most_read, sum(map(len, page.bodies)))
        return page


async def test_a_run_that_is_too_large_is_left_to_the_table_without_being_read(
    database: Database, store: EventStore
) -> None:
    half = [replace(event_at(SIZE), data={"photo": "x" * (MOST_TEXT_BYTES // 2)}) for _ in range(3)]
    watched, scope = Watched(store), await new_log(database, store, range(SIZE - 2))
    await append(database, store, scope, half[:2])
    async with database.reading(scope) as view:
        cursor = (await store.read(view, scope, after=SIZE - 1, limit=1)).next_cursor
    await append(database, store, scope, [*map(event_at, range(SIZE - 1)), half[2]])
    await sealed(database, watched, scope)
    assert watched.most_read < MOST_TEXT_BYTES
    async with database.reading(scope) as view:
        place = await store.locate(view, scope, None)
        first, second = await store.segments(view, scope, epoch=place.epoch, first=0, last=1)
    assert (first.is_left_to_table, first.last, second.is_left_to_table) == (True, cursor, False)


async def test_a_log_that_took_the_place_of_another_gives_nothing_of_the_old_one(
    database: Database, store: EventStore
) -> None:
    scope = await new_log(database, store, range(SIZE))
    pages = Pages(store, await sealed(database, store, scope))
    async with database.reading(scope) as view:
        assert (await pages.read(view, scope, VERSION, None, limit=SIZE)).sealed
    # The head alone, so that what is left of the old log would be served if it could be.
    async with database.transaction(scope) as tx:
        await store.renew(tx, scope, epoch=new_guid(), position=SIZE)
    async with database.reading(scope) as view:
        assert not (await pages.read(view, scope, VERSION, None, limit=SIZE)).sealed


async def a_segment(database: Database, store: EventStore, scope: TenantScope) -> tuple[Segment, Run]:
    """The first one of a log, not kept yet."""
    async with database.reading(scope) as view:
        run = await store.run(view, scope, 0)
        page = await store.read(view, scope, after=0, limit=SIZE)
    assert run is not None
    assert page.next_cursor is not None
    return seal(0, page.bodies, page.next_cursor), run


async def lose(database: Database, scope: TenantScope, *, after: int) -> None:
    """As when a standby takes over that has not received the last commits: the log goes on from an earlier end."""
    ours = f"tenant_id = '{scope.tenant_id}'"
    async with database.transaction(scope) as tx:
        await tx.run(f"DELETE FROM events WHERE {ours} AND position > {after}")
        await tx.run(f"DELETE FROM log_segments WHERE {ours} AND (number + 1) * {SIZE} > {after}")
        last = f"FROM events WHERE {ours} AND position = {after}"
        await tx.run(
            f"UPDATE log_heads SET position = {after}, chain_hash = (SELECT chain_hash {last}),"
            f" max_occurred_ms = (SELECT max_occurred_ms {last}) WHERE {ours}"
        )


async def test_what_is_remembered_of_lost_events_is_not_served_in_the_place_of_new_ones(
    database: Database, store: EventStore
) -> None:
    scope, clock = await new_log(database, store, range(2 * SIZE + 5)), SetClock(Millis(10**12))
    sealer = await sealed(database, store, scope)
    pages = Pages(store, sealer, clock=clock)
    async with database.reading(scope) as view:
        rows = await store.read_rows(view, scope, after=0, limit=SIZE)
    cursors = [None, *(Cursor(rows[at].occurred_at, rows[at].guid) for at in (3, SIZE - 12, SIZE - 5))]
    assert await expect_pages_of_the_table(database, store, pages, scope, cursors) > SIZE
    await lose(database, scope, after=SIZE - 10)
    await append(database, store, scope, [event_at(time) for time in range(SIZE, 3 * SIZE)])
    clock.turn(1000)
    await expect_pages_of_the_table(database, store, pages, scope, cursors)
    async with sealer.running():
        sealer.want(scope.tenant_id)
        await sealer.settle()
    assert await expect_pages_of_the_table(database, store, pages, scope, cursors) > SIZE


async def test_a_segment_of_lost_events_is_not_kept(database: Database, store: EventStore) -> None:
    scope = await new_log(database, store, range(SIZE))
    segment, run = await a_segment(database, store, scope)
    await lose(database, scope, after=SIZE - 10)
    for more in (0, 10):
        await append(database, store, scope, [event_at(time) for time in range(more)])
        async with database.transaction(scope) as tx:
            await store.keep_segment(tx, scope, segment, run)
        async with database.reading(scope) as view:
            assert await store.segments(view, scope, epoch=run.epoch, first=0, last=0) == []


class Replaced(DelegatingStore):
    """Has the log purged and made anew behind a reader who has just been told where it stands."""

    def __init__(self, inner: EventStore, database: Database, events: Sequence[Event]) -> None:
        super().__init__(inner)
        self._database, self._events = database, events
        self.epochs = 0

    async def locate(self, view: Reading, scope: TenantScope, cursor: Cursor | None, *, reach: int = 0) -> Place:
        place = await super().locate(view, scope, cursor, reach=reach)
        if not self.epochs:
            self.epochs += 1
            async with self._database.transaction(scope) as tx:
                for table in ("log_heads", "events", "log_segments"):
                    await tx.run(f"DELETE FROM {table} WHERE tenant_id = '{scope.tenant_id}'")
                await self._inner.create(tx, scope, epoch=new_guid(), now=Millis(0))
            await append(self._database, self._inner, scope, self._events)
        return place


@pytest.mark.parametrize("is_remembered", [True, False])
@pytest.mark.parametrize(("reached", "limit"), [(0, 1000), (0, SIZE), (SIZE + 7, 10), (SIZE + 7, 100), (7, 500)])
async def test_a_log_that_is_replaced_under_a_reader_is_read_from_its_beginning_and_nothing_of_the_old_one(
    database: Database, store: EventStore, reached: int, limit: int, is_remembered: bool
) -> None:
    scope = await new_log(database, store, range(SIZE + 20))
    sealer, new = await sealed(database, store, scope), [event_at(time) for time in range(SIZE + 60)]
    replacing = Replaced(store, database, new)
    pages = Pages(replacing, sealer)
    async with database.reading(scope) as view:
        rows = await store.read_rows(view, scope, after=0, limit=SIZE + 20)
        cursor = Cursor(rows[reached - 1].occurred_at, rows[reached - 1].guid) if reached else None
        if is_remembered:
            replacing.epochs = 1
            await pages.read(view, scope, VERSION, None, limit=SIZE)
            replacing.epochs = 0
    async with database.reading(scope) as view:
        page = await pages.read(view, scope, VERSION, cursor, limit=limit)
    if is_remembered and reached == 0 and limit == SIZE:
        # All of it was there when the reader was told so: the page is that of the moment before.
        assert bodies_of(page) == [row.body for row in rows[:SIZE]]
    else:
        assert bodies_of(page) == [event.body() for event in new[:limit]]


async def test_who_goes_on_within_a_second_is_answered_without_the_database(
    database: Database, store: EventStore
) -> None:
    scope, clock = await new_log(database, store, range(2 * SIZE + 30)), SetClock(Millis(10**12))
    pages = Pages(store, await sealed(database, store, scope), clock=clock)
    async with database.reading(scope) as view:
        rows = await store.read_rows(view, scope, after=0, limit=2 * SIZE + 30)
        begun = (await pages.read(view, scope, VERSION, None, limit=2 * SIZE)).next_cursor
        first = await pages.read(view, scope, VERSION, Cursor(rows[2].occurred_at, rows[2].guid), limit=100)
    assert pages.at_once(scope, VERSION, None, limit=10) is None
    cursor, seen = first.next_cursor, bodies_of(first)
    while (page := pages.at_once(scope, VERSION, cursor, limit=100)) is not None:
        seen += bodies_of(page)
        cursor = page.next_cursor
    # As far as the place of the first page told of segments: it began at the third event.
    assert seen == [row.body for row in rows[3:403]]
    assert pages.at_once(scope, VERSION, begun, limit=10) is None, "the rest is not sealed"


async def test_what_is_remembered_of_pages_is_bounded_whatever_cursors_people_make_up(
    database: Database, store: EventStore
) -> None:
    scope, clock = await new_log(database, store, range(30)), SetClock(Millis(10**12))
    pages = Pages(store, Sealer(database, store), clock=clock)
    async with database.reading(scope) as view:
        for letters in (36, 50_000):
            made_up = Cursor(Millis(0), "g" * letters)
            assert (await pages.read(view, scope, VERSION, made_up, limit=1)).next_cursor is not None
            assert (pages.at_once(scope, VERSION, made_up, limit=1) is not None) == (letters == 36)
        for number in range(5_000):
            await pages.read(view, scope, VERSION, Cursor(Millis(0), f"{number:036}"), limit=1)
    assert len(pages._full._held) < 4_000


async def test_nobody_is_answered_from_memory_after_a_second_nor_of_another_program(
    database: Database, store: EventStore
) -> None:
    scope, clock = await new_log(database, store, range(2 * SIZE)), SetClock(Millis(10**12))
    other = await new_log(database, store, range(2 * SIZE))
    pages = Pages(store, await sealed(database, store, scope), clock=clock)
    async with database.reading(scope) as view:
        cursor = (await pages.read(view, scope, VERSION, None, limit=100)).next_cursor
    clock.turn(600)
    page = pages.at_once(scope, VERSION, cursor, limit=10)
    assert page is not None
    assert pages.at_once(other, VERSION, cursor, limit=10) is None
    assert pages.at_once(scope, "made anew", cursor, limit=10) is None
    clock.turn(400)
    # Since the database was asked, not since the last page.
    assert pages.at_once(scope, VERSION, cursor, limit=10) is None
    assert pages.at_once(scope, VERSION, page.next_cursor, limit=10) is None
    clock.turn(-2000)
    assert pages.at_once(scope, VERSION, cursor, limit=10) is None


async def test_a_full_page_of_the_table_is_read_once_a_second_for_all_who_ask_for_it(
    database: Database, store: EventStore
) -> None:
    scope, clock = await new_log(database, store, range(300)), SetClock(Millis(10**12))
    pages = Pages(store, Sealer(database, store), clock=clock)
    async with database.reading(scope) as view:
        for cursor, limit in ((None, 100), (None, 10), (None, 300), (None, 301), (Cursor(Millis(250)), 50)):
            assert pages.at_once(scope, VERSION, cursor, limit=limit) is None
            page = await pages.read(view, scope, VERSION, cursor, limit=limit)
            again = pages.at_once(scope, VERSION, cursor, limit=limit)
            assert again == (page if page.next_cursor is not None else None), (cursor, limit)
    # What comes behind it changes nothing of a full page.
    await append(database, store, scope, [event_at(400)])
    page = pages.at_once(scope, VERSION, None, limit=100)
    async with database.reading(scope) as view:
        expected = await store.read(view, scope, after=0, limit=100)
    assert page is not None
    assert (list(page.bodies), page.next_cursor) == (list(expected.bodies), expected.next_cursor)
    assert pages.at_once(scope, VERSION, None, limit=99) is None
    assert pages.at_once(scope, "made anew", None, limit=100) is None
    clock.turn(1000)
    assert pages.at_once(scope, VERSION, None, limit=100) is None


async def test_pages_of_the_table_are_remembered_up_to_their_bytes(
    database: Database, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = await new_log(database, store, range(100))
    monkeypatch.setattr("datacollect.eventstore.pages._SMALL_BYTES", 0)
    monkeypatch.setattr("datacollect.eventstore.pages._REMEMBERED_TEXTS", 31 * sys.getsizeof(event_at(1).body()))
    pages = Pages(store, Sealer(database, store), clock=SetClock(Millis(10**12)))
    async with database.reading(scope) as view:
        for limit in (9, 10, 11, 10, 40, 12):
            await pages.read(view, scope, VERSION, None, limit=limit)
    assert [limit for limit in (9, 10, 11, 40, 12) if pages.at_once(scope, VERSION, None, limit=limit)] == [12]
    async with database.reading(scope) as view:
        for limit in (9, 10, 11, 9, 10):
            await pages.read(view, scope, VERSION, None, limit=limit)
    assert [limit for limit in (9, 10, 11, 40, 12) if pages.at_once(scope, VERSION, None, limit=limit)] == [9, 10, 11]


async def test_places_are_remembered_up_to_a_number(
    database: Database, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datacollect.eventstore.pages._REMEMBERED_PLACES", 3)
    scope = await new_log(database, store, range(SIZE))
    pages = Pages(store, await sealed(database, store, scope), clock=SetClock(Millis(10**12)))
    cursors = list[Cursor | None]()
    async with database.reading(scope) as view:
        for limit in range(100, 105):
            cursors.append((await pages.read(view, scope, VERSION, None, limit=limit)).next_cursor)
    known = [pages.at_once(scope, VERSION, cursor, limit=1) is not None for cursor in cursors]
    assert known == [False, False, True, True, True]


async def test_a_reader_of_a_part_gets_nothing_of_a_log_that_is_replaced_and_comes_again(
    database: Database, store: EventStore
) -> None:
    scope, new = await new_log(database, store, range(20)), [event_at(time) for time in range(30)]
    replacing = Replaced(store, database, new)
    log, pages = EventLog(replacing, [], SystemClock()), Pages(replacing, Sealer(database, replacing))
    seen: list[Page] = []
    async with database.reading(scope) as view:
        last = (await store.read(view, scope, after=0, limit=5)).next_cursor
    for _ in range(2):
        async with database.reading(scope) as view:
            place = await pages.locate(view, scope, last)
            seen.append(await read_part(view, log, scope, Part(), place=place, limit=9, begins=None))
    assert [len(page) for page in seen] == [0, 9]
    assert (seen[0].next_cursor, list(seen[1].bodies)) == (None, [event.body() for event in new[:9]])


async def test_a_segment_is_kept_only_while_the_log_has_the_history_it_was_sealed_of(
    database: Database, store: EventStore
) -> None:
    scope = await new_log(database, store, range(SIZE))
    segment, run = await a_segment(database, store, scope)
    renewed = replace(run, epoch="renewed")
    async with database.transaction(scope) as tx:
        await store.keep_segment(tx, scope, segment, replace(run, epoch="another"))
    async with database.transaction(scope) as tx:
        await store.renew(tx, scope, epoch="renewed", position=SIZE)
        await store.keep_segment(tx, scope, segment, run)
    async with database.reading(scope) as view:
        reached = await store.sealed_to(view, scope)
    assert reached is not None
    assert (reached[0].epoch, reached[1]) == ("renewed", 0)
    async with database.transaction(scope) as tx:
        await store.keep_segment(tx, scope, segment, renewed)
        await store.keep_segment(tx, scope, replace(segment, packed=b"other"), renewed)
    async with database.reading(scope) as view:
        assert await store.segments(view, scope, epoch="renewed", first=0, last=9) == [segment]
    async with database.transaction(scope) as tx:
        await tx.run(f"DELETE FROM log_heads WHERE tenant_id = '{scope.tenant_id}'")
        # As a purge leaves it for a while, which begins with the head.
        assert await store.segments(tx, scope, epoch="renewed", first=0, last=9) == []
        await store.drop_segment(tx, scope, 0)
        await store.keep_segment(tx, scope, segment, renewed)
    async with database.reading(scope) as view:
        assert await view.fetch(f"SELECT 1 FROM log_segments WHERE tenant_id = '{scope.tenant_id}'") == []


async def test_one_tenants_segments_are_not_read_for_another(database: Database, store: EventStore) -> None:
    ours, theirs = [await new_log(database, store, range(SIZE)) for _ in range(2)]
    sealer = await sealed(database, store, ours)
    async with database.transaction(EVERY_TENANT) as tx:
        await tx.run(
            f"UPDATE log_heads SET epoch = 'same' WHERE tenant_id IN ('{ours.tenant_id}', '{theirs.tenant_id}')"
        )
        await tx.run(f"UPDATE log_segments SET epoch = 'same' WHERE tenant_id = '{ours.tenant_id}'")
    pages = Pages(store, sealer)
    for scope, is_sealed in ((ours, True), (theirs, False)):
        async with database.reading(scope) as view:
            assert bool((await pages.read(view, scope, VERSION, None, limit=SIZE)).sealed) is is_sealed


def damaged(zero: Segment, one: Segment) -> list[Segment]:
    """What can have become of the segment `one`."""
    lengths = list(struct.unpack(f"<{SIZE}I", one.lengths))
    lengths[7:9] = lengths[7] - 3, lengths[8] + 3
    other = replace(one, packed=zero.packed, checksum=zero.checksum, lengths=zero.lengths)
    return [
        replace(one, packed=one.packed[:-9]),
        other,
        replace(other, digest=zero.digest, last=zero.last),
        replace(one, last=zero.last),
        replace(one, checksum=7),
        replace(one, lengths=struct.pack(f"<{SIZE}I", *lengths)),
    ]


class Two(NamedTuple):
    """Two sealed segments of one log, and what is behind them."""

    scope: TenantScope
    sealer: Sealer
    run: Run
    """Of the second."""
    segments: Sequence[Segment]
    page: Page
    """Of both, from the table."""

    async def change(self, database: Database, store: EventStore, changed: Segment) -> None:
        """Put this in the place of the second."""
        async with database.transaction(self.scope) as tx:
            await store.drop_segment(tx, self.scope, 1)
            await store.keep_segment(tx, self.scope, changed, self.run)


async def two_sealed(database: Database, store: EventStore) -> Two:
    scope = await new_log(database, store, range(2 * SIZE + 5))
    sealer = await sealed(database, store, scope)
    async with database.reading(scope) as view:
        run = await store.run(view, scope, 1)
        assert run is not None
        segments = await store.segments(view, scope, epoch=run.epoch, first=0, last=1)
        page = await store.read(view, scope, after=0, limit=1000)
        assert (await verify(view, store, scope)).ok
    return Two(scope, sealer, run, segments, page)


async def test_a_segment_under_a_wrong_name_is_served_for_what_it_holds_and_made_anew_when_it_is_asked_for(
    database: Database, store: EventStore
) -> None:
    scope, sealer, run, segments, expected = two = await two_sealed(database, store)
    zero, one = segments
    await two.change(database, store, replace(one, digest=zero.digest))
    async with sealer.running(), database.reading(scope) as view:
        assert not (await verify(view, store, scope)).ok
        page = await Pages(store, sealer).read(view, scope, VERSION, None, limit=1000)
        assert bodies_of(page) == list(expected.bodies)
        sealer.want(scope.tenant_id, [1])
        await sealer.settle()
        assert await store.segments(view, scope, epoch=run.epoch, first=0, last=1) == segments


async def test_damaged_segments_are_told_of_left_and_made_anew(database: Database, store: EventStore) -> None:
    scope, sealer, run, segments, expected = two = await two_sealed(database, store)
    zero, one = segments
    for changed in damaged(zero, one):
        await two.change(database, store, changed)
        async with database.reading(scope) as view:
            finding = (await verify(view, store, scope)).finding
        assert finding is not None
        assert (finding.code, finding.position) == ("SEGMENT_DIFFERS", SIZE + 1)
        if changed.is_sound():
            continue  # of other events: only `verify` can know
        async with sealer.running(), database.reading(scope) as view:
            with structlog.testing.capture_logs() as lines:
                page = await Pages(store, sealer).read(view, scope, VERSION, None, limit=1000)
                await sealer.settle()
            assert bodies_of(page) == list(expected.bodies)
            assert page.next_cursor == expected.next_cursor
            assert await store.segments(view, scope, epoch=run.epoch, first=0, last=1) == segments
        told, healed = lines
        assert told.pop("help")
        positions = {"first_position": SIZE + 1, "last_position": 2 * SIZE}
        assert told == positions | {
            "component": "segments",
            "event": "segments.damaged",
            "log_level": "error",
            "tenant_id": scope.tenant_id,
        }
        assert (healed["event"], healed["number"]) == ("segments.made_anew", 1)


async def test_a_damaged_segment_between_sound_ones_leaves_no_gap(database: Database, store: EventStore) -> None:
    scope = await new_log(database, store, range(3 * SIZE))
    sealer = await sealed(database, store, scope)
    async with database.reading(scope) as view:
        expected = await store.read(view, scope, after=0, limit=5000)
        run = await store.run(view, scope, 1)
        assert run is not None
        zero, one, _ = await store.segments(view, scope, epoch=run.epoch, first=0, last=2)
    for changed in damaged(zero, one):
        if changed.is_sound():
            continue
        async with database.transaction(scope) as tx:
            await store.drop_segment(tx, scope, 1)
            await store.keep_segment(tx, scope, changed, run)
        async with database.reading(scope) as view:
            page = await Pages(store, sealer).read(view, scope, VERSION, None, limit=5000)
        assert bodies_of(page) == list(expected.bodies)


async def test_a_segment_that_is_missing_among_others_is_made_when_a_reader_meets_it(
    database: Database, store: EventStore
) -> None:
    scope = await new_log(database, store, range(3 * SIZE))
    sealer = await sealed(database, store, scope)
    async with database.transaction(scope) as tx:
        await store.drop_segment(tx, scope, 1)
    pages = Pages(store, sealer)
    async with sealer.running(), database.reading(scope) as view:
        assert [part.segment.number for part in (await pages.read(view, scope, VERSION, None, limit=5000)).sealed] == [
            0
        ]
        await sealer.settle()
        assert [part.segment.number for part in (await pages.read(view, scope, VERSION, None, limit=5000)).sealed] == [
            0,
            1,
            2,
        ]
