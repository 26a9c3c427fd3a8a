"""Values as a search compares them, beyond what the index answers (`indexing/values.py`, where equality is). Pure."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from datacollect.features.entities.indexing.values import number_of

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:Z|([+-])([01]\d|2[0-3]):?([0-5]\d))?)?",
    re.ASCII | re.IGNORECASE,
)
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)\s*", re.ASCII)
_MANY_DIGITS = 1e16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def texts_in(value: Any) -> Iterator[str]:
    """What patterns are looked for in: a text, a number or a boolean as JSON writes it, and of a list each of these."""
    for one in value if isinstance(value, list) else (value,):
        match one:
            case str():
                yield one
            case bool():
                yield "true" if one else "false"
            case float() if one.is_integer() and abs(one) >= _MANY_DIGITS:
                # One engine keeps it as 1e+16, the other with all its digits.
                yield str(int(one))
            case int() if abs(one) >= 10**200:
                continue
            case int() | float():
                yield repr(one)
            case _:
                continue


def exact_number(value: Any) -> int | float | None:
    """A value's number, whole ones to the last digit; None where the index has none either."""
    found = number_of(value)
    return value if found is not None and isinstance(value, int) else found


def operand_number(operand: Any) -> int | float | None:
    """The number that an operand stands for; texts may spell it."""
    match operand:
        case bool():
            return None
        case int() | float():
            return operand
        case str() if match := _NUMBER.fullmatch(operand):
            number = float(match[1])
            return int(number) if number.is_integer() and abs(number) < 1 << 53 else number
        case _:
            return None


def time_of(value: Any) -> int | None:
    """Microseconds since 1970 of an ISO 8601 date, or date and time; without a zone it is UTC's. Else None."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    try:
        local = datetime(*map(int, (year, month, day, hour or 0, minute or 0, second or 0)), tzinfo=UTC)  # type: ignore[arg-type, misc]
    except ValueError:
        return None
    offset = (int(off_hours or 0) * 60 + int(off_minutes or 0)) * 60_000_000 * (-1 if sign == "-" else 1)
    return (local - _EPOCH) // _MICROSECOND + int(((fraction or "") + "000000")[:6]) - offset


def date_near(time: int, days: int) -> str:
    """The date some days from a time, as ISO 8601 writes it."""
    try:
        return (_EPOCH + timedelta(microseconds=time) + timedelta(days=days)).date().isoformat()
    except OverflowError:
        return "9999-99-99" if days > 0 else "0000-00-00"


Judge = Callable[[Any], bool]
"""Whether a value of an entity, None for none, meets a criterion."""
