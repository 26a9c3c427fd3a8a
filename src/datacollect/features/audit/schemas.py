"""Wire models of the audit trail."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Instant, Model, Wire, examples

_Name = Annotated[str, StringConstraints(max_length=512)]

_ENTRY: dict[str, Any] = {
    "guid": "6f1d7a52-0b7e-4c7f-9c35-2f0f6f1f4b77",
    "timestamp": "2026-11-16T08:30:00.000Z",
    "action": "create-individual",
    "eventGuid": "6f1d7a52-0b7e-4c7f-9c35-2f0f6f1f4a01",
    "entityGuid": "in-lan",
    "changes": {"name": "Lan Tran"},
    "signature": "",
    "userId": "agent-7",
}


class AuditLogIn(Wire):
    """An entry as a device sends it. Unknown members are dropped."""

    guid: Annotated[str, StringConstraints(min_length=1, max_length=512)] = Field(
        description="Chosen by the device; the idempotency key. UUIDs of version 5 are the hub's own."
    )
    timestamp: Instant = Field(description="When the device noted it: ISO-8601, UTC, `Z`. Kept to the millisecond.")
    action: _Name
    event_guid: _Name
    entity_guid: _Name
    changes: dict[str, Any]
    signature: str
    user_id: _Name | None = Field(None, description="Kept as `claimedUserId`; the entry's user is the caller.")


class AuditLogPush(Wire):
    """What a device has noted."""

    model_config = Wire.model_config | ConfigDict(
        json_schema_extra={"examples": [{"configId": "household-registry", "auditLogs": [_ENTRY]}]}
    )

    config_id: str | None = Field(None, description="The program; `default` when left out.")
    # It stops at the first that is wrong, with all that is wrong with it: issues take a thousand times the room of zeros.
    audit_logs: list[AuditLogIn] = Field(fail_fast=True)


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class AuditWarning(_Out):
    """An entry that is not stored, by its index as sent."""

    index: int
    guid: str
    code: Literal["GUID_RESERVED", "GUID_REUSED"]
    message: str
    help: str = Field(description="What to do about it.")


class AuditLogPushReply(_Out):
    model_config = examples({"status": "success"})

    status: Literal["success"]
    warnings: list[AuditWarning] | None = Field(default=None, description="Present only when not empty.")


class AuditLogView(_Out):
    """One entry of the audit trail."""

    model_config = examples(
        _ENTRY
        | {
            "actor": "12",
            "recordedAt": "2026-11-18T17:02:11.480Z",
            "deviceId": "tablet-07",
        }
    )

    guid: str
    timestamp: str = Field(description="When the hub applied it; of an entry that a device pushed, what that claims.")
    user_id: str = Field(description="Who the event says made it; of a pushed entry, the account that pushed it.")
    action: str
    event_guid: str
    entity_guid: str
    changes: dict[str, Any]
    signature: str
    actor: str = Field(description="The account that sent it; `system` for what the hub did itself.")
    recorded_at: str = Field(description="When the hub stored it. Never falls along the trail, clocks set back aside.")
    device_id: str | None
    claimed_user_id: str | None = Field(default=None, description="The `userId` that a pushed entry came with, if any.")
