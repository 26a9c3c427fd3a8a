"""Canonical JSON: one text for one value, the same on every replica and in every language.

Keys sorted by UTF-16 code unit at every level, no white space, non-ASCII characters as they are, numbers as
JavaScript writes them (`1.0` is `1`, `1e2` is `100`). Integers keep all their digits, so that two different
integers never share a text. Source: the contract's hash chain `v3` and scope hash.
"""

import math
import re
from collections.abc import Collection
from decimal import Decimal
from json.encoder import encode_basestring
from operator import is_
from typing import Any

import msgspec

_sorted = msgspec.json.Encoder(order="sorted")
# The backslashes in front are pairs: an odd one would be an escaped backslash followed by plain text.
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_ASTRAL = "\U00010000"

MAXIMUM_DEPTH = 64
"""Nested arrays and objects that the hub takes from anybody. Real forms nest to about 10."""

MOST_CONTAINERS = 100_000
LEAST_BYTES_OF_CONTAINER = 16
"""Beyond so many arrays and objects, a text has at least so many bytes for each. A real event has more than 100."""


def is_too_dense(text: bytes) -> bool:
    """Whether a JSON text has so many arrays and objects that building them takes many times the room of the text.

    `[[[]]]` takes 50 bytes for each of its own, and a second for 200,000 of them nested. Brackets in strings count too.
    """
    containers = text.count(b"[") + text.count(b"{")
    return containers > MOST_CONTAINERS and containers * LEAST_BYTES_OF_CONTAINER > len(text)


def holds_nul(text: bytes) -> bool:
    """Whether a JSON text has a NUL character somewhere, as it is or escaped."""
    return b"\x00" in text or (b"\\u0000" in text and _NUL_ESCAPE.search(text) is not None)


def is_deeper(value: Any, levels: int) -> bool:
    """Whether arrays and objects are nested deeper than that. Depth costs no stack."""
    level = [value]
    for _ in range(levels):
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                below.extend(node.values())
            elif isinstance(node, list):
                below.extend(node)
        if not below:
            return False
        level = below
    return any(isinstance(node, dict | list) for node in level)


def canonical_json(value: Any) -> bytes:
    """The canonical text of a JSON value, UTF-8 encoded. Raises `ValueError` for NaN and infinities."""
    # The encoder in C writes the same text for everything but floats and keys outside the basic plane.
    return _sorted.encode(value) if _is_plain(value) else _write(value).encode()


def is_same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, also where a database gives a large number back with all its digits."""
    return canonical_json(one) == canonical_json(other) or canonical_json(_spelt_out(one)) == canonical_json(
        _spelt_out(other)
    )


def _spelt_out(value: Any) -> Any:
    """The value with the whole numbers among its floats as PostgreSQL keeps them."""
    match value:
        case float() if value.is_integer():
            return int(Decimal(repr(value)))
        case list():
            return [_spelt_out(item) for item in value]
        case dict():
            return {key: _spelt_out(item) for key, item in value.items()}
    return value


_LARGEST_EXACT = 2**53 - 1


def as_doubles(value: Any) -> Any:
    """The value as a reader has it whose numbers are doubles, as JavaScript's are; itself if all its integers are exact there."""
    match value:
        case int() if abs(value) > _LARGEST_EXACT:
            return float(value)
        case list():
            items = [as_doubles(item) for item in value]
            return value if all(map(is_, items, value)) else items
        case dict():
            values = [as_doubles(item) for item in value.values()]
            return value if all(map(is_, values, value.values())) else dict(zip(value, values, strict=True))
    return value


def holds_large_numbers(value: Any) -> bool:
    """Whether there is a number that a reader with doubles may have made of another one."""
    match value:
        case int() | float():
            return abs(value) > _LARGEST_EXACT
        case list():
            return any(map(holds_large_numbers, value))
        case dict():
            return any(map(holds_large_numbers, value.values()))
    return False


_PLAIN = frozenset((str, int, bool, type(None)))
_JSON = _PLAIN | {dict, list}
"""Without floats, which the encoder writes otherwise."""


def _is_plain(value: Any) -> bool:
    # A list that grows while it is walked through: a call for each value would take five times as long. What is neither
    # an array nor an object is not put into it: there may be millions.
    waiting: list[Any] = [[value]]
    for item in waiting:
        if type(item) is dict:
            if not all(map(str.isascii, item)) and any(max(key, default="") >= _ASTRAL for key in item):
                return False
            values: Collection[Any] = item.values()
        else:
            values = item
        kinds = set(map(type, values))
        if kinds <= _PLAIN:
            continue
        if not kinds <= _JSON:
            return False
        waiting.extend(one for one in values if type(one) is dict or type(one) is list)
    return True


def _write(value: Any) -> str:
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case float():
            return javascript_number(value)
        case int():
            return str(value)
        case str():
            return encode_basestring(value)
        case list():
            return f"[{','.join(map(_write, value))}]"
        case dict():
            members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
            return "{" + ",".join(f"{_write(key)}:{_write(item)}" for key, item in members) + "}"
    raise TypeError(f"not a JSON value: {type(value).__name__}")


def javascript_number(number: float) -> str:
    """The shortest text that reads back as the same double, laid out as ECMAScript's Number::toString does."""
    if not math.isfinite(number):
        raise ValueError("NaN and infinities have no JSON form")
    if number == 0:
        return "0"
    short = repr(number)
    if "e" not in short:
        return short.removesuffix(".0")
    sign, digits, exponent = Decimal(short).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    point = len(text) + exponent  # the decimal point's place, counted from the first digit
    if 0 < point <= 21:
        body = text.ljust(point, "0") if exponent >= 0 else f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        body = "0." + "0" * -point + text
    else:
        mantissa = text[0] + (f".{text[1:]}" if len(text) > 1 else "")
        body = f"{mantissa}e{point - 1:+d}"
    return ("-" if sign else "") + body
