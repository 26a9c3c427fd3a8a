"""The pieces that statements of lists and searches are put together from, for each engine by hand.

The planner is not asked which way to take: a page either walks the index of its order and leaves out what does not
belong, or begins with the few entities that can belong, found by an index of their own, and sorts those. `planning.py`
chooses. All values are bound; what is put into the text are constants of this package, and whole numbers.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.db.database import Dialect
from datacollect.features.entities.entity import Kind
from datacollect.features.entities.finding.filters import EVERYTHING, ListFilters
from datacollect.features.entities.finding.pages import Key, Order, Sort
from datacollect.features.entities.indexing.lookups import Lookup
from datacollect.features.entities.indexing.values import Range
from datacollect.features.entities.keys import LONGEST_KEY, form_key
from datacollect.features.entities.links.shown import external_id_of
from datacollect.features.entities.rows import json_text
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.sync_scope import Box, Reach

COLUMNS = (
    "e.guid, e.type, e.entity_name, e.name, CAST(e.data AS text) AS data, e.last_updated,"
    f" e.changed_position, e.sort_name, e.form_key, {external_id_of('e')}"
)
WITHOUT_DATA = COLUMNS.replace("CAST(e.data AS text)", "'{}'")
DATA = ("data",)
"""The column whose length is that of an entity."""

_RECORD = f"'{Kind.RECORD.value}'"
_INDEXES = {"area_id": "ix_listings_area", "form_key": "ix_listings_form", "type": "ix_listings_type"}


class Sql:
    """A statement being put together, and its values. The first is the tenant."""

    def __init__(self, dialect: Dialect, scope: TenantScope) -> None:
        self.dialect = dialect
        self.scope = scope
        self.values: list[Any] = []
        self.tenant = self.bind(scope.tenant_id)

    @property
    def is_sqlite(self) -> bool:
        return self.dialect == "sqlite"

    def bind(self, value: Any, kind: str = "text") -> str:
        self.values.append(value)
        number = len(self.values)
        return f"?{number}" if self.is_sqlite else f"${number}::{kind}"

    def live(self, row: str = "e") -> str:
        """As the indexes' conditions are written: else they are not used."""
        return f"{row}.deleted = 0" if self.is_sqlite else f"NOT {row}.deleted"

    def among(self, column: str, values: Collection[str]) -> str:
        if len(values) == 1:
            return f"{column} = {self.bind(next(iter(values)))}"
        if self.is_sqlite:
            return f"{column} IN (SELECT value FROM json_each({self.bind(json_text(sorted(values)))}))"
        return f"{column} = ANY({self.bind(sorted(values), 'text[]')})"

    def each(self, values: Collection[str]) -> str:
        """A table `asked` with the values as `value`."""
        if self.is_sqlite:
            return f"json_each({self.bind(json_text(sorted(values)))}) AS asked"
        return f"unnest({self.bind(sorted(values), 'text[]')}) AS asked (value)"

    def places(self, by: str | None = None) -> str:
        """Places in lists, as `l`, by the index of a column or in the order of changes."""
        # SQLite takes the table itself for the better way where a column is asked for that the index has not.
        return f"listings l INDEXED BY {_INDEXES[by]}" if self.is_sqlite and by is not None else "listings l"

    def listed(self, row: str = "e", *, by: str | None = None) -> str:
        """Rows of entities that exist, each by the row of its place in lists, in whose order they come."""
        found = f"{row}.tenant_id = {self.tenant} AND {row}.guid = l.guid AND {row}.changed_position = l.position"
        if self.is_sqlite:
            return f"{self.places(by)} CROSS JOIN entities {row} ON {found}"
        return f"{self.places(by)} CROSS JOIN LATERAL (SELECT * FROM entities {row} WHERE {found} OFFSET 0) {row}"

    def plain(self, column: str) -> str:
        """A column in a condition that is to leave rows out, and not to choose an index."""
        return f"+{column}" if self.is_sqlite else f"({column} || '')"

    def alone(self) -> str:
        """Keeps PostgreSQL from taking an inner query apart, and so from reading a table to join with it."""
        return "" if self.is_sqlite else "OFFSET 0"


More = Callable[[Sql, str], Sequence[str]]
"""Further conditions on the row of that name."""


