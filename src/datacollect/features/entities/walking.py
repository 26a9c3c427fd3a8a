"""Walking through all entities of a program, a page at a time by guid: what exports are made of.

Lists that are filtered are walked through by `finding.service.iterate`. Here are the plain ones, and those of one form.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from datacollect.db import Reading
from datacollect.db.portions import Portion
from datacollect.features.entities.entity import Kind
from datacollect.features.entities.finding.filters import EVERYTHING, ListFilters
from datacollect.features.entities.finding.pages import MOST_LIST_BYTES
from datacollect.features.entities.finding.statements import DATA, Sql, Wanted, conditions_of
from datacollect.features.entities.links.shown import external_id_of
from datacollect.features.entities.queries import StoredEntity, member_guids
from datacollect.kernel.identity import TenantScope


class Formless(Enum):
    FORMLESS = "formless"


FORMLESS: Final = Formless.FORMLESS
"""Asks for the entities that came from no form."""

Form = str | Formless | None
"""None asks for the entities of all forms."""

_COLUMNS = (
    f"e.guid, e.type, e.entity_name, e.name, CAST(e.data AS text) AS data, e.last_updated, e.version,"
    f" {external_id_of('e')}"
)


@dataclass(frozen=True, slots=True)
class Walked:
    """A live entity."""

    entity: StoredEntity
    member_ids: Sequence[str] | None
    """None for what is no group."""
    version: int = 0


async def walk_page(
    view: Reading, scope: TenantScope, *, form: Form, after: str, limit: int, with_members: bool = True
) -> Portion[Walked]:
    """The next live entities within the reader's reach, by guid, up to `MOST_LIST_BYTES`; one statement, and one for the
    members of groups."""
    sql = Sql(view.dialect, scope)
    conditions = [*_wanted(sql, form), f"e.guid > {sql.bind(after)}"]
    text = f"SELECT {_COLUMNS} FROM entities e WHERE {' AND '.join(conditions)} ORDER BY e.guid LIMIT {limit:d}"
    found = await view.fetch_portion(text, *sql.values, texts=DATA, most_bytes=MOST_LIST_BYTES)
    return Portion(await _walked(view, scope, found.rows, with_members=with_members), found.is_cut)


async def walk_named(view: Reading, scope: TenantScope, guids: Collection[str]) -> Mapping[str, Walked]:
    """Those of the entities that are live and within the reader's reach, by guid."""
    sql = Sql(view.dialect, scope)
    rows = f"SELECT * FROM entities o WHERE o.tenant_id = {sql.tenant} AND o.guid = asked.value {sql.alone()}"
    found = (
        f"entities e ON e.tenant_id = {sql.tenant} AND e.guid = asked.value" if sql.is_sqlite else f"LATERAL ({rows}) e"
    )
    text = f"SELECT {_COLUMNS} FROM {sql.each(guids)} CROSS JOIN {found} WHERE {' AND '.join(_wanted(sql, None))}"
    walked = await _walked(view, scope, await view.fetch(text, *sql.values))
    return {one.entity.guid: one for one in walked}


async def keys_by_form(
    view: Reading, scope: TenantScope, *, form: Form, after: str, limit: int
) -> tuple[Collection[tuple[str | None, str]], str | None]:
    """The keys that the data of the next `limit` entities has, each with the form; and where the next ones begin."""
    sql = Sql(view.dialect, scope)
    ends = (
        f"SELECT e.guid FROM entities e WHERE e.tenant_id = {sql.tenant} AND e.guid > {sql.bind(after)}"
        f" ORDER BY e.guid LIMIT 1 OFFSET {limit - 1:d}"
    )
    end = await view.fetch(ends, *sql.values)
    through: str | None = end[0][0] if end else None
    sql = Sql(view.dialect, scope)
    conditions = [*_wanted(sql, form), f"e.guid > {sql.bind(after)}"]
    if through is not None:
        conditions.append(f"e.guid <= {sql.bind(through)}")
    where = " AND ".join(conditions)
    if sql.is_sqlite:
        text = f"SELECT DISTINCT e.entity_name, j.key FROM entities e CROSS JOIN json_each(e.data) j WHERE {where}"
    else:
        text = f"SELECT DISTINCT e.entity_name, jsonb_object_keys(e.data) FROM entities e WHERE {where}"
    return {(row[0], row[1]) for row in await view.fetch(text, *sql.values)}, through


def _wanted(sql: Sql, form: Form) -> list[str]:
    filters = ListFilters(entity_names=frozenset({form})) if isinstance(form, str) else EVERYTHING
    conditions = conditions_of(sql, Wanted(filters))
    return [*conditions, "e.entity_name IS NULL"] if form is FORMLESS else conditions


async def _walked(
    view: Reading, scope: TenantScope, rows: Sequence[Any], *, with_members: bool = True
) -> Sequence[Walked]:
    groups = [row[0] for row in rows if row[1] == Kind.GROUP]
    members = await member_guids(view, scope, groups) if with_members else {}
    return [
        Walked(
            StoredEntity(*(*row[:6], row[7])),
            members.get(row[0], ()) if row[1] == Kind.GROUP else None,
            row[6],
        )
        for row in rows
    ]
