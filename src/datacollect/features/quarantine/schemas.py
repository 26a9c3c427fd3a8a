"""Wire models of the quarantine."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model, NonEmpty, Wire, examples

MOST_AT_ONCE = 500

_ID = "0d0f6a0c-3a39-5e6c-9a3d-6f0f8a4b7c11"
_WHY = "Entered twice; the other form is right."
_EVENT = {
    "guid": "6f1d7a52-0b7e-4c7f-9c35-2f0f6f1f4a01",
    "entityGuid": "hh-12",
    "type": "add-member",
    "data": {"members": [{"guid": "in-lan", "name": "Lan Tran"}]},
    "timestamp": "2026-11-16T08:30:00.000Z",
    "userId": "agent-7",
    "syncLevel": 1,
}
_QUARANTINED = {
    "id": _ID,
    "tenantId": "household-registry",
    "kind": "refused",
    "status": "open",
    "eventGuid": _EVENT["guid"],
    "entityGuid": "hh-12",
    "type": "add-member",
    "code": "INVALID_GROUP",
    "message": "The group does not exist.",
    "path": ["entityGuid"],
    "actor": "12",
    "deviceId": "tablet-07",
    "receivedAt": "2026-11-16T08:31:02.114Z",
    "lastSeenAt": "2026-11-16T08:31:02.114Z",
    "attempts": 1,
    "event": _EVENT,
    "replayedEvent": None,
    "closedAt": None,
    "closedBy": None,
    "reason": None,
}

_Ids = Annotated[
    list[NonEmpty],
    Field(min_length=1, max_length=MOST_AT_ONCE, description="Which of them; each gets a verdict.", examples=[[_ID]]),
]
_Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000),
    Field(description="Why, for whoever asks later.", examples=[_WHY]),
]


class Replay(Wire):
    """May be left out: then the event is applied as it came."""

    model_config = examples({}, {"event": _EVENT})

    event: dict[str, Any] | None = Field(
        None,
        description="The event to apply instead, whole and with the same guid. When the guid was used for two events "
        "(`GUID_REUSED`) another guid may be given; without one the hub derives it.",
        examples=[_EVENT],
    )


class Discard(Wire):
    model_config = examples({"reason": _WHY})

    reason: _Reason


class BulkReplay(Wire):
    model_config = examples({"ids": [_ID]})

    ids: _Ids


class BulkDiscard(Wire):
    model_config = examples({"ids": [_ID], "reason": _WHY})

    ids: _Ids
    reason: _Reason


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


def _example(example: dict[str, Any]) -> ConfigDict:
    return _Out.model_config | ConfigDict(json_schema_extra={"examples": [example]})


class QuarantinedOut(_Out):
    """An event the hub could not apply."""

    model_config = _example(_QUARANTINED)

    id: str
    tenant_id: str
    kind: Literal["refused", "blocking"] = Field(
        description="`refused`: left out while its push went on. `blocking`: its device's pushes are refused by it."
    )
    status: Literal["open", "replayed", "discarded", "accepted"] = Field(
        description="`accepted`: a device sent it again later, and it could be applied."
    )
    event_guid: str
    entity_guid: str
    type: str
    code: str = Field(description="Why it was refused.")
    message: str
    path: list[str | int] | None = Field(description="Where in the event, from its root.")
    actor: str = Field(description="Whose push it was: the account's id.")
    device_id: str | None
    received_at: str = Field(description="When it was first refused.")
    last_seen_at: str
    attempts: int = Field(description="How often it was sent.")
    event: dict[str, Any] = Field(description="As it came.")
    replayed_event: dict[str, Any] | None = Field(description="What was applied instead, when that differs.")
    closed_at: str | None
    closed_by: str | None
    reason: str | None


class QuarantineList(_Out):
    model_config = _example({"quarantined": [_QUARANTINED], "nextCursor": None})

    quarantined: list[QuarantinedOut]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null at the end.")


class QuarantineReply(_Out):
    model_config = _example({"quarantined": _QUARANTINED})

    quarantined: QuarantinedOut


class DecisionReply(_Out):
    model_config = _example({"status": "success", "quarantined": _QUARANTINED | {"status": "replayed"}})

    status: Literal["success"]
    quarantined: QuarantinedOut


class VerdictOut(_Out):
    id: str
    outcome: Literal["replayed", "discarded", "refused", "closed", "not-found"] = Field(
        description="`refused`: it still cannot be applied and stays open. `closed`: somebody was first."
    )
    code: str | None = None
    message: str | None = None
    path: list[str | int] | None = None


class BulkVerdicts(_Out):
    model_config = _example({"status": "success", "done": 1, "results": [{"id": _ID, "outcome": "replayed"}]})

    status: Literal["success", "partial"] = Field(description="`partial`: not all of them were done.")
    done: int
    results: list[VerdictOut] = Field(description="In the order of `ids`, each id once.")
