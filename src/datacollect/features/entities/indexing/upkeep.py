"""Keeping the index in the transaction that changes entities."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datacollect.db import Tx
from datacollect.features.entities.entity import Entity
from datacollect.features.entities.indexing.queries import Row, add_terms, find_index, remove_terms, store_index
from datacollect.features.entities.indexing.state import RULES, Fields, IndexState, state_of_new_log
from datacollect.features.entities.indexing.terms import terms_of
from datacollect.kernel.identity import TenantScope

Change = tuple[Entity | None, Entity]
"""An entity as the database held it, and as it is now."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What becomes of the index."""

    added: list[Row]
    removed: list[Row]

    async def store(self, tx: Tx, scope: TenantScope) -> None:
        """Two statements at most, and none where no term changes."""
        if self.removed:
            await remove_terms(tx, scope, self.removed)
        if self.added:
            await add_terms(tx, scope, self.added)


class IndexUpkeep:
    """One batch of events' changes to the index. The log is locked from before it is made until it is saved."""

    def __init__(self, state: IndexState | None, searchable: Sequence[str]) -> None:
        self._state = state
        self._searchable = searchable

    @classmethod
    async def start(cls, tx: Tx, scope: TenantScope, searchable: Sequence[str]) -> "IndexUpkeep":
        """`searchable` are the program's fields, for an index that begins with its log."""
        return cls(await find_index(tx, scope), searchable)

    async def save(self, tx: Tx, scope: TenantScope, changes: Iterable[Change], *, log_is_new: bool) -> None:
        state = self._state
        if state is None:
            if not log_is_new:
                return
            state = state_of_new_log(self._searchable)
            await store_index(tx, scope, state)
        elif state.rules != RULES:
            # Made by another version of the hub, which this process cannot keep it up for.
            await store_index(tx, scope, state.voided())
            return
        await changed_rows(state, changes).store(tx, scope)


def changed_rows(state: IndexState, changes: Iterable[Change]) -> Rows:
    """What becomes of the index when entities change."""
    rows = Rows([], [])
    for before, after in changes:
        was = None if before is None else state.fields_at(before.changed_position)
        note(rows, before, was, after, state.fields_of_new)
    return rows


def note(rows: Rows, before: Entity | None, was: Fields | None, after: Entity, now: Fields | None) -> None:
    """What becomes of one entity's terms: they were made of the fields `was`, and are to be made of `now`."""
    old, new = terms_of(before, was), terms_of(after, now)
    guid = after.guid
    rows.added.extend((field, text, guid) for field, text in new - old)
    rows.removed.extend((field, text, guid) for field, text in old - new)
