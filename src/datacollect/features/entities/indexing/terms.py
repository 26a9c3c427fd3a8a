"""The terms that an entity is found by. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from datacollect.features.entities.entity import Entity
from datacollect.features.entities.indexing.values import EMPTY, key_of, value_at
from datacollect.features.entities.indexing.words import words_in

WORDS = ""
"""The field under which words are kept."""

_MOST_ITEMS = 20
"""Of a list, the items whose words are kept."""
_SMALLEST_NAMING_NUMBER = 1000
"""Smaller numbers count something; nobody looks for an entity by them."""

Term = tuple[str, str]
"""Field and what is kept under it."""


def terms_of(entity: Entity | None, fields: Sequence[str] | None) -> set[Term]:
    """What an entity is found by in an index of these fields; nothing for what is deleted, or has no index."""
    if fields is None or entity is None or entity.latest is None:
        return set()
    found = {(WORDS, word) for word in words_of(entity.name, entity.data, fields)}
    for field in fields:
        value = value_at(entity.data, field)
        if value is not None:
            key = key_of(value)
            if key is not None and key != EMPTY:
                found.add((field, key))
    return found


def words_of(name: str | None, data: Mapping[str, Any], fields: Sequence[str]) -> Collection[str]:
    """The words of an entity's display name and of its searchable fields."""
    return words_in(_texts(name, data, fields))


def _texts(name: str | None, data: Mapping[str, Any], fields: Sequence[str]) -> Iterator[str]:
    # The name in the data first: what is equal to it must have its words here, whatever else there is.
    given = data.get("name")
    if isinstance(given, str):
        yield given
    if name and name != given:
        yield name
    for field in fields:
        value = value_at(data, field)
        if isinstance(value, list):
            for item in value[:_MOST_ITEMS]:
                yield from _text(item)
        elif value is not None and value != given:
            yield from _text(value)


def _text(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, int) and _SMALLEST_NAMING_NUMBER <= value < 10**40:
        yield str(value)
