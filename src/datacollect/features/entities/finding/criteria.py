"""Criteria of a search: what may be asked, and what it means. Pure. Source: the contract's entities area, 3.4.

What a value equals, and is greater and less than, is what the search index answers (`indexing/values.py`); what else can
be asked is here. The database only helps to leave out what cannot meet a criterion: whether an entity does is decided
here, so that both engines, and the ways with and without the index, give the same.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from datacollect.features.entities.finding.errors import InvalidCriteria
from datacollect.features.entities.finding.patterns import BadPattern, literal_in, searcher
from datacollect.features.entities.finding.values import (
    Judge,
    date_near,
    exact_number,
    operand_number,
    texts_in,
    time_of,
)
from datacollect.features.entities.indexing.values import Range, at_least, at_most, caseless, equal_to, key_of

MOST_CRITERIA = 10
LONGEST_STRING = 200
MOST_CHOICES = 100

_KEY = re.compile(r"[A-Za-z0-9_.]{1,200}")
_TOO_MANY = "must be an array with at most 10 items"
_TOO_LONG = f"string values must be at most {LONGEST_STRING} characters"


class Attribute(Enum):
    """What an entity has beside its data. A field of the data of such a name is asked for with `data.` in front."""

    GUID = "guid"
    TYPE = "type"
    LAST_UPDATED = "lastUpdated"


class Hint(Enum):
    """What every value that meets a criterion is, as far as a database can tell."""

    NOTHING = "nothing"
    """No value meets it."""
    ANYTHING = "anything"
    """Also one that is not there may."""
    PRESENT = "present"
    EQUAL = "equal"
    """Its text is one of some texts."""
    HOLDS = "holds"
    """Its text, or something in a list, holds a text."""
    NUMBER = "number"
    """It is a number between two, or a text that begins as one."""
    DATE = "date"
    """It is a text that begins with a date between two."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that an entity's value must meet."""

    path: str
    """Of the value in the data."""
    judge: Judge = field(compare=False)
    hint: Hint = Hint.PRESENT
    texts: tuple[str, ...] = ()
    """Of the hint: without regard to case, or two dates, of which either may be empty."""
    numbers: tuple[int | float | None, int | float | None] = (None, None)
    attribute: Attribute | None = None
    ranges: tuple[Range, ...] | None = None
    """Keys of the index, of which a value that meets it has one; None where the index does not help."""
    guids: tuple[str, ...] | None = None
    external_ids: tuple[str, ...] = ()
    """Keys in the other system, by which links are looked up first."""
    since: int | None = None
    """Milliseconds: an entity that meets it changed then or later."""

    @property
    def reads_data(self) -> bool:
        return self.attribute is None


def read_criteria(value: Any) -> Sequence[Criterion]:
    """Raises `InvalidCriteria`, in the contract's order."""
    if not isinstance(value, list) or len(value) > MOST_CRITERIA:
        raise InvalidCriteria(f"Invalid criteria: {_TOO_MANY}")
    for one in value:
        _require_short(one)
    return [_read(one, index) for index, one in enumerate(value)]


def _require_short(criterion: Any) -> None:
    """Looks at all values, also at those that are not used."""
    level = list(criterion.values()) if isinstance(criterion, dict) else [criterion]
    for _ in range(3):
        if any(isinstance(value, str) and len(value) > LONGEST_STRING for value in level):
            raise InvalidCriteria(f"Invalid criteria: {_TOO_LONG}")
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
        ]


def _read(criterion: Any, index: int) -> Criterion:
    if not isinstance(criterion, dict) or not criterion:
        raise _invalid(f"item {index} must be an object with a field and a value")
    key, value = next(iter(criterion.items()))
    if not _KEY.fullmatch(key):
        raise _invalid(f"the key of item {index} may hold letters, digits, _ and . only")
    path = key.removeprefix("data.") or key
    attribute = next((one for one in Attribute if one.value == key), None)
    if value is None:
        raise _invalid(f"{key} has no value; use $exists to look for what is not there")
    if not isinstance(value, dict):
        return _nothing(path) if isinstance(value, list) else _equal(path, attribute, [value], as_time=False)
    if not value:
        return _nothing(path)
    name, operand = next(iter(value.items()))
    read = _OPERATORS.get(name)
    return _nothing(path) if read is None else read(path, attribute, name, operand)


def _invalid(problem: str) -> InvalidCriteria:
    return InvalidCriteria(f"Invalid criteria: {problem}")


def _nothing(path: str) -> Criterion:
    return Criterion(path, lambda value: False, Hint.NOTHING)


# -- equal


def _equal(path: str, attribute: Attribute | None, operands: Sequence[Any], *, as_time: bool = True) -> Criterion:
    """Equal to one of them; where both are times, as these."""
    judge = _equals(operands, as_time=as_time)
    if attribute is Attribute.GUID:
        guids = tuple(one for one in operands if isinstance(one, str))
        return Criterion(path, lambda value: value in guids, Hint.PRESENT, attribute=attribute, guids=guids)
    times = [time for one in operands if as_time and (time := time_of(one)) is not None]
    ranges = [equal for one in operands if (equal := equal_to(one)) is not None]
    ranges += [Range(f"={date_near(time, -2)}", f"={date_near(time, 2)}~") for time in times]
    is_numeric = any(not isinstance(one, str | bool) for one in operands)
    since = min(times) // 1000 if attribute is Attribute.LAST_UPDATED and len(times) == len(operands) else None
    known = None if "" in operands else tuple(dict.fromkeys(ranges))
    keys = _keys_in(path, operands)
    found = Criterion(path, judge, attribute=attribute, ranges=known, since=since, external_ids=keys)
    if is_numeric and len(operands) == 1:
        return replace(found, hint=Hint.NUMBER, numbers=(operands[0], operands[0]))
    if times or is_numeric:
        return found
    return replace(found, hint=Hint.EQUAL, texts=tuple(map(_text, operands)))


