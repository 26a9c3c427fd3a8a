"""The contract every event store keeps, as a suite: subclass it and provide `database` and `store`.

class TestMyStore(EventStoreContract):
    @pytest.fixture
    async def database(self): ...
    @pytest.fixture
    def store(self): ...
"""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace

import pytest

from datacollect.db import Database
from datacollect.eventstore.event import Event, Origin
from datacollect.eventstore.integrity import hash_event
from datacollect.eventstore.segments import SIZE
from datacollect.eventstore.store import EventStore, Head, Run, StoredEvent
from datacollect.kernel.clock import Millis
from datacollect.kernel.cursor import Cursor
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId


def event_at(occurred_at: int, *, guid: str | None = None, entity: str = "e-1") -> Event:
    return Event(
        guid=guid or str(uuid.uuid4()),
        entity_guid=entity,
        type="update-individual",
        data={"name": "Zoë's", "n": 1.5},
        occurred_at=Millis(occurred_at),
        user_id="u-1",
    )


async def append(
    database: Database, store: EventStore, scope: TenantScope, events: Sequence[Event], *, pause: bool = False
) -> Head:
    """What the log does with a store, without projections. `pause` lets others run between load and append."""
    async with database.transaction(scope) as tx:
        opened = await store.open(tx, scope, [event.guid for event in events])
        if pause:
            for _ in range(5):
                await asyncio.sleep(0)
        head, stored = opened.head, []
        for event in events:
            if event.guid in opened.known:
                continue
            hashed = hash_event(event)
            latest = event.occurred_at if head.max_occurred_at is None else max(head.max_occurred_at, event.occurred_at)
            row = StoredEvent(
                position=head.position + 1,
                guid=event.guid,
                entity_guid=event.entity_guid,
                type=event.type,
                occurred_at=event.occurred_at,
                max_occurred_at=latest,
                recorded_at=Millis(1),
                actor="tester",
                device_id=None,
                origin=Origin.CLIENT,
                content_hash=hashed.content,
                chain_hash=hashed.chained_to(head.chain_hash),
                body=event.body(),
            )
            stored.append(row)
            head = replace(head, position=row.position, chain_hash=row.chain_hash, max_occurred_at=latest)
        if stored:
            await store.append(tx, scope, stored, head)
    return head


