"""Which entities a list is to hold, and how they are asked for. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from datacollect.features.entities.entity import Kind
from datacollect.features.entities.finding.errors import InvalidListParameter
from datacollect.features.entities.indexing.words import Beginnings, asked_in
from datacollect.http.hub import EntityMark
from datacollect.kernel.clock import Millis, parse_timestamp

MOST_VALUES = 1000
"""Of one parameter, as areas in sync."""
LONGEST_VALUE = 1000
LONGEST_WORDS = 200
NO_WORD: Final[tuple[Beginnings, ...]] = ((" ",),)
"""What is asked for by a search that has no word in it: nothing begins so."""

_KINDS = frozenset(kind.value for kind in Kind)
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class ListFilters:
    """Which entities are wanted; what is empty or None does not limit. All of them hold, of several values any."""

    types: frozenset[str] = frozenset()
    entity_names: frozenset[str] = frozenset()
    areas: frozenset[str] = frozenset()
    """An entity's own area, not that of its parent."""
    parent: str | None = None
    """The members of that group, and the children of that entity."""
    external_id: str | None = None
    """The key of their twin in the other system that the program works with."""
    updated_since: Millis | None = None
    """Changed then or later."""
    marks: tuple[tuple[EntityMark, bool], ...] = ()
    """Whether an entity is among those that another part of the hub marks."""
    words: tuple[Beginnings, ...] = ()
    """Beginnings of words, as `asked_in` gives them; each is to begin one of the entity's words."""

    @property
    def names_forms_only(self) -> bool:
        """Whether the counts by form say how many there are."""
        return self == ListFilters(entity_names=self.entity_names)


EVERYTHING: Final = ListFilters()

Parameters = Mapping[str, Sequence[str]]


def read_filters(query: Parameters, marks: Mapping[str, EntityMark]) -> ListFilters:
    """The filters among a request's parameters. Raises `InvalidListParameter`."""
    types = _several(query, "type")
    for value in types - _KINDS:
        raise InvalidListParameter("type", f"must be one of {', '.join(sorted(_KINDS))}, not {value[:20]!r}")
    return ListFilters(
        types=types,
        entity_names=_several(query, "entityName"),
        areas=_several(query, "area"),
        parent=one(query, "parent") or None,
        external_id=one(query, "externalId") or None,
        updated_since=_time(query, "updatedSince"),
        marks=tuple(
            (mark, wanted) for name, mark in sorted(marks.items()) if (wanted := _boolean(query, name)) is not None
        ),
        words=words_of(one(query, "q")),
    )


def words_of(text: str) -> tuple[Beginnings, ...]:
    """What words must begin with to answer what somebody looks for; `NO_WORD` where that says nothing to the hub.

    Empty for blanks, which web forms send. Raises `InvalidListParameter`.
    """
    if len(text) > LONGEST_WORDS:
        raise InvalidListParameter("q", f"must have at most {LONGEST_WORDS} characters")
    return asked_in(text) or (NO_WORD if text.strip() else ())


def one(query: Parameters, name: str) -> str:
    """The value of a parameter that may be given once; empty when it is not. Raises `InvalidListParameter`."""
    values = query.get(name, ())
    if len(values) > 1:
        raise InvalidListParameter(name, "must be given once")
    return _sound(name, values[0]) if values else ""


def _several(query: Parameters, name: str) -> frozenset[str]:
    values = frozenset(_sound(name, value) for value in query.get(name, ()) if value)
    if len(values) > MOST_VALUES:
        raise InvalidListParameter(name, f"may be given at most {MOST_VALUES} times")
    return values


def _sound(name: str, value: str) -> str:
    if len(value) > LONGEST_VALUE:
        raise InvalidListParameter(name, f"must have at most {LONGEST_VALUE} characters")
    return value


def _time(query: Parameters, name: str) -> Millis | None:
    text = one(query, name)
    try:
        return parse_timestamp(text) if text else None
    except ValueError:
        raise InvalidListParameter(name, "must be a time such as 2026-03-01T08:00:00.000Z") from None


def _boolean(query: Parameters, name: str) -> bool | None:
    text = one(query, name)
    if text and text not in _BOOLEANS:
        raise InvalidListParameter(name, "must be true or false")
    return _BOOLEANS.get(text)
