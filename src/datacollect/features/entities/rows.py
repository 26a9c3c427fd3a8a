"""Loading and storing states: the slice's hot statements, written by hand for each engine.

They exist twice: for the live tables, and for those in which a rebuild makes the same rows once more.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from datacollect.db import Reading, Tx
from datacollect.db.arrays import array_text
from datacollect.db.database import Dialect
from datacollect.db.turns import in_turns
from datacollect.features.entities.entity import Entity, FormerName, Kind, Membership, Stamp
from datacollect.features.entities.indexing import queries as indexing
from datacollect.features.entities.indexing.state import IndexState
from datacollect.features.entities.keys import form_key, sort_name
from datacollect.features.entities.listings import Change, Left, left_by
from datacollect.features.entities.states import States
from datacollect.features.entities.touched import Touched
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

# -- the statements

# Entities (part 0) and memberships (part 1) come in one shape, so that one statement brings both.
SELECT_ENTITY = """
SELECT 0, e.guid, e.type, e.version, CAST(e.data AS text) AS data, e.stamps, e.deleted, e.changed_position, e.last_updated"""
# Where an entity is, without its data.
SELECT_PLACE = (
    "SELECT e.guid, e.type, e.area_id, e.parent_guid, e.stamps, e.deleted, e.changed_position, e.last_updated"
)
_MEMBER = "SELECT m.group_guid, m.member_guid, m.ordinal, m.present, m.stamp_ms, m.stamp_position"

# What the index holds (part 2) comes along where the next append needs it.
_SELECT_INDEX = f"""
UNION ALL
SELECT 2, fields, next_fields, rules, CAST(changes AS text), CAST(indexed_position AS text), NULL, begun_position, through_position
FROM {indexing.STATES} WHERE tenant_id = """

ENTITY_COLUMNS = "guid, type, entity_name, name, area_id, parent_guid, version, data, stamps, deleted, changed_position, last_updated, sort_name, form_key, gone_position"
MEMBER_COLUMNS = "group_guid, member_guid, ordinal, present, stamp_ms, stamp_position"
ENTITY_KEY = "guid"
MEMBER_KEY = "group_guid, member_guid"


class StateTables:
    """A pair of tables that hold states, and the statements that load and store them.

    `is_listed`: their entities stand in lists.
    """

    def __init__(self, entities: str, members: str, *, is_listed: bool) -> None:
        self.entities = entities
        self.members = members
        self.is_listed = is_listed
        self.load = _load(entities)
        self.load_with_members = _load_with_members(entities, members)
        self.add_entity = _add_entity(entities)
        self.change_entity = _change_entity(entities)
        self.save_members = _save_members(members)
        self._entities_on_postgres: dict[tuple[bool, bool], str] = {}

    def save_entities(self, *, with_terms: bool, with_left: bool) -> str:
        """For PostgreSQL: one statement, that also adds terms to the index, and takes places away that are left."""
        kind = with_terms, with_left
        if kind not in self._entities_on_postgres:
            self._entities_on_postgres[kind] = _save_entities(
                self.entities, is_listed=self.is_listed, with_terms=with_terms, with_left=with_left
            )
        return self._entities_on_postgres[kind]


def _load(entities: str) -> Mapping[Dialect, str]:
    return {
        # Asked for `guid = ANY`, PostgreSQL before 17 reads all of the tenant if there are many guids. As for OFFSET, see
        # below.
        "postgresql": f"{SELECT_ENTITY} FROM unnest($2::text[]) AS asked (guid) CROSS JOIN LATERAL"
        f" (SELECT * FROM {entities} e WHERE e.tenant_id = $1 AND e.guid = asked.guid OFFSET 0) e",
        "sqlite": f"{SELECT_ENTITY} FROM json_each(?2) AS asked"
        f" CROSS JOIN {entities} e ON e.tenant_id = ?1 AND e.guid = asked.value",
    }


def _load_with_members(entities: str, members: str) -> Mapping[Dialect, str]:
    return {
        "postgresql": _recursive_load(
            entities,
            members,
            # PostgreSQL expects far more guids than there ever are, and would read all of the tenant to hash them.
            # OFFSET keeps it from taking the inner query apart, so that each guid is looked up by its key.
            join="CROSS JOIN LATERAL (SELECT * FROM {table} {name} WHERE {on} OFFSET 0) {name}",
            tenant="$1",
            guids='SELECT unnest($2::text[]) COLLATE "C"',
            cascading='SELECT unnest($3::text[]) COLLATE "C"',
            receiving='SELECT unnest($4::text[]) COLLATE "C"',
            pairs="SELECT * FROM unnest($5::text[], $6::text[]) AS named (group_guid, member_guid)",
        ),
        "sqlite": _recursive_load(
            entities,
            members,
            # Keeps SQLite, which has no statistics, from walking through all of the tenant's rows.
            join="CROSS JOIN {table} {name} ON {on}",
            tenant="?1",
            guids="SELECT value FROM json_each(?2)",
            cascading="SELECT value FROM json_each(?3)",
            receiving="SELECT value FROM json_each(?4)",
            pairs="SELECT value ->> 0 AS group_guid, value ->> 1 AS member_guid FROM json_each(?5)",
        ),
    }


# `below`: what hangs under the entities that may be deleted, however deep. `above`: the groups over those that get
# members. UNION lets each guid in once, which also ends cycles. Of what is below, the other groups it is in are
# needed too, with their entities: what is in a group that lives is not deleted.
def _recursive_load(
    entities_table: str,
    members_table: str,
    *,
    join: str,
    tenant: str,
    guids: str,
    cascading: str,
    receiving: str,
    pairs: str,
) -> str:
    """The statement; `join` is how an engine joins `{table}` on `{on}` without walking through it."""

    def members(on: str) -> str:
        return join.format(table=members_table, name="m", on=f"m.tenant_id = {tenant} AND {on}")

    entities = join.format(table=entities_table, name="e", on=f"e.tenant_id = {tenant} AND e.guid = wanted.guid")
    return f"""
