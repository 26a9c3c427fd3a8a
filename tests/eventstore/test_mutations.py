"""Whatever byte is changed in the database, wherever, verification finds it where it is.

A sample of all changes of one byte by default; for ten thousand on each engine:

    pytest tests/eventstore/test_mutations.py --mutations 10000
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from datacollect.assembly import event_store
from datacollect.db import Database, Tx
from datacollect.eventstore.anchors import Anchor
from datacollect.eventstore.event import Event, event_from_body
from datacollect.eventstore.store import EventStore, StoredEvent
from datacollect.eventstore.verification import Verification, verify
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from tests.eventstore.test_verification import new_log
from tests.unit.test_verification import HASHES, NUMBERS, TEXTS, bytes_of, chained, head_of, make_rows, with_bytes

pytestmark = pytest.mark.anyio

SIZE = 8
ANCHORED = (3, 5)
"""Positions with an anchor: the rows behind the last have nothing but the chain."""
COLUMNS = {"occurred_at": "occurred_ms", "max_occurred_at": "max_occurred_ms"}
REWRITTEN = ("body", *HASHES, "guid", "entity_guid", "type", "occurred_at", "max_occurred_at")

Change = tuple[str, StoredEvent, StoredEvent]
"""A column, the row as it was, and the row with the change."""


@pytest.fixture
def store(database: Database) -> EventStore:
    return event_store(database)


@pytest.fixture
async def scope(database: Database, store: EventStore) -> TenantScope:
    return await new_log(database, store)


@pytest.fixture
async def rows(database: Database, store: EventStore, scope: TenantScope) -> Sequence[StoredEvent]:
    """What the log holds."""
    rows = make_rows(SIZE)
    async with database.transaction(scope) as tx:
        await store.append(tx, scope, rows, head_of(rows))
    return rows


@pytest.fixture
def mutations(request: pytest.FixtureRequest) -> int:
    wanted: int = request.config.getoption("--mutations")
    return wanted


def anchors_of(rows: Sequence[StoredEvent]) -> list[Anchor]:
    return [Anchor(position, rows[position - 1].chain_hash, Millis(0)) for position in ANCHORED]


def changes(rows: Sequence[StoredEvent], dialect: str, dice: random.Random) -> Iterator[Change]:
    """Four changes of every byte that follows from something else, as far as the engine can hold them."""
    taken = {row.position for row in rows} | {row.guid for row in rows}
    for row in rows:
        for column in (*TEXTS, *HASHES, *NUMBERS):
            stored = bytes_of(row, column)
            for place in range(len(stored)):
                flips = (
                    flip for flip in dice.sample(range(1, 256), 255) if storable(column, stored, place, flip, dialect)
                )
                for flip, _ in zip(flips, range(4), strict=False):
                    changed = with_bytes(row, column, flipped(stored, place, flip))
                    # No table with these keys can hold two of the same.
                    if getattr(changed, column) not in taken:
                        yield column, row, changed


def storable(column: str, stored: bytes, place: int, flip: int, dialect: str) -> bool:
    """PostgreSQL takes no text that is not UTF-8 or holds a zero byte; SQLite takes anything."""
    if dialect == "sqlite" or column not in TEXTS:
        return True
    changed = flipped(stored, place, flip)
    return b"\0" not in changed and changed.decode(errors="replace").encode() == changed


def flipped(stored: bytes, place: int, flip: int) -> bytes:
    return stored[:place] + bytes([stored[place] ^ flip]) + stored[place + 1 :]


async def put(tx: Tx, scope: TenantScope, at: int, row: StoredEvent, *columns: str) -> None:
    """Write these columns of a row over what stands at a position."""
    values: list[Any] = [getattr(row, column) for column in columns]
    names = [COLUMNS.get(column, column) for column in columns]
    if tx.dialect == "sqlite":
        values = [v.encode(errors="surrogateescape") if isinstance(v, str) else v for v in values]
        sets = [f"{n} = CAST(? AS TEXT)" if c in TEXTS else f"{n} = ?" for n, c in zip(names, columns, strict=True)]
        where = "tenant_id = ? AND position = ?"
    else:
        sets = [f"{name} = ${number}" for number, name in enumerate(names, 1)]
        where = f"tenant_id = ${len(sets) + 1} AND position = ${len(sets) + 2}"
    await tx.run(f"UPDATE events SET {', '.join(sets)} WHERE {where}", *values, scope.tenant_id, at)


async def put_head(tx: Tx, scope: TenantScope, rows: Sequence[StoredEvent]) -> None:
    marks = ("?", "?", "?") if tx.dialect == "sqlite" else ("$1", "$2", "$3")
    sql = "UPDATE log_heads SET chain_hash = {}, max_occurred_ms = {} WHERE tenant_id = {}".format(*marks)
    await tx.run(sql, rows[-1].chain_hash, rows[-1].max_occurred_at, scope.tenant_id)


async def test_any_changed_byte_is_found_at_its_position(
    database: Database,
    store: EventStore,
    scope: TenantScope,
    rows: Sequence[StoredEvent],
    mutations: int,
    measured: Callable[[str, object], None],
) -> None:
    dice = random.Random(7)
    every = list(changes(rows, database.dialect, dice))
    chosen = dice.sample(every, min(mutations, len(every)))
    anchors, counts = anchors_of(rows), Counter[str]()
    async with database.transaction(scope) as tx:
        for column, row, changed in chosen:
            await put(tx, scope, row.position, changed, column)
            finding = (await verify(tx, store, scope, anchors=anchors)).finding
            # An event moved to the front is found where it is now, one moved to the back where it was.
            expected = min(row.position, changed.position)
            assert finding is not None, (column, changed)
            assert finding.position == expected, (column, changed, finding)
            await put(tx, scope, changed.position, row, column)
            counts[f"{column} behind the last anchor" if row.position > ANCHORED[-1] else column] += 1
        assert (await verify(tx, store, scope, anchors=anchors)).ok
    measured(
        f"changed bytes on {database.dialect}", f"{counts.total()} of {len(every)}: {dict(sorted(counts.items()))}"
    )
    assert counts.total() >= min(mutations, 10_000)
    assert len(counts) == 2 * len((*TEXTS, *HASHES, *NUMBERS))


def forgeries(rows: Sequence[StoredEvent]) -> Iterator[tuple[int, list[StoredEvent]]]:
    """Logs in which one byte of one body is another, and every hash and column after it is made to fit."""
    events = [event_from_body(row.body) for row in rows]
    for index, row in enumerate(rows):
        stored = row.body.encode()
        for place in range(len(stored)):
            event = event_in(flipped(stored, place, 1))
            if event is not None and event.guid == events[index].guid:
                forged = chained([*events[:index], event, *events[index + 1 :]])
                if forged[-1].chain_hash != rows[-1].chain_hash:
                    yield row.position, forged


def event_in(body: bytes) -> Event | None:
    try:
        return event_from_body(body.decode())
    except ValueError:
        return None


async def test_a_chain_written_anew_from_one_changed_byte_on_is_found_by_the_next_anchor(
    database: Database,
    store: EventStore,
    scope: TenantScope,
    rows: Sequence[StoredEvent],
    mutations: int,
    measured: Callable[[str, object], None],
) -> None:
    every = list(forgeries(rows))
    chosen = random.Random(7).sample(every, min(max(mutations // 10, 50), len(every)))
    anchors, found, not_covered = anchors_of(rows), 0, 0
    async with database.transaction(scope) as tx:
        for position, forged in chosen:
            outcome = await verified_as(tx, store, scope, forged, anchors)
            anchor = next((anchored for anchored in ANCHORED if anchored >= position), None)
            if anchor is None:
                assert outcome.ok, "what comes after the last anchor is not protected by it, as the how-to says"
                not_covered += 1
            else:
                assert outcome.finding is not None, forged[position - 1]
                assert (outcome.finding.code, outcome.finding.position) == ("ANCHOR_DIFFERS", anchor)
                found += 1
        assert (await verified_as(tx, store, scope, rows, anchors)).ok
    measured(f"chains written anew on {database.dialect}", f"{found} found, {not_covered} behind the last anchor")
    assert found and not_covered


async def verified_as(
    tx: Tx, store: EventStore, scope: TenantScope, rows: Sequence[StoredEvent], anchors: Sequence[Anchor]
) -> Verification:
    for row in rows:
        await put(tx, scope, row.position, row, *REWRITTEN)
    await put_head(tx, scope, rows)
    return await verify(tx, store, scope, anchors=anchors)
