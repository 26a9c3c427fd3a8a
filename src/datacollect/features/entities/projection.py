"""Keeps entities and memberships in the transaction that appends."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from datacollect.db import Tx
from datacollect.eventstore.event import Event
from datacollect.eventstore.projection import Context
from datacollect.features.entities.entity import Entity, Membership
from datacollect.features.entities.model import Changes, Rules, States, apply
from datacollect.features.entities.rows import LIVE, StateTables, load, save_entities, save_memberships
from datacollect.features.entities.touched import touched
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import Tenant

UNKNOWN_FORM = "Unknown"


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


Follower = Callable[[Tx, TenantScope, Sequence[Applied]], Awaitable[None]]
"""Called once for a batch, in its transaction, with what its events did, in log order."""


class EntityProjection:
    """Implements `InlineProjection`. What the events did is told to the followers, in the same transaction."""

    def __init__(self, followers: Sequence[Follower] = ()) -> None:
        self._followers = tuple(followers)

    async def start(self, tx: Tx, scope: TenantScope, tenant: Tenant, events: Sequence[Event]) -> "EntityRun":
        rules = Rules(tenant.custom_event_types, scope.reach)
        return EntityRun(scope, await load(tx, scope, touched(events)), rules, self._followers)


class EntityRun:
    """Implements `ProjectionRun`. The figures count live entities by the form they came from."""

    def __init__(
        self,
        scope: TenantScope,
        states: States,
        rules: Rules | None,
        followers: Sequence[Follower],
        tables: StateTables = LIVE,
    ) -> None:
        self._scope = scope
        self._tables = tables
        self._states = states
        self._rules = rules
        self._followers = followers
        self._entities: dict[str, Entity] = {}
        self._memberships: dict[tuple[str, str], Membership] = {}
        self._figures: dict[str, int] = {}
        self._applied: list[Applied] = []

    @property
    def figures(self) -> Mapping[str, int]:
        return self._figures

    def apply(self, event: Event, context: Context) -> None:
        changes = apply(self._states, event, context, self._rules)
        concerned = dict.fromkeys((*changes.entities, *(lost.entity_guid for lost in changes.lost)))
        held = self._states.entities
        before = {guid: held[guid] for guid in concerned if guid in held}
        self._count(changes)
        self._states.accept(changes)
        self._entities.update(changes.entities)
        for membership in changes.memberships():
            self._memberships[membership.group_guid, membership.member_guid] = membership
        after = {guid: held[guid] for guid in concerned}
        self._applied.append(Applied(event, context, before, after, changes))

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
        await save_entities(tx, self._scope, self._entities.values(), self._tables)
        await save_memberships(tx, self._scope, self._memberships.values(), self._tables)
        for follower in self._followers:
            await follower(tx, self._scope, self._applied)


def form_of(entity: Entity | None) -> str | None:
    """What a live entity is counted under; None for what does not exist."""
    if entity is None or not entity.is_live:
        return None
    return entity.entity_name or UNKNOWN_FORM
