"""Entries of the audit trail: which ones an event makes besides its own, and their one order. Pure.

The order is (position, ordinal). The entry that an event itself is has ordinal 0, those it makes follow from 1 on, and
what devices push stands behind the event that was the last one then, by the time it was recorded. All are stored under
the log's lock, so a reader that follows the order never passes a gap that fills later. Source: the contract's model,
2.5.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from datacollect.eventstore.event import Origin
from datacollect.features.entities.entity import Kind, Stamp
from datacollect.features.entities.projection import Applied
from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.ids import derived_guid

CASCADE, CONFLICT = "cascade-delete-entity", "conflict-resolution"
SYSTEM_USER = "system"

FIRST_PUSHED = 1 << 24
"""The smallest ordinal of a pushed entry; an event of the largest size names fewer members, even twice over."""

_ORDINALS_PER_MILLISECOND = 1 << 16
_LAST_MILLISECOND = 1 << 43  # in the year 2248

_PLACE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
_HUBS_OWN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class Place(NamedTuple):
    """Where an entry stands in the trail; as text, the cursor of a reader that has come as far."""

    position: int
    ordinal: int

    def __str__(self) -> str:
        return f"{self.position}-{self.ordinal}"


BEGINNING = Place(0, 0)
END = Place((1 << 63) - 1, (1 << 63) - 1)


def parse_place(text: str) -> Place:
    """Raises `ValueError` for what is no cursor."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise ValueError("not a cursor of the audit trail")
    return Place(int(match[1]), int(match[2]))


def next_pushed(recorded_at: Millis, last_ordinal: int) -> int:
    """The ordinal of an entry pushed behind `last_ordinal`: it leads with the time, so that a time can be found.

    Many at once run on into the next milliseconds; nothing but `reached_by` depends on it.
    """
    return max(FIRST_PUSHED, last_ordinal + 1, min(recorded_at, _LAST_MILLISECOND) * _ORDINALS_PER_MILLISECOND)


