"""The terms that an entity is found by. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from datacollect.features.entities.entity import Entity
from datacollect.features.entities.indexing.values import EMPTY, key_of, value_at
from datacollect.features.entities.indexing.words import words_in

IDENTIFIERS = "identifiers"
"""The field of other systems' names of an entity: a list of `{type, value}`, each of which is kept."""

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
            if field == IDENTIFIERS and isinstance(value, list):
                found.update((field, key) for key in _identifier_keys(value))
            key = key_of(value)
            if key is not None and key != EMPTY:
                found.add((field, key))
    return found


def identifier_key(type: str, value: str) -> str | None:
    """Under what an item of `identifiers` is kept."""
    return key_of(f"{type}:{value}")


def _identifier_keys(items: Sequence[Any]) -> Iterator[str]:
    for item in items[:_MOST_ITEMS]:
        match item:
            case {"type": str(type), "value": str() | int() as value} if not isinstance(value, bool):
                key = identifier_key(type, str(value))
                if key is not None:
                    yield key


def has_same_terms(before: Entity, after: Entity, fields: Sequence[str]) -> bool:
    """Whether it is plain that an entity's terms are what they were; quicker than making them."""
    if before.is_live != after.is_live or before.name != after.name:
        return False
    # What an event leaves alone is the same object before and after. Equal ones may have other terms: 1 and True.
    was, now = before.data, after.data
    return all(value_at(was, field) is value_at(now, field) for field in ("name", *fields))


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