WITH RECURSIVE
below (guid) AS (
  {cascading}
  UNION
  SELECT m.member_guid FROM below {members("m.group_guid = below.guid AND m.present")}),
above (guid) AS (
  {receiving}
  UNION
  SELECT m.group_guid FROM above {members("m.member_guid = above.guid AND m.present")}),
loaded (group_guid, member_guid, ordinal, present, stamp_ms, stamp_position) AS (
  {_MEMBER} FROM ({pairs}) AS pair {members("m.group_guid = pair.group_guid AND m.member_guid = pair.member_guid")}
  UNION {_MEMBER} FROM below {members("m.group_guid = below.guid")}
  UNION {_MEMBER} FROM below {members("m.member_guid = below.guid")}
  UNION {_MEMBER} FROM above {members("m.member_guid = above.guid")}),
wanted (guid) AS ({guids} UNION SELECT guid FROM below UNION SELECT group_guid FROM loaded)
{SELECT_ENTITY} FROM wanted {entities}
UNION ALL
SELECT 1, group_guid, member_guid, ordinal, NULL, NULL, present, stamp_ms, stamp_position FROM loaded"""


_UNINDEXED = [
    column
    for column in ENTITY_COLUMNS.split(", ")
    if column not in ("guid", "parent_guid", "deleted", "sort_name", "gone_position")
]
"""What no index of entities has."""

LIST = "INSERT INTO listings (tenant_id, position, guid, type, form_key, area_id)"
LISTED_AGAIN = """
ON CONFLICT (tenant_id, position, guid) DO UPDATE
SET type = excluded.type, form_key = excluded.form_key, area_id = excluded.area_id"""
_LEAVE = "DELETE FROM listings WHERE tenant_id = ? AND position = ? AND guid = ?"
_COUNT_STALE = """
INSERT INTO listing_blocks (tenant_id, block, stale, due) {rows}
ON CONFLICT (tenant_id, block) DO UPDATE SET stale = listing_blocks.stale + excluded.stale"""


def _add_entity(entities: str) -> str:
    """For SQLite: an entity that is new, or of which something changes that an index has."""
    return f"""
