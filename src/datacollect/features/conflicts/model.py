"""What a conflict is, and which event its resolution makes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from datacollect.eventstore.event import Event, without_server_managed
from datacollect.features.conflicts.errors import ConflictEntityDeleted
from datacollect.features.entities.entity import Kind, items_in, text_in
from datacollect.features.entities.model import COUNTED_AS, COUNTING_TYPES
from datacollect.kernel.canonical import is_same_json
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import new_guid


class Resolution(StrEnum):
    LOCAL = "local"
    REMOTE = "remote"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class ConflictRecord:
    """An event some of whose values lost against later ones.

    `local_version` is the entity's data as the event left it (empty when it is deleted), `remote_version` the data the
    event wrote; `lost` holds those of its values, by field, that the entity did not take.
    """

    guid: str
    entity_guid: str
    entity_type: str
    local_version: Mapping[str, Any]
    remote_version: Mapping[str, Any]
    lost: Mapping[str, Any]
    local_event_guid: str
    remote_event_guid: str
    detected_at: Millis
    resolved_at: Millis | None = None
    resolution: Resolution | None = None
    resolved_by: str | None = None
    merged_data: Mapping[str, Any] | None = None


ConflictPlace = tuple[Millis, str]
"""Where a page ends: when its last conflict was found, and its guid."""


@dataclass(frozen=True, slots=True)
class ConflictPage:
    """The latest first."""

    conflicts: Sequence[ConflictRecord]
    ends_at: ConflictPlace | None
    """None on the last page."""
    unresolved: int
    """How many are open in all."""


def outcome_event(
    conflict: ConflictRecord,
    overruled: Event | None,
    resolution: Resolution,
    merged: Mapping[str, Any] | None,
    current: Mapping[str, Any] | None,
    *,
    user_id: str,
    now: Millis,
) -> Event | None:
    """The event that brings every device to the outcome; None when there is nothing to bring.

    It writes the fields that were at stake (devices disagree about them), and of merged data those that differ from
    what was seen when the conflict was found: what others changed since then stays. `current` is the entity's data
    now, None if it is deleted; to keep it deleted is told too, as devices that met the events the other way round have
    brought it back.

    `overruled` is the event that lost. If it is one that counts, what it says are no fields: it is told once more, as made
    when it was, or not at all. Raises `ConflictEntityDeleted` where there is nobody to count it for.
    """
    if overruled is not None and overruled.type in COUNTING_TYPES:
        if resolution is Resolution.REMOTE and current is None:
            raise ConflictEntityDeleted()
        if resolution is Resolution.REMOTE:
            counted_as = text_in(overruled.data, COUNTED_AS) or overruled.guid
            return replace(overruled, guid=new_guid(), data={**overruled.data, COUNTED_AS: counted_as})
        if resolution is Resolution.LOCAL and current is not None:
            return None
    # Of whom only the end is known no kind is, where the event that lost is one that counts.
    kind = conflict.entity_type if conflict.entity_type in set(Kind) else Kind.INDIVIDUAL
    event_type = f"update-{kind}"
    if resolution is Resolution.LOCAL and current is None:
        event_type, fields = "delete-entity", {"conflict": conflict.guid}
    elif resolution is Resolution.LOCAL:
        fields = _kept(conflict, current)
    elif resolution is Resolution.REMOTE:
        fields = _without_members(conflict.remote_version if current is None else conflict.lost)
    else:
        fields = _merged(conflict, without_server_managed(dict(merged or {})), current)
    if not fields:
        return None
    # Nobody can know it beforehand, and have an event of their own stand in the decision's way.
    return Event(new_guid(), conflict.entity_guid, event_type, fields, now, user_id)


def rejoining(conflict: ConflictRecord, *, user_id: str, now: Millis) -> Event | None:
    """The event by which those are members again whom a group's event named that is taken after all; None for nobody.

    They are entities of their own, with conflicts of their own: nothing is told of them but their guids.
    """
    named = [member["guid"] for member in items_in(conflict.remote_version, "members") if text_in(member, "guid")]
    if not named:
        return None
    joining = {"members": [{"guid": guid} for guid in dict.fromkeys(named)]}
    return Event(new_guid(), conflict.entity_guid, "add-member", joining, now, user_id)


def _without_members(told: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in told.items() if field != "members"}


def _kept(conflict: ConflictRecord, current: Mapping[str, Any] | None) -> dict[str, Any]:
    return {field: current[field] for field in conflict.lost if field in current} if current else {}


def _merged(conflict: ConflictRecord, merged: Mapping[str, Any], current: Mapping[str, Any] | None) -> dict[str, Any]:
    wanted = _without_members(merged)
    if current is None:
        return wanted
    seen = conflict.local_version
    changed = {
        field: value
        for field, value in wanted.items()
        if field in conflict.lost or field not in seen or not is_same_json(seen[field], value)
    }
    return _kept(conflict, current) | changed
