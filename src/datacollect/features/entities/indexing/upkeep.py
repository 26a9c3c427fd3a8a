"""Keeping the index in the transaction that changes entities."""

from collections.abc import Iterable
from dataclasses import dataclass

from datacollect.db import Tx
from datacollect.features.entities.entity import Entity
from datacollect.features.entities.indexing.queries import Row, add_terms, remove_terms, store_index
from datacollect.features.entities.indexing.state import Fields, IndexState
from datacollect.features.entities.indexing.terms import terms_of
from datacollect.kernel.identity import TenantScope

Change = tuple[Entity | None, Entity]
"""An entity as the database held it, and as it is now."""


@dataclass(frozen=True, slots=True)
class TermChanges:
    added: list[Row]
    removed: list[Row]


def term_changes(state: IndexState, changes: Iterable[Change]) -> TermChanges:
    """What becomes of the index when entities change: pure."""
    found = TermChanges([], [])
    for before, after in changes:
        note_change(found, after.guid, before, _fields_before(state, before), after, state.fields_of_new)
    return found


def note_change(
    found: TermChanges,
    guid: str,
    before: Entity | None,
    fields_before: Fields | None,
    after: Entity,
    fields_after: Fields | None,
) -> None:
    if fields_before is None and fields_after is None:
        return
    was, now = terms_of(before, fields_before), terms_of(after, fields_after)
    found.added.extend((field, text, guid) for field, text in now - was)
    found.removed.extend((field, text, guid) for field, text in was - now)


def _fields_before(state: IndexState, before: Entity | None) -> Fields | None:
    return None if before is None else state.fields_at(before.changed_position)


async def keep_index(tx: Tx, scope: TenantScope, state: IndexState, changes: Iterable[Change]) -> None:
    """Two statements at most, and none where no term changes. The log is locked."""
    found = term_changes(state, changes)
    await remove_terms(tx, scope, found.removed)
    await add_terms(tx, scope, found.added)


__all__ = ["keep_index", "store_index", "term_changes"]
