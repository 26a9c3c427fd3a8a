"""Sync scopes: how much of a program a caller's device holds. Source: the contract's sync area, 2.3."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.ids import TenantId

_SCHEMA_VERSION = 1

KINDS_IN_PLACES = ("group", "individual")
"""The kinds by which entities are reached: a record is where and what its parent is."""


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """What a user is in one program, and how far that reaches. Wire form: `roleAssignments[]`."""

    tenant_id: TenantId
    role: str
    area_id: str | None = None
    sync_scope_override: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """Entities by area and by kind: what is in both. None is not limited, empty reaches nothing."""

    area_ids: frozenset[str] | None = None
    entity_types: frozenset[str] | None = None

    @property
    def is_bounded(self) -> bool:
        return self.area_ids is not None or self.entity_types is not None

    @property
    def is_empty(self) -> bool:
        return frozenset() in (self.area_ids, self.entity_types)

    def includes_kind(self, kind: str | None) -> bool:
        return self.entity_types is None or kind in self.entity_types

    def includes_area(self, area_id: str | None) -> bool:
        """Whether that is no area beyond the box."""
        return self.area_ids is None or area_id is None or area_id in self.area_ids

    def includes(self, kind: str | None, area_id: object) -> bool:
        """Whether an entity of that kind in that area is in the box. What has no area is in none."""
        if not self.includes_kind(kind):
            return False
        return self.area_ids is None or (isinstance(area_id, str) and area_id in self.area_ids)

    def within(self, other: "Box") -> "Box":
        """What is in both."""
        return Box(_both(self.area_ids, other.area_ids), _both(self.entity_types, other.entity_types))

    def describe(self) -> str:
        if not self.is_bounded:
            return "everything"
        limits = (("areas", self.area_ids), ("kinds", self.entity_types))
        return "; ".join(f"{name}: {', '.join(sorted(ids)) or 'none'}" for name, ids in limits if ids is not None)

    def to_wire(self) -> dict[str, Any]:
        return {"areaIds": _list(self.area_ids), "entityTypes": _list(self.entity_types)}


_NOTHING = Box(frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class Reach:
    """The entities of a tenant that a caller may touch: what is in any of some boxes.

    Whatever it is made of, it holds the union in one form: a single box wherever that says it, else boxes that have no
    kind in common, so that no entity is in two of them. It has no areas and no kinds of its own: whoever asked for the one
    and then for the other would take what is in the areas of one box and of the kinds of another for reached.
    """

    boxes: tuple[Box, ...] = (Box(),)
    is_bounded: bool = field(init=False, repr=False, compare=False)
    """Kept, as it is asked of each event."""

    def __post_init__(self) -> None:
        if not self.is_one_box:
            object.__setattr__(self, "boxes", _united(self.boxes))
        object.__setattr__(self, "is_bounded", self.boxes[0].is_bounded)

    @property
    def is_one_box(self) -> bool:
        return len(self.boxes) == 1

    @property
    def is_by_area(self) -> bool:
        """Whether all of it is in areas that it names."""
        return all(box.area_ids is not None for box in self.boxes)

    @property
    def around(self) -> Box:
        """The smallest box that holds all of it, and maybe more: to be shown, never to be judged by."""
        return _around(self.boxes)

    def includes(self, kind: str | None, area_id: object) -> bool:
        """Whether an entity of that kind in that area is within reach. What has no area is in none."""
        return any(box.includes(kind, area_id) for box in self.boxes)

    def includes_area(self, area_id: str | None, *, of: str | None) -> bool:
        """Whether that is no area beyond where entities of a kind are reached; one box reaches all kinds in its areas."""
        if area_id is None:
            return True
        return any(box.includes_area(area_id) for box in self.boxes if self.is_one_box or box.includes_kind(of))

    def includes_member(self, kind: str | None, *, area_id: str | None) -> bool:
        """Whether somebody of that kind, who is in no area, is within reach in a group that is, in that area."""
        if self.is_one_box:
            return self.boxes[0].includes_kind(kind)
        return self.includes(kind, area_id)

    def within(self, box: Box) -> "Reach":
        """What of it is in a box."""
        return Reach(tuple(one.within(box) for one in self.boxes))

    def is_part_of(self, other: "Reach") -> bool:
        return Reach((*other.boxes, *self.boxes)) == other

    def describe(self) -> str:
        """In words, for people."""
        return ", or ".join(box.describe() for box in self.boxes)


EVERYWHERE = Reach()
NOWHERE = Reach((_NOTHING,))


@dataclass(frozen=True)
class SyncScope:
    """Which entities a device is to hold."""

    reach: Reach = EVERYWHERE
    """The entities that may be touched and are delivered; the time window limits what is delivered only."""
    time_window: Mapping[str, Any] | None = None

    @property
    def is_bounded(self) -> bool:
        return self.reach.is_bounded

    @cached_property
    def is_limited(self) -> bool:
        """Whether it leaves anything out of what is delivered."""
        return self.is_bounded or self.time_window is not None

    def begins(self, now: Millis) -> Millis | None:
        """Entities that did not change at or after this are not delivered."""
        return None if self.time_window is None else Millis(_begins(self.time_window, now))

    @cached_property
    def hash(self) -> str:
        """The same on every replica and after every restart; a client that sees another one pulls afresh."""
        document = {**self._told, "schemaVersion": _SCHEMA_VERSION, "timeWindow": self.time_window}
        if not self.reach.is_one_box:
            document["boxes"] = [box.to_wire() for box in self.reach.boxes]
        return f"sha256:{hashlib.sha256(canonical_json(document)).hexdigest()}"

    def to_wire(self) -> dict[str, Any]:
        """Of several boxes the one around them: clients know of no others."""
        return {**self._told, "timeWindow": self.time_window, "hash": self.hash}

    @cached_property
    def _told(self) -> Mapping[str, Any]:
        return self.reach.around.to_wire()


UNLIMITED = SyncScope()


def effective_scope(
    policy: Mapping[str, Any] | None, assignments: Collection[RoleAssignment], *, now: Millis
) -> SyncScope:
    """A program's policy narrowed by what one caller is assigned there.

    What is delivered is what the policy and at least one of the assignments let through; that may be nothing. Time
    windows are always intersected, so an assignment can narrow the program's window but not widen it.
    """
    if not policy and not assignments:
        return UNLIMITED
    program, mine = policy or {}, [_override(assignment) for assignment in assignments]
    windows = [wire["timeWindow"] for wire in (program, *mine) if wire.get("timeWindow")]
    limits = _box_of(program)
    effective = SyncScope(
        # Narrowed before it is united: what the policy leaves out does not show in the form of the rest.
        Reach(tuple(_box_of(wire).within(limits) for wire in mine) or (limits,)),
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


def _box_of(wire: Mapping[str, Any]) -> Box:
    areas, types = wire.get("areaIds"), wire.get("entityTypes")
    return Box(None if areas is None else frozenset(areas), None if types is None else frozenset(types))


def _united(boxes: tuple[Box, ...]) -> tuple[Box, ...]:
    """The boxes in the one form of their union.

    Where the box around them reaches no more than they do, it is that one, and what devices have been told of it stays.
    """
    boxes = tuple(box for box in boxes if not box.is_empty) or boxes
    around = _around(boxes)
    if not all(box.is_bounded for box in boxes):
        return (around,)
    areas_of = _areas_by_kind(boxes)
    # A box without limits reaches also what is of no kind: a record of nobody known.
    if around.is_bounded and areas_of == _areas_by_kind((around,)):
        return (around,)
    kinds_in: dict[frozenset[str] | None, list[str]] = {}
    for kind, areas in areas_of.items():
        kinds_in.setdefault(areas, []).append(kind)
    return tuple(Box(areas, frozenset(kinds)) for areas, kinds in kinds_in.items()) or (_NOTHING,)


def _around(boxes: Collection[Box]) -> Box:
    return Box(_union(box.area_ids for box in boxes), _union(box.entity_types for box in boxes))


def _areas_by_kind(boxes: Collection[Box]) -> dict[str, frozenset[str] | None]:
    """Where each kind is reached; left out is what is reached nowhere."""
    found = {kind: _union(box.area_ids for box in boxes if box.includes_kind(kind)) for kind in KINDS_IN_PLACES}
    return {kind: areas for kind, areas in found.items() if areas is None or areas}


def _union(sets: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    united: frozenset[str] = frozenset()
    for one in sets:
        if one is None:
            return None
        united |= one
    return united


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return one if other is None else other
    return one & other


def _begins(window: Mapping[str, Any], now: Millis) -> int:
    if window["type"] == "fixed":
        return parse_timestamp(window["floor"])
    return now - timedelta(days=window["days"]) // timedelta(milliseconds=1)


def _list(values: frozenset[str] | None) -> list[str] | None:
    return None if values is None else sorted(values)
