"""Keeping the index in the transaction that changes entities.

What an entity is not found by any more is taken away there, and what it is found by from now on is added: at no moment
does it lack a term that it had before and after. Only the terms of one that is new are left to the indexer. They are
nearly all that pushes bring, each goes to a place of its own in the index, and nobody misses them: who searches looks
through what is new.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datacollect.db import Tx
from datacollect.db.turns import in_turns
from datacollect.features.entities.entity import Entity
from datacollect.features.entities.indexing.queries import Row, remove_terms, store_index
from datacollect.features.entities.indexing.state import RULES, Fields, IndexState, state_of_new_log
from datacollect.features.entities.indexing.terms import has_same_terms, terms_of
from datacollect.features.entities.listings import Change
from datacollect.features.tenants.searchable import REINDEX
from datacollect.jobs import enqueue
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope


@dataclass(frozen=True, slots=True)
class Indexing:
    """The index of a log that is being appended to."""

    state: IndexState | None
    """None while none has been begun."""
    searchable: Sequence[str]
    """The program's fields, for an index that begins with its log."""
    is_kept: bool = True
    """Whether the hub is to keep indexes."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What becomes of the index."""

    added: list[Row]
    removed: list[Row]


async def bring_up(
    tx: Tx,
    scope: TenantScope,
    index: Indexing,
    changes: Sequence[Change],
    *,
    log_is_new: bool,
    now: Millis,
) -> Sequence[Row]:
    """Bring the index up to what changes entities, but for the rows to add, which are given back.

    One statement, and none where nothing is to be taken away. The log has been locked since the state was read.
    """
    state = index.state
    if not index.is_kept:
        if state is not None and not state.is_void:
            await store_index(tx, scope, state.voided())
        return ()
    if state is None:
        if not log_is_new:
            return ()
        state = state_of_new_log(index.searchable)
        await store_index(tx, scope, state)
    elif state.rules != RULES:
        # Made by another version of the hub, for which this process cannot keep it up.
        await store_index(tx, scope, state.voided())
        await enqueue(tx, scope, REINDEX, {}, now=now)
        return ()
    rows = Rows([], [])
    async for some in in_turns(changes, holding=True):
        found = changed_rows(state, some)
        rows.added.extend(found.added)
        rows.removed.extend(found.removed)
    await remove_terms(tx, scope, rows.removed)
    return rows.added


def changed_rows(state: IndexState, changes: Iterable[Change]) -> Rows:
    """What becomes of the index when entities change."""
    rows = Rows([], [])
    for before, after in changes:
        was = None if before is None else state.fields_at(before.changed_position)
        note(rows, before, was, after, state.fields_of_new)
    return rows


def note(rows: Rows, before: Entity | None, was: Fields | None, after: Entity, now: Fields | None) -> None:
    """What becomes of one entity's terms: they were made of the fields `was`, and are to be made of `now`.

    An entity that is not there before is the indexer's.
    """
    if before is None or not before.is_live:
        return
    if was is not None and was == now and has_same_terms(before, after, was):
        return
    old, new = terms_of(before, was), terms_of(after, now)
    guid = after.guid
    rows.added.extend((field, text, guid) for field, text in new - old)
    rows.removed.extend((field, text, guid) for field, text in old - new)