def reached_by(instant: Millis, position: int) -> Place:
    """The last place that can have been recorded by `instant`, `position` being that of the last event that was."""
    later = min(max(instant + 1, 0), _LAST_MILLISECOND)
    return Place(position, max(FIRST_PUSHED, later * _ORDINALS_PER_MILLISECOND) - 1)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry beside those that events are themselves, as it is stored.

    `changes` None means that it is found in the event's body. `actor` and `device_id` of an entry that an event made
    are the event's, and not stored again.
    """

    place: Place
    guid: str
    recorded_at: Millis
    occurred_at: Millis
    user_id: str
    action: str
    event_guid: str
    entity_guid: str
    changes: Mapping[str, Any] | None
    signature: str = ""
    claimed_user_id: str | None = None
    actor: str | None = None
    device_id: str | None = None

    @property
    def is_pushed(self) -> bool:
        return self.place.ordinal >= FIRST_PUSHED

    def tells_the_same_as(self, other: "AuditEntry") -> bool:
        """Whether two entries are one, sent twice; by whom and when does not matter."""
        return (
            self.occurred_at == other.occurred_at
            and self.action == other.action
            and self.event_guid == other.event_guid
            and self.entity_guid == other.entity_guid
            and self.signature == other.signature
            and canonical_json(self.changes) == canonical_json(other.changes)
        )


def is_hubs_own(guid: str) -> bool:
    """Whether a guid has the form of those the hub derives (version 5).

    Nobody else may use it: whoever knows an event's guid could take the guids of the entries it is going to make.
    """
    return _HUBS_OWN.fullmatch(guid) is not None


def own_guid(event_guid: str, entity_guid: str) -> str:
    """The guid of the entry that an event is itself."""
    return derived_guid(event_guid, "audit", entity_guid)


# -- what an event makes


def entries_of(applied: Applied) -> list[AuditEntry]:
    """The entries that the event does not tell by itself: what it did to other entities, what it deleted, what it lost.

    The same from every replica, and in a rebuild.
    """
    changes, own = applied.changes, {applied.event.entity_guid}
    if changes.entities.keys() <= own and changes.groups() <= own and not changes.deleted and not changes.lost:
        return []
    made = [*_members_written(applied), *_deleted(applied), *_lost(applied)]
    return [replace(entry, place=entry.place._replace(ordinal=index)) for index, entry in enumerate(made, 1)]


def _members_written(applied: Applied) -> Iterator[AuditEntry]:
    """Members are written by making them, as the contract has it, whether or not they were there.

    A group inside a group's event may have been told nothing but who its members are, which it knew.
    """
    changes, user_id = applied.changes, applied.event.user_id
    told = {applied.event.entity_guid, *changes.deleted}
    for guid, entity in changes.entities.items():
        before = applied.before.get(guid)
        if guid not in told and (before is None or before.version != entity.version):
            action = "create-group" if entity.kind is Kind.GROUP else "create-individual"
            yield _entry(applied, guid, action, None, user_id=user_id)
    told.update(changes.entities, (lost.entity_guid for lost in changes.lost))
    for guid in changes.groups():
        if guid not in told:
            yield _entry(applied, guid, "create-group", None, user_id=user_id)


def _deleted(applied: Applied) -> Iterator[AuditEntry]:
    for guid in applied.changes.deleted:
        changes: dict[str, Any] = {"type": CASCADE, "entityGuid": guid}
        by = applied.after[guid].deleted
        if by is not None and by.position != applied.context.position:
            # A new member of a group that was deleted before goes with that delete.
            changes["deletedBy"] = {"position": by.position, "timeMs": by.time}
        yield _entry(applied, guid, CASCADE, changes, user_id=applied.event.user_id)


def _lost(applied: Applied) -> Iterator[AuditEntry]:
    for guid in dict.fromkeys(lost.entity_guid for lost in applied.changes.lost):
        held = applied.before.get(guid) or applied.after[guid]
        changes = {
            "resolution": "kept-local",
            "eventType": applied.event.type,
            "localLastUpdated": format_timestamp(held.last_updated),
            "remoteTimestamp": format_timestamp(applied.event.occurred_at),
            "localVersion": held.version,
        }
        yield _entry(applied, guid, CONFLICT, changes, user_id=SYSTEM_USER)


def _entry(
    applied: Applied, entity: str, action: str, changes: Mapping[str, Any] | None, *, user_id: str
) -> AuditEntry:
    event, context = applied.event, applied.context
    return AuditEntry(
        place=Place(context.position, 0),
        guid=derived_guid(event.guid, f"audit-{action}", entity),
        recorded_at=context.recorded_at,
        occurred_at=context.recorded_at,
        user_id=user_id,
        action=action,
        event_guid=event.guid,
        entity_guid=entity,
        changes=changes,
    )


def is_write(action: str) -> bool:
    """Whether an entry that an event made beside its own tells that it wrote the entity."""
    return action not in (CASCADE, CONFLICT)


def buried_by(changes: Mapping[str, Any]) -> Stamp | None:
    """The earlier delete that an entity went with, by the changes of the entry that tells its end."""
    by = changes.get("deletedBy")
    return None if by is None else Stamp(by["timeMs"], by["position"])


@dataclass(frozen=True, slots=True)
class Touching:
    """An event that touched an entity."""

    position: int
    recorded_at: Millis
    actor: str
    device_id: str | None
    origin: Origin
    body: str
    chain_hash: bytes
    is_end: bool
    """Whether it deleted the entity."""
    buried_by: Stamp | None
    """The earlier delete that did, if the event was only the first word on the entity."""


def data_of_members(data: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """What a group's event writes of each member at any depth, by the member's guid; of one named twice, the last."""
    found: dict[str, Mapping[str, Any]] = {}
    waiting = [data.get("members")]
    for members in waiting:
        for member in members if isinstance(members, list) else ():
            if isinstance(member, dict) and isinstance(member.get("guid"), str):
                found[member["guid"]] = {key: value for key, value in member.items() if key != "guid"}
                waiting.append(member.get("members"))
    return found
