"""What the search index is asked for.

It may be asked for what `IndexState` says that it knows, in a view in which nothing of it changes: see `read_index`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datacollect.features.entities.indexing.terms import WORDS
from datacollect.features.entities.indexing.values import Range
from datacollect.features.entities.indexing.words import Beginnings

_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Lookup:
    """A field, and the terms that will do."""

    field: str
    ranges: Sequence[Range]
    beyond: int | None = None
    """Entities last changed behind that position are given as well, whatever they hold: some of their terms are not there
    yet (`IndexState.beyond`)."""


def lookups_of_words(words: Iterable[Beginnings], *, beyond: int | None = None) -> Sequence[Lookup]:
    """All of them must find an entity that has words beginning like these, which are as `asked_in` gives them."""
    return [Lookup(WORDS, [Range(one, one + _LAST) for one in word], beyond) for word in words]
