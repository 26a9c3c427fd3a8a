"""Finding entities: pages of lists, the search, and all that a list would hold. Source: the contract's entities area."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from datacollect.db import Database, Reading
from datacollect.eventstore.log import EventLog
from datacollect.features.entities.entity import UNKNOWN_FORM
from datacollect.features.entities.finding.criteria import Attribute, Criterion, Hint
from datacollect.features.entities.finding.errors import SearchTooSlow
from datacollect.features.entities.finding.filters import EVERYTHING, ListFilters
from datacollect.features.entities.finding.listing import entity_in, key_in, read_page, read_rows
from datacollect.features.entities.finding.pages import BY_GUID, NEWEST, Key, Order, PageWanted, Total
from datacollect.features.entities.finding.planning import FEW, Way, choose_way, count_on
from datacollect.features.entities.finding.scanning import AnswersWords, Deadline, Judges, MeetsCriteria, scan
from datacollect.features.entities.finding.scanning import key_in as key_of_scanned
from datacollect.features.entities.indexing.lookups import Lookup, lookups_of_words
from datacollect.features.entities.indexing.queries import read_index
from datacollect.features.entities.indexing.state import IndexState
from datacollect.features.entities.indexing.terms import words_of
from datacollect.features.entities.indexing.values import caseless, number_of
from datacollect.features.entities.indexing.words import answers
from datacollect.features.entities.links.queries import guids_linked_to
from datacollect.features.entities.queries import StoredEntity
from datacollect.features.entities.service import Shown, count_by_form, with_members
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import TookTooLong
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant

_LATEST = 20_000
"""Changes that are gone through before indexes with many entities are intersected."""

_T = TypeVar("_T")


def _nobody(tenant_id: TenantId) -> None:
    """Need not know."""


@dataclass(frozen=True, slots=True)
class Finder:
    """What finding needs beside a request: the database, how long one may take, and turns for those that take long."""

    database: Database
    log: EventLog
    seconds: float
    turns: asyncio.Semaphore
    """Few go through a program at once: they leave connections and the processor to everybody else."""
    few: int = FEW
    """Entities that are sorted without an index for their order."""
    on_behind: Callable[[TenantId], None] = _nobody
    """Is told of a program whose search index is behind."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a list. `next_after` is None on the last one, `total` where it is not known."""

    shown: Sequence[Shown]
    next_after: Key | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """How an answer is come by."""

    way: Way
    judges: Judges | None
    """Who decides on each of the way's entities; None: all belong."""
    index: IndexState | None
    """What the search index was when it was asked; None: it was not."""

    @property
    def is_long(self) -> bool:
        """Whether it may go through much of the program."""
        return self.judges is not None and not self.way.is_counted


# -- lists


async def list_page(
    finder: Finder, scope: TenantScope, tenant: Tenant, filters: ListFilters, page: PageWanted
) -> Listed:
    """Raises `TookTooLong` (504)."""
    deadline = Deadline(finder.seconds)

    async def run(view: Reading, plan: _Plan) -> Listed:
        if plan.judges is None:
            return await _page(view, finder.log, scope, filters, page, plan.way)
        return await _judged_page(view, scope, page, plan.way, plan.judges, deadline)

    return await _answer(
        finder, scope, deadline, lambda view: _plan_list(view, scope, tenant, filters, page.order, finder.few), run
    )


async def _plan_list(
    view: Reading, scope: TenantScope, tenant: Tenant, filters: ListFilters, order: Order, few: int = FEW
) -> _Plan:
    if not filters.words:
        return _Plan(await choose_way(view, scope, filters, order, few=few), None, None)
    index = await read_index(view, scope)
    if not index.has_words_of(tenant.searchable):
        judges = AnswersWords(filters.words, tenant.searchable)
        return _Plan(await choose_way(view, scope, filters, order, few=few), judges, None)
    lookups = lookups_of_words(filters.words, beyond=index.beyond)
    way = await choose_way(view, scope, filters, order, lookups, few=few)
    # What the index finds answers the word; whether it answers the others as well has to be seen.
    is_exact = way.is_counted and way.is_by_lookup and len(lookups) == 1 and index.beyond is None
    return _Plan(way, None if is_exact else AnswersWords(filters.words, tenant.searchable), index)


