"""Reading the current state. The hot statements that keep it are in `rows.py`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Select,
    Text,
    and_,
    any_,
    cast,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)

from datacollect.db import Reading
from datacollect.db.database import Dialect
from datacollect.features.entities.entity import UNKNOWN_FORM, Kind
from datacollect.features.entities.rows import json_text
from datacollect.features.entities.tables import entities, members
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.sync_scope import Reach

MOST_MEMBERS = 10_000


@dataclass(frozen=True, slots=True)
class StoredEntity:
    """A live entity as it is shown. `data` is JSON text: it is passed on, never looked into."""

    guid: str
    type: str
    entity_name: str | None
    name: str | None
    data: str
    last_updated: Millis


async def list_newest(view: Reading, scope: TenantScope, *, limit: int) -> Sequence[StoredEntity]:
    """The entities that changed last, the latest first."""
    newest = _live(scope)
    if scope.reach.is_bounded:
        newest = newest.where(_within(scope.reach, view.dialect))
    newest = newest.order_by(entities.c.changed_position.desc(), entities.c.guid.desc()).limit(limit)
    return await _fetch(view, newest)


async def count_within(view: Reading, scope: TenantScope) -> Mapping[str, int]:
    """Live entities within the reader's reach, by form."""
    form = func.coalesce(func.nullif(entities.c.entity_name, ""), UNKNOWN_FORM)
    found = select(form, func.count()).where(
        entities.c.tenant_id == scope.tenant_id, not_(entities.c.deleted), _within(scope.reach, view.dialect)
    )
    rows: Sequence[Any] = (await view.execute(found.group_by(form))).all()
    return dict(map(tuple, rows))


def _within(reach: Reach, dialect: Dialect) -> ColumnElement[bool]:
    """Entities in the reach's areas and of its kinds; records, and those without an area, by their parent.

    One step up only: lists leave out what is further down, which can still be read by guid.
    """
    parent = entities.alias()
    theirs = exists().where(
        parent.c.tenant_id == entities.c.tenant_id,
        parent.c.guid == entities.c.parent_guid,
        not_(parent.c.deleted),
        # An area that a record names says nothing of where it is.
        parent.c.type != Kind.RECORD,
        *([] if reach.area_ids is None else [_is_one_of(parent.c.area_id, reach.area_ids, dialect)]),
        *(
            []
            if reach.entity_types is None
            else [or_(entities.c.type != Kind.RECORD, parent.c.type.in_(reach.entity_types))]
        ),
    )
    own_area = true() if reach.area_ids is None else _is_one_of(entities.c.area_id, reach.area_ids, dialect)
    own_kind = true() if reach.entity_types is None else entities.c.type.in_(reach.entity_types)
    is_record = entities.c.type == Kind.RECORD
    return or_(
        and_(not_(is_record), own_kind, own_area),
        and_(is_record, theirs),
        and_(not_(is_record), own_kind, entities.c.area_id.is_(None), theirs),
    )


def _is_one_of(column: Column[Any], values: Collection[str], dialect: Dialect) -> ColumnElement[bool]:
    """As one parameter: people may be assigned more areas than a statement may have parameters."""
    if dialect == "postgresql":
        return column == any_(literal(sorted(values), ARRAY(Text)))
    listed = func.json_each(json_text(sorted(values))).table_valued("value")
    return column.in_(select(listed.c.value))


within, is_one_of = _within, _is_one_of


async def find_entity(view: Reading, scope: TenantScope, guid: str) -> StoredEntity | None:
    found = await _fetch(view, _live(scope).where(entities.c.guid == guid))
    return found[0] if found else None


async def is_group(view: Reading, scope: TenantScope, guid: str) -> bool:
    group = _live(scope).with_only_columns(entities.c.type).where(entities.c.guid == guid)
    return (await view.execute(group)).scalar() == Kind.GROUP


async def list_members(view: Reading, scope: TenantScope, group: str) -> Sequence[StoredEntity]:
    """The members that exist, in the order in which they joined; at most `MOST_MEMBERS`."""
    joined = _live(scope).join(members, _is_member()).where(members.c.group_guid == group)
    return await _fetch(view, joined.order_by(members.c.ordinal, members.c.member_guid).limit(MOST_MEMBERS))


async def member_guids(view: Reading, scope: TenantScope, groups: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """The guids of `list_members` for several groups at once; groups without members are left out."""
    if not groups:
        return {}
    statement = (
        select(members.c.group_guid, members.c.member_guid)
        .join(entities, _is_member())
        .where(entities.c.tenant_id == scope.tenant_id, not_(entities.c.deleted), members.c.group_guid.in_(groups))
        .order_by(members.c.group_guid, members.c.ordinal, members.c.member_guid)
    )
    found: dict[str, list[str]] = {}
    rows: Sequence[Any] = (await view.execute(statement)).all()
    for group, member in rows:
        found.setdefault(group, []).append(member)
    return found


async def guids_of_entities(
    view: Reading, scope: TenantScope, guids: Collection[str], *, areas: Collection[str], changed_at: int
) -> Collection[str]:
    """Those of the entities, deleted ones too, that changed at a position or later, and are in one of the areas if any
    are named."""
    found = select(entities.c.guid).where(
        entities.c.tenant_id == scope.tenant_id,
        entities.c.guid.in_(guids),
        entities.c.changed_position >= changed_at,
    )
    if areas:
        found = found.where(entities.c.area_id.in_(areas))
    return set((await view.execute(found)).scalars())


def _live(scope: TenantScope) -> Select[Any]:
    columns = entities.c
    return select(
        columns.guid,
        columns.type,
        columns.entity_name,
        columns.name,
        cast(columns.data, Text),
        columns.last_updated,
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
