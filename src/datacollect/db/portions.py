"""Rows with texts that may be of any length: as many as there is room for.

What people send decides how long a row is, so a number of rows bounds nothing. Both engines stop at the same row: SQLite
is asked for one more as long as there is room, PostgreSQL adds up what it knows of the lengths without unpacking the
texts. Neither reads, sends or holds the rows behind it.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, func, select

_T = TypeVar("_T")

_MOST_BYTES_OF_A_LETTER = 4


class Portion(NamedTuple, Generic[_T]):
    """The first rows of a statement."""

    rows: Sequence[_T]
    is_cut: bool
    """Whether their texts have come to as many bytes as there is room for: there may be more rows."""


def portion_of(rows: Iterable[Sequence[Any]], texts: Sequence[int], most_bytes: int) -> Portion[Any]:
    """Rows up to the one with which the columns `texts` come to `most_bytes`; no row behind it is asked for."""
    kept: list[Sequence[Any]] = []
    first, *others = texts
    room = most_bytes // _MOST_BYTES_OF_A_LETTER
    coming = iter(rows)
    for row in coming:
        kept.append(row)
        room -= len(row[first] or "")
        if others:
            room -= sum(len(row[text] or "") for text in others)
        if room <= 0:
            break
    else:
        return Portion(kept, is_cut=False)
    # It may be full: from here on bytes count, and not only letters, which are soon counted.
    size = sum(_bytes_in(row, texts) for row in kept)
    while size < most_bytes:
        following = next(coming, None)
        if following is None:
            return Portion(kept, is_cut=False)
        kept.append(following)
        size += _bytes_in(following, texts)
    return Portion(kept, is_cut=True)


def _bytes_in(row: Any, texts: Sequence[Any]) -> int:
    return sum(len(value if isinstance(value, bytes) else value.encode()) for text in texts if (value := row[text]))


@lru_cache(maxsize=256)
def portion_in_postgres(sql: str, texts: tuple[str, ...], parameters: int) -> str:
    """The statement with the same end; `most_bytes` is one more parameter. Behind its columns is one more: how many bytes
    are in the rows before; NULL in the first."""
    size = " + ".join(
        f"octet_length({text})" if len(texts) == 1 else f"coalesce(octet_length({text}), 0)" for text in texts
    )
    # Without an order of its own the window goes through the rows as they come.
    return (
        f"SELECT * FROM (SELECT *, sum({size}) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before"
        f" FROM ({sql}) AS asked) AS portion WHERE bytes_before IS NULL OR bytes_before < ${parameters + 1}::bigint"
    )


def portion_from_postgres(rows: Sequence[Any], texts: Sequence[str], most_bytes: int) -> Portion[Any]:
    """What such a statement has given."""
    return Portion(rows, bool(rows) and (rows[-1][-1] or 0) + _bytes_in(rows[-1], texts) >= most_bytes)


def portion_in_core(
    wanted: Select[Any], texts: Sequence[ColumnElement[Any]], dialect: str, most_bytes: int
) -> Select[Any]:
    """Likewise, for a Core statement on either engine; SQLite counts letters, and looks at all rows."""
    length = func.octet_length if dialect == "postgresql" else func.length
    size = sum((func.coalesce(length(text), 0) for text in texts[1:]), func.coalesce(length(texts[0]), 0))
    asked = wanted.add_columns(size.label("bytes")).subquery()
    upto = func.sum(asked.c.bytes).over(rows=(None, 0))
    portion = select(asked, upto.label("upto")).subquery()
    return select(portion).where(portion.c.upto - portion.c.bytes < most_bytes)


def portion_from_core(rows: Sequence[Any], most_bytes: int) -> Portion[Any]:
    """What such a statement has given: behind its columns are the bytes of the row, and of all up to it."""
    return Portion(rows, is_cut=bool(rows) and rows[-1][-1] >= most_bytes)
