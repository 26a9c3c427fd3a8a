"""The event, and the text it is delivered in."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp
from datacollect.kernel.errors import DataCollectError

SERVER_MANAGED_KEYS = frozenset({"externalId", "identifierType"})
"""Keys of `data` that only trusted pulls and adapter write-backs may set: they choose the external record that an
adapter overwrites with the hub's own credentials. Stripped from everything clients send, where they would become a field
of an entity."""


class Origin(StrEnum):
    """Where an event came from; stored with it, so that a rebuild treats it as the live path did."""

    CLIENT = "client"
    SEED = "seed"
    """Made by the hub from a program's `entityData`: writes with stamp zero, so that any device's edit wins."""
    EXTERNAL = "external"
    DERIVED = "derived"
    """Made by the hub from another event: a rebuild finds it in the log and does not derive it again."""
    SNAPSHOT = "snapshot"
    """Made by the hub to tell devices of a limited scope what it holds of an entity: it changes nothing here."""


def level_of(origin: Origin) -> int:
    """What devices are told of where an event came from: 2 from another system, else 1."""
    return 2 if origin is Origin.EXTERNAL else 1


@dataclass(frozen=True, slots=True)
class Event:
    """An immutable fact about an entity, as the log keeps it. Called "form submission" on the wire.

    `occurred_at` is the device's clock, `user_id` is what the producer claims; neither decides order or rights.
    """

    guid: str
    entity_guid: str
    type: str
    data: dict[str, Any]
    occurred_at: Millis
    user_id: str
    schema_version: int | None = None
    sync_level: int = 1
    """Follows from where it came from, see `level_of`. Told to devices; no hash holds it."""

    def body(self) -> str:
        """The exact JSON text every pull delivers; built once, when the event is appended."""
        wire = _WireEvent(
            guid=self.guid,
            entityGuid=self.entity_guid,
            type=self.type,
            data=self.data,
            timestamp=format_timestamp(self.occurred_at),
            userId=self.user_id,
            syncLevel=self.sync_level,
            schemaVersion=self.schema_version if self.schema_version is not None else msgspec.UNSET,
        )
        return _encoder.encode(wire).decode()


class _WireEvent(msgspec.Struct, forbid_unknown_fields=True):
    guid: str
    entityGuid: str
    type: str
    data: dict[str, Any]
    timestamp: str
    userId: str
    syncLevel: int
    schemaVersion: int | msgspec.UnsetType = msgspec.UNSET


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_WireEvent)


def event_from_body(body: str) -> Event:
    """The event a body was made from. Raises `ValueError` for a text no body can be."""
    try:
        wire = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return Event(
        guid=wire.guid,
        entity_guid=wire.entityGuid,
        type=wire.type,
        data=wire.data,
        occurred_at=parse_timestamp(wire.timestamp),
        user_id=wire.userId,
        schema_version=None if isinstance(wire.schemaVersion, msgspec.UnsetType) else wire.schemaVersion,
        sync_level=wire.syncLevel,
    )


class EventRejected(DataCollectError):
    """The event cannot be applied."""

    status, code = 422, "EVENT_REJECTED"
    help = "Correct the event as the message says and push it again."

    def __init__(self, message: str | None = None, *, path: Sequence[str | int] = ()) -> None:
        self.path = list(path)
        """Where in the event, from its root; empty when it is about the event as a whole."""
        super().__init__(message, path=self.path)


class IncompleteEvent(EventRejected):
    """Form submission has no guid, entityGuid, type, data or userId."""

    code = "INVALID_FORM"
    help = "Fill in what `path` names."


def require_complete(event: Event) -> None:
    """Refuse an event that lacks what every event type needs, naming the first part that is missing.

    Source: the contract's model, 2.1. It is a rule of applying, not of the payload's shape: a push that carries such
    an event is understood, and refused as a whole or event by event.
    """
    parts = (
        ("guid", event.guid),
        ("entityGuid", event.entity_guid),
        ("type", event.type),
        ("data", event.data),
        ("userId", event.user_id),
    )
    for name, value in parts:
        if not value:
            message = "Form submission has no data" if name == "data" else f"Form submission has no {name}"
            raise IncompleteEvent(message, path=[name])


def without_server_managed(data: dict[str, Any]) -> dict[str, Any]:
    """The same data without the keys that only the hub may set; itself when it has none.

    Of the data itself and of its members' objects: deeper ones are part of a form's answer.
    """
    return _stripped(data) if _holds_managed(data) else data


def _holds_managed(data: dict[str, Any]) -> bool:
    if not SERVER_MANAGED_KEYS.isdisjoint(data):
        return True
    members = data.get("members")
    return isinstance(members, list) and any(_holds_managed(one) for one in members if isinstance(one, dict))


def _stripped(data: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in data.items() if key not in SERVER_MANAGED_KEYS}
    members = kept.get("members")
    if isinstance(members, list):
        kept["members"] = [_stripped(one) if isinstance(one, dict) else one for one in members]
    return kept