class EventStoreContract:
    """What append, read and resolve promise, whatever the engine."""

    @pytest.fixture
    async def scope(self, database: Database, store: EventStore) -> TenantScope:
        """A fresh tenant with an empty log."""
        scope = system_scope(TenantId(f"t-{uuid.uuid4().hex[:10]}"))
        async with database.transaction(scope) as tx:
            await store.create(tx, scope, epoch="first", now=Millis(0))
        return scope

    async def positions(
        self, database: Database, store: EventStore, scope: TenantScope, cursor: Cursor | None
    ) -> tuple[int, list[str]]:
        async with database.reading(scope) as view:
            after = await store.resolve(view, scope, cursor)
            page = await store.read(view, scope, after=after, limit=1000)
        return after, list(page.bodies)

    async def test_events_come_back_in_append_order_as_the_same_text(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        events = [event_at(time) for time in (500, 100, 300)]
        await append(database, store, scope, events)
        _, bodies = await self.positions(database, store, scope, None)
        assert bodies == [event.body() for event in events]

    async def test_positions_are_dense_across_appends(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        first = await append(database, store, scope, [event_at(1), event_at(2)])
        second = await append(database, store, scope, [event_at(3)])
        assert (first.position, second.position) == (2, 3)

    async def test_events_it_holds_are_told_by_guid(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        events = [event_at(7), event_at(8), event_at(9)]
        await append(database, store, scope, events)
        async with database.reading(scope) as view:
            held = await store.held(view, scope, [events[2].guid, "unknown", events[0].guid])
            assert await store.held(view, scope, []) == {}
        assert held == {event.guid: (event.occurred_at, hash_event(event).content) for event in (events[0], events[2])}

    async def test_a_full_page_names_its_last_event_and_a_short_one_ends_the_log(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        events = [event_at(time) for time in (1, 2, 3)]
        await append(database, store, scope, events)
        async with database.reading(scope) as view:
            full = await store.read(view, scope, after=0, limit=3)
            rest = await store.read(view, scope, after=3, limit=3)
        assert full.next_cursor == Cursor(Millis(3), events[-1].guid)
        assert (rest.bodies, rest.next_cursor) == ((), None)

    async def test_a_page_is_full_with_the_event_that_reaches_its_bytes_however_many_are_asked_for(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        events = [replace(event_at(time), data={"name": "é" * 500}) for time in range(1, 5)]
        await append(database, store, scope, events)
        size = len(events[0].body().encode())
        # Letters are not bytes: counted as letters, one more would have room.
        for most_bytes, count in ((1, 1), (size, 1), (size + 1, 2), (2 * size, 2), (3 * size, 3)):
            async with database.reading(scope) as view:
                page = await store.read(view, scope, after=0, limit=9, most_bytes=most_bytes)
            last = events[count - 1]
            assert list(page.bodies) == [event.body() for event in events[:count]]
            assert (page.next_cursor, page.last_position) == (Cursor(last.occurred_at, last.guid), count)
        async with database.reading(scope) as view:
            page = await store.read(view, scope, after=0, limit=9, most_bytes=4 * size + 1)
        assert (len(page), page.next_cursor) == (4, None)

    async def test_open_tells_which_guids_are_known_with_their_content(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        event = event_at(1)
        await append(database, store, scope, [event])
        async with database.transaction(scope) as tx:
            opened = await store.open(tx, scope, [event.guid, "other"])
        assert dict(opened.known) == {event.guid: hash_event(event).content}

    async def test_one_guid_may_be_used_by_two_tenants(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        other = system_scope(TenantId(f"t-{uuid.uuid4().hex[:10]}"))
        async with database.transaction(other) as tx:
            await store.create(tx, other, epoch="first", now=Millis(0))
        event = event_at(1)
        for tenant in (scope, other):
            await append(database, store, tenant, [event])
            assert await self.positions(database, store, tenant, None) == (0, [event.body()])

    async def test_a_tenant_without_a_log_cannot_be_opened(self, database: Database, store: EventStore) -> None:
        with pytest.raises(TenantUnknown):
            await append(database, store, system_scope(TenantId("nobody")), [event_at(1)])

    async def test_a_closed_log_takes_nothing_until_it_is_reopened_and_can_be_read(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        event = event_at(1)
        await append(database, store, scope, [event])
        async with database.transaction(scope) as tx:
            await store.close(tx, scope, now=Millis(5))
        with pytest.raises(TenantUnknown):
            await append(database, store, scope, [event_at(2)])
        assert await self.positions(database, store, scope, None) == (0, [event.body()])
        async with database.transaction(scope) as tx:
            await store.reopen(tx, scope)
        assert (await append(database, store, scope, [event_at(3)])).position == 2

    async def test_closing_waits_for_an_append_under_way_and_stops_the_next(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        async def close() -> None:
            async with database.transaction(scope) as tx:
                await store.close(tx, scope, now=Millis(5))

        first = asyncio.create_task(append(database, store, scope, [event_at(1)], pause=True))
        await asyncio.sleep(0)
        closing = asyncio.create_task(close())
        outcomes = await asyncio.gather(first, closing, return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, Head | TenantUnknown) for outcome in outcomes)
        with pytest.raises(TenantUnknown):
            await append(database, store, scope, [event_at(2)])

    async def test_creating_a_log_twice_keeps_what_it_holds(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        await append(database, store, scope, [event_at(1)])
        async with database.transaction(scope) as tx:
            await store.create(tx, scope, epoch="second", now=Millis(0))
        async with database.reading(scope) as view:
            head = await store.head(view, scope)
        assert head is not None
        assert head.position == 1

    async def test_a_failed_transaction_leaves_nothing(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        await append(database, store, scope, [event_at(1)])
        with pytest.raises(ZeroDivisionError):
            async with database.transaction(scope) as tx:
                opened = await store.open(tx, scope, [])
                hashed = hash_event(event_at(2))
                row = StoredEvent(
                    2, "g", "e", "t", Millis(2), Millis(2), Millis(2), "a", None, Origin.CLIENT, hashed.content, b"", ""
                )
                await store.append(tx, scope, [row], replace(opened.head, position=2))
                raise ZeroDivisionError
        head = await append(database, store, scope, [event_at(3)])
        assert head.position == 2

    async def test_the_chain_continues_from_the_stored_head(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        events = [event_at(1), event_at(2)]
        for event in events:
            head = await append(database, store, scope, [event])
        expected = b""
        for event in events:
            expected = hash_event(event).chained_to(expected)
        assert head.chain_hash == expected

    # -- cursors

    @pytest.mark.parametrize(
        ("since", "delivered"),
        [
            pytest.param(300, [300, 100, 300, 900, 200], id="the first event with exactly that time, included"),
            pytest.param(100, [100, 300, 900, 200], id="an earlier time that came later"),
            pytest.param(250, [300, 100, 300, 900, 200], id="between: the first later one in log order"),
            pytest.param(301, [900, 200], id="later than most: nothing after it in log order is skipped"),
            pytest.param(50, [300, 100, 300, 900, 200], id="before all"),
            pytest.param(901, [], id="after all"),
        ],
    )
    async def test_a_plain_time_resolves_without_skipping(
        self, database: Database, store: EventStore, scope: TenantScope, since: int, delivered: list[int]
    ) -> None:
        events = [event_at(time) for time in (300, 100, 300, 900, 200)]
        await append(database, store, scope, events)
        after, bodies = await self.positions(database, store, scope, Cursor(Millis(since)))
        assert bodies == [event.body() for event in events[after:]]
        assert [event.occurred_at for event in events[after:]] == delivered

    async def test_the_first_later_event_is_found_at_every_size_of_log(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        for size in range(1, 18):
            await append(database, store, scope, [event_at(size * 10)])
            for since in range(5, size * 10, 10):
                after, _ = await self.positions(database, store, scope, Cursor(Millis(since)))
                assert after == since // 10

    async def test_a_cursor_from_any_delivered_event_continues_behind_it(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        events = [event_at(time) for time in (300, 100, 300, 900, 200)]
        await append(database, store, scope, events)
        for position, event in enumerate(events, 1):
            cursor = Cursor(event.occurred_at, event.guid)
            assert (await self.positions(database, store, scope, cursor))[0] == position

    async def test_a_cursor_with_an_unknown_guid_starts_no_later_than_the_epoch(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        await append(database, store, scope, [event_at(1), event_at(2)])
        assert (await self.positions(database, store, scope, Cursor(Millis(2), "gone")))[0] == 0

    async def test_of_a_renewed_history_an_unknown_guid_is_resolved_by_its_time_up_to_where_it_was_renewed(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        await append(database, store, scope, [event_at(1), event_at(2), event_at(3)])
        async with database.transaction(scope) as tx:
            await store.hold(tx, scope)
            await store.renew(tx, scope, epoch="third", position=2)
        assert (await self.positions(database, store, scope, Cursor(Millis(2), "gone")))[0] == 1
        assert (await self.positions(database, store, scope, Cursor(Millis(9), "gone")))[0] == 2

    async def test_nobody_reads_another_tenants_events(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        await append(database, store, scope, [event_at(1)])
        stranger = system_scope(TenantId("somebody-else"))
        assert await self.positions(database, store, stranger, None) == (0, [])
        async with database.reading(scope) as view:
            assert await store.head(view, stranger) is None

    async def test_a_run_is_told_of_without_reading_it_once_the_log_holds_all_of_it(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        events = [event_at(time) for time in range(2 * SIZE - 1)]
        head = await append(database, store, scope, events[:SIZE])
        await append(database, store, scope, events[SIZE:])
        length = sum(len(event.body().encode()) for event in events[:SIZE])
        async with database.reading(scope) as view:
            assert await store.run(view, scope, 0) == Run("first", head.chain_hash, length)
            assert await store.run(view, scope, 1) is None

    async def test_nothing_is_read_of_another_history_than_the_one_that_was_located(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        await append(database, store, scope, [event_at(1), event_at(2)])
        for epoch, count in (("first", 2), ("renewed", 0), (None, 2)):
            async with database.reading(scope) as view:
                assert len(await store.read(view, scope, after=0, limit=9, epoch=epoch)) == count
                assert len((await store.read_at(view, scope, [1, 2], epoch=epoch)).rows) == count
        async with database.transaction(scope) as tx:
            await store.hold(tx, scope)
            await store.renew(tx, scope, epoch="renewed", position=2)
        async with database.reading(scope) as view:
            assert (await store.read_at(view, scope, [1, 2], epoch="first")).rows == []
            assert len(await store.read(view, scope, after=0, limit=9, epoch="renewed")) == 2

    async def test_whole_rows_come_back_in_position_order_as_they_were_appended(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        head = await append(database, store, scope, [event_at(300), event_at(100)])
        last = StoredEvent(
            position=3,
            guid=str(uuid.uuid4()),
            entity_guid="é-3",
            type="create-group",
            occurred_at=Millis(-5),
            max_occurred_at=Millis(300),
            recorded_at=Millis(7),
            actor="12",
            device_id="tablet-1",
            origin=Origin.SEED,
            content_hash=bytes(range(32)),
            chain_hash=bytes(range(32, 64)),
            body='{"a":"\U0001f600"}',
        )
        async with database.transaction(scope) as tx:
            await store.open(tx, scope, [])
            await store.append(tx, scope, [last], replace(head, position=3))
        async with database.reading(scope) as view:
            first_two = await store.read_rows(view, scope, after=0, limit=2)
            rest = await store.read_rows(view, scope, after=2, limit=2)
            stranger = await store.read_rows(view, system_scope(TenantId("somebody-else")), after=0, limit=2)
        assert [(row.position, row.occurred_at, row.max_occurred_at) for row in first_two] == [
            (1, 300, 300),
            (2, 100, 300),
        ]
        assert first_two[-1].chain_hash == head.chain_hash
        assert list(rest) == [last]
        assert list(stranger) == []

    async def test_a_closed_log_can_be_held_and_its_counts_replaced(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        head = await append(database, store, scope, [event_at(300)])
        async with database.transaction(scope) as tx:
            await store.close(tx, scope, now=Millis(1))
        async with database.transaction(scope) as tx:
            assert await store.hold(tx, scope) == head
            await store.set_figures(tx, scope, {"person": 3})
            assert await store.hold(tx, system_scope(TenantId("somebody-else"))) is None
        async with database.reading(scope) as view:
            assert await store.head(view, scope) == replace(head, figures={"person": 3})

    async def test_while_a_log_is_held_nobody_appends(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        async with database.transaction(scope) as tx:
            await store.hold(tx, scope)
            appending = asyncio.create_task(append(database, store, scope, [event_at(1)]))
            for _ in range(50):
                await asyncio.sleep(0.001)
            head = await store.hold(tx, scope)
            assert head is not None
            assert head.position == 0
            assert not appending.done()
        assert (await appending).position == 1

    # -- concurrency

    async def test_writers_at_once_take_turns_and_a_reader_never_passes_a_gap(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        writers, rounds = 8, 6
        done = asyncio.Event()

        async def write() -> None:
            for _ in range(rounds):
                await append(database, store, scope, [event_at(1), event_at(2)], pause=True)

        async def follow() -> int:
            reached = 0
            while True:
                finished = done.is_set()
                async with database.reading(scope) as view:
                    page = await store.read(view, scope, after=reached, limit=1000)
                assert page.last_position == reached + len(page.bodies)
                reached = page.last_position
                if finished and not page.bodies:
                    return reached
                await asyncio.sleep(0)

        follower = asyncio.create_task(follow())
        await asyncio.gather(*(write() for _ in range(writers)))
        done.set()
        assert await follower == writers * rounds * 2

    async def test_the_same_batch_from_many_connections_is_stored_once(
        self, database: Database, store: EventStore, scope: TenantScope
    ) -> None:
        events = [event_at(time) for time in range(5)]
        await asyncio.gather(*(append(database, store, scope, events, pause=True) for _ in range(8)))
        assert await self.positions(database, store, scope, None) == (0, [event.body() for event in events])