def no_more(sql: Sql, row: str) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Source:
    """Rows `e` of entities that may belong to a list: where they come from, and what they must meet."""

    rows: str
    conditions: Sequence[str]
    is_listed: bool = False
    """Whether they come by the rows `l` of their places in lists."""

    @property
    def where(self) -> str:
        return " AND ".join(self.conditions)


# -- what an entity must meet


@dataclass(frozen=True, slots=True)
class Wanted:
    """The filters of a list as the database is asked for them."""

    filters: ListFilters
    since: int | None = None
    """Changed behind that position in the log: what `updated_since` comes to."""


def places_of(sql: Sql, wanted: Wanted, *, by: str | None = None) -> list[str]:
    """The filters once more, as conditions on places in lists: what cannot belong need not be looked up.

    `by` is the column that rows are found by; the others leave rows out.
    """
    filters = wanted.filters
    forms = {form_key(name) for name in filters.entity_names}
    found = [f"l.tenant_id = {sql.tenant}"]
    for column, values in (("area_id", filters.areas), ("form_key", forms), ("type", filters.types)):
        if values and column != by:
            found.append(sql.among(sql.plain(f"l.{column}"), values))
    if wanted.since is not None:
        found.append(f"l.position > {sql.bind(wanted.since, 'bigint')}")
    kinds = _kinds_of(sql.scope.reach)
    if kinds:
        found.append(sql.among(sql.plain("l.type"), kinds))
    return found


def _kinds_of(reach: Reach) -> Collection[str]:
    """What may be within a reach, as far as its boxes say; a record may be where its parent is."""
    kinds: set[str] = {Kind.RECORD.value}
    for box in reach.boxes:
        if box.entity_types is None:
            return ()
        kinds |= set(box.entity_types)
    return kinds


def conditions_of(sql: Sql, wanted: Wanted, *, row: str = "e") -> list[str]:
    """The filters as conditions on one entity, but for words."""
    filters = wanted.filters
    found = [f"{row}.tenant_id = {sql.tenant}", sql.live(row)]
    if filters.types:
        found.append(sql.among(f"{row}.type", filters.types))
    if filters.entity_names:
        found += forms_are(sql, filters.entity_names, row=row)
    if filters.areas:
        found.append(sql.among(f"{row}.area_id", filters.areas))
    if filters.parent is not None:
        parent = sql.bind(filters.parent)
        found.append(
            f"({row}.parent_guid = {parent} OR EXISTS (SELECT 1 FROM members m WHERE m.tenant_id = {sql.tenant}"
            f" AND m.group_guid = {parent} AND m.member_guid = {row}.guid AND m.present {sql.alone()}))"
        )
    if filters.external_id is not None:
        found.append(f"{row}.guid IN ({linked(sql, filters.external_id)})")
    if wanted.since is not None:
        found.append(f"{row}.changed_position > {sql.bind(wanted.since, 'bigint')}")
    for mark, has_it in filters.marks:
        found.append(f"{row}.guid {'IN' if has_it else 'NOT IN'} ({mark(sql.tenant)})")
    if sql.scope.reach.is_bounded:
        found.append(is_within(sql, sql.scope.reach, row=row))
    return found


def forms_are(sql: Sql, names: Collection[str], *, row: str = "e") -> list[str]:
    """The index has the beginnings of names: those that are longer are looked at themselves."""
    keys = {form_key(name) for name in names}
    found = [sql.among(f"{row}.form_key", keys)]
    # One that is as long as a beginning is may be that of others.
    return found if all(len(name) < LONGEST_KEY for name in names) else [*found, sql.among(f"{row}.entity_name", names)]


def is_within(sql: Sql, reach: Reach, *, row: str = "e") -> str:
    """An entity in one of the reach's boxes, in its areas and of its kinds; records, and those without an area, by their
    parent.

    One step up only: lists leave out what is further down, which can still be read by guid.
    """
    found = [_is_in_box(sql, box, row) for box in reach.boxes]
    return found[0] if len(found) == 1 else f"({' OR '.join(found)})"


def _is_in_box(sql: Sql, box: Box, row: str) -> str:
    theirs = (
        f"EXISTS (SELECT 1 FROM entities p WHERE p.tenant_id = {sql.tenant} AND p.guid = {row}.parent_guid"
        f" AND {' AND '.join(_is_parent_in(sql, box))}"
        f" AND {_kind_by_parent(sql, box, row)} {sql.alone()})"
    )
    kind = _own_kind(sql, box, row)
    area = "true" if box.area_ids is None else sql.among(f"{row}.area_id", box.area_ids)
    return (
        f"(({row}.type <> {_RECORD} AND {kind} AND {area})"
        f" OR (({row}.type = {_RECORD} OR ({kind} AND {row}.area_id IS NULL)) AND {theirs}))"
    )