async def _page(
    view: Reading, log: EventLog, scope: TenantScope, filters: ListFilters, page: PageWanted, way: Way
) -> Listed:
    found, is_cut = await read_page(
        view,
        scope,
        way,
        page.order,
        page.after,
        limit=page.limit + 1,
        offset=page.offset,
        with_data=page.shows("data"),
    )
    rows, is_last = found[: page.limit], len(found) <= page.limit and not is_cut
    if page.total is not Total.NONE and page.after is None and rows and is_last:
        total: int | None = page.offset + len(rows)
    else:
        total = await _total(view, log, scope, filters, page, way)
    following = None if is_last else key_in(rows[-1], page.order)
    return Listed(await _shown(view, scope, page, [entity_in(row) for row in rows]), following, total)


async def _judged_page(
    view: Reading, scope: TenantScope, page: PageWanted, way: Way, judges: Judges, deadline: Deadline
) -> Listed:
    """As `_page`; what is skipped by an offset has to be judged, too."""
    wanted = page.offset + page.limit + 1
    counts = page.total is Total.EXACT
    found = await scan(
        view, scope, way, judges, page.order, page.after, limit=None if counts else wanted, deadline=deadline
    )
    keys = {row[0]: row for row in found[page.offset : wanted]}
    entities, is_cut = await read_rows(view, scope, list(keys)[: page.limit])
    last = entities[-1].guid if is_cut else list(keys)[page.limit - 1] if len(keys) > page.limit else None
    following = None if last is None else key_of_scanned(keys[last], page.order)
    return Listed(await _shown(view, scope, page, entities), following, len(found) if counts else None)


async def _shown(view: Reading, scope: TenantScope, page: PageWanted, found: Sequence[StoredEntity]) -> Sequence[Shown]:
    if page.shows("memberIds"):
        return await with_members(view, scope, found)
    return [Shown(entity, None) for entity in found]


async def _total(
    view: Reading, log: EventLog, scope: TenantScope, filters: ListFilters, page: PageWanted, way: Way
) -> int | None:
    if page.total is Total.NONE:
        return None
    if filters.names_forms_only and not scope.reach.is_bounded:
        forms = await count_by_form(view, log, scope)
        if not filters.entity_names:
            return sum(forms.values())
        if UNKNOWN_FORM not in filters.entity_names:
            return sum(forms.get(name, 0) for name in filters.entity_names)
    return await count_on(view, scope, way, exactly=page.total is Total.EXACT)


async def iterate(
    view: Reading, scope: TenantScope, tenant: Tenant, filters: ListFilters = EVERYTHING, *, batch: int = 1000
) -> AsyncIterator[Sequence[Shown]]:
    """All entities that a list with these filters would hold, by guid, `batch` at a time; two statements each.

    An entity that does not change meanwhile comes exactly once.
    """
    plan = await _plan_list(view, scope, tenant, filters, BY_GUID)
    after: Key | None = None
    while True:
        rows, is_cut = await read_page(view, scope, plan.way, BY_GUID, after, limit=batch)
        found = [entity_in(row) for row in rows]
        if plan.judges is not None:
            found = _answering(found, filters, tenant)
        if found:
            yield await with_members(view, scope, found)
        if len(rows) < batch and not is_cut:
            return
        after = key_in(rows[-1], BY_GUID)


def _answering(found: Sequence[StoredEntity], filters: ListFilters, tenant: Tenant) -> list[StoredEntity]:
    """Those whose words answer the filters'."""
    fields = tenant.searchable
    return [
        entity
        for entity in found
        if answers(words_of(entity.name, msgspec.json.decode(entity.data), fields), filters.words)
    ]


async def count(view: Reading, scope: TenantScope, filters: ListFilters) -> int | None:
    """How many entities `iterate` gives; None where only going through them tells."""
    if filters.words:
        return None
    return await count_on(view, scope, await choose_way(view, scope, filters, BY_GUID), exactly=True)


# -- search


