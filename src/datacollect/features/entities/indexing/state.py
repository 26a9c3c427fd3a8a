"""What a program's index holds, and how it comes to hold something else while pushes go on. Pure.

An index is made of a program's searchable fields. When those change, a reindex brings one entity after the other to the
new ones, in the order in which the entities were last changed. Pushes keep what they write up to date meanwhile: what
they change gets a position behind `begun`, and so belongs to the new fields from then on. So the position of an
entity's last change tells at any moment which fields its terms are made of, and no row has to say it.

The terms of an entity that is new are not made in the push that brings it, but behind it (`indexer.py`), and a position
tells that, too: entities last changed behind `indexed` may have only some of their terms, never one that is not theirs.
Who asks the index looks through those.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

Fields = tuple[str, ...]

RULES = 3
"""Names the rules by which terms are made (`words.py`, `values.py`, `terms.py`). To be raised when they give other terms
for the same entity: all indexes are then made anew."""


@dataclass(frozen=True, slots=True)
class IndexState:
    """What one program's index holds."""

    rules: int
    fields: Fields | None
    """What every entity's terms are made of, but for those a reindex has come by; None while no row counts."""
    next_fields: Fields | None = None
    """What a reindex under way brings the entities to."""
    begun: int = 0
    """The position at which the log ended when the reindex began."""
    through: int = 0
    """Entities last changed up to there have been brought to `next_fields`."""
    changes: int = 0
    indexed: int = 0
    """Entities last changed up to there have all their terms."""
    ends: int = field(default=0, compare=False)
    """Where the log ended when this was read, as far as somebody looked."""
    epoch: str | None = field(default=None, compare=False)
    """Names the history of that log, likewise."""
    chain_hash: bytes = field(default=b"", compare=False)
    """Of the event at which it ended, and so of all before it."""

    @property
    def beyond(self) -> int | None:
        """The position behind which entities may lack terms; None if there was no such entity when this was read."""
        return self.indexed if self.behind else None

    @property
    def behind(self) -> int:
        """How many positions the index was behind the log when this was read."""
        return max(0, self.ends - self.indexed)

    def tells_as(self, other: "IndexState") -> bool:
        """Whether the same may be asked of both. How far a reindex or the indexer has come makes no difference."""
        return replace(self, through=0, indexed=0) == replace(other, through=0, indexed=0)

    @property
    def is_void(self) -> bool:
        """Whether its rows, if there are any, say nothing, and are to be thrown away."""
        return self.rules != RULES or (self.fields is None and self.next_fields is None)

    @property
    def fields_of_new(self) -> Fields | None:
        """What the terms of an entity are made of that is written now; None when none are to be kept."""
        if self.is_void:
            return None
        return self.next_fields if self.next_fields is not None else self.fields

    def fields_at(self, changed: int) -> Fields | None:
        """What the terms of an entity are made of that was last changed at a position; None if it has none."""
        if self.is_void:
            return None
        if self.next_fields is None or not (changed <= self.through or changed > self.begun):
            return self.fields
        return self.next_fields

    # -- asking

    def has_words_of(self, fields: Sequence[str]) -> bool:
        """Whether the index knows the words of every entity's name and of these fields of it, and no others."""
        return not self.is_void and self.fields == tuple(fields) and self.next_fields in (None, self.fields)

    def has(self, field: str) -> bool:
        """Whether the index knows that field of every entity."""
        if self.is_void or self.fields is None or field not in self.fields:
            return False
        return self.next_fields is None or field in self.next_fields

    # -- changing

    def voided(self) -> "IndexState":
        return IndexState(RULES, None, changes=self.changes + 1)

    def heading_for(self, fields: Fields, *, at: int) -> "IndexState":
        """The reindex to other fields begins while the log ends at that position. Its rows count, and there all are; or
        there are none."""
        return replace(self, next_fields=fields, begun=at, through=0, indexed=at, changes=self.changes + 1).arrived()

    def advanced(self, through: int) -> "IndexState":
        return replace(self, through=through).arrived()

    def arrived(self) -> "IndexState":
        """The same, ended if nothing is left to do."""
        if self.next_fields is None or (self.through < self.begun and self.next_fields != self.fields):
            return self
        return replace(self, fields=self.next_fields, next_fields=None, begun=0, through=0, changes=self.changes + 1)


NO_INDEX = IndexState(RULES, None)
"""What a program has before its index is begun: no rows."""


def state_of_new_log(fields: Sequence[str]) -> IndexState:
    return IndexState(RULES, tuple(fields))
