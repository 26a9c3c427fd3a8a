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
    letters, enough = 0, most_bytes // _MOST_BYTES_OF_A_LETTER
    coming = iter(rows)
    for row in coming:
        kept.append(row)
        for text in texts:
            letters += len(row[text] or "")
        if letters >= enough:
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


def _bytes_in(row: Sequence[Any], texts: Sequence[int]) -> int:
    return sum(len(value if isinstance(value, bytes) else value.encode()) for text in texts if (value := row[text]))


@lru_cache(maxsize=256)
def portion_in_postgres(sql: str, texts: tuple[str, ...], parameters: int) -> str:
    """The statement with the same end; `most_bytes` is one more parameter. Behind its columns are two more: how many
    bytes are in the row, and in all up to it."""
    size = " + ".join(f"coalesce(octet_length({text}), 0)" for text in texts)
    # Without an order of its own the window goes through the rows as they come.
    return (
        f"SELECT * FROM (SELECT *, sum(bytes) OVER (ROWS UNBOUNDED PRECEDING) AS upto"
        f" FROM (SELECT *, {size} AS bytes FROM ({sql}) AS asked) AS sized) AS portion"
        f" WHERE upto - bytes < ${parameters + 1}::bigint"
    )


def portion_in_core(
    wanted: Select[Any], texts: Sequence[ColumnElement[Any]], dialect: str, most_bytes: int
) -> Select[Any]:
    """As `portion_in_postgres`, for a Core statement on either engine; SQLite counts letters, and looks at all rows."""
    length = func.octet_length if dialect == "postgresql" else func.length
    size = sum((func.coalesce(length(text), 0) for text in texts[1:]), func.coalesce(length(texts[0]), 0))
    asked = wanted.add_columns(size.label("bytes")).subquery()
    upto = func.sum(asked.c.bytes).over(rows=(None, 0))
    portion = select(asked, upto.label("upto")).subquery()
    return select(portion).where(portion.c.upto - portion.c.bytes < most_bytes)


def portion_from_rows(rows: Sequence[Any], most_bytes: int) -> Portion[Any]:
    """What such a statement has given, or one of `portion_in_postgres`."""
    return Portion(rows, is_cut=bool(rows) and rows[-1][-1] >= most_bytes)