async def search(
    finder: Finder, scope: TenantScope, criteria: Sequence[Criterion], *, limit: int, after: Key | None
) -> Listed:
    """The entities that meet all criteria, those that changed last first. Raises `SearchTooSlow` (504)."""
    deadline = Deadline(finder.seconds)
    if any(one.hint is Hint.NOTHING for one in criteria):
        return Listed(())

    async def run(view: Reading, plan: _Plan) -> Listed:
        assert plan.judges is not None
        page = PageWanted(limit, NEWEST, after)
        if plan.way.is_intersection:
            # Each of the criteria alone is met by many; what meets all of them is often among the latest.
            head = await finder.log.head(view, scope)
            latest = plan.way.latest(max(0, (head.position if head is not None else 0) - _LATEST))
            found = await _judged_page(view, scope, page, latest, plan.judges, deadline)
            if len(found.shown) == limit and found.next_after is not None:
                return found
        return await _judged_page(view, scope, page, plan.way, plan.judges, deadline)

    try:
        return await _answer(
            finder, scope, deadline, lambda view: _plan_search(view, finder.log, scope, criteria, finder.few), run
        )
    except TookTooLong:
        raise SearchTooSlow() from None


async def _plan_search(
    view: Reading, log: EventLog, scope: TenantScope, criteria: Sequence[Criterion], few: int
) -> _Plan:
    judges = MeetsCriteria(criteria)
    named = [one.guids for one in criteria if one.guids is not None]
    if named:
        return _Plan(Way.of_guids(named[0]), judges, None)
    for criterion in criteria:
        # By its twin; what data holds under that name counts where there is none.
        if criterion.external_ids and (guids := await guids_linked_to(view, scope, criterion.external_ids)):
            others = [one for one in criteria if one is not criterion]
            return _Plan(Way.of_guids(guids), MeetsCriteria(others), None)
    index: IndexState | None = None
    lookups: Sequence[Lookup] = ()
    if any(one.attribute is None and one.ranges is not None for one in criteria):
        index = await read_index(view, scope)
        lookups = [
            Lookup(one.path, one.ranges, index.beyond)
            for one in criteria
            if one.attribute is None and one.ranges is not None and index.has(one.path)
        ]
    way = await choose_way(view, scope, await _filters_of(view, log, scope, criteria), NEWEST, lookups, few=few)
    return _Plan(way, judges, index if lookups else None)


async def _filters_of(view: Reading, log: EventLog, scope: TenantScope, criteria: Sequence[Criterion]) -> ListFilters:
    """Filters that everything passes that meets the criteria: they have indexes of their own."""
    since = [one.since for one in criteria if one.since is not None]
    types, forms = EVERYTHING.types, EVERYTHING.entity_names
    for one in criteria:
        if one.hint is Hint.EQUAL and one.attribute is Attribute.TYPE:
            types = frozenset(one.texts)
        elif one.hint is Hint.EQUAL and one.path == "entityName" and all(map(_is_name, one.texts)):
            head = await log.head(view, scope)
            known = head.figures if head is not None else {}
            forms = frozenset(name for name in known if caseless(name) in one.texts) or frozenset(one.texts)
    return ListFilters(types, forms, updated_since=Millis(max(since)) if since else None)


def _is_name(text: str) -> bool:
    """Whether only a text has that text."""
    return number_of(text) is None and text not in ("true", "false", "")


# -- both


async def _answer(
    finder: Finder,
    scope: TenantScope,
    deadline: Deadline,
    make: Callable[[Reading], Awaitable[_Plan]],
    run: Callable[[Reading, _Plan], Awaitable[_T]],
) -> _T:
    """Once more, as long as there is time, if the search index has become another while it was asked."""
    while True:
        async with finder.database.reading(scope, seconds=deadline.left, in_order=True) as view:
            plan = await make(view)
            if plan.index is not None and plan.index.beyond is not None:
                finder.on_behind(scope.tenant_id)
            if not plan.is_long:
                found = await run(view, plan)
                if await _is_unchanged(view, scope, plan):
                    return found
                continue
        async with (
            _turn(finder, deadline),
            finder.database.reading(scope, seconds=deadline.left, in_order=True) as view,
        ):
            found = await run(view, plan)
            if await _is_unchanged(view, scope, plan):
                return found


async def _is_unchanged(view: Reading, scope: TenantScope, plan: _Plan) -> bool:
    return plan.index is None or plan.index.tells_as(await read_index(view, scope))


@contextlib.asynccontextmanager
async def _turn(finder: Finder, deadline: Deadline) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(deadline.left):
            await finder.turns.acquire()
    except TimeoutError:
        raise SearchTooSlow() from None
    try:
        yield
    finally:
        finder.turns.release()
