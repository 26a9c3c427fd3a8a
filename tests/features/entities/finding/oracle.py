"""What a search means, written down a second time: slowly, over entities as they are read one by one."""

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from datacollect.features.entities.indexing.values import equal_to, key_of

OWN = ("guid", "type", "lastUpdated")


def meets(entity: dict[str, Any], criteria: list[dict[str, Any]]) -> bool:
    return all(_meets(entity, *next(iter(criterion.items()))) for criterion in criteria)


def _meets(entity: dict[str, Any], key: str, wanted: Any) -> bool:  # noqa: C901
    value = entity[key] if key in OWN else _at(entity["data"], key.removeprefix("data."))
    if isinstance(wanted, list):
        return False
    if not isinstance(wanted, dict):
        return value == wanted if key == "guid" else _equal(value, wanted)
    if not wanted:
        return False
    name, operand = next(iter(wanted.items()))
    if name == "$exists":
        return (value is not None) is operand
    if value is None:
        return False
    if key == "guid" and name in ("$eq", "$ne", "$in"):
        return {"$eq": value == operand, "$ne": value != operand, "$in": name == "$in" and value in operand}[name]
    match name:
        case "$eq":
            return _equal(value, operand) or _same_time(value, operand)
        case "$ne":
            return not (_equal(value, operand) or _same_time(value, operand))
        case "$in":
            return any(_equal(value, one) or _same_time(value, one) for one in operand)
        case "$gt" | "$gte" | "$lt" | "$lte":
            return _compares(value, name, operand)
        case "$contains":
            [wanted_text] = _texts(operand)
            return any(_caseless(wanted_text) in _caseless(text) for text in _texts(value))
        case "$regex":
            return any(re.search(operand, text, re.IGNORECASE) for text in _texts(value))
    return False


def _at(data: dict[str, Any], path: str) -> Any:
    if path in data:
        return data[path]
    found: Any = data
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, str | bool):
        key, equal = key_of(value), equal_to(wanted)
        return key is not None and equal is not None and equal.holds(key)
    number = _number(value)
    return number is not None and number == wanted


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return float(value) if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", value) else None
    if isinstance(value, float):
        return value
    # PostgreSQL gives 1e300 back with all its digits, and a whole number of so many is compared with nothing.
    return value if isinstance(value, int) and abs(value) < 10**200 else None


def _compares(value: Any, name: str, operand: Any) -> bool:
    one: Any
    other: Any
    if isinstance(operand, str) and _time(operand) is not None:
        one, other = _time(value), _time(operand)
    else:
        one, other = _number(value), float(operand) if isinstance(operand, str) else operand
    if one is None:
        return False
    return bool({"$gt": one > other, "$gte": one >= other, "$lt": one < other, "$lte": one <= other}[name])


def _same_time(value: Any, wanted: Any) -> bool:
    return _time(wanted) is not None and _time(value) == _time(wanted)


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str) or not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}($|[T ])", value, re.IGNORECASE):
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return None
    # `astimezone` cannot leave the years there are; subtracting the offset from what has none can go on as numbers.
    offset = read.utcoffset() or timedelta()
    return read.replace(tzinfo=UTC) - offset


def _texts(value: Any) -> Iterator[str]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str):
            yield one
        elif isinstance(one, bool):
            yield str(one).lower()
        elif isinstance(one, float) and one == int(one) and abs(one) >= 1e16:
            yield str(int(one))
        elif isinstance(one, int | float) and abs(one) < 10**200:
            yield repr(one)


def _caseless(text: str) -> str:
    folded = unicodedata.normalize("NFC", text).casefold()
    return unicodedata.normalize("NFC", folded.replace("i\u0307", "i").replace("ı\u0307", "i").replace("ı", "i"))
