"""The wire form of an entity's events and history, for the API document; the routes write the same bytes without
building models."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model

_EVENT: dict[str, Any] = {
    "guid": "3f0e5b8a-52a7-4d0c-9a34-6d1f6a0c7e11",
    "entityGuid": "in-lan",
    "type": "update-individual",
    "data": {"phone": "555-0101", "village": "Hoa Binh"},
    "timestamp": "2026-11-16T08:30:00.000Z",
    "userId": "agent-7",
    "syncLevel": 1,
}
_ENTRY: dict[str, Any] = {
    "eventGuid": "3f0e5b8a-52a7-4d0c-9a34-6d1f6a0c7e11",
    "type": "update-individual",
    "entityGuid": "in-lan",
    "position": 1204,
    "claimedAt": "2026-11-16T08:30:00.000Z",
    "receivedAt": "2026-11-18T17:02:11.480Z",
    "claimedUserId": "agent-7",
    "actor": "12",
    "deviceId": "tablet-3",
    "origin": "client",
    "change": "updated",
    "version": 4,
    "changes": [{"field": "phone", "before": "555-0100", "after": "555-0101"}],
    "members": {"added": [], "removed": []},
    "lost": [
        {"field": "village", "value": "Hoa Binh", "keptEventGuid": "a5f1c2d4-0b6e-4a53-8a5e-9a7b0c6f2d20"},
    ],
}


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class EventView(_Out):
    """An event as it was submitted."""

    model_config = _Out.model_config | ConfigDict(json_schema_extra={"examples": [_EVENT]})

    guid: str
    entity_guid: str = Field(description="Of the entity the event is about; a group's, for its members too.")
    type: str
    data: dict[str, Any]
    timestamp: str = Field(description="The device's clock.")
    user_id: str
    sync_level: int
    schema_version: int | None = None


class FieldChangeView(_Out):
    """A field of the entity's data. The side on which the field is not there is left out: `null` is a value."""

    field: str
    before: Any = None
    after: Any = None


class MemberChanges(_Out):
    """Guids. Who joined stands behind those who are there, in this order.

    A member that is deleted by itself stays one, and shows again among the group's members if it comes back.
    """

    added: list[str]
    removed: list[str]


class LostValue(_Out):
    """A value that did not count, because a later write or delete had been stored before it."""

    field: str
    value: Any
    kept_event_guid: str | None = Field(None, description="The event whose value, or delete, stayed.")


class HistoryEntry(_Out):
    """One event, and what it did to the entity."""

    event_guid: str
    type: str
    entity_guid: str = Field(description="Of the entity the event is about; a group's, for its members too.")
    position: int = Field(description="In the program's log.")
    claimed_at: str = Field(description="The device's clock.")
    received_at: str = Field(description="When the hub stored it.")
    claimed_user_id: str = Field(description="The user the event names.")
    actor: str = Field(description="The account that sent it; `system` for what the hub did itself.")
    device_id: str | None
    origin: Literal["client", "seed", "external", "derived"]
    change: Literal["created", "updated", "deleted", "recreated", "members", "none"] = Field(
        description="`members` if nothing but the members changed; `none` if nothing that can be seen did."
    )
    version: int = Field(description="Of the entity after it.")
    changes: list[FieldChangeView]
    members: MemberChanges
    lost: list[LostValue] = Field(description="Empty unless the event came later than one that was made after it.")


class EntityHistory(_Out):
    """Events in the order in which the hub took them."""

    model_config = _Out.model_config | ConfigDict(
        json_schema_extra={"examples": [{"history": [_ENTRY], "nextCursor": "1204"}]}
    )

    history: list[HistoryEntry]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")
