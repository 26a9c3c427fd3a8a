"""Sync scopes: how much of a program a caller's device holds. Source: the contract's sync area, 2.3."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.ids import TenantId

_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """What a user is in one program, and how far that reaches. Wire form: `roleAssignments[]`."""

    tenant_id: TenantId
    role: str
    area_id: str | None = None
    sync_scope_override: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """The entities of a tenant that a caller may touch, by area and by kind; None is not limited, empty reaches nothing."""

    area_ids: frozenset[str] | None = None
    entity_types: frozenset[str] | None = None

    @property
    def is_bounded(self) -> bool:
        return self.area_ids is not None or self.entity_types is not None

    def includes_kind(self, kind: str | None) -> bool:
        return self.entity_types is None or kind in self.entity_types

    def includes_area(self, area_id: str | None) -> bool:
        """Whether that is no area beyond reach."""
        return self.area_ids is None or area_id is None or area_id in self.area_ids

    def includes(self, kind: str | None, area_id: object) -> bool:
        """Whether an entity of that kind in that area is within reach. What has no area is in none."""
        if not self.includes_kind(kind):
            return False
        return self.area_ids is None or (isinstance(area_id, str) and area_id in self.area_ids)

    def describe(self) -> str:
        """In words, for people."""
        if not self.is_bounded:
            return "everything"
        limits = (("areas", self.area_ids), ("kinds", self.entity_types))
        return "; ".join(f"{name}: {', '.join(sorted(ids)) or 'none'}" for name, ids in limits if ids is not None)


EVERYWHERE = Reach()


@dataclass(frozen=True)
class SyncScope:
    """Which entities a device is to hold. A dimension that is None is not limited."""

    area_ids: tuple[str, ...] | None = None
    entity_types: tuple[str, ...] | None = None
    time_window: Mapping[str, Any] | None = None

    @property
    def is_bounded(self) -> bool:
        return self.area_ids is not None or self.entity_types is not None

    @property
    def is_limited(self) -> bool:
        """Whether it leaves anything out of what is delivered."""
        return self.is_bounded or self.time_window is not None

    @property
    def reach(self) -> Reach:
        """The entities that may be touched and are delivered; time windows limit what is delivered only."""
        return Reach(
            None if self.area_ids is None else frozenset(self.area_ids),
            None if self.entity_types is None else frozenset(self.entity_types),
        )

    def begins(self, now: Millis) -> Millis | None:
        """Entities that did not change at or after this are not delivered."""
        return None if self.time_window is None else Millis(_begins(self.time_window, now))

    @cached_property
    def hash(self) -> str:
        """The same on every replica and after every restart; a client that sees another one pulls afresh."""
        document = {
            "areaIds": _list(self.area_ids),
            "entityTypes": _list(self.entity_types),
            "schemaVersion": _SCHEMA_VERSION,
            "timeWindow": self.time_window,
        }
        return f"sha256:{hashlib.sha256(canonical_json(document)).hexdigest()}"

    def to_wire(self) -> dict[str, Any]:
        return {
            "areaIds": _list(self.area_ids),
            "entityTypes": _list(self.entity_types),
            "timeWindow": self.time_window,
            "hash": self.hash,
        }


UNLIMITED = SyncScope()


def effective_scope(
    policy: Mapping[str, Any] | None, assignments: Collection[RoleAssignment], *, now: Millis
) -> SyncScope:
    """A program's policy narrowed by what one caller is assigned there.

    Several assignments are united first (an unlimited one leaves the dimension unlimited), then intersected with the
    policy; the result may be an empty list, which delivers nothing. Time windows are always intersected, so an
    assignment can narrow the program's window but not widen it.
    """
    if not policy and not assignments:
        return UNLIMITED
    program = _scope_of(policy or {})
    mine = [_scope_of(_override(assignment)) for assignment in assignments]
    windows = [scope.time_window for scope in (program, *mine) if scope.time_window]
    effective = SyncScope(
        area_ids=_intersect(program.area_ids, _unite(scope.area_ids for scope in mine)),
        entity_types=_intersect(program.entity_types, _unite(scope.entity_types for scope in mine)),
        time_window=max(windows, key=lambda window: _begins(window, now), default=None),
    )
    return UNLIMITED if effective == UNLIMITED else effective  # whose hash is known


def united_reach(assignments: Collection[RoleAssignment]) -> Reach:
    """What a person's assignments in one program let them touch together; everything without any."""
    return effective_scope(None, assignments, now=Millis(0)).reach


def _override(assignment: RoleAssignment) -> Mapping[str, Any]:
    if assignment.sync_scope_override is not None:
        return assignment.sync_scope_override
    return {"areaIds": [assignment.area_id]} if assignment.area_id else {}


def _scope_of(wire: Mapping[str, Any]) -> SyncScope:
    areas, types = wire.get("areaIds"), wire.get("entityTypes")
    return SyncScope(
        None if areas is None else tuple(sorted(areas)),
        None if types is None else tuple(sorted(types)),
        wire.get("timeWindow"),
    )


def _unite(dimensions: Iterable[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    united: set[str] | None = None
    for dimension in dimensions:
        if dimension is None:
            return None
        united = (united or set()) | set(dimension)
    return None if united is None else tuple(sorted(united))


def _intersect(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if one is None or other is None:
        return one if other is None else other
    return tuple(sorted(set(one) & set(other)))


def _begins(window: Mapping[str, Any], now: Millis) -> int:
    if window["type"] == "fixed":
        return parse_timestamp(window["floor"])
    return now - timedelta(days=window["days"]) // timedelta(milliseconds=1)


def _list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)