_LINKED = "externalId"


def _keys_in(path: str, operands: Sequence[Any]) -> tuple[str, ...]:
    """As the other system writes them: some have numbers for keys."""
    if path != _LINKED:
        return ()
    return tuple(str(one) for one in operands if isinstance(one, str | int) and not isinstance(one, bool))


def _text(operand: Any) -> str:
    return caseless(next(texts_in(operand), ""))


def _equals(operands: Sequence[Any], *, as_time: bool) -> Judge:
    # Exactly, where the index compares as doubles.
    numbers = [one for one in operands if not isinstance(one, str | bool)]
    ranges = [equal for one in operands if isinstance(one, str | bool) and (equal := equal_to(one)) is not None]
    times = {time_of(one) for one in operands} - {None} if as_time else set()

    def judge(value: Any) -> bool:
        key = key_of(value)
        if key is None:
            return False
        if any(one.holds(key) for one in ranges) or (numbers and exact_number(value) in numbers):
            return True
        return bool(times) and time_of(value) in times

    return judge


def _read_equal(path: str, attribute: Attribute | None, name: str, operand: Any) -> Criterion:
    return _equal(path, attribute, [_scalar(name, operand)])


def _read_in(path: str, attribute: Attribute | None, name: str, operand: Any) -> Criterion:
    if not isinstance(operand, list) or len(operand) > MOST_CHOICES:
        raise _invalid(f"{name} takes an array of at most {MOST_CHOICES} values")
    if not operand:
        return _nothing(path)
    return _equal(path, attribute, [_scalar(name, one) for one in operand])


def _read_unequal(path: str, attribute: Attribute | None, name: str, operand: Any) -> Criterion:
    """What is there, and is not equal."""
    if attribute is Attribute.GUID:
        return Criterion(path, lambda value: value != operand, attribute=attribute)
    equals = _equals([_scalar(name, operand)], as_time=True)
    return Criterion(path, lambda value: value is not None and not equals(value), attribute=attribute)


def _scalar(name: str, operand: Any) -> Any:
    if not isinstance(operand, str | int | float):
        raise _invalid(f"{name} takes a text, a number, true or false")
    return operand


# -- greater and less


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def _read_comparison(path: str, attribute: Attribute | None, name: str, operand: Any) -> Criterion:
    """With a number, which a text may spell, or with a time."""
    compare, rising = _COMPARISONS[name], name in ("$gt", "$gte")
    number, time = operand_number(operand), time_of(operand)
    if number is not None:

        def is_so(value: Any) -> bool:
            found = exact_number(value)
            return found is not None and compare(found, number)

        # The index compares as doubles: equal ones are looked at.
        known = at_least(number) if rising else at_most(number)
        bounds = (number, None) if rising else (None, number)
        return Criterion(path, is_so, Hint.NUMBER, (), bounds, attribute, None if known is None else (known,))
    if time is None:
        raise _invalid(f"{name} takes a number, or a date such as 2026-03-01")

    def is_then(value: Any) -> bool:
        found = time_of(value)
        return found is not None and compare(found, time)

    # A zone moves what is written by less than two days.
    first, last = (date_near(time, -2), "") if rising else ("", date_near(time, 2))
    terms = Range(f"={first}", ">") if rising else Range("=", f"={last}~")
    since = time // 1000 if rising and attribute is Attribute.LAST_UPDATED else None
    return Criterion(path, is_then, Hint.DATE, (first, last), attribute=attribute, ranges=(terms,), since=since)


# -- texts, and what is there


def _read_pattern(path: str, attribute: Attribute | None, name: str, operand: Any) -> Criterion:
    if not isinstance(operand, str):
        raise _invalid(f"{name} takes a text")
    try:
        finds = searcher(operand)
    except BadPattern as bad:
        raise _invalid(str(bad)) from None
    literal = literal_in(operand)
    texts = (caseless(literal),) if literal and literal.isascii() else ()
    return Criterion(
        path,
        lambda value: any(map(finds, texts_in(value))),
        Hint.HOLDS if texts else Hint.PRESENT,
        texts,
        attribute=attribute,
    )


def _read_contains(path: str, attribute: Attribute | None, name: str, operand: Any) -> Criterion:
    wanted = _text(_scalar(name, operand))
    return Criterion(
        path,
        lambda value: any(wanted in caseless(text) for text in texts_in(value)),
        Hint.HOLDS if wanted else Hint.PRESENT,
        (wanted,) if wanted else (),
        attribute=attribute,
    )


def _read_exists(path: str, attribute: Attribute | None, name: str, operand: Any) -> Criterion:
    if not isinstance(operand, bool):
        raise _invalid(f"{name} takes true or false")
    hint = Hint.PRESENT if operand else Hint.ANYTHING
    return Criterion(path, lambda value: (value is not None) is operand, hint, attribute=attribute)


_OPERATORS: Mapping[str, Callable[[str, Attribute | None, str, Any], Criterion]] = {
    "$eq": _read_equal,
    "$ne": _read_unequal,
    "$in": _read_in,
    **dict.fromkeys(_COMPARISONS, _read_comparison),
    "$regex": _read_pattern,
    "$contains": _read_contains,
    "$exists": _read_exists,
}
