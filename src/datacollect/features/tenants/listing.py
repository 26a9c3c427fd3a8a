"""Programs in a list, as their reader may see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.db import Reading
from datacollect.eventstore.figures import figures_of
from datacollect.features.tenants import queries
from datacollect.features.tenants.model import Listed, ListQuery, matching, ordered, page_of
from datacollect.features.tenants.published import masked_sync
from datacollect.kernel.identity import Actor
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sealing import Seals


@dataclass(frozen=True, slots=True)
class Line:
    """A program in the list, as the reader may see it."""

    program: Listed
    external_sync: Mapping[str, Any]
    entities_count: int | None
    """None for who is limited to a part of the program."""


@dataclass(frozen=True, slots=True)
class ListPage:
    lines: list[Line]
    total: int
    page: int
    total_pages: int


async def list_page(view: Reading, actor: Actor, query: ListQuery, *, seals: Seals) -> ListPage:
    """One page of the programs the reader may see, in three statements at most."""
    only = None if actor.is_admin else actor.tenant_ids
    visible = await queries.list_programs(view, only, include_archived=query.include_archived)
    found = matching(visible, query.search)
    counts = await _counts(view, actor, found) if query.by_count else {}
    number, pages = page_of(len(found), query)
    begin = (number - 1) * query.page_size
    shown = ordered(found, query, counts)[begin : begin + query.page_size]
    if shown and not query.by_count:
        counts = await _counts(view, actor, shown)
    bridges = await queries.external_syncs(view, seals, [program.id for program in shown]) if shown else {}
    lines = [Line(program, _shown_sync(bridges.get(program.id), actor), counts.get(program.id)) for program in shown]
    return ListPage(lines, len(found), number, pages)


def _shown_sync(external_sync: Mapping[str, Any] | None, actor: Actor) -> Mapping[str, Any]:
    return (external_sync if actor.is_admin else masked_sync(external_sync)) or {}


async def _counts(view: Reading, actor: Actor, programs: Sequence[Listed]) -> dict[TenantId, int]:
    """Of those that the reader may see all of: nothing is kept of parts."""
    whole = [program.id for program in programs if not actor.reach_in(program.id).is_bounded]
    figures = await figures_of(view, whole)
    return {tenant_id: sum(figures.get(tenant_id, {}).values()) for tenant_id in whole}
