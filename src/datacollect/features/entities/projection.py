"""Keeps entities and memberships in the transaction that appends."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from datacollect.db import Reading, Tx
from datacollect.eventstore.event import Event, Origin
from datacollect.eventstore.projection import Context
from datacollect.eventstore.store import Scoping
from datacollect.features.entities.entity import UNKNOWN_FORM, Entity, Membership, Place, parents_in
from datacollect.features.entities.errors import EntityTooLarge
from datacollect.features.entities.indexing.queries import Row
from datacollect.features.entities.indexing.upkeep import Indexing, bring_up
from datacollect.features.entities.listings import Change
from datacollect.features.entities.model import apply
from datacollect.features.entities.reach import end_of_place, place_of
from datacollect.features.entities.relatives import load_merges, load_parents
from datacollect.features.entities.rows import LIVE, StateTables, load_for_append, save_entities, save_memberships
from datacollect.features.entities.snapshots import SnapshotsDue
from datacollect.features.entities.states import Changes, States
from datacollect.features.entities.touched import parents_named, touched
from datacollect.features.entities.work import Rules
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import MINIMUM_ROLE, Action, TenantScope
from datacollect.kernel.sync_scope import EVERYWHERE, NOWHERE, Reach
from datacollect.kernel.tenancy import Tenant


@dataclass(frozen=True, slots=True)
class Applied:
    """One event and what it did."""

    event: Event
    context: Context
    before: Mapping[str, Entity]
    """The entities it was about, as it found them; what was not there is left out."""
    after: Mapping[str, Entity]
    """The same as it left them, changed or not."""
    changes: Changes
    places: Sequence[Place] = ()
    """Where the event's entity was before it or is after it; kept only for logs that are read in parts."""
    is_heard: bool = True
    """False for a decision about something beside the entities, of a sender who is no supervisor where its entity was.
    True of all that is applied again."""


Follower = Callable[[Tx, TenantScope, Sequence[Applied]], Awaitable[None]]
"""Called once for a batch, in its transaction, with what its events did, in log order.

An event that did no more than write its own entity is left out, unless it has places: it tells that by itself.
"""

Ends = Callable[[Reading, TenantScope, Mapping[str, int]], Awaitable[Collection[str]]]
"""Gives those of some entities, each with the position of its last delete, that a limited sender was told the end of."""

MOST_ENTITY_BYTES = 8 * 1024 * 1024
"""Of the data of an entity, as JSON: what every list that holds it, and every event about it, has in memory. No client
makes it hold more; what is stored already, by whomever, is read and written as before."""
_MOST_BYTES_OF_A_LETTER = 4

_ALWAYS_TOLD = frozenset({"resolve-duplicate"})
"""What decides about something beside the entities."""


class EntityProjection:
    """Implements `InlineProjection`. What the events did is told to the followers, in the same transaction."""

    def __init__(
        self, followers: Sequence[Follower] = (), *, keeps_index: bool = True, ends: Ends | None = None
    ) -> None:
        self._followers = tuple(followers)
        self._keeps_index = keeps_index
        self._ends = ends

    async def start(
        self, tx: Tx, scope: TenantScope, tenant: Tenant, events: Sequence[Event], *, scoping: Scoping | None
    ) -> "EntityRun":
        needed = touched(events)
        states, index = await load_for_append(tx, scope, needed)
        await load_merges(tx, scope, states, needed)
        if scope.reach.is_bounded or scoping is not None:
            # Also the parents of those who have an area: this batch may take it away.
            held = [parent for entity in states.entities.values() for parent in parents_in(entity.data)]
            await load_parents(tx, scope, states, [*held, *parents_named(events)])
        if scope.reach.is_bounded and self._ends is not None:
            ended = {
                entity.guid: end for entity in states.entities.values() if (end := end_of_place(entity)) is not None
            }
            if ended:
                states.ended.update(await self._ends(tx, scope, ended))
        rules = Rules(tenant.custom_event_types, scope.reach, _supervised(scope))
        due = None if scoping is None else SnapshotsDue(scoping)
        indexing = Indexing(index, tenant.searchable, self._keeps_index)
        return EntityRun(scope, states, rules, self._followers, due=due, index=indexing)


