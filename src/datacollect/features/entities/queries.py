"""Reading the current state. The hot statements that keep it are in `rows.py`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, and_, cast, literal_column, not_, select

from datacollect.db import Reading
from datacollect.db.keys import rows_with
from datacollect.db.portions import Portion
from datacollect.features.entities.entity import Kind
from datacollect.features.entities.links.shown import external_id_of
from datacollect.features.entities.tables import entities, members
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

MOST_MEMBERS = 10_000
MOST_MEMBERS_BYTES = 64 * 1024 * 1024
"""Of the data of members in one answer, which has no pages."""


@dataclass(frozen=True, slots=True)
class StoredEntity:
    """A live entity as it is shown. `data` is JSON text: it is passed on, never looked into."""

    guid: str
    type: str
    entity_name: str | None
    name: str | None
    data: str
    last_updated: Millis
    external_id: str | None = None
    """Its key in the other system that the program works with."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A live entity without its data, which may be long."""

    guid: str
    type: str
    entity_name: str | None
    name: str | None
    area_id: str | None
    last_updated: Millis


async def summaries_of(view: Reading, scope: TenantScope, guids: Collection[str]) -> Mapping[str, Summary]:
    """Those of the entities that exist, by guid."""
    if not guids:
        return {}
    live = (entities.c.tenant_id == scope.tenant_id, not_(entities.c.deleted))
    e = rows_with(view, entities.c.guid, sorted(guids), *live).c
    found = select(e.guid, e.type, e.entity_name, e.name, e.area_id, e.last_updated)
    rows: Sequence[Any] = (await view.execute(found)).all()
    return {row[0]: Summary(*row) for row in rows}


async def find_entity(view: Reading, scope: TenantScope, guid: str) -> StoredEntity | None:
    found = await _fetch(view, _live(scope).where(entities.c.guid == guid))
    return found[0] if found else None


async def find_data_and(
    view: Reading, scope: TenantScope, guid: str, *also: ColumnElement[Any]
) -> tuple[str, tuple[Any, ...]] | None:
    """The data of a live entity, as JSON text, and in the same statement what somebody else wants to know."""
    wanted = _live(scope).with_only_columns(cast(entities.c.data, Text), *also).where(entities.c.guid == guid)
    row = (await view.execute(wanted)).one_or_none()
    return None if row is None else (row[0], tuple(row[1:]))


async def is_group(view: Reading, scope: TenantScope, guid: str) -> bool:
    group = _live(scope).with_only_columns(entities.c.type).where(entities.c.guid == guid)
    return (await view.execute(group)).scalar() == Kind.GROUP


async def list_members(view: Reading, scope: TenantScope, group: str) -> Portion[StoredEntity]:
    """The members that exist, in the order in which they joined; at most `MOST_MEMBERS`, and `MOST_MEMBERS_BYTES`."""
    joined = _live(scope).join(members, _is_member()).where(members.c.group_guid == group)
    ordered = joined.order_by(members.c.ordinal, members.c.member_guid).limit(MOST_MEMBERS + 1)
    found, is_cut = await _fetch_some(view, ordered)
    return Portion(found[:MOST_MEMBERS], is_cut or len(found) > MOST_MEMBERS)


async def list_groups_of(view: Reading, scope: TenantScope, member: str) -> Sequence[StoredEntity]:
    """The groups that exist and have this entity as a member, by guid; as many as of members."""
    belongs = and_(
        members.c.tenant_id == entities.c.tenant_id, members.c.group_guid == entities.c.guid, members.c.present
    )
    groups = _live(scope).join(members, belongs).where(members.c.member_guid == member)
    return (await _fetch_some(view, groups.order_by(entities.c.guid).limit(MOST_MEMBERS))).rows


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
"""Groups and members are looked up by key, one by one: before there are statistics, and behind the wall, PostgreSQL would
rather go through the tenant."""


async def member_guids(view: Reading, scope: TenantScope, groups: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """The guids of `list_members` for several groups at once; groups without members are left out."""
    if not groups:
        return {}
    found: dict[str, list[str]] = {}
    for group, member in await view.fetch(_MEMBERS[view.dialect], scope.tenant_id, view.listed(groups)):
        found.setdefault(group, []).append(member)
    return found


async def guids_of_entities(
    view: Reading, scope: TenantScope, guids: Collection[str], *, changed_at: int
) -> Collection[str]:
    """Those of the entities, deleted ones too, that changed at a position or later."""
    e = rows_with(view, entities.c.guid, guids, entities.c.tenant_id == scope.tenant_id).c
    return set((await view.execute(select(e.guid).where(e.changed_position >= changed_at))).scalars())


_KNOWN = {
    "postgresql": """
SELECT e.guid, e.deleted FROM unnest($2::text[]) AS asked (guid)
CROSS JOIN LATERAL (SELECT * FROM entities WHERE tenant_id = $1 AND guid = asked.guid OFFSET 0) e""",
    "sqlite": """
SELECT e.guid, e.deleted FROM json_each(?2) AS asked
CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid = asked.value""",
}


async def known_guids(view: Reading, scope: TenantScope, guids: Sequence[str]) -> Mapping[str, bool]:
    """Of each of the entities that there is or was, whether it exists; the others are left out."""
    if not guids:
        return {}
    return {
        guid: not deleted
        for guid, deleted in await view.fetch(_KNOWN[view.dialect], scope.tenant_id, view.listed(guids))
    }


_LIVE_POSITIONS = {
    "postgresql": """
SELECT e.guid, e.changed_position FROM unnest($2::text[]) AS asked (guid)
CROSS JOIN LATERAL (SELECT * FROM entities WHERE tenant_id = $1 AND guid = asked.guid AND NOT deleted OFFSET 0) e""",
    "sqlite": """
SELECT e.guid, e.changed_position FROM json_each(?2) AS asked
CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid = asked.value AND NOT e.deleted""",
}


async def positions_of(view: Reading, scope: TenantScope, guids: Collection[str]) -> Mapping[str, int]:
    """Where in the log those of the entities were last changed that exist; one statement, none for none."""
    if not guids:
        return {}
    found = await view.fetch(_LIVE_POSITIONS[view.dialect], scope.tenant_id, view.listed(sorted(guids)))
    return {row[0]: row[1] for row in found}


_DATA = cast(entities.c.data, Text).label("data")


def _live(scope: TenantScope) -> Select[Any]:
    columns = entities.c
    return select(
        columns.guid,
        columns.type,
        columns.entity_name,
        columns.name,
        _DATA,
        columns.last_updated,
        literal_column(external_id_of("entities")).label("external_id"),
    ).where(columns.tenant_id == scope.tenant_id, not_(columns.deleted))


def _is_member() -> ColumnElement[bool]:
    return and_(
        members.c.tenant_id == entities.c.tenant_id,
        members.c.member_guid == entities.c.guid,
        members.c.present,
    )


async def _fetch(view: Reading, statement: Select[Any]) -> Sequence[StoredEntity]:
    rows: Sequence[Any] = (await view.execute(statement)).all()
    return [StoredEntity(*row) for row in rows]


async def _fetch_some(view: Reading, statement: Select[Any]) -> Portion[StoredEntity]:
    found = await view.execute_portion(statement, texts=(_DATA,), most_bytes=MOST_MEMBERS_BYTES)
    return Portion([StoredEntity(*row[:7]) for row in found.rows], found.is_cut)