def _is_parent_in(sql: Sql, box: Box) -> list[str]:
    # An area that a record names says nothing of where it is.
    found = [sql.live("p"), f"p.type <> {_RECORD}"]
    return found if box.area_ids is None else [*found, sql.among("p.area_id", box.area_ids)]


def _kind_by_parent(sql: Sql, box: Box, row: str) -> str:
    """A record is what its parent is."""
    if box.entity_types is None:
        return "true"
    return f"({row}.type <> {_RECORD} OR {sql.among('p.type', box.entity_types)})"


def _own_kind(sql: Sql, box: Box, row: str) -> str:
    return "true" if box.entity_types is None else sql.among(f"{row}.type", box.entity_types)


# -- queries that give the guids of all entities that can belong, by an index; each guid once


#
# With `is_bound` they give no fewer guids than there are, and do not look entities up: for counting whether they are few.


def in_reach(sql: Sql, reach: Reach, *, column: str = "guid", is_bound: bool = False) -> str:
    """A column of those within a reach that is limited to areas: who is there, and what belongs to them.

    Nobody is in two boxes, as these have no kind in common: each comes once.
    """
    return " UNION ALL ".join(_in_box(sql, box, column, is_bound=is_bound) for box in reach.boxes)


def _in_box(sql: Sql, box: Box, column: str, *, is_bound: bool) -> str:
    assert box.area_ids is not None
    own = _own(sql, box, column, is_bound=is_bound)
    kind = _own_kind(sql, box, "e")
    child = (
        f"{sql.live()} AND e.parent_guid IS NOT NULL"
        f" AND (e.type = {_RECORD} OR ({kind} AND e.area_id IS NULL)) AND {_kind_by_parent(sql, box, 'e')}"
    )
    within = f"l.tenant_id = {sql.tenant} AND {sql.among('l.area_id', box.area_ids)}"
    parents = f"{within} AND {sql.live('p')} AND p.type <> {_RECORD}"
    return f"{own} UNION ALL {_children(sql, parents, child, column)}"


def _own(sql: Sql, box: Box, column: str, *, is_bound: bool) -> str:
    """Those in the box by what they are themselves."""
    assert box.area_ids is not None
    kind = sql.plain("l.type")
    places = f"l.tenant_id = {sql.tenant} AND {sql.among('l.area_id', box.area_ids)} AND {kind} <> {_RECORD}"
    if box.entity_types is not None:
        places += f" AND {sql.among(kind, box.entity_types)}"
    if is_bound:
        return f"SELECT l.{column} FROM {sql.places('area_id')} WHERE {places}"
    return f"SELECT e.{column} FROM {sql.listed(by='area_id')} WHERE {places} AND {sql.live()}"


def _children(sql: Sql, parents: str, child: str, column: str) -> str:
    if sql.is_sqlite:
        return (
            f"SELECT e.{column} FROM {sql.listed('p', by='area_id')} CROSS JOIN entities e"
            f" ON e.tenant_id = {sql.tenant} AND e.parent_guid = p.guid WHERE {parents} AND {child}"
        )
    return (
        f"SELECT c.{column} FROM {sql.listed('p', by='area_id')} CROSS JOIN LATERAL (SELECT e.{column} FROM entities e"
        f" WHERE e.tenant_id = {sql.tenant} AND e.parent_guid = p.guid AND {child} OFFSET 0) c WHERE {parents}"
    )


def below(sql: Sql, parent: str) -> str:
    """The members of a group, and who names it as the parent."""
    bound = sql.bind(parent)
    # SQLite 3.53 joins the two in the order of guids, and would read all of the program's for that.
    index = "INDEXED BY ix_entities_parent" if sql.is_sqlite else ""
    return (
        f"SELECT m.member_guid AS guid FROM members m WHERE m.tenant_id = {sql.tenant} AND m.group_guid = {bound} AND m.present"
        f" UNION SELECT e.guid FROM entities e {index} WHERE e.tenant_id = {sql.tenant} AND e.parent_guid = {bound}"
    )