class EntityRun:
    """Implements `ProjectionRun`. The figures count live entities by the form they came from."""

    def __init__(
        self,
        scope: TenantScope,
        states: States,
        rules: Rules | None,
        followers: Sequence[Follower],
        tables: StateTables = LIVE,
        due: SnapshotsDue | None = None,
        index: Indexing | None = None,
    ) -> None:
        self._scope = scope
        self._tables = tables
        self._states = states
        self._rules = rules
        self._followers = followers
        self._due = due
        self._index = index
        self._log_is_new = False
        self._come_bytes = 0
        self._recorded_at = Millis(0)
        self._entities: dict[str, Entity] = {}
        self._found: dict[str, Entity | None] = {}
        """Those of the same guids, as they were loaded."""
        self._memberships: dict[tuple[str, str], Membership] = {}
        self._figures: dict[str, int] = {}
        self._applied: list[Applied] = []

    @property
    def figures(self) -> Mapping[str, int]:
        return self._figures

    def apply(self, event: Event, context: Context) -> None:
        changes = apply(self._states, event, context, self._rules)
        if context.size_bytes and context.origin is Origin.CLIENT:
            self._require_room(changes, context)
        self._log_is_new |= context.position == 1
        self._recorded_at = context.recorded_at
        if self._due is None and event.type not in _ALWAYS_TOLD and changes.is_own_write_only(event.entity_guid):
            self._accept(changes)
            return
        concerned = dict.fromkeys((*changes.entities, *(lost.entity_guid for lost in changes.lost)))
        held = self._states.entities
        before = {guid: held[guid] for guid in concerned if guid in held}
        is_heard = (
            self._rules is None or event.type not in _ALWAYS_TOLD or self._rules.is_by_supervisor(event, held.get)
        )
        self._accept(changes)
        after = {guid: held[guid] for guid in concerned}
        places = self._places(event, context, changes, before)
        self._applied.append(Applied(event, context, before, after, changes, places, is_heard))

    def _require_room(self, changes: Changes, context: Context) -> None:
        """Raises `EntityTooLarge`. Looks closely only where what was loaded and all that came since may be so much."""
        self._come_bytes += context.size_bytes
        letters = self._states.letters
        for guid, entity in changes.entities.items():
            most = letters.get(guid, 0) * _MOST_BYTES_OF_A_LETTER + self._come_bytes
            if most > MOST_ENTITY_BYTES and _is_grown_too_large(self._states.entities.get(guid), entity):
                raise EntityTooLarge()

    def _accept(self, changes: Changes) -> None:
        self._count(changes)
        held = self._states.entities
        for guid in changes.entities:
            if guid not in self._found:
                self._found[guid] = held.get(guid)
        self._states.accept(changes)
        self._entities.update(changes.entities)
        for membership in changes.memberships():
            self._memberships[membership.group_guid, membership.member_guid] = membership

    def _places(
        self, event: Event, context: Context, changes: Changes, before: Mapping[str, Entity]
    ) -> Sequence[Place]:
        if self._due is None:
            return ()
        now = self._states.entities.get
        if context.origin is not Origin.SNAPSHOT:

            def was(guid: str) -> Entity | None:
                return before.get(guid) if guid in changes.entities else now(guid)

            return self._due.note(event, context, changes, was, now, self._states.members_of)
        if event.guid in self._due.places:
            return self._due.places[event.guid]
        place = place_of(now(event.entity_guid), now)
        return () if place is None else (place,)

    def _count(self, changes: Changes) -> None:
        before, figures = self._states.entities, self._figures
        for guid, entity in changes.entities.items():
            was, now = form_of(before.get(guid)), form_of(entity)
            if was == now:
                continue
            if was is not None:
                figures[was] = figures.get(was, 0) - 1
            if now is not None:
                figures[now] = figures.get(now, 0) + 1

    async def save(self, tx: Tx) -> None:
        changes = [(self._found[guid], entity) for guid, entity in self._entities.items()]
        terms = () if self._index is None else await self._bring_up(tx, self._index, changes)
        await save_entities(tx, self._scope, changes, self._tables, terms=terms)
        await save_memberships(tx, self._scope, self._memberships.values(), self._tables)

    async def _bring_up(self, tx: Tx, index: Indexing, changes: Sequence[Change]) -> Sequence[Row]:
        return await bring_up(tx, self._scope, index, changes, log_is_new=self._log_is_new, now=self._recorded_at)

    async def snapshots(self, tx: Tx) -> Sequence[Event]:
        if self._due is None:
            return ()
        return await self._due.make(tx, self._scope, self._states, self._recorded_at)

    async def tell(self, tx: Tx) -> None:
        if not self._applied:
            return
        for follower in self._followers:
            await follower(tx, self._scope, self._applied)


def _supervised(scope: TenantScope) -> Reach:
    """Where the sender is a supervisor, or more. Who may write everywhere is what they are throughout: their events may
    be in one batch with those of others of that role."""
    required = MINIMUM_ROLE[Action.APPROVE]
    if scope.role.level >= required.level:
        return EVERYWHERE
    held = scope.held_as(required) if scope.reach.is_bounded else None
    return NOWHERE if held is None else held.reach


def _is_grown_too_large(before: Entity | None, after: Entity) -> bool:
    size = len(msgspec.json.encode(after.data))
    return size > MOST_ENTITY_BYTES and (before is None or size > len(msgspec.json.encode(before.data)))


def form_of(entity: Entity | None) -> str | None:
    """What a live entity is counted under; None for what does not exist."""
    if entity is None or not entity.is_live:
        return None
    return entity.entity_name or UNKNOWN_FORM
