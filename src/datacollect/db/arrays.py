"""Columns of many rows on their way to PostgreSQL, as the text of an array.

The driver looks at each item of a list twice, to find out whether it is a list itself; for the terms of a hundred people
that takes longer than PostgreSQL takes to read them from a text. So statements that store many rows take such columns as
`$1::text::text[]`.
"""

from collections.abc import Sequence

import msgspec

_encoder = msgspec.json.Encoder()


def array_text(values: Sequence[str | int | bool | None]) -> str:
    """The array of these values. Not for texts that are full of quotes, JSON for one: as a list they go quicker."""
    text = _encoder.encode(values).decode()
    if "\\" not in text:
        # JSON writes all but the brackets as PostgreSQL reads it, as long as there is nothing to escape.
        return f"{{{text[1:-1]}}}"
    return f"{{{','.join(map(_item, values))}}}"


def _item(value: str | int | bool | None) -> str:
    if isinstance(value, str):
        # Backslashes first: those before quotes are to stay.
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "NULL" if value is None else str(value)