def in_areas(sql: Sql, areas: Collection[str], *, is_bound: bool = False) -> str:
    return _listed_guids(sql, "area_id", [sql.among("l.area_id", areas)], is_bound=is_bound)


def of_forms(sql: Sql, names: Collection[str], *, is_bound: bool = False) -> str:
    keys = sql.among("l.form_key", {form_key(name) for name in names})
    return _listed_guids(sql, "form_key", [keys], () if is_bound else forms_are(sql, names), is_bound=is_bound)


def of_types(sql: Sql, types: Collection[str], *, is_bound: bool = False) -> str:
    return _listed_guids(sql, "type", [sql.among("l.type", types)], is_bound=is_bound)


def linked(sql: Sql, external_id: str) -> str:
    """The entity with that twin in the system that the program works with."""
    return (
        f"SELECT l.guid FROM external_links l WHERE l.tenant_id = {sql.tenant} AND l.external_id = {sql.bind(external_id)}"
        f" AND l.system = (SELECT c.system FROM external_current c WHERE c.tenant_id = {sql.tenant})"
    )


def named(sql: Sql, guids: Collection[str]) -> str:
    return f"SELECT asked.value AS guid FROM {sql.each(set(guids))}"


def changed_since(sql: Sql, position: int, *, is_bound: bool = False) -> str:
    return _listed_guids(sql, None, [f"l.position > {sql.bind(position, 'bigint')}"], is_bound=is_bound)


def each_once(query: str) -> str:
    return f"SELECT DISTINCT guid FROM ({query}) AS several"


def all_of(queries: Sequence[str]) -> str:
    """The guids that all of the queries give."""
    return " INTERSECT ".join(f"SELECT guid FROM ({query}) AS one" for query in queries)


def _listed_guids(
    sql: Sql, by: str | None, places: Iterable[str], more: Iterable[str] = (), *, is_bound: bool = False
) -> str:
    where = " AND ".join((f"l.tenant_id = {sql.tenant}", *places))
    if is_bound:
        return f"SELECT l.guid FROM {sql.places(by)} WHERE {where}"
    return f"SELECT e.guid FROM {sql.listed(by=by)} WHERE {' AND '.join((where, sql.live(), *more))}"


def indexed(sql: Sql, lookup: Lookup) -> str:
    """What the search index finds, and what it has not come by yet; a guid may come more than once.

    Ranges are joined and not listed with OR: with that, both databases walk through all terms of the field.
    """
    of_field = f"t.tenant_id = {sql.tenant} AND t.field = {sql.bind(lookup.field)}"
    terms = [one.low for one in lookup.ranges if one.is_one]
    ranges = [one for one in lookup.ranges if not one.is_one]
    found = [_of_terms(sql, terms, of_field)] if terms else []
    if ranges:
        found.append(_within_ranges(sql, ranges, of_field))
    if lookup.beyond is not None:
        found.append(changed_since(sql, lookup.beyond))
    return " UNION ALL ".join(found) or f"SELECT t.guid FROM search_terms t WHERE {of_field} AND false"


def _of_terms(sql: Sql, terms: Sequence[str], of_field: str) -> str:
    if sql.is_sqlite or len(terms) == 1:
        return f"SELECT t.guid FROM search_terms t WHERE {of_field} AND {sql.among('t.term', terms)}"
    # Each by its key: asked for `term = ANY`, PostgreSQL before 17 goes through all terms of the field.
    return (
        f"SELECT one.guid FROM {sql.each(terms)} CROSS JOIN LATERAL"
        f" (SELECT t.guid FROM search_terms t WHERE {of_field} AND t.term = asked.value OFFSET 0) one"
    )


def _within_ranges(sql: Sql, ranges: Sequence[Range], of_field: str) -> str:
    lows, highs = [one.low for one in ranges], [one.high for one in ranges]
    if len(ranges) == 1:
        within = f"t.term >= {sql.bind(lows[0])} AND t.term < {sql.bind(highs[0])}"
        return f"SELECT t.guid FROM search_terms t WHERE {of_field} AND {within}"
    if sql.is_sqlite:
        asked = sql.bind(json_text(list(zip(lows, highs, strict=True))))
        return (
            f"SELECT t.guid FROM json_each({asked}) AS asked CROSS JOIN search_terms t"
            f" ON {of_field} AND t.term >= asked.value ->> 0 AND t.term < asked.value ->> 1"
        )
    return (
        f"SELECT one.guid FROM unnest({sql.bind(lows, 'text[]')}, {sql.bind(highs, 'text[]')}) AS asked (low, high)"
        f" CROSS JOIN LATERAL (SELECT t.guid FROM search_terms t WHERE {of_field}"
        " AND t.term >= asked.low AND t.term < asked.high OFFSET 0) one"
    )


