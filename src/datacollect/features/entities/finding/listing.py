"""Reading pages of entities: statements are put together and run here, and rows become what is shown."""

from collections.abc import Sequence
from typing import Any

from datacollect.db import Reading
from datacollect.db.portions import Portion
from datacollect.features.entities.finding.pages import MOST_LIST_BYTES, Key, Order
from datacollect.features.entities.finding.planning import Way
from datacollect.features.entities.finding.statements import COLUMNS, DATA, WITHOUT_DATA, Sql, rows_of
from datacollect.features.entities.queries import StoredEntity
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

_AT = {"guid": 0, "changed_position": 6, "sort_name": 7, "form_key": 8}

Row = Sequence[Any]


async def read_page(
    view: Reading,
    scope: TenantScope,
    way: Way,
    order: Order,
    after: Key | None,
    *,
    limit: int,
    offset: int = 0,
    with_data: bool = True,
) -> Portion[Row]:
    """Rows of `statements.COLUMNS`, up to `MOST_LIST_BYTES`; one statement."""
    sql = Sql(view.dialect, scope)
    columns = COLUMNS if with_data else WITHOUT_DATA
    text = way.page(sql, order, after, limit=limit, offset=offset, columns=columns)
    return await view.fetch_portion(text, *sql.values, texts=DATA, most_bytes=MOST_LIST_BYTES)


async def read_rows(view: Reading, scope: TenantScope, guids: Sequence[str]) -> Portion[StoredEntity]:
    """The entities of these guids in that order, those that are there and may be seen, up to `MOST_LIST_BYTES`; a
    statement, none for none."""
    if not guids:
        return Portion((), is_cut=False)
    sql = Sql(view.dialect, scope)
    text = rows_of(sql, guids)
    found = await view.fetch_portion(text, *sql.values, texts=DATA, most_bytes=MOST_LIST_BYTES)
    return Portion([entity_in(row) for row in found.rows], found.is_cut)


def key_in(row: Row, order: Order) -> Key:
    return tuple(row[_AT[column]] for column in order.sort.columns)


def entity_in(row: Row) -> StoredEntity:
    guid, kind, entity_name, name, data, updated = row[:6]
    return StoredEntity(guid, kind, entity_name, name, data, Millis(updated), row[9])