INSERT INTO {entities} (tenant_id, {ENTITY_COLUMNS}) VALUES (?, {", ".join("?" for _ in ENTITY_COLUMNS.split(", "))})
{_overwrite(ENTITY_KEY, ENTITY_COLUMNS)}"""


def _change_entity(entities: str) -> str:
    """For SQLite, which writes an index anew when a statement names its columns, whatever their values."""
    return f"UPDATE {entities} SET {', '.join(f'{name} = ?' for name in _UNINDEXED)} WHERE tenant_id = ? AND guid = ?"


def _save_entities(entities: str, *, is_listed: bool, with_terms: bool, with_left: bool) -> str:
    names = ENTITY_COLUMNS.split(", ")
    following = 2 + len(names)
    parts = [
        f"""
changed AS MATERIALIZED (
SELECT * FROM unnest($2::text::text[], $3::text::text[], $4::text::text[], $5::text::text[], $6::text::text[],
            $7::text::text[], $8::text::int[], $9::text[], $10::text::text[], $11::text::bool[], $12::text::bigint[],
            $13::text::bigint[], $14::text::text[], $15::text::text[], $16::text::bigint[]) AS changed ({ENTITY_COLUMNS}))"""
    ]
    if with_terms:
        parts.append(f"added AS ({indexing.add_terms_sql(following)})")
        following += 3
    if is_listed:
        parts.append(f"""
listed AS ({LIST} SELECT $1, changed_position, guid, type, form_key, area_id FROM changed WHERE NOT deleted
{LISTED_AGAIN})""")
    if is_listed and with_left:
        # Each by its key, and then by where it is: joined, PostgreSQL might go through the table.
        parts.append(f"""
left_near AS (DELETE FROM listings WHERE ctid = ANY (ARRAY(
  SELECT one.ctid FROM unnest(${following}::text::bigint[], ${following + 1}::text::text[]) AS near (position, guid)
  CROSS JOIN LATERAL (SELECT l.ctid FROM listings l
    WHERE l.tenant_id = $1 AND l.position = near.position AND l.guid = near.guid OFFSET 0) one))),
left_far AS ({
            _COUNT_STALE.format(
                rows=f"SELECT $1, block, stale, due FROM unnest(${following + 2}::text::bigint[],"
                f" ${following + 3}::text::bigint[], ${following + 4}::text::bigint[]) AS far (block, stale, due)"
            )
        })""")
    return f"""
WITH {", ".join(parts)}
INSERT INTO {entities} (tenant_id, {ENTITY_COLUMNS})
SELECT $1, {ENTITY_COLUMNS.replace(" data,", " data::jsonb,")} FROM changed
{_overwrite(ENTITY_KEY, ENTITY_COLUMNS)}"""


def _save_members(members: str) -> Mapping[Dialect, str]:
    update = _overwrite(MEMBER_KEY, MEMBER_COLUMNS)
    return {
        "postgresql": f"""
INSERT INTO {members} (tenant_id, {MEMBER_COLUMNS})
SELECT $1, {MEMBER_COLUMNS}
FROM unnest($2::text::text[], $3::text::text[], $4::text::bigint[], $5::text::bool[], $6::text::bigint[],
            $7::text::bigint[]) AS changed ({MEMBER_COLUMNS})
{update}""",
        "sqlite": f"""
