"""Which way to take to a page: with the index of its order, or with the few entities that can be on it.

What an index finds is counted first, up to `FEW`; that is one statement. Counting decides, not the planner, because its
statements are planned once for all tenants and values.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from datacollect.db import Reading
from datacollect.eventstore.lookup import position_recorded_by
from datacollect.features.entities.finding import statements
from datacollect.features.entities.finding.filters import EVERYTHING, ListFilters
from datacollect.features.entities.finding.pages import NEWEST, Key, Order, Sort
from datacollect.features.entities.finding.statements import More, Source, Sql, Wanted, no_more
from datacollect.features.entities.indexing.lookups import Lookup
from datacollect.features.entities.keys import form_key
from datacollect.http.hub import EntityMark
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

FEW = 3_000
"""Entities that are sorted without an index for their order."""

MOST_MERGED = 50
"""Values of a filter whose entities are merged in the order of their changes."""

Guids = Callable[[Sql], str]


@dataclass(frozen=True, slots=True)
class _Narrow:
    """Entities that an index finds."""

    guids: Guids
    """The query for them, each once."""
    bound: Guids
    """A query that gives no fewer guids, and that is quicker to count."""

    @classmethod
    def of(cls, query: Callable[..., str], **asked: Any) -> "_Narrow":
        """Of one of the queries that know a bound."""
        return cls(partial(query, **asked), partial(query, **asked, is_bound=True))


@dataclass(frozen=True, slots=True)
class Way:
    """How the entities of a list are come by."""

    wanted: Wanted
    guids: Guids | None = None
    """The query for those that can belong; None: walk the index of the order."""
    merged: tuple[str, Collection[str]] | None = None
    """A column with an index in the order of changes, and the values to merge."""
    counted: int | None = None
    """How many can belong at most; None if they may be many."""
    is_by_lookup: bool = False
    """Whether they are what one of the lookups finds."""
    is_intersection: bool = False
    """Whether they are what all of the lookups find, which may be many, and take long to find."""

    @classmethod
    def of_guids(cls, guids: Collection[str]) -> "Way":
        return cls(Wanted(EVERYTHING), partial(statements.named, guids=guids), counted=len(guids))

    @property
    def is_counted(self) -> bool:
        return self.counted is not None

    @property
    def is_whole_program(self) -> bool:
        """Whether it leads through all entities."""
        return self.guids is None and self.merged is None and self.wanted.since is None

    def latest(self, since: int) -> "Way":
        """The entities that changed behind a position, all of them."""
        return Way(replace(self.wanted, since=max(since, self.wanted.since or 0)))

    def source(self, sql: Sql) -> Source:
        if self.guids is None:
            return statements.walk(sql, self.wanted)
        return statements.gather(sql, self.guids(sql), self.wanted)

    def page(
        self,
        sql: Sql,
        order: Order,
        after: Key | None,
        *,
        limit: int,
        offset: int = 0,
        columns: str = statements.COLUMNS,
        more: More = no_more,
    ) -> str:
        if self.merged is None:
            in_order = self.guids is None
            source = statements.walk_in_order(sql, self.wanted, order) if in_order else self.source(sql)
            return statements.page(sql, source, order, after, limit=limit, offset=offset, columns=columns, more=more)
        column, values = self.merged
        return statements.merged(
            sql, self.wanted, column, values, order, after, limit=limit, offset=offset, columns=columns, more=more
        )


async def choose_way(
    view: Reading,
    scope: TenantScope,
    filters: ListFilters,
    order: Order,
    lookups: Sequence[Lookup] = (),
    *,
    few: int = FEW,
) -> Way:
    """Three statements at most. `lookups` are what else the entities must meet, as far as the search index knows.

    What the way leads to meets the filters, but need not meet the lookups. `few` are sorted without an index.
    """
    since = None
    if filters.updated_since is not None:
        since = await position_recorded_by(view, scope, Millis(filters.updated_since - 1))
    wanted = Wanted(filters, since)
    if filters.external_id is not None:
        return Way(wanted, partial(statements.linked, external_id=filters.external_id), counted=1)
    if filters.parent is not None:
        return Way(wanted, partial(statements.below, parent=filters.parent))
    found = [partial(statements.indexed, lookup=lookup) for lookup in lookups]
    narrow = [*(_Narrow(query, query) for query in found), *_few_by(scope, wanted)]
    by_time = _by_time(wanted)
    if order.sort is Sort.LAST_UPDATED and not narrow:
        return Way(wanted, merged=by_time)
    narrow += _many_by(wanted)
    if not narrow:
        return Way(wanted)
    counts = await _count(view, scope, narrow, most=few + 1)
    least = min(counts)
    if least <= few:
        best = counts.index(least)
        if best >= len(found):
            return Way(wanted, narrow[best].guids, counted=least)
        return Way(wanted, lambda sql: statements.each_once(found[best](sql)), counted=least, is_by_lookup=True)
    if len(found) > 1:
        return Way(wanted, lambda sql: statements.all_of([query(sql) for query in found]), is_intersection=True)
    if order.sort is Sort.LAST_UPDATED:
        return Way(wanted, merged=by_time)
    return Way(wanted)


def _few_by(scope: TenantScope, wanted: Wanted) -> list[_Narrow]:
    """Filters that no index has in the order of changes."""
    marked = [partial(_marked, mark=mark) for mark, is_wanted in wanted.filters.marks if is_wanted]
    found = [_Narrow(query, query) for query in marked]
    if scope.reach.is_by_area:
        found.append(_Narrow.of(statements.in_reach, reach=scope.reach))
    return found


def _marked(sql: Sql, *, mark: EntityMark) -> str:
    return statements.each_once(f"SELECT '' AS guid WHERE false UNION ALL {mark(sql.tenant)}")


def _many_by(wanted: Wanted) -> list[_Narrow]:
    filters = wanted.filters
    found: list[_Narrow] = []
    if wanted.since is not None:
        found.append(_Narrow.of(statements.changed_since, position=wanted.since))
    if filters.areas:
        found.append(_Narrow.of(statements.in_areas, areas=filters.areas))
    if filters.entity_names:
        found.append(_Narrow.of(statements.of_forms, names=filters.entity_names))
    if filters.types:
        found.append(_Narrow.of(statements.of_types, types=filters.types))
    return found


def _by_time(wanted: Wanted) -> tuple[str, Collection[str]] | None:
    """The filter to read a page in the order of changes by: likely the one that fewest entities meet."""
    filters = wanted.filters
    forms = {form_key(name) for name in filters.entity_names}
    for column, values in (("area_id", filters.areas), ("form_key", forms), ("type", filters.types)):
        if 0 < len(values) <= MOST_MERGED:
            return column, values
    return None


async def _count(view: Reading, scope: TenantScope, narrow: Sequence[_Narrow], *, most: int) -> Sequence[int]:
    sql = Sql(view.dialect, scope)
    text = statements.count_few([one.bound(sql) for one in narrow], most=most)
    return list((await view.fetch(text, *sql.values))[0])


def _all_of(sql: Sql, way: Way) -> Source:
    """What a way leads to, in no order."""
    by, wanted = _by_time(way.wanted), way.wanted
    if way.guids is not None:
        return way.source(sql)
    if by is not None:
        return statements.walk_by(sql, wanted, *by)
    return statements.walk(sql, wanted) if wanted.since is None else statements.walk_in_order(sql, wanted, NEWEST)


async def count_on(view: Reading, scope: TenantScope, way: Way, *, exactly: bool) -> int | None:
    """How many entities the way leads to; None if that is not soon counted. One statement."""
    sql = Sql(view.dialect, scope)
    if exactly or way.is_counted:
        text = statements.counted(_all_of(sql, way))
        return int((await view.fetch(text, *sql.values))[0][0])
    if way.guids is not None:
        source = statements.gather(sql, statements.first_of(way.guids(sql), 2 * FEW + 1), way.wanted)
        text = statements.counted_among(source.rows, source)
    else:
        most = 2 * FEW + 1
        rows = statements.first_of_all(sql, most)
        if way.merged is not None:
            rows = statements.first_that_have(sql, *way.merged, most)
        text = statements.counted_among(rows, statements.walk(sql, way.wanted))
    counted, looked_at = (await view.fetch(text, *sql.values))[0]
    return None if looked_at > 2 * FEW else int(counted)
