"""Walking through all entities of a program, a page at a time by guid: what exports are made of."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Text, cast, func, not_, select, true

from datacollect.db import Reading
from datacollect.features.entities.entity import Kind
from datacollect.features.entities.queries import StoredEntity, is_one_of, within
from datacollect.features.entities.rows import json_text
from datacollect.features.entities.tables import entities
from datacollect.kernel.identity import TenantScope


class Formless(Enum):
    FORMLESS = "formless"


FORMLESS: Final = Formless.FORMLESS
"""Asks for the entities that came from no form."""

Form = str | Formless | None
"""None asks for the entities of all forms."""


_COLUMNS = (
    entities.c.guid,
    entities.c.type,
    entities.c.entity_name,
    entities.c.name,
    cast(entities.c.data, Text),
    entities.c.last_updated,
    entities.c.version,
)


@dataclass(frozen=True, slots=True)
class Walked:
    """A live entity."""

    entity: StoredEntity
    version: int
    member_ids: Sequence[str] | None
    """None for what is no group."""


async def walk_page(
    view: Reading, scope: TenantScope, *, form: Form, after: str, limit: int, with_members: bool = True
) -> Sequence[Walked]:
    """The next live entities within the reader's reach, by guid; one statement, and one for the members of groups."""
    page = select(*_COLUMNS).where(*_wanted(view, scope, form), entities.c.guid > after)
    return await _walked(view, scope, page.order_by(entities.c.guid).limit(limit), with_members=with_members)


async def _walked(
    view: Reading, scope: TenantScope, page: Select[Any], *, with_members: bool = True
) -> Sequence[Walked]:
    rows: Sequence[Any] = (await view.execute(page)).all()
    found = [tuple(row) for row in rows]
    groups = [row[0] for row in found if row[1] == Kind.GROUP]
    members = await _members(view, scope, groups) if groups and with_members else {}
    return [
        Walked(StoredEntity(*row[:6]), row[6], members.get(row[0], ()) if row[1] == Kind.GROUP else None)
        for row in found
    ]


async def walk_named(view: Reading, scope: TenantScope, guids: Sequence[str]) -> Mapping[str, Walked]:
    """Those of the entities that are live and within the reader's reach, by guid."""
    wanted = [*_wanted(view, scope, None), is_one_of(entities.c.guid, guids, view.dialect)]
    return {walked.entity.guid: walked for walked in await _walked(view, scope, select(*_COLUMNS).where(*wanted))}


async def keys_by_form(
    view: Reading, scope: TenantScope, *, form: Form, after: str, limit: int
) -> tuple[Collection[tuple[str | None, str]], str | None]:
    """The keys that the data of the next `limit` entities has, each with the form; and where the next ones begin."""
    columns = entities.c
    ends = select(columns.guid).where(columns.tenant_id == scope.tenant_id, columns.guid > after)
    through: str | None = (await view.execute(ends.order_by(columns.guid).offset(limit - 1).limit(1))).scalar()
    wanted = [*_wanted(view, scope, form), columns.guid > after]
    if through is not None:
        wanted.append(columns.guid <= through)
    found: Sequence[Any] = (await view.execute(_keys(view, wanted))).all()
    return {(row[0], row[1]) for row in found}, through


def _keys(view: Reading, wanted: Sequence[ColumnElement[bool]]) -> Select[Any]:
    data = entities.c.data
    if view.dialect == "postgresql":
        inner = select(entities.c.entity_name, func.jsonb_object_keys(data).label("key")).where(*wanted).subquery()
        return select(inner.c.entity_name, inner.c.key).distinct()
    listed = func.json_each(data).table_valued("key")
    return (
        select(entities.c.entity_name, listed.c.key)
        .select_from(entities)
        .join(listed, true())
        .where(*wanted)
        .distinct()
    )


def _wanted(view: Reading, scope: TenantScope, form: Form) -> list[ColumnElement[bool]]:
    wanted = [entities.c.tenant_id == scope.tenant_id, not_(entities.c.deleted)]
    if form is FORMLESS:
        wanted.append(entities.c.entity_name.is_(None))
    elif form is not None:
        wanted.append(entities.c.entity_name == form)
    if scope.reach.is_bounded:
        wanted.append(within(scope.reach, view.dialect))
    return wanted


_MEMBERS = {
    "postgresql": """
SELECT m.group_guid, m.member_guid FROM unnest($2::text[]) AS asked (guid)
CROSS JOIN LATERAL (
  SELECT * FROM members WHERE tenant_id = $1 AND group_guid = asked.guid AND present OFFSET 0) m
CROSS JOIN LATERAL (
  SELECT guid FROM entities WHERE tenant_id = $1 AND guid = m.member_guid AND NOT deleted OFFSET 0) e
ORDER BY m.group_guid, m.ordinal, m.member_guid""",
    "sqlite": """
SELECT m.group_guid, m.member_guid FROM json_each(?2) AS asked
CROSS JOIN members m ON m.tenant_id = ?1 AND m.group_guid = asked.value AND m.present
CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid = m.member_guid AND NOT e.deleted
ORDER BY m.group_guid, m.ordinal, m.member_guid""",
}


async def _members(view: Reading, scope: TenantScope, groups: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """The guids of the members that exist, by group, in the order in which they joined."""
    asked = json_text(groups) if view.dialect == "sqlite" else list(groups)
    found: dict[str, list[str]] = {}
    for group, member in await view.fetch(_MEMBERS[view.dialect], scope.tenant_id, asked):
        found.setdefault(group, []).append(member)
    return found
