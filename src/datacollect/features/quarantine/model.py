"""What is kept of a refused event, and which event a replay applies. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from datacollect.eventstore.event import Event, event_from_body
from datacollect.eventstore.integrity import hash_event
from datacollect.features.quarantine.errors import GuidChanged
from datacollect.features.sync.payload import AS_SENT, essence_of
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import derived_guid

GUID_REUSED = "GUID_REUSED"


class Kind(StrEnum):
    REFUSED = "refused"
    """Left out while its push went on."""
    BLOCKING = "blocking"
    """The whole push was refused because of it, so its device comes back with it until it is taken."""


class Status(StrEnum):
    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    ACCEPTED = "accepted"
    """A device has sent the event again, and it could be applied."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A refused event. `body` is the event as it would have been delivered; `actor` and `device_id` who sent it."""

    id: str
    kind: Kind
    event_guid: str
    entity_guid: str
    body: str
    actor: str
    device_id: str | None
    code: str
    message: str
    path: Sequence[str | int] | None
    received_at: Millis
    last_seen_at: Millis
    attempts: int = 1
    status: Status = Status.OPEN
    closed_at: Millis | None = None
    closed_by: str | None = None
    reason: str | None = None
    replayed_body: str | None = None


class Outcome(StrEnum):
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    REFUSED = "refused"
    """It still cannot be applied, and stays open."""
    CLOSED = "closed"
    NOT_FOUND = "not-found"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one event of a decision."""

    id: str
    outcome: Outcome
    code: str | None = None
    message: str | None = None
    path: Sequence[str | int] | None = None

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {"id": self.id, "outcome": self.outcome.value}
        told = {"code": self.code, "message": self.message, "path": self.path}
        return wire | {name: value for name, value in told.items() if value is not None}


def quarantine_id(event: Event, kind: Kind) -> str:
    """The same refused event has one row: for verdicts by guid and content, as a guid may be used for several events."""
    body = _as_known(event).body() if kind is Kind.REFUSED else ""
    return derived_guid(event.guid, "quarantine" if kind is Kind.REFUSED else "blocking", body)


def content_of(event: Event) -> bytes:
    """A hash by which a refused event is known when it comes again."""
    return hash_event(_as_known(event)).content


def _as_known(event: Event) -> Event:
    if event.type == "" and event.data.keys() == {AS_SENT}:
        return replace(event, data={AS_SENT: essence_of(event.data[AS_SENT])})
    return event


def event_to_replay(row: Quarantined, edited: Event | None) -> Event:
    """The event that a replay appends. Raises `GuidChanged`.

    An event whose guid another event has in the log gets a guid of its own: the one the operator gave it, or one that
    is derived, so that a repeated replay makes no second event.
    """
    event = edited or event_from_body(row.body)
    if row.code == GUID_REUSED:
        if event.guid == row.event_guid:
            return replace(event, guid=derived_guid(row.id, "replay", event.entity_guid))
        return event
    if event.guid != row.event_guid:
        raise GuidChanged()
    return event
