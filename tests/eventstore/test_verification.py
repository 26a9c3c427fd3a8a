"""Verification of logs in real databases, changed behind the hub's back."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, update

from datacollect.assembly import event_store
from datacollect.db import Database
from datacollect.eventstore.anchors import Anchor
from datacollect.eventstore.event import Event, event_from_body
from datacollect.eventstore.integrity import EMPTY_CHAIN, hash_event
from datacollect.eventstore.store import EventStore
from datacollect.eventstore.tables import events, log_heads
from datacollect.eventstore.verification import BATCH, Finding, Neighbour, Verification, logs, verify
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.eventstore import append, event_at

pytestmark = pytest.mark.anyio

SIZE = 7


@pytest.fixture
def store(database: Database) -> EventStore:
    return event_store(database)


@pytest.fixture
async def scope(database: Database, store: EventStore) -> TenantScope:
    return await new_log(database, store)


@pytest.fixture
async def written(database: Database, store: EventStore, scope: TenantScope) -> Sequence[Event]:
    """What the log holds."""
    written = [event_at(1000 + number * 37 % 100) for number in range(SIZE)]
    await append(database, store, scope, written)
    return written


async def new_log(database: Database, store: EventStore) -> TenantScope:
    scope = system_scope(TenantId(f"v-{uuid.uuid4().hex[:10]}"))
    async with database.transaction(scope) as tx:
        await store.create(tx, scope, epoch="first", now=Millis(0))
    return scope


async def verified(
    database: Database, store: EventStore, scope: TenantScope, anchors: Sequence[Anchor] = ()
) -> Verification:
    async with database.reading(scope) as view:
        return await verify(view, store, scope, anchors=anchors)


async def found(database: Database, store: EventStore, scope: TenantScope, anchors: Sequence[Anchor] = ()) -> Finding:
    finding = (await verified(database, store, scope, anchors)).finding
    assert finding is not None
    return finding


async def change(database: Database, scope: TenantScope, position: int, /, **values: Any) -> None:
    async with database.transaction(scope) as tx:
        row = (events.c.tenant_id == scope.tenant_id) & (events.c.position == position)
        await tx.execute(update(events).where(row).values(**values))


async def change_head(database: Database, scope: TenantScope, **values: Any) -> None:
    async with database.transaction(scope) as tx:
        await tx.execute(update(log_heads).where(log_heads.c.tenant_id == scope.tenant_id).values(**values))


async def remove(database: Database, scope: TenantScope, position: int) -> None:
    async with database.transaction(scope) as tx:
        row = (events.c.tenant_id == scope.tenant_id) & (events.c.position == position)
        await tx.execute(delete(events).where(row))


async def anchor_at(database: Database, store: EventStore, scope: TenantScope, position: int) -> Anchor:
    async with database.reading(scope) as view:
        (row,) = await store.read_rows(view, scope, after=position - 1, limit=1)
    return Anchor(row.position, row.chain_hash, Millis(0))


async def test_a_log_as_appended_is_in_order(
    database: Database, store: EventStore, scope: TenantScope, written: Sequence[Event]
) -> None:
    anchors = [await anchor_at(database, store, scope, position) for position in (2, SIZE)]
    outcome = await verified(database, store, scope, anchors)
    assert outcome.ok
    assert (outcome.sound.position, outcome.sound.chain_hash) == (SIZE, anchors[-1].chain_hash)


async def test_an_empty_log_is_in_order(database: Database, store: EventStore, scope: TenantScope) -> None:
    assert (await verified(database, store, scope)).ok


@pytest.mark.parametrize(
    ("values", "code"),
    [
        pytest.param({"guid": str(uuid.UUID(int=5))}, "COLUMN_DIFFERS", id="guid"),
        pytest.param({"entity_guid": "e-2"}, "COLUMN_DIFFERS", id="entity"),
        pytest.param({"type": "delete-entity"}, "COLUMN_DIFFERS", id="type"),
        pytest.param({"occurred_ms": 5}, "COLUMN_DIFFERS", id="time"),
        pytest.param({"max_occurred_ms": 5}, "COLUMN_DIFFERS", id="latest time"),
        pytest.param({"content_hash": b""}, "CONTENT_CHANGED", id="content hash"),
        pytest.param({"chain_hash": bytes(32)}, "CHAIN_BROKEN", id="chain hash"),
        pytest.param({"body": "{"}, "BODY_UNREADABLE", id="body"),
        pytest.param({"origin": "elsewhere"}, "ROW_UNREADABLE", id="origin"),
        pytest.param({"position": SIZE + 9}, "POSITION_MISSING", id="moved to the back"),
    ],
)
async def test_a_changed_column_is_found_with_its_neighbours(
    database: Database,
    store: EventStore,
    scope: TenantScope,
    written: Sequence[Event],
    values: dict[str, Any],
    code: str,
) -> None:
    await change(database, scope, 4, **values)
    finding = await found(database, store, scope)
    guid = None if "position" in values else values.get("guid", written[3].guid)
    assert (finding.code, finding.position, finding.guid) == (code, 4, guid)
    assert (finding.before, finding.after) == (Neighbour(3, written[2].guid), Neighbour(5, written[4].guid))


async def test_one_changed_letter_is_found(
    database: Database, store: EventStore, scope: TenantScope, written: Sequence[Event]
) -> None:
    await change(database, scope, 1, body=written[0].body().replace("Zoë", "Zoé"))
    finding = await found(database, store, scope)
    assert (finding.code, finding.position, finding.before) == ("CONTENT_CHANGED", 1, None)


@pytest.mark.parametrize(("column", "code"), [("body", "BODY_UNREADABLE"), ("guid", "COLUMN_DIFFERS")])
async def test_a_text_that_is_not_utf_8_is_a_finding_and_no_crash(
    database: Database, store: EventStore, scope: TenantScope, written: Sequence[Event], column: str, code: str
) -> None:
    if database.dialect != "sqlite":
        return  # PostgreSQL does not store such a text
    async with database.transaction(scope) as tx:
        sql = f"UPDATE events SET {column} = CAST(x'7bff7d' AS TEXT) WHERE tenant_id = ? AND position = ?"
        await tx.run(sql, scope.tenant_id, 2)
    finding = await found(database, store, scope)
    assert (finding.code, finding.position) == (code, 2)


@pytest.mark.parametrize(
    ("column", "stored"),
    [
        ("guid", "CAST(guid AS BLOB)"),
        ("entity_guid", "CAST(entity_guid AS BLOB)"),
        ("actor", "CAST(actor AS BLOB)"),
        ("device_id", "x'41'"),
        ("origin", "CAST(origin AS BLOB)"),
        ("body", "CAST(body AS BLOB)"),
        ("content_hash", "CAST(x'ff' AS TEXT)"),
        ("chain_hash", "CAST(x'ff' AS TEXT)"),
        ("occurred_ms", "CAST(x'ff' AS TEXT)"),
        ("max_occurred_ms", "1.5"),
        ("recorded_ms", "x'01'"),
    ],
)
async def test_a_value_stored_as_another_kind_is_a_finding_and_no_crash(
    database: Database, store: EventStore, scope: TenantScope, written: Sequence[Event], column: str, stored: str
) -> None:
    if database.dialect != "sqlite":
        return  # PostgreSQL stores what the column is for
    async with database.transaction(scope) as tx:
        sql = f"UPDATE events SET {column} = {stored} WHERE tenant_id = ? AND position = ?"
        await tx.run(sql, scope.tenant_id, 4)
    finding = await found(database, store, scope)
    assert (finding.code, finding.position) == ("ROW_UNREADABLE", 4)
    assert (finding.before, finding.after) == (Neighbour(3, written[2].guid), Neighbour(5, written[4].guid))


@pytest.mark.parametrize("figures", ["", "{", "[]", '{"entities": "many"}', '{"\\ud800": 1}'])
async def test_a_head_that_cannot_be_read_is_a_finding_behind_those_of_the_rows(
    database: Database, store: EventStore, scope: TenantScope, written: Sequence[Event], figures: str
) -> None:
    await change_head(database, scope, figures=figures)
    finding = await found(database, store, scope)
    assert (finding.code, finding.position, finding.guid) == ("HEAD_UNREADABLE", SIZE, written[-1].guid)
    await change(database, scope, 2, chain_hash=bytes(32))
    assert (await found(database, store, scope)).code == "CHAIN_BROKEN"


@pytest.mark.parametrize(
    "change_of_head",
    ["figures = CAST(x'ff' AS TEXT)", "figures = x'7b7d'", "position = 'x'", "chain_hash = CAST(x'ff' AS TEXT)"],
)
async def test_a_head_of_the_wrong_kinds_is_a_finding_and_no_crash(
    database: Database, store: EventStore, scope: TenantScope, written: Sequence[Event], change_of_head: str
) -> None:
    if database.dialect != "sqlite":
        return  # PostgreSQL stores what the column is for
    async with database.transaction(scope) as tx:
        await tx.run(f"UPDATE log_heads SET {change_of_head} WHERE tenant_id = ?", scope.tenant_id)
    assert (await found(database, store, scope)).code == "HEAD_UNREADABLE"


async def test_findings_hold_no_text_that_somebody_wrote_into_a_row(
    database: Database, store: EventStore, scope: TenantScope, written: Sequence[Event]
) -> None:
    texts = ("entity_guid", "type", "body")
    for position, column in enumerate(texts, 1):
        value = '{"Somsak Phommachanh": 1}' if column == "body" else "Somsak Phommachanh"
        await change(database, scope, position, **{column: value})
        finding = await found(database, store, scope)
        assert finding.position == position
        assert "Somsak" not in finding.message
        await change(database, scope, position, **{column: body_of(written[position - 1], column)})


def body_of(event: Event, column: str) -> str:
    """What a text column of an untouched row holds."""
    return event.body() if column == "body" else str(getattr(event, column))


async def test_a_row_below_the_first_position_is_found(
    database: Database, store: EventStore, scope: TenantScope, written: Sequence[Event]
) -> None:
    await change(database, scope, 1, position=-1)
    finding = await found(database, store, scope)
    assert (finding.code, finding.position) == ("POSITION_UNEXPECTED", -1)
    assert (finding.before, finding.after) == (None, Neighbour(2, written[1].guid))


async def test_the_last_event_removed_is_found_by_the_head_and_with_a_new_head_by_the_anchor(
    database: Database, store: EventStore, scope: TenantScope, written: Sequence[Event]
) -> None:
    anchor = await anchor_at(database, store, scope, SIZE)
    before = await anchor_at(database, store, scope, SIZE - 1)
    await remove(database, scope, SIZE)
    finding = await found(database, store, scope)
    assert (finding.code, finding.position, finding.guid) == ("HEAD_DIFFERS", SIZE, None)
    assert (finding.before, finding.after) == (Neighbour(SIZE - 1, written[-2].guid), None)
    latest = max(event.occurred_at for event in written[:-1])
    await change_head(database, scope, position=SIZE - 1, chain_hash=before.chain_hash, max_occurred_ms=latest)
    assert (await verified(database, store, scope)).ok
    finding = await found(database, store, scope, [anchor])
    assert (finding.code, finding.position, finding.guid) == ("ANCHOR_DIFFERS", SIZE, None)


@pytest.mark.parametrize("values", [{"position": SIZE - 1}, {"chain_hash": bytes(32)}, {"max_occurred_ms": 1}])
async def test_a_changed_head_is_found(
    database: Database, store: EventStore, scope: TenantScope, written: Sequence[Event], values: dict[str, Any]
) -> None:
    await change_head(database, scope, **values)
    finding = await found(database, store, scope)
    assert (finding.code, finding.position, finding.guid) == ("HEAD_DIFFERS", SIZE, written[-1].guid)
    assert (finding.before, finding.after) == (Neighbour(SIZE - 1, written[-2].guid), None)


async def test_a_history_written_anew_with_its_hashes_is_found_by_the_anchor(
    database: Database, store: EventStore, scope: TenantScope, written: Sequence[Event]
) -> None:
    anchors = [await anchor_at(database, store, scope, position) for position in (2, 6)]
    async with database.reading(scope) as view:
        rows = await store.read_rows(view, scope, after=0, limit=SIZE)
    chain = EMPTY_CHAIN
    for row in rows:
        event = event_from_body(row.body)
        if row.position == 3:
            event = replace(event, data={"name": "Eve"})
        hashed = hash_event(event)
        chain = hashed.chained_to(chain)
        await change(database, scope, row.position, body=event.body(), content_hash=hashed.content, chain_hash=chain)
    await change_head(database, scope, chain_hash=chain)
    assert (await verified(database, store, scope)).ok
    assert (await verified(database, store, scope, anchors[:1])).ok
    finding = await found(database, store, scope, anchors)
    assert (finding.code, finding.position, finding.guid) == ("ANCHOR_DIFFERS", 6, written[5].guid)


async def test_a_log_that_vanished_is_missed_by_its_anchor_and_one_without_head_is_listed(
    database: Database, store: EventStore, scope: TenantScope, written: Sequence[Event]
) -> None:
    async with database.transaction(scope) as tx:
        await tx.execute(delete(log_heads).where(log_heads.c.tenant_id == scope.tenant_id))
    async with database.reading(scope) as view:
        assert scope.tenant_id in await logs(view)
    assert (await found(database, store, scope)).code == "HEAD_DIFFERS"
    async with database.transaction(scope) as tx:
        await tx.execute(delete(events).where(events.c.tenant_id == scope.tenant_id))
    assert (await found(database, store, scope, [Anchor(SIZE, bytes(32), Millis(0))])).code == "HEAD_DIFFERS"


async def test_batches_are_joined(database: Database, store: EventStore, scope: TenantScope) -> None:
    written = [event_at(number) for number in range(BATCH + 2)]
    await append(database, store, scope, written)
    seen: list[int] = []
    async with database.reading(scope) as view:
        outcome = await verify(view, store, scope, progress=seen.append)
    assert outcome.ok
    assert seen == [BATCH, BATCH + 2]
    for position in (BATCH + 1, BATCH):
        await change(database, scope, position, chain_hash=bytes(32))
        finding = await found(database, store, scope)
        assert finding.position == position
        assert finding.before == Neighbour(position - 1, written[position - 2].guid)
        assert finding.after == Neighbour(position + 1, written[position].guid)


async def test_appending_meanwhile_is_no_finding(database: Database, store: EventStore, scope: TenantScope) -> None:
    async def write() -> None:
        for number in range(40):
            await append(database, store, scope, [event_at(number), event_at(number)])

    writing = asyncio.create_task(write())
    while not writing.done():
        assert (await verified(database, store, scope)).finding is None
    await writing
    assert (await verified(database, store, scope)).sound.position == 80
