"""Reading the part of a log that one reader gets. A page is a constant number of statements, whatever the history."""

from collections.abc import Sequence
from dataclasses import dataclass

from datacollect.db import Reading
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.store import DeliveredEvent, Page, Place
from datacollect.features.entities.service import guids_of_entities, known_guids, within_reach
from datacollect.features.sync.places import first_filed, places_within, read_places
from datacollect.kernel.clock import Millis
from datacollect.kernel.cursor import Cursor
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.sync_scope import EVERYWHERE, Box, Reach, SyncScope

_EXAMINED = 1000
"""Events looked at for a page when some are left out after looking: a page may be short, or empty, and not the last."""

_ENDS = ('"type":"delete-entity"', '"type":"resolve-duplicate"')
"""In the text of an event that may be the end of its entity."""

_AS_MUCH_AS_AN_EVENT = 10
"""Positions in an index of places, to read."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which events a reader gets."""

    reach: Reach = EVERYWHERE
    """Where its entities are: read from what is filed by place."""
    is_wish: bool = False
    """Whether its reader may have everything, and wants only this."""

    @property
    def is_whole(self) -> bool:
        return not self.reach.is_bounded


def part_for(sync_scope: SyncScope, areas: Sequence[str]) -> Part:
    """What a scope allows, narrowed by the areas its reader asks for."""
    reach = sync_scope.reach
    if not areas:
        return Part(reach)
    return Part(reach.within(Box(area_ids=frozenset(areas))), is_wish=not reach.is_bounded)


async def read_part(
    view: Reading,
    log: EventLog,
    scope: TenantScope,
    part: Part,
    *,
    place: Place,
    limit: int,
    begins: Millis | None,
) -> Page:
    """The next events of a part. `begins` leaves out entities that have not changed since, with all their events.

    Of a program that is purged meanwhile, and maybe made anew, there is nothing: the reader begins with the new one
    when it comes again.
    """
    # Not cut short where the log ends: it would take less time, and tell a limited reader that others are silent too.
    after = place.position
    first_in_window = 1 if begins is None else await log.position_at(view, scope, begins)
    sieved = first_in_window > 1
    look_at = max(limit, _EXAMINED) if sieved or part.is_wish else limit
    unfiled = await _unfiled(view, scope, after, limit=look_at) if part.is_wish else range(0)
    positions: Sequence[int]
    if unfiled:
        positions = list(unfiled)
    elif part.reach.is_bounded:
        places = places_within(part.reach)
        async with view.for_rows(look_at * len(places) // _AS_MUCH_AS_AN_EVENT) as rows:
            positions = await read_places(rows, scope, places, after=after, limit=look_at)
    else:
        positions = list(range(after + 1, after + 1 + look_at))
    async with view.for_rows(len(positions)) as rows:
        looked_at, is_cut = await log.read_at(rows, scope, positions, epoch=place.epoch)
    kept = looked_at
    if sieved and looked_at:
        named = {event.entity_guid for event in looked_at}
        async with view.for_rows(len(named)) as rows:
            guids = await guids_of_entities(rows, scope, named, changed_at=first_in_window)
        kept = [event for event in looked_at if event.entity_guid in guids]
    if unfiled and kept:
        kept = await _wished_for(view, scope, part, kept)
    more = is_cut or len(looked_at) == look_at or bool(unfiled and looked_at and looked_at[-1].position == unfiled[-1])
    return _page(looked_at, kept, after=after, limit=limit, more=more)


async def _unfiled(view: Reading, scope: TenantScope, after: int, *, limit: int) -> range:
    """The next positions from before the log was filed by place."""
    filed = await first_filed(view, scope)
    end = after + 1 + limit
    return range(after + 1, end if filed is None else max(after + 1, min(end, filed)))


async def _wished_for(
    view: Reading, scope: TenantScope, part: Part, found: Sequence[DeliveredEvent]
) -> Sequence[DeliveredEvent]:
    """Those from before the log was filed that are about who is now where the reader wishes, and all deletes: where an
    entity was that is gone is not known, and a device that holds it has to be told."""
    guids = sorted({event.entity_guid for event in found})
    here = await within_reach(view, scope.limited_to(part.reach), guids)
    there = await known_guids(view, scope, guids)
    return [
        event for event in found if event.entity_guid in here or (_ends(event) and not there.get(event.entity_guid))
    ]


def _ends(event: DeliveredEvent) -> bool:
    return any(type in event.body for type in _ENDS)


def _page(
    looked_at: Sequence[DeliveredEvent], kept: Sequence[DeliveredEvent], *, after: int, limit: int, more: bool
) -> Page:
    delivered = kept[:limit]
    if len(delivered) == limit:
        last: DeliveredEvent | None = delivered[-1]
    else:
        last = looked_at[-1] if more else None
    bodies = [event.body for event in delivered]
    if last is None:
        return Page(bodies, None, looked_at[-1].position if looked_at else after)
    return Page(bodies, Cursor(last.occurred_at, last.guid), last.position)
