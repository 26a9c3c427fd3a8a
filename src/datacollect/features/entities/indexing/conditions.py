"""Conditions on entities that the index answers, for the slice's own queries.

Each gives guids, from the index alone and by its key; what is asked for together is intersected by the database. They
may be used for what `IndexState` says the index knows, in a view in which nothing of it changes: see `read_index`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, and_, exists, false, or_, select

from datacollect.features.entities.indexing.tables import search_terms
from datacollect.features.entities.indexing.terms import WORDS
from datacollect.features.entities.indexing.values import EMPTY, Op, Range, ranges_of
from datacollect.features.entities.indexing.words import asked_in
from datacollect.kernel.identity import TenantScope

_terms = search_terms.c
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Lookup:
    """What to look for in the index: a field, and the terms that will do."""

    field: str
    ranges: Sequence[Range]

    @property
    def is_exact(self) -> bool:
        """Whether single terms are asked for, so that one entity can be looked up as well."""
        return all(one.is_one for one in self.ranges)


def lookups_of_search(text: str) -> Sequence[Lookup]:
    """All of them must find an entity that a search for words finds; none for a search without words."""
    return [Lookup(WORDS, [Range(word, word + _LAST)]) for word in asked_in(text)]


def lookup_of(field: str, op: Op, operand: Any) -> Lookup | None:
    """What finds the entities whose field compares so; None where the index does not tell: of empty texts, and of an
    operand that nothing compares with."""
    ranges = ranges_of(op, operand)
    return None if ranges is None or any(one.holds(EMPTY) for one in ranges) else Lookup(field, ranges)


def found_by(scope: TenantScope, lookup: Lookup) -> Select[Any]:
    """The guids that a lookup finds; one may come more than once."""
    return select(_terms.guid).where(_where(scope, lookup))


def is_found(scope: TenantScope, lookup: Lookup, guid: Column[str]) -> ColumnElement[bool]:
    """Whether a lookup finds the entity of that guid: quick for exact ones, for each entity by itself."""
    return exists().where(_where(scope, lookup), _terms.guid == guid)


def _where(scope: TenantScope, lookup: Lookup) -> ColumnElement[bool]:
    one_of = [_within(one) for one in lookup.ranges if not one.is_one]
    single = [one.low for one in lookup.ranges if one.is_one]
    if single:
        one_of.append(_terms.term == single[0] if len(single) == 1 else _terms.term.in_(single))
    if not one_of:
        return false()
    return and_(_terms.tenant_id == scope.tenant_id, _terms.field == lookup.field, or_(*one_of))


def _within(one: Range) -> ColumnElement[bool]:
    low = _terms.term >= one.low if one.low_itself else _terms.term > one.low
    return and_(low, _terms.term <= one.high if one.high_itself else _terms.term < one.high)
