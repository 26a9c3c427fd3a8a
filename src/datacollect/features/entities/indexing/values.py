"""Values of entities as a search compares them. Pure; the meaning of a comparison is written down here, once.

- Texts are compared without regard to case, by their first `LONGEST_KEY` characters. The four letters I of Turkish are
  one: which of them are a pair depends on a language that no value tells.
- A number, and a text that is a plain numeral (`_NUMERAL`), are compared as numbers with numbers.
- A number and a boolean also have a text: what JSON writes. So `"31"` equals 31, and `true` equals `"True"`.
- Greater and less go by number. Texts that are no numerals sort by code points, and so dates by time, as ISO 8601 writes
  them.
- A list, an object, null and what is not there equal nothing, and are neither greater nor less than anything.

A value's *key* is one text that stands for all of this: keys of equal values begin alike, and those of greater ones sort
behind it. It is `#`, 16 digits that sort as the number does, `=` and the text; or, where there is no number, `=` and the
text.
"""

import re
import struct
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LONGEST_KEY = 200
"""Characters: no search asks for more."""

EMPTY = "="
"""The key of the empty text. The index leaves it out: forms send it for every field that was left empty."""

_TOO_LARGE = 10**100
"""Whole numbers from there on are compared with nothing."""
_TURKISH = re.compile("[iı]\u0307|ı")
"""What is left of `İ` and `ı` where case is folded by the rules of other languages."""
_NUMERAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


@dataclass(frozen=True, slots=True)
class Range:
    """The keys from `low` on that come before `high`; where both are the same, that one key."""

    low: str
    high: str

    @property
    def is_one(self) -> bool:
        return self.low == self.high

    def holds(self, key: str) -> bool:
        return key == self.low if self.is_one else self.low <= key < self.high


def value_at(data: Mapping[str, Any], path: str) -> Any:
    """The value at a path with dots; a key that is written so itself comes first. None for what is not there."""
    if path in data or "." not in path:
        return data.get(path)
    found: Any = data
    for step in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def caseless(text: str) -> str:
    """A whole text without regard to case."""
    if text.isascii():
        return text.lower()
    folded = _TURKISH.sub("i", unicodedata.normalize("NFC", text).casefold())
    return unicodedata.normalize("NFC", folded)


def text_of(value: Any) -> str | None:
    """A value as a text, without regard to case; None for what has none."""
    if isinstance(value, str):
        return _without_case(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < _TOO_LARGE else None
    return repr(value) if isinstance(value, float) else None


def number_of(value: Any) -> float | None:
    """A value as a number; None for what has none."""
    if isinstance(value, str):
        return float(value) if _NUMERAL.fullmatch(value) else None
    if isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _TOO_LARGE:
        return float(value)
    return None


def key_of(value: Any) -> str | None:
    """The value's key; None for what is never compared."""
    text = text_of(value)
    if text is None:
        return None
    number = number_of(value)
    return f"={text}" if number is None else f"#{_sortable(number)}={text}"


def equal_to(operand: Any) -> Range | None:
    """The keys of the values that equal it; None for what nothing equals."""
    key, number = key_of(operand), number_of(operand)
    if key is None:
        return None
    if number is None or isinstance(operand, str):
        return Range(key, key)
    return Range(f"#{_sortable(number)}=", f"#{_sortable(number)}>")


def at_least(operand: int | float) -> Range | None:
    """The keys of the numbers from there on; None for what nothing is compared with."""
    number = number_of(operand)
    return None if number is None else Range(f"#{_sortable(number)}=", "$")


def at_most(operand: int | float) -> Range | None:
    """The keys of the numbers up to it; None for what nothing is compared with."""
    number = number_of(operand)
    return None if number is None else Range("#", f"#{_sortable(number)}>")


def _sortable(number: float) -> str:
    """16 hexadecimal digits that sort as numbers do."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))
    return f"{bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63):016x}"


def _without_case(text: str) -> str:
    return caseless(text[: LONGEST_KEY if text.isascii() else 2 * LONGEST_KEY])[:LONGEST_KEY]
