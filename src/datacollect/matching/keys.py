"""Blocking keys: two records are compared if they share one. Each is a short text; a record has at most 32.

A key that too many share is worth nothing, and in a large register a common name with a year is such a one. So each kind of
evidence has keys by one name, which find the other one in spite of its spelling, and by two, which stay small.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from datacollect.matching.dates import Birth
from datacollect.matching.features import Features
from datacollect.matching.names import sound, spelling

MOST_KEYS = 32
NAMES = "w:"
"""How keys begin that say nothing but two names: how many share one is how common the two are together."""
NAME_AND_YEAR = "y:"
_MOST_NAMES = 4
_NAMES_WITH_YEARS = 3
_MOST_RELATIVES = 2
_YEARS = 6
"""Of a bucket. Each year is in two that overlap by half, so that those three years apart share one."""


def blocking_keys(one: Features) -> tuple[str, ...]:
    """What rare agreement would make it worth comparing. The kind of key is its first letter."""
    return tuple(dict.fromkeys(_keys(one)))[:MOST_KEYS]


def _keys(one: Features) -> Iterator[str]:
    names = list(dict.fromkeys(one.names))[:_MOST_NAMES]
    sounds = list(dict.fromkeys(filter(None, (_sound(name) for name in names))))
    if one.entered.digest:
        yield f"c:{one.entered.digest}"
    yield from _identifiers(one)
    yield from (f"{NAMES}{a}:{b}" for a, b in _pairs(sounds))
    yield from _births(one.birth, sounds)
    yield from _places(one, sounds)


def _identifiers(one: Features) -> Iterator[str]:
    for number in sorted(set(one.documents.values())):
        yield f"d:{number}"
        # With a slip in one half the other half is still right.
        if len(number) >= 6:
            half = len(number) // 2
            yield f"d<{len(number)}:{number[:half]}"
            yield f"d>{len(number)}:{number[half:]}"
    yield from (f"e:{mail}" for mail in sorted(one.emails))
    yield from (f"p:{phone}" for phone in sorted(one.phones))


def _births(birth: Birth | None, sounds: Sequence[str]) -> Iterator[str]:
    if birth is None:
        return
    buckets = (birth.year // _YEARS, (birth.year + _YEARS // 2) // _YEARS)
    for a, b in _pairs(sounds[:_NAMES_WITH_YEARS]):
        yield f"s:{a}:{b}:{buckets[0]}"
        yield f"t:{a}:{b}:{buckets[1]}"
    if birth.is_whole and not birth.is_placeholder:
        yield f"b:{birth.digits()}"
        yield from (f"x:{name}:{birth.digits()}" for name in sounds)
        yield from (f"m:{name}:{birth.month}:{birth.day}" for name in sounds)
    years = range(birth.year - birth.slack, birth.year + birth.slack + 1) if birth.slack <= 1 else (birth.year,)
    yield from (f"{NAME_AND_YEAR}{name}:{year}" for name in sounds for year in years)


def _places(one: Features, sounds: Sequence[str]) -> Iterator[str]:
    yield from (f"n:{a}:{b}:{one.area or one.postcode}" for a, b in _pairs(sounds))
    if one.postcode:
        yield from (f"z:{name}:{one.postcode}" for name in sounds)
    for relative in sorted(one.relatives)[:_MOST_RELATIVES]:
        yield from (f"r:{name}:{relative}" for name in sounds[:2])


def _pairs(sounds: Sequence[str]) -> Iterator[tuple[str, str]]:
    return combinations(sorted(sounds), 2)


def _sound(name: str) -> str:
    return (sound(name) if name.isascii() else spelling(name)) or name