# -- sources


def walk(sql: Sql, wanted: Wanted) -> Source:
    """All entities."""
    return Source("entities e", conditions_of(sql, wanted))


def walk_in_order(sql: Sql, wanted: Wanted, order: Order) -> Source:
    """All entities, by the index of an order."""
    if not order.is_by_change:
        return walk(sql, wanted)
    if order.sort is Sort.ENTITY_NAME and wanted.filters.entity_names:
        return walk_by(sql, wanted, "form_key", {form_key(name) for name in wanted.filters.entity_names})
    return Source(sql.listed(), [*places_of(sql, wanted), *conditions_of(sql, wanted)], is_listed=True)


def walk_by(sql: Sql, wanted: Wanted, column: str, values: Collection[str]) -> Source:
    """All entities, by the index of a column that places in lists have, too."""
    those = sql.among(f"l.{column}", values)
    return Source(
        sql.listed(by=column), [*places_of(sql, wanted, by=column), those, *conditions_of(sql, wanted)], is_listed=True
    )


def gather(sql: Sql, guids: str, wanted: Wanted) -> Source:
    """Those of the entities of these guids that meet the filters."""
    if sql.is_sqlite:
        return Source(
            f"({guids}) AS found CROSS JOIN entities e ON e.tenant_id = {sql.tenant} AND e.guid = found.guid",
            conditions_of(sql, wanted),
        )
    return Source(
        f"({guids}) AS found (guid) CROSS JOIN LATERAL"
        f" (SELECT * FROM entities e WHERE e.tenant_id = {sql.tenant} AND e.guid = found.guid OFFSET 0) e",
        conditions_of(sql, wanted),
    )


def page(
    sql: Sql,
    source: Source,
    order: Order,
    after: Key | None,
    *,
    limit: int,
    offset: int,
    columns: str,
    more: More = no_more,
) -> str:
    """A page of a source. Its keys are found first: only what is shown is looked at as a whole."""
    row = "l" if source.is_listed else "e"
    behind = [] if after is None else [_behind(sql, order, after, row)]
    where = " AND ".join((*source.conditions, *behind, *more(sql, "e")))
    ordered = _ordered(order, row)
    if (source.is_listed or source.rows == "entities e") and not offset:
        return f"SELECT {columns} FROM {source.rows} WHERE {where} ORDER BY {ordered} LIMIT {limit}"
    keys = f"SELECT e.guid FROM {source.rows} WHERE {where} ORDER BY {ordered} LIMIT {limit} OFFSET {offset}"
    return _rows_of(sql, keys, order, columns)


def merged(
    sql: Sql,
    wanted: Wanted,
    column: str,
    values: Collection[str],
    order: Order,
    after: Key | None,
    *,
    limit: int,
    offset: int,
    columns: str,
    more: More = no_more,
) -> str:
    """A page in the order of changes, of the entities with one of some values in a column that has an index in that
    order: of each value the first few, then the first few of all."""
    asked = sql.each(values)
    places = [*places_of(sql, wanted, by=column), f"l.{column} = asked.value"]
    conditions = [*places, *conditions_of(sql, wanted, row="o")]
    if after is not None:
        conditions.append(_behind(sql, order, after, "l"))
    conditions += more(sql, "o")
    few = f"WHERE {' AND '.join(conditions)} ORDER BY {_ordered(order, 'l')} LIMIT {limit + offset}"
    cut = f"ORDER BY {_ordered(order, 'e')} LIMIT {limit} OFFSET {offset}"
    if sql.is_sqlite:
        keys = (
            f"SELECT e.guid FROM {asked} CROSS JOIN entities e"
            f" ON e.rowid IN (SELECT o.rowid FROM {sql.listed('o', by=column)} {few}) {cut}"
        )
    else:
        keys = (
            f"SELECT e.guid FROM {asked} CROSS JOIN LATERAL"
            f" (SELECT l.position AS changed_position, l.guid FROM {sql.listed('o', by=column)} {few}) e {cut}"
        )
    return _rows_of(sql, keys, order, columns)


