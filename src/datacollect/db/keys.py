"""Rows by many keys at once, each looked up in an index.

Asked for a row whose key is one of some hundreds, PostgreSQL before 17 rather reads all rows of the tenant, and compares
each of them with all of the keys: it takes a tenant for a two-hundredth of the table.
"""

from collections.abc import Collection

from sqlalchemy import ARRAY, Column, ColumnElement, Subquery, Text, cast, func, literal_column, select, true

from datacollect.db.database import Reading


def rows_with(view: Reading, column: Column[str], keys: Collection[str], *within: ColumnElement[bool]) -> Subquery:
    """The rows with one of these keys in that column, each once, however often its key is named. An index is to begin with
    what `within` and the key say."""
    table = column.table
    if view.dialect == "sqlite":
        return select(table).where(*within, column.in_(keys)).subquery()
    named = cast(list(dict.fromkeys(keys)), ARRAY(Text))
    asked = func.unnest(named).table_valued(Column("key", Text)).render_derived(name="asked")
    # OFFSET keeps PostgreSQL from taking the inner query apart.
    found = select(table).where(*within, column == asked.c.key).offset(literal_column("0")).lateral()
    return select(found).select_from(asked).join(found, true()).subquery()
