"""The terms that an entity is found by. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from datacollect.features.entities.entity import Entity
from datacollect.features.entities.indexing.values import EMPTY, key_of, value_at
from datacollect.features.entities.indexing.words import words_in

WORDS = ""
"""The field under which words are kept."""

_MOST_ITEMS = 20
"""Of a list, the items whose words are kept."""


class Term(NamedTuple):
    field: str
    text: str


def terms_of(entity: Entity | None, fields: Sequence[str] | None) -> frozenset[Term]:
    """What an entity is found by in an index of these fields; nothing for what is deleted, or has no index."""
    if fields is None or entity is None or not entity.is_live:
        return frozenset()
    found = {Term(WORDS, word) for word in words_of(entity, fields)}
    for field in fields:
        key = key_of(value_at(entity.data, field))
        if key is not None and key != EMPTY:
            found.add(Term(field, key))
    return frozenset(found)


def words_of(entity: Entity, fields: Sequence[str]) -> frozenset[str]:
    """The words of an entity's display name and of its searchable fields."""
    return frozenset(words_in(list(texts_of(entity.name, entity.data, fields))))


def texts_of(name: str | None, data: Mapping[str, Any], fields: Sequence[str]) -> Iterator[str]:
    if name:
        yield name
    for field in fields:
        value = value_at(data, field)
        if isinstance(value, list):
            for item in value[:_MOST_ITEMS]:
                yield from _texts(item)
        elif value != name:
            yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value) if isinstance(value, float) or abs(value) < 10**40 else ""