def _rows_of(sql: Sql, keys: str, order: Order, columns: str) -> str:
    if sql.is_sqlite:
        return (
            f"SELECT {columns} FROM ({keys}) AS page CROSS JOIN entities e"
            f" ON e.tenant_id = {sql.tenant} AND e.guid = page.guid ORDER BY {_ordered(order, 'e')}"
        )
    return (
        f"SELECT {columns} FROM ({keys}) AS page CROSS JOIN LATERAL"
        f" (SELECT * FROM entities e WHERE e.tenant_id = {sql.tenant} AND e.guid = page.guid OFFSET 0) e"
        f" ORDER BY {_ordered(order, 'e')}"
    )


def _behind(sql: Sql, order: Order, after: Key, row: str) -> str:
    """Row by row: the columns all run in one direction, so that an index is entered at the key."""
    names = ", ".join(_columns_of(order, row))
    values = ", ".join(sql.bind(value, "bigint" if isinstance(value, int) else "text") for value in after)
    return f"({names}) {'<' if order.descending else '>'} ({values})"


def _ordered(order: Order, row: str) -> str:
    direction = " DESC" if order.descending else ""
    return ", ".join(f"{column}{direction}" for column in _columns_of(order, row))


def _columns_of(order: Order, row: str) -> Sequence[str]:
    """Those of an entity, or, for the row `l`, of its place in lists."""
    named = {"changed_position": "position"} if row == "l" else {}
    return [f"{row}.{named.get(column, column)}" for column in order.sort.columns]


def changed_up_to(sql: Sql, position: int, *, row: str) -> str:
    return f"{row}.changed_position <= {sql.bind(position, 'bigint')}"


def newest_position(sql: Sql) -> str:
    return f"SELECT coalesce(max(l.position), 0) FROM listings l WHERE l.tenant_id = {sql.tenant}"


def rows_of(sql: Sql, guids: Sequence[str]) -> str:
    """The entities of these guids, those that are there and may be seen, in the order of the guids."""
    if sql.is_sqlite:
        # Walked through from the first to the last, and so not sorted.
        each = f"SELECT asked.value AS guid FROM json_each({sql.bind(json_text(guids))}) AS asked"
        source = gather(sql, each, Wanted(EVERYTHING))
        return f"SELECT {COLUMNS} FROM {source.rows} WHERE {source.where}"
    return (
        f"SELECT {COLUMNS} FROM unnest({sql.bind(list(guids), 'text[]')}) WITH ORDINALITY AS found (guid, place)"
        f" CROSS JOIN LATERAL (SELECT * FROM entities e WHERE e.tenant_id = {sql.tenant} AND e.guid = found.guid OFFSET 0) e"
        f" WHERE {' AND '.join(conditions_of(sql, Wanted(EVERYTHING)))} ORDER BY found.place"
    )


def counted(source: Source) -> str:
    return f"SELECT count(*) FROM {source.rows} WHERE {source.where}"


def counted_among(rows: str, source: Source) -> str:
    """How many of these rows belong to a source, and how many rows there are."""
    return f"SELECT count(CASE WHEN {source.where} THEN 1 END), count(*) FROM {rows}"


def first_of(guids: str, most: int) -> str:
    return f"SELECT guid FROM ({guids}) AS each_one LIMIT {most}"


def first_of_all(sql: Sql, most: int) -> str:
    """Some entities, whichever come first."""
    return f"(SELECT * FROM entities e WHERE e.tenant_id = {sql.tenant} AND {sql.live()} LIMIT {most}) AS e"


def first_that_have(sql: Sql, column: str, values: Collection[str], most: int) -> str:
    """Some of the entities with one of some values in a column that places in lists have, too."""
    where = f"l.tenant_id = {sql.tenant} AND {sql.live()} AND {sql.among(f'l.{column}', values)}"
    return f"(SELECT e.* FROM {sql.listed(by=column)} WHERE {where} LIMIT {most}) AS e"


def count_few(queries: Sequence[str], *, most: int) -> str:
    """How many guids each of the queries gives, `most` at most."""
    return "SELECT " + ", ".join(
        f"(SELECT count(*) FROM (SELECT 1 FROM ({query}) AS each_one LIMIT {most}) AS few)" for query in queries
    )
