"""Looking at a program's current state. Source: the contract's entities area."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement

from datacollect.db import Reading, Tx
from datacollect.db.portions import Portion
from datacollect.db.turns import others_turn
from datacollect.eventstore.event import Event, EventRejected
from datacollect.eventstore.log import EventLog
from datacollect.features.entities import queries
from datacollect.features.entities.around import Around as Around
from datacollect.features.entities.around import Called as Called
from datacollect.features.entities.around import members_named as members_named
from datacollect.features.entities.around import people_around as people_around
from datacollect.features.entities.entity import Entity, Kind, items_in
from datacollect.features.entities.errors import EntityNotFound, GroupNotFound
from datacollect.features.entities.finding.counting import count_within
from datacollect.features.entities.indexing.batches import Batch, list_changed
from datacollect.features.entities.projection import Ends
from datacollect.features.entities.queries import StoredEntity as StoredEntity
from datacollect.features.entities.queries import Summary as Summary
from datacollect.features.entities.queries import find_entity as find_entity
from datacollect.features.entities.queries import is_group, list_members, member_guids
from datacollect.features.entities.reach import Find, as_told, end_of_place, is_within, require_reach
from datacollect.features.entities.relatives import children_of, list_after, load_parents, members_of_groups, places_of
from datacollect.features.entities.relatives import memberships_of as memberships_of
from datacollect.features.entities.relatives import taken_out_gone as taken_out_gone
from datacollect.features.entities.rows import load
from datacollect.features.entities.snapshots import snapshot_of
from datacollect.features.entities.states import States
from datacollect.features.entities.touched import Touched, guids_of_members, parents_named
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

_LOOKED_AT_ONCE = 500
"""Places; it takes about a millisecond."""

groups_of = queries.list_groups_of
summaries_of = queries.summaries_of


@dataclass(frozen=True, slots=True)
class Shown:
    """An entity with its members' guids; None for what is no group."""

    entity: StoredEntity
    member_ids: Sequence[str] | None


async def current_data(view: Reading, scope: TenantScope, guid: str) -> Mapping[str, Any] | None:
    """What is known of an entity now; None if there is no such entity, or it is deleted."""
    entity = await find_entity(view, scope, guid)
    return None if entity is None else msgspec.json.decode(entity.data)


async def current_data_and(
    view: Reading, scope: TenantScope, guid: str, *also: ColumnElement[Any]
) -> tuple[Mapping[str, Any], tuple[Any, ...]] | None:
    """As `current_data`, and in the same statement what a later slice wants to know."""
    found = await queries.find_data_and(view, scope, guid, *also)
    return None if found is None else (msgspec.json.decode(found[0]), found[1])


async def entities_after(tx: Tx, scope: TenantScope, guid: str, *, limit: int) -> Sequence[Entity]:
    """The next entities that exist, in the order of their guids."""
    return await list_after(tx, scope, guid, limit=limit)


async def snapshots_of(
    tx: Tx, scope: TenantScope, found: Sequence[Entity], *, source: str, now: Millis
) -> Sequence[Event]:
    """The events that bring a device to what the hub holds of these entities."""
    members = await members_of_groups(tx, scope, [entity.guid for entity in found if entity.kind is Kind.GROUP])
    first = now - len(found) + 1
    return [
        snapshot_of(entity, members.get(entity.guid, ()), source=source, secret=source, told_at=Millis(first + index))
        for index, entity in enumerate(found)
    ]


guids_of_entities = queries.guids_of_entities
known_guids = queries.known_guids
positions_of = queries.positions_of


async def entities_changed(view: Reading, scope: TenantScope, *, after: int, to: int, limit: int) -> Batch:
    """The entities that exist and were last changed next, about `limit` of them, in the order of their changes."""
    return await list_changed(view, scope, after=after, to=to, limit=limit)


async def entities_by_guid(view: Reading, scope: TenantScope, guids: Collection[str]) -> Sequence[Entity]:
    """Those that exist."""
    states = await load(view, scope, Touched(guids=set(guids)))
    return [entity for entity in states.entities.values() if entity.is_live]


async def entity_or_end(view: Reading, scope: TenantScope, guid: str) -> Entity | None:
    """The entity, or what is left of it when it is deleted; None if nobody has ever written it."""
    return (await load(view, scope, Touched(guids={guid}))).entities.get(guid)


async def surroundings(
    tx: Tx, scope: TenantScope, guids: Collection[str], *, children_of_: str, most_children: int
) -> tuple[States, Sequence[Entity]]:
    """The entities with their memberships, in groups and of members; and those whose parent one of them is."""
    needed = Touched(guids=set(guids), cascading=set(guids))
    return await load(tx, scope, needed), await children_of(tx, scope, children_of_, limit=most_children)


