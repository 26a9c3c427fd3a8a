"""From values to texts: of CSV cells, safe against spreadsheets that run what looks like a formula; and of JSON."""

import re
from typing import Any

import msgspec

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_CONTROL = ("\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}([.,][0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_SPLIT = re.compile(r"([;\t]\s*)(?=([^;\t]*))")
"""Where a spreadsheet splits a text that is set to another separator than the comma, quoted or not; and the cell behind it."""
_JOINED = "; "

_encoder = msgspec.json.Encoder()


def json_of(value: Any) -> str:
    return _encoder.encode(value).decode()


def plain(value: Any) -> Any:
    """A value as one cell holds it: a text, a number, a truth value, or None.

    A list of texts and numbers is joined by `; ` unless one of them has a `;`; what else has an inside is JSON.
    """
    if isinstance(value, dict):
        return json_of(value) if value else None
    if isinstance(value, list):
        if not value:
            return None
        parts = [_part(item) for item in value]
        if any(part is None or ";" in part for part in parts):
            return json_of(value)
        return _JOINED.join(part for part in parts if part is not None)
    return value


def _part(item: Any) -> str | None:
    if isinstance(item, str):
        return item or None
    return number_text(item) if isinstance(item, bool | int | float) else None


def number_text(value: bool | int | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else json_of(value)


def csv_text(value: Any) -> str:
    """The text of a CSV cell: safe to open."""
    if isinstance(value, str):
        return harmless(value)
    value = plain(value)
    if value is None:
        return ""
    return harmless(value) if isinstance(value, str) else number_text(value)


def harmless(text: str) -> str:
    """The text, with `'` in front if a spreadsheet might take it for a formula, and in front of what might be one behind a
    separator in it; numbers stay as they are."""
    if not text:
        return text
    if ";" in text or "\t" in text:
        text = _SPLIT.sub(_harmless_behind, text)
    if text[0].isalnum():
        return text
    if text.startswith(_CONTROL) or (text.lstrip().startswith(_FORMULA) and not _NUMBER.fullmatch(text)):
        return f"'{text}"
    return text


def _harmless_behind(found: re.Match[str]) -> str:
    separator, cell = found.groups()
    return f"{separator}'" if cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell.rstrip()) else separator
