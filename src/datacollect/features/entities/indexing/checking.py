"""Comparing an index with the entities it is made from."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from datacollect.db import Database, Tx
from datacollect.eventstore.store import EventStore
from datacollect.features.entities.indexing.batches import list_changed, list_rows, which_are_there
from datacollect.features.entities.indexing.queries import Row, find_index
from datacollect.features.entities.indexing.state import IndexState
from datacollect.features.entities.indexing.terms import terms_of
from datacollect.features.entities.rebuilt import expect_growth
from datacollect.features.entities.rows import load
from datacollect.features.entities.touched import Touched
from datacollect.kernel.identity import TenantScope

_BATCH = 1000
_FIRST: Row = ("", "", "")


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the index that is not what the entity gives."""

    row: Row
    is_missing: bool
    """Else it is there and should not be."""


async def faults_of(database: Database, store: EventStore, scope: TenantScope) -> AsyncIterator[Fault]:
    """Of the whole index. The log is held for one batch at a time: whether a row is right depends on its entity alone."""
    # The terms of those it is behind by are not there yet.
    async for fault in _missing(database, store, scope):
        yield fault
    async for fault in _surplus(database, store, scope):
        yield fault


async def _missing(database: Database, store: EventStore, scope: TenantScope) -> AsyncIterator[Fault]:
    after = 0
    while True:
        async with database.transaction(scope) as tx:
            await expect_growth(tx)
            head = await store.hold(tx, scope)
            state = await find_index(tx, scope)
            if head is None or state is None or state.is_void or after >= state.indexed:
                return
            batch = await list_changed(tx, scope, after=after, to=state.indexed, limit=_BATCH)
            wanted = [
                (field, text, entity.guid)
                for entity in batch.entities
                for field, text in terms_of(entity, state.fields_at(entity.changed_position))
            ]
            held = await which_are_there(tx, scope, wanted)
        for row in sorted(set(wanted) - held):
            yield Fault(row, is_missing=True)
        after = batch.through


async def _surplus(database: Database, store: EventStore, scope: TenantScope) -> AsyncIterator[Fault]:
    after = _FIRST
    while True:
        async with database.transaction(scope) as tx:
            await expect_growth(tx)
            head = await store.hold(tx, scope)
            state = await find_index(tx, scope)
            if head is None or (state is not None and state.is_void):
                return
            rows = await list_rows(tx, scope, after, limit=_BATCH)
            right = await _right_ones(tx, scope, state, rows)
        for row in rows:
            if row not in right:
                yield Fault(row, is_missing=False)
        if len(rows) < _BATCH:
            return
        after = rows[-1]


async def _right_ones(tx: Tx, scope: TenantScope, state: IndexState | None, rows: Sequence[Row]) -> set[Row]:
    if state is None or not rows:
        return set()
    held = (await load(tx, scope, Touched(guids={guid for _, _, guid in rows}))).entities
    return {
        (field, text, guid)
        for guid, entity in held.items()
        for field, text in terms_of(entity, state.fields_at(entity.changed_position))
    }
