"""Keeps entities and memberships in the transaction that appends."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from datacollect.db import Tx
from datacollect.eventstore.event import Event
from datacollect.eventstore.projection import Context
from datacollect.features.entities.entity import Entity, LostWrite, Membership
from datacollect.features.entities.model import Changes, States, apply
from datacollect.features.entities.rows import load, save_entities, save_memberships
from datacollect.features.entities.touched import touched
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import Tenant

UNKNOWN_FORM = "Unknown"


@dataclass(frozen=True, slots=True)
class Overruled:
    """An event some of whose values did not become part of one entity: a later write or delete was there before it."""

    event: Event
    context: Context
    entity: Entity
    """As the event left it."""
    lost: Sequence[LostWrite]


KeepOverruled = Callable[[Tx, TenantScope, Sequence[Overruled]], Awaitable[None]]


class EntityProjection:
    """Implements `InlineProjection`. What events write in vain is handed to `keep_overruled`, in the transaction."""

    def __init__(self, keep_overruled: KeepOverruled) -> None:
        self._keep_overruled = keep_overruled

    async def start(self, tx: Tx, scope: TenantScope, tenant: Tenant, events: Sequence[Event]) -> "EntityRun":
        del tenant  # will say which custom event types are on
        return EntityRun(scope, await load(tx, scope, touched(events)), self._keep_overruled)


class EntityRun:
    """Implements `ProjectionRun`. The figures count live entities by the form they came from."""

    def __init__(self, scope: TenantScope, states: States, keep_overruled: KeepOverruled) -> None:
        self._scope = scope
        self._states = states
        self._entities: dict[str, Entity] = {}
        self._memberships: dict[tuple[str, str], Membership] = {}
        self._figures: dict[str, int] = {}
        self._keep_overruled = keep_overruled
        self._overruled: list[Overruled] = []

    @property
    def figures(self) -> Mapping[str, int]:
        return self._figures

    def apply(self, event: Event, context: Context) -> None:
        changes = apply(self._states, event, context)
        self._count(changes)
        self._states.accept(changes)
        self._entities.update(changes.entities)
        for membership in changes.memberships():
            self._memberships[membership.group_guid, membership.member_guid] = membership
        for guid, lost in _by_entity(changes.lost).items():
            self._overruled.append(Overruled(event, context, self._states.entities[guid], lost))

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
        await save_entities(tx, self._scope, self._entities.values())
        await save_memberships(tx, self._scope, self._memberships.values())
        if self._overruled:
            await self._keep_overruled(tx, self._scope, self._overruled)


def _by_entity(writes: Sequence[LostWrite]) -> Mapping[str, Sequence[LostWrite]]:
    found: dict[str, list[LostWrite]] = {}
    for lost in writes:
        found.setdefault(lost.entity_guid, []).append(lost)
    return found


def form_of(entity: Entity | None) -> str | None:
    """What a live entity is counted under; None for what does not exist."""
    if entity is None or not entity.is_live:
        return None
    return entity.entity_name or UNKNOWN_FORM
