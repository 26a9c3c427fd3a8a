"""Bringing a program's index to other fields or rules, some entities at a time, while pushes go on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from datacollect.db import Database, Tx
from datacollect.eventstore.store import EventStore
from datacollect.features.entities.indexing.batches import discard_some, list_changed, programs_without_index
from datacollect.features.entities.indexing.indexer import rows_of
from datacollect.features.entities.indexing.queries import add_terms, find_index, remove_terms, store_index
from datacollect.features.entities.indexing.state import NO_INDEX, Fields, IndexState
from datacollect.features.entities.indexing.upkeep import Rows, note
from datacollect.features.entities.rebuilt import expect_growth
from datacollect.features.tenants.asked import lock_searchable
from datacollect.features.tenants.searchable import REINDEX
from datacollect.jobs import Continue, Done, Job, Step, enqueue
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope, system_scope

BATCH = 250
"""Entities of one step: a push waits for no more than that."""
_ROWS_PER_ENTITY = 20
"""Rows are thrown away in steps that take about as long."""


@dataclass(frozen=True, slots=True)
class Progress:
    """In positions of the log."""

    through: int
    begun: int
    is_done: bool


class Reindexer:
    """Implements `Handler`. Each step decides by what the index holds and what the forms say then, so that it does not
    matter how often it is called, or by whom."""

    kind = REINDEX

    def __init__(self, store: EventStore, *, batch: int = BATCH, keeps_index: bool = True) -> None:
        self._store = store
        self._batch = batch
        self._keeps_index = keeps_index

    async def step(self, tx: Tx, scope: TenantScope, job: Job) -> Step:
        if not self._keeps_index:
            return Done()
        # Locked, so that whoever changes the forms meets this job as active, or after its end.
        fields = await lock_searchable(tx, scope.tenant_id)
        if fields is None:
            return Done()
        reached = await self.go_on(tx, scope, fields)
        if reached.is_done:
            return Done()
        return Continue({}, reached.through, reached.begun)

    async def go_on(self, tx: Tx, scope: TenantScope, fields: Fields) -> Progress:
        """The next step towards an index of these fields."""
        await expect_growth(tx)
        head = await self._store.hold(tx, scope)
        if head is None:
            return Progress(0, 0, is_done=True)
        state = await find_index(tx, scope) or NO_INDEX
        if state.is_void:
            return await self._begin_anew(tx, scope, state, fields, at=head.position)
        if state.next_fields is None:
            if state.fields == fields:
                return Progress(head.position, head.position, is_done=True)
            if state.indexed < head.position:
                state = await self._bring_new_ones(tx, scope, state, to=head.position)
            if state.indexed == head.position:
                state = state.heading_for(fields, at=head.position)
            await store_index(tx, scope, state)
            return Progress(0, head.position, is_done=False)
        return await self._bring_some(tx, scope, state)

    async def _begin_anew(self, tx: Tx, scope: TenantScope, state: IndexState, fields: Fields, *, at: int) -> Progress:
        """Throw away what is there; once nothing is, begin. What is changed meanwhile is left to what comes then."""
        more = await discard_some(tx, scope, limit=self._batch * _ROWS_PER_ENTITY)
        state = state.voided()
        await store_index(tx, scope, state if more else state.heading_for(fields, at=at))
        return Progress(0, at, is_done=False)

    async def _bring_new_ones(self, tx: Tx, scope: TenantScope, state: IndexState, *, to: int) -> IndexState:
        """Do a step of the indexer's work: what the rows are made from must be known before it is to be another."""
        batch = await list_changed(tx, scope, after=state.indexed, to=to, limit=self._batch)
        await add_terms(tx, scope, [row for entity in batch.entities for row in rows_of(state, entity)])
        return replace(state, indexed=batch.through)

    async def _bring_some(self, tx: Tx, scope: TenantScope, state: IndexState) -> Progress:
        batch = await list_changed(tx, scope, after=state.through, to=state.begun, limit=self._batch)
        rows = Rows([], [])
        for entity in batch.entities:
            note(rows, entity, state.fields, entity, state.next_fields)
        await remove_terms(tx, scope, rows.removed)
        await add_terms(tx, scope, rows.added)
        state_now = state.advanced(batch.through)
        await store_index(tx, scope, state_now)
        return Progress(batch.through, state.begun, is_done=False)


async def give_up_index(tx: Tx, scope: TenantScope, *, now: Millis) -> Fields | None:
    """Let nobody ask a program's index until it has been made anew; by a job, if by nobody before. The log is held.

    Gives the fields that it was made of, or was to be.
    """
    state = await find_index(tx, scope)
    if state is None:
        return None
    await store_index(tx, scope, state.voided())
    await enqueue(tx, scope, REINDEX, {}, now=now)
    return state.next_fields if state.next_fields is not None else state.fields


async def enqueue_missing(database: Database, now: Callable[[], Millis]) -> int:
    """Put the programs in line whose entities are in no index that this version of the hub can use; how many."""
    tenants = await programs_without_index(database)
    for tenant in tenants:
        scope = system_scope(tenant)
        async with database.transaction(scope) as tx:
            await enqueue(tx, scope, REINDEX, {}, now=now())
    return len(tenants)
