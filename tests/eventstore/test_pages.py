"""Pages from sealed segments are the pages of the table: on both engines, for whatever cursor and size."""

import itertools
import random
import uuid
from collections.abc import Sequence
from dataclasses import replace

import pytest

from datacollect.app import event_store
from datacollect.db import EVERY_TENANT, Database, Reading
from datacollect.eventstore.pages import Pages
from datacollect.eventstore.sealer import Sealer
from datacollect.eventstore.segments import MOST_TEXT_BYTES, SIZE, seal
from datacollect.eventstore.store import EventStore, Page
from datacollect.eventstore.verification import verify
from datacollect.kernel.clock import Millis
from datacollect.kernel.cursor import Cursor
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.testing.eventstore import append, event_at
from datacollect.testing.simulation.rules import DelegatingStore

pytestmark = pytest.mark.anyio

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
    database: Database, store: EventStore, pages: Pages, scope: TenantScope, cursors: Sequence[Cursor | None]
) -> int:
    """How many events came from segments."""
    from_segments = 0
    async with database.reading(scope) as view:
        for cursor, limit in itertools.product(cursors, LIMITS):
            after = await store.resolve(view, scope, cursor)
            expected = await store.read(view, scope, after=after, limit=limit)
            page = await pages.read(view, scope, cursor, limit=limit)
            assert bodies_of(page) == list(expected.bodies), (cursor, limit)
            assert (page.next_cursor, page.last_position, len(page)) == (
                expected.next_cursor,
                expected.last_position,
                len(expected),
            ), (cursor, limit)
            text = b",".join([*(part.text for part in page.sealed), *(body.encode() for body in page.bodies)])
            assert text.decode() == ",".join(expected.bodies)
            from_segments += sum(map(len, page.sealed))
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
                page = await pages.read(view, scope, cursor, limit=7)
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
        assert not (await pages.read(view, scope, None, limit=1000)).sealed
        await sealer.settle()
        page = await pages.read(view, scope, None, limit=1000)
    assert [(part.segment.number, len(part)) for part in page.sealed] == [(0, SIZE), (1, SIZE)]


class Watched(DelegatingStore):
    """Remembers how much text was read at once."""

    most_read = 0

    async def read(self, view: Reading, scope: TenantScope, *, after: int, limit: int) -> Page:
        page = await super().read(view, scope, after=after, limit=limit)
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
        assert (await pages.read(view, scope, None, limit=SIZE)).sealed
    # The head alone, so that what is left of the old log would be served if it could be.
    async with database.transaction(scope) as tx:
        await store.renew(tx, scope, epoch=new_guid(), position=SIZE)
    async with database.reading(scope) as view:
        assert not (await pages.read(view, scope, None, limit=SIZE)).sealed


async def test_a_segment_is_kept_only_while_the_log_has_the_history_it_was_sealed_of(
    database: Database, store: EventStore
) -> None:
    scope = await new_log(database, store, range(SIZE))
    async with database.reading(scope) as view:
        reached = await store.sealed_to(view, scope)
        page = await store.read(view, scope, after=0, limit=SIZE)
    assert reached is not None
    assert reached[1] == 0
    assert page.next_cursor is not None
    segment = seal(0, page.bodies, page.next_cursor)
    async with database.transaction(scope) as tx:
        await store.keep_segment(tx, scope, segment, epoch="another")
    async with database.transaction(scope) as tx:
        await store.renew(tx, scope, epoch="renewed", position=SIZE)
        await store.keep_segment(tx, scope, segment, epoch=reached[0].epoch)
    async with database.reading(scope) as view:
        assert await store.sealed_to(view, scope) == (replace(reached[0], epoch="renewed"), 0)
    async with database.transaction(scope) as tx:
        await store.keep_segment(tx, scope, segment, epoch="renewed")
        await store.keep_segment(tx, scope, replace(segment, packed=b"other"), epoch="renewed")
        await tx.run(f"DELETE FROM log_heads WHERE tenant_id = '{scope.tenant_id}'")
        await store.keep_segment(tx, scope, replace(segment, number=1), epoch="renewed")
    async with database.reading(scope) as view:
        assert await store.segments(view, scope, epoch="renewed", first=0, last=9) == [segment]


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
            assert bool((await pages.read(view, scope, None, limit=SIZE)).sealed) is is_sealed


async def test_damaged_segments_are_left_and_verification_tells_of_every_kind(
    database: Database, store: EventStore
) -> None:
    scope = await new_log(database, store, range(2 * SIZE + 5))
    await sealed(database, store, scope)
    async with database.reading(scope) as view:
        segments = await store.segments(
            view, scope, epoch=(await store.locate(view, scope, None)).epoch, first=0, last=1
        )
        assert (await verify(view, store, scope)).ok
    zero, one = segments
    for changed in (
        replace(one, packed=one.packed[:-9]),
        replace(one, packed=zero.packed, checksum=zero.checksum, lengths=zero.lengths),
        replace(one, packed=zero.packed, checksum=zero.checksum, lengths=zero.lengths, digest=zero.digest),
        replace(one, last=zero.last),
        replace(one, digest=zero.digest),
        replace(one, checksum=7),
    ):
        async with database.transaction(scope) as tx:
            await tx.run(f"DELETE FROM log_segments WHERE tenant_id = '{scope.tenant_id}' AND number = 1")
            place = await store.locate(tx, scope, None)
            await store.keep_segment(tx, scope, changed, epoch=place.epoch)
        async with database.reading(scope) as view:
            outcome = await verify(view, store, scope)
            page = await Pages(store, Sealer(database, store)).read(view, scope, None, limit=1000)
        assert outcome.finding is not None
        assert (outcome.finding.code, outcome.finding.position) == ("SEGMENT_DIFFERS", SIZE + 1)
        if not changed.is_sound():
            assert bodies_of(page) == list((await read_all(database, store, scope)).bodies)[:1000]


async def read_all(database: Database, store: EventStore, scope: TenantScope) -> Page:
    async with database.reading(scope) as view:
        return await store.read(view, scope, after=0, limit=10_000)
