"""Values of forms as the other system wants them, and back.

Whatever comes in, something comes out: a value that cannot be read becomes the type's empty one. What is written to the
other system and read back is the value that was there, so that a program that pushes and pulls comes to rest.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import msgspec

from datacollect.adapters.kinds import FieldMapping

_Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Transformer:
    transform: Callable[[Any, _Options], Any]
    reverse: Callable[[Any, _Options], Any]


def transform(mapping: FieldMapping, value: Any) -> Any:
    """A form's value as the other system's."""
    return _transformer(mapping).transform(value, mapping.options)


def reverse(mapping: FieldMapping, value: Any) -> Any:
    """The other system's value as the form's."""
    return _transformer(mapping).reverse(value, mapping.options)


def is_unreadable(value: Any, made: Any) -> bool:
    """Whether nothing could be made of a value that is there: whoever takes it for empty empties the other side."""
    if made is not None and made != "":
        return False
    match value:
        case str():
            return value.strip() != ""
        case {"id": inner}:
            return is_unreadable(inner, made)
        case _:
            return bool(value)


def _transformer(mapping: FieldMapping) -> _Transformer:
    return TRANSFORMERS.get(mapping.transformer, TRANSFORMERS["text"])


# --- text


def _as_text(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case list():
            return ",".join(_as_text(item) for item in value)
        case Mapping():
            return _object_as_text(value)
        case _:
            return str(value)


def _object_as_text(value: Mapping[str, Any]) -> str:
    """What people see of an object: its label if it has one (choices of a form, relations of a registry)."""
    for name in ("label", "display_name", "display", "name", "value"):
        if isinstance(value.get(name), str | int | float):
            return _as_text(value[name])
    return msgspec.json.encode(value, order="sorted").decode() if value else ""


# --- date

_ISO, _MONTH_FIRST, _DAY_FIRST = "YYYY-MM-DD", "MM/DD/YYYY", "DD/MM/YYYY"
_WRITTEN = {_ISO: "{0:04}-{1:02}-{2:02}", _MONTH_FIRST: "{1:02}/{2:02}/{0:04}", _DAY_FIRST: "{2:02}/{1:02}/{0:04}"}
_YEAR_FIRST = re.compile(r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})", re.ASCII)
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)


def _date_to_remote(value: Any, options: _Options) -> str | None:
    day = _read_date(value, _format(options, "inputFormat"))
    return None if day is None else _write_date(day, _format(options, "outputFormat"))


def _date_to_form(value: Any, options: _Options) -> str:
    """In a form in which it is read as the same day when it is sent again.

    That is the form's own, if it is named. Else the one the other system uses, unless that has the day first: read
    without being told so, 3 February would come back as 2 March.
    """
    written = _format(options, "outputFormat")
    day = _read_date(value, written)
    if day is None:
        return ""
    if own := _format(options, "inputFormat"):
        return _write_date(day, own)
    return _write_date(day, _ISO if written == _DAY_FIRST else written)


def _format(options: _Options, name: str) -> str | None:
    """None for `auto`, and for what is no format."""
    named = options.get(name)
    return named if isinstance(named, str) and named in _WRITTEN else None


def _write_date(day: date, format: str | None) -> str:
    return _WRITTEN[format or _ISO].format(day.year, day.month, day.day)


def _read_date(value: Any, format: str | None) -> date | None:
    """Read as `format` says. Where it says nothing: the month first, unless only the other way round is a day."""
    text = value.strip() if isinstance(value, str) else ""
    if match := _YEAR_FIRST.fullmatch(text):
        return _day(match[1], match[3], match[4])
    if match := _SLASHED.fullmatch(text):
        first, second, year = match.groups()
        if format == _DAY_FIRST:
            return _day(year, second, first)
        month_first = _day(year, first, second)
        return month_first if month_first or format == _MONTH_FIRST else _day(year, second, first)
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        return None


def _day(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


# --- id

_LEADING_INTEGER = re.compile(r"\s*([+-]?\d{1,18})", re.ASCII)


def _id_to_remote(value: Any, _: _Options) -> int | None:
    match value:
        case Mapping():
            return None if isinstance(value.get("id"), Mapping) else _id_to_remote(value.get("id"), _)
        case bool():
            return None
        case int():
            return value
        case float():
            return int(value // 1) if abs(value) < 1e18 else None
        case str():
            match_ = _LEADING_INTEGER.match(value)
            return int(match_[1]) if match_ else None
        case _:
            return None


def _id_to_form(value: Any, _: _Options) -> Any:
    """Registries give relations as `[id, label]`, or as objects."""
    match value:
        case list():
            return _id_to_form(value[0], _) if value and not isinstance(value[0], list | Mapping) else ""
        case Mapping():
            return "" if value.get("id") is None else value["id"]
        case bool() | None:  # Odoo writes `false` for what is empty
            return ""
        case str() | int() | float():
            return value
        case _:
            return ""


# --- multiselect


def _choices_to_remote(value: Any, options: _Options) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case Mapping():
            return _delimiter(options).join(name for name, chosen in value.items() if chosen is True)
        case list():
            return _delimiter(options).join(filter(None, map(_as_text, value)))
        case _:
            return _as_text(value)


def _choices_to_form(value: Any, options: _Options) -> Any:
    """A list, also of one: what was a list stays one. `formValue` asks for what else a form may hold: `text` for the
    plain value where there is one only, or `object` for boxes that are ticked."""
    if value is None or value is False:
        return ""
    chosen = value if isinstance(value, list) else None
    if isinstance(value, str):
        chosen = [part.strip() for part in value.split(_delimiter(options)) if part.strip()]
    if chosen == []:
        return ""
    if chosen is None:
        return value
    if options.get("formValue") == "object":
        return {_as_text(one): True for one in chosen}
    return chosen[0] if options.get("formValue") == "text" and len(chosen) == 1 else chosen


def _delimiter(options: _Options) -> str:
    delimiter = options.get("delimiter")
    return delimiter if isinstance(delimiter, str) and delimiter else ","


# --- boolean

_NO = frozenset({"", "0", "false", "f", "n", "no", "off", "none", "null"})
_YES = frozenset({"1", "true", "t", "y", "yes", "on"})


def _to_boolean(value: Any, options: _Options) -> bool:
    match value:
        case bool():
            return value
        case str():
            word = value.strip().casefold()
            said = _said(word, options)
            return word not in _NO if said is None else said
        case _:
            return bool(value)


def _boolean_to_form(value: Any, options: _Options) -> bool:
    if not isinstance(value, str):
        return bool(value)
    word = value.strip().casefold()
    said = _said(word, options)
    return word in _YES if said is None else said


def _said(word: str, options: _Options) -> bool | None:
    """What the mapping says the word means."""
    for name, ordinary, meaning in (("truthyValue", "true", True), ("falsyValue", "false", False)):
        if word == _as_text(options.get(name, ordinary)).strip().casefold():
            return meaning
    return None


TRANSFORMERS = {
    "text": _Transformer(lambda value, _: _as_text(value), lambda value, _: _as_text(value)),
    "date": _Transformer(_date_to_remote, _date_to_form),
    "id": _Transformer(_id_to_remote, _id_to_form),
    "multiselect": _Transformer(_choices_to_remote, _choices_to_form),
    "boolean": _Transformer(_to_boolean, _boolean_to_form),
}
"""By name. Any other name does what `text` does."""