async def count_by_form(view: Reading, log: EventLog, scope: TenantScope) -> Mapping[str, int]:
    """Live entities by form. Kept with the log's head, so that nothing is scanned; those of a limited reader are
    counted, each by the index of its area."""
    if scope.reach.is_bounded:
        return await count_within(view, scope)
    head = await log.head(view, scope)
    return head.figures if head is not None else {}


async def get_entity(view: Reading, scope: TenantScope, guid: str) -> Shown:
    """Raises `EntityNotFound`, also for one that is beyond the reader's reach."""
    entity = await find_entity(view, scope, guid)
    if entity is None or guid not in await within_reach(view, scope, [guid]):
        raise EntityNotFound(guid)
    return (await with_members(view, scope, [entity]))[0]


async def members_of_group(view: Reading, scope: TenantScope, guid: str) -> Portion[StoredEntity]:
    """The members that exist, in the order in which they joined, the first of very many. Raises `GroupNotFound`."""
    if not await is_group(view, scope, guid) or guid not in await within_reach(view, scope, [guid]):
        raise GroupNotFound(guid)
    members, is_cut = await list_members(view, scope, guid)
    visible = await within_reach(view, scope, [member.guid for member in members])
    return Portion([member for member in members if member.guid in visible], is_cut)


async def within_reach(view: Reading, scope: TenantScope, guids: Sequence[str]) -> Collection[str]:
    """Those of the entities that the reader may see: where they are decides, as it does in sync."""
    if not scope.reach.is_bounded:
        return guids
    states = await load(view, scope, Touched(guids=set(guids)))
    await load_parents(view, scope, states, ())
    find = states.entities.get
    return {guid for guid in guids if (held := find(guid)) is not None and is_within(scope.reach, held, find)}


async def told_within_reach(view: Reading, scope: TenantScope, events: Mapping[int, Event]) -> Mapping[int, Event]:
    """Those of the events, by position, that are about entities within the reader's reach, as they are told to them."""
    if not scope.reach.is_bounded:
        return events
    named = {guid for event in events.values() for guid in (event.entity_guid, *guids_of_members(event))}
    find = (await places_of(view, scope, named)).get
    told: dict[int, Event] = {}
    looked_at = 0
    for position, event in events.items():
        if (held := find(event.entity_guid)) is not None and is_within(scope.reach, held, find):
            told[position] = as_told(event, position, scope.reach, find)
        looked_at += 1 + len(items_in(event.data, "members"))
        if looked_at >= _LOOKED_AT_ONCE:
            looked_at = 0
            await others_turn()
    return told


async def touchable_within(ends: Ends, view: Reading, scope: TenantScope, guids: Sequence[str]) -> Collection[str]:
    """Those of the entities that are within the caller's reach, or ended within it: by then a device may not know."""
    if not scope.reach.is_bounded:
        return guids
    states = await load(view, scope, Touched(guids=set(guids)))
    await load_parents(view, scope, states, ())
    find = states.entities.get
    ended = {entity.guid: end for entity in states.entities.values() if (end := end_of_place(entity)) is not None}
    gone = await ends(view, scope, ended) if ended else ()
    return {guid for guid in guids if (held := find(guid)) is not None and is_within(scope.reach, held, find, gone)}


async def events_within_reach(view: Reading, scope: TenantScope, events: Sequence[Event]) -> Collection[str]:
    """The guids of those events, not appended yet, that the caller could append as far as their reach goes."""
    if not scope.reach.is_bounded:
        return {event.guid for event in events}
    states = await load(view, scope, Touched(guids={event.entity_guid for event in events}))
    await load_parents(view, scope, states, parents_named(events))
    return {event.guid for event in events if _may_touch(states.entities.get, event, scope)}


def _may_touch(find: Find, event: Event, scope: TenantScope) -> bool:
    try:
        require_reach(find, event, scope.reach)
    except EventRejected:
        return False
    return True


async def begins_after(view: Reading, scope: TenantScope, guid: str) -> int | None:
    """Behind which position a reader may see what happened to an entity; None if it is beyond their reach.

    What is within a limited reader's reach may have had a life before that was not: it was deleted, and made anew.
    """
    if not scope.reach.is_bounded:
        return 0
    if guid not in await within_reach(view, scope, [guid]):
        return None
    held = (await load(view, scope, Touched(guids={guid}))).entities[guid]
    return held.deleted.position if held.deleted is not None else 0


async def with_members(view: Reading, scope: TenantScope, found: Sequence[StoredEntity]) -> Sequence[Shown]:
    groups = {entity.guid for entity in found if entity.type == Kind.GROUP}
    members = await member_guids(view, scope, sorted(groups))
    return [Shown(entity, members.get(entity.guid, ()) if entity.guid in groups else None) for entity in found]