INSERT INTO {members} (tenant_id, {MEMBER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)
{update}""",
    }


def _overwrite(key: str, columns: str) -> str:
    names = [column for column in columns.split(", ") if column not in key.split(", ")]
    return f"ON CONFLICT (tenant_id, {key}) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in names)


LIVE = StateTables("entities", "members", is_listed=True)
REBUILT = StateTables("entities_rebuild", "members_rebuild", is_listed=False)


# -- loading


async def load(view: Reading, scope: TenantScope, needed: Touched, tables: StateTables = LIVE) -> States:
    """The states of what is needed, by one statement."""
    statement, parameters = _loading(view, scope, needed, tables)
    states = States()
    for row in await view.fetch(statement, *parameters):
        _put(states, row)
    return states


async def load_for_append(view: Reading, scope: TenantScope, needed: Touched) -> tuple[States, IndexState | None]:
    """The states an append needs, and what the index holds, by one statement."""
    statement, parameters = _loading(view, scope, needed, LIVE)
    states, index = States(), None
    async for some in in_turns(
        await view.fetch(statement + _SELECT_INDEX + placeholder(view.dialect, 1), *parameters), holding=True
    ):
        for row in some:
            if row[0] == 2:
                _, fields, next_fields, rules, changes, indexed, _, begun, through = row
                index = indexing.state_from(
                    (rules, fields, next_fields, begun, through, int(changes), int(indexed), 0, None, b"")
                )
            else:
                _put(states, row)
    return states, index


def _loading(view: Reading, scope: TenantScope, needed: Touched, tables: StateTables) -> tuple[str, Sequence[Any]]:
    sqlite = view.dialect == "sqlite"
    lists: list[Any] = [list(needed.guids)]
    statement = tables.load
    if needed.memberships:
        statement = tables.load_with_members
        lists += [list(needed.cascading), list(needed.receiving)]
        pairs = list(needed.pairs)
        lists += [pairs] if sqlite else [[pair[0] for pair in pairs], [pair[1] for pair in pairs]]
    return statement[view.dialect], [scope.tenant_id, *(map(json_text, lists) if sqlite else lists)]


def placeholder(dialect: Dialect, number: int) -> str:
    return f"?{number}" if dialect == "sqlite" else f"${number}"


def _put(states: States, row: Sequence[Any]) -> None:
    if row[0] == 0:
        states.put(entity_from(row))
        states.letters[row[1]] = len(row[4])
    else:
        _, group, member, ordinal, _, _, present, time, position = row
        states.put_membership(Membership(group, member, ordinal, bool(present), Stamp(time, position)))


def entity_from(row: Sequence[Any]) -> Entity:
    _, guid, kind, version, data, stamps, deleted, position, updated = row
    base, exceptions, latest, last_delete, former = _read_stamps(stamps, deleted)
    return Entity(
        guid,
        Kind(kind) if kind is not None else None,
        version,
        msgspec.json.decode(data),
        base,
        exceptions,
        latest,
        last_delete,
        former,
        position,
        Millis(updated),
    )


def place_from(row: Sequence[Any]) -> Entity:
    """The entity as far as `place_of` looks at it, and its last delete; with nothing else in its data, and no version."""
    guid, kind, area, parent, stamps, deleted, position, updated = row
    base, _, latest, last_delete, _ = _read_stamps(stamps, deleted)
    data = {"area_id": area, "parentId": parent}
    kind = Kind(kind) if kind is not None else None
    return Entity(guid, kind, 0, data, base, {}, latest, last_delete, None, position, Millis(updated))


# -- storing


async def save_entities(
    tx: Tx,
    scope: TenantScope,
    changes: Sequence[Change],
    tables: StateTables = LIVE,
    *,
    terms: Sequence[indexing.Row] = (),
) -> None:
    """`terms` are new rows of the index; on PostgreSQL they go to it on the same way, as do the entities' places in lists."""
    if changes and tx.dialect == "postgresql":
        await _save_on_postgres(tx, scope, changes, tables, terms)
        return
    added, changed, listed = [], [], []
    async for some in in_turns(changes, holding=True):
        for before, after in some:
            values = _entity_values(after)
            if tables.is_listed and after.is_live:
                listed.append((scope.tenant_id, *_place_among(values)))
            if before is not None and _is_same_to_indexes(before, after):
                changed.append((*(values[at] for at in _AT_UNINDEXED), scope.tenant_id, after.guid))
            else:
                added.append((scope.tenant_id, *values))
    await tx.run_many(tables.add_entity, added)
    await tx.run_many(tables.change_entity, changed)
    await tx.run_many(_LIST_ONE, listed)
    if tables.is_listed:
        left = left_by(changes)
        await tx.run_many(_LEAVE, [(scope.tenant_id, *one) for one in left.near])
        await tx.run_many(_COUNT_ONE_STALE, [(scope.tenant_id, *one) for one in left.stretches])
    await indexing.add_terms(tx, scope, terms)


async def _save_on_postgres(
    tx: Tx, scope: TenantScope, changes: Sequence[Change], tables: StateTables, terms: Sequence[indexing.Row]
) -> None:
    rows: list[tuple[Any, ...]] = []
    async for some in in_turns(changes, holding=True):
        rows += [_entity_values(after) for _, after in some]
    columns = list(_entity_columns(rows))
    if terms:
        columns += map(array_text, zip(*await indexing.in_key_order(terms), strict=True))
    left = left_by(changes) if tables.is_listed else Left()
    if not left.is_nothing:
        columns += [array_text([one[at] for one in left.near]) for at in range(2)]
        columns += [array_text([one[at] for one in left.stretches]) for at in range(3)]
    await tx.run(tables.save_entities(with_terms=bool(terms), with_left=not left.is_nothing), scope.tenant_id, *columns)


_LIST_ONE = f"{LIST} VALUES (?, ?, ?, ?, ?, ?){LISTED_AGAIN}"
_COUNT_ONE_STALE = _COUNT_STALE.format(rows="VALUES (?, ?, ?, ?)")
_place_among = itemgetter(
    *map(ENTITY_COLUMNS.split(", ").index, ("changed_position", "guid", "type", "form_key", "area_id"))
)
_AT_UNINDEXED = [ENTITY_COLUMNS.split(", ").index(name) for name in _UNINDEXED]


def _is_same_to_indexes(before: Entity, after: Entity) -> bool:
    """Whether nothing changes of what an index of entities has."""
    return (
        before.is_live
        and after.is_live
        and before.parent_guid == after.parent_guid
        and (before.name == after.name or sort_name(before.name) == sort_name(after.name))
    )


async def save_memberships(
    tx: Tx, scope: TenantScope, changed: Iterable[Membership], tables: StateTables = LIVE
) -> None:
    rows = [(m.group_guid, m.member_guid, m.ordinal, m.present, *m.stamp) for m in changed]
    if not rows:
        return
    if tx.dialect == "sqlite":
        await tx.run_many(tables.save_members["sqlite"], [(scope.tenant_id, *row) for row in rows])
    else:
        await tx.run(tables.save_members["postgresql"], scope.tenant_id, *map(array_text, zip(*rows, strict=True)))


_DATA = ENTITY_COLUMNS.split(", ").index("data")


def _entity_columns(rows: Sequence[tuple[Any, ...]]) -> Iterable[Any]:
    for number, column in enumerate(zip(*rows, strict=True)):
        yield column if number == _DATA else array_text(column)


def _entity_values(entity: Entity) -> tuple[Any, ...]:
    """The values of `ENTITY_COLUMNS`."""
    name, form = entity.name, entity.entity_name
    return (
        entity.guid,
        entity.kind.value if entity.kind is not None else None,
        form,
        name,
        entity.area_id,
        entity.parent_guid,
        entity.version,
        json_text(entity.data),
        _write_stamps(entity),
        not entity.is_live,
        entity.changed_position,
        entity.last_updated,
        sort_name(name),
        form_key(form),
        0 if entity.is_live else entity.changed_position,
    )


# -- stamps
#
# `[time, position]` when one event wrote all fields, which is what most entities have. Else behind it, as far as there
# is anything: the fields with other stamps, the latest write (null: the base), the last delete, the former name.

_encoder = msgspec.json.Encoder()
# The order of the fields must not depend on what was loaded and what was at hand.
_stamps_encoder = msgspec.json.Encoder(order="deterministic")


def json_text(value: Any) -> str:
    return _encoder.encode(value).decode()


def _write_stamps(entity: Entity) -> str:
    base, latest, former = entity.base, entity.latest, entity.former_name
    if latest == base and not entity.exceptions and entity.deleted is None and former is None:
        return f"[{base.time},{base.position}]"
    parts = (
        base.time,
        base.position,
        entity.exceptions,
        None if latest == base else latest,
        entity.deleted,
        None if former is None else (former.name, *former.stamp),
    )
    return _stamps_encoder.encode(parts).decode()


_Stamps = tuple[Stamp, dict[str, Stamp], Stamp | None, Stamp | None, FormerName | None]


def _read_stamps(text: str, dead: bool) -> _Stamps:
    base_time, base_position, *more = msgspec.json.decode(text)
    base = Stamp(base_time, base_position)
    if not more:
        return base, {}, base, None, None
    exceptions, latest, deleted, former = more
    return (
        base,
        {field: Stamp(*stamp) for field, stamp in exceptions.items()},
        None if dead else Stamp(*latest) if latest else base,
        Stamp(*deleted) if deleted else None,
        FormerName(former[0], Stamp(*former[1:])) if former else None,
    )
