"""Wire models of sync. The hot routes do not run them: they document what `payload.py` and `routes.py` do by hand."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model, examples


class _Wire(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


_EVENT = {
    "guid": "6f1d7a52-0b7e-4c7f-9c35-2f0f6f1f4a01",
    "entityGuid": "in-lan",
    "type": "create-individual",
    "data": {"entityName": "individual", "name": "Lan Tran", "area_id": "cedar-bay"},
    "timestamp": "2026-11-16T08:30:00.000Z",
    "userId": "agent-7",
    "syncLevel": 0,
}
_HASH = "sha256:002c2ad434fe0c7bc2a82714efd7ce909c9c676f8329619f1613e8b4c100939f"


def _example(*examples: dict[str, Any]) -> ConfigDict:
    return _Wire.model_config | ConfigDict(json_schema_extra={"examples": list(examples)})


class EventIn(_Wire):
    """An event as a device sends it. Unknown members are dropped."""

    guid: str = Field(description="UUID chosen by the producer; the idempotency key.")
    entity_guid: str = Field(min_length=1, max_length=512, description="The entity the event is about: 1 to 512 bytes.")
    type: str = Field(description="Such as `create-individual` or `add-member`.")
    data: dict[str, Any] = Field(description="The form's values; at least one key.")
    timestamp: str = Field(description="When the producer made it: ISO-8601, UTC, `Z`. Kept to the millisecond.")
    user_id: str = Field(description="Who the producer says made it.")
    sync_level: float = Field(description="Ignored; delivered as 1.")
    schema_version: int | None = Field(default=None, description="Version of the payload's layout.")


class EventOut(_Wire):
    """An event as every device receives it."""

    guid: str
    entity_guid: str
    type: str
    data: dict[str, Any]
    timestamp: str
    user_id: str
    sync_level: int
    schema_version: int | None = None


class PushRequest(_Wire):
    model_config = _example({"configId": "household-registry", "events": [_EVENT]})

    config_id: str | None = Field(default=None, description="The program; `default` if the query names none either.")
    events: list[EventIn]
    atomic: bool = Field(
        default=True,
        description="`false` asks for a verdict per event: good ones are applied, bad ones come back in `failed`.",
    )


class _AboutEvent(_Wire):
    guid: str
    entity_guid: str
    type: str
    code: str = Field(description="One of the codes of `docs/reference/errors.md`.")
    path: list[str | int] = Field(description="Where in the event, from its root; empty for the event as a whole.")
    message: str
    help: str = Field(description="What to do about it.")


class Verdict(_AboutEvent):
    """What is wrong with an event that was taken."""

    index: int = Field(description="Which of `events`, in the order in which they were sent, from 0.")


class Refusal(_AboutEvent):
    """Why an event was not applied. `guid` tells which one: of an atomic push, refusals have no `index`."""

    index: int | None = Field(
        default=None,
        description='Which of `events`, in the order in which they were sent, from 0. Present only with `"atomic": false`.',
    )
    reason: Literal["out_of_scope", "unknown_entity"] | None = Field(
        default=None, description="Present only if it lies beyond the caller's sync scope."
    )
    details: dict[str, Any] | None = Field(
        default=None, description="Present only with some codes: the numbers that do not fit each other."
    )


_REFUSED_FOR_ITS_PLACE = {
    "guid": "0d6a6a1e-6d57-4b8e-9a53-27d3a6f3b102",
    "entityGuid": "in-minh",
    "type": "create-individual",
    "code": "OUT_OF_SCOPE",
    "path": ["data", "area_id"],
    "message": "The event's entity is, or would be, outside of what the caller may touch.",
    "help": "Ask an administrator whether your areas are right.",
    "reason": "out_of_scope",
}


class PushReply(_Wire):
    model_config = _example(
        {"status": "success", "applied": 1, "failed": [], "errors": []},
        {"status": "partial", "applied": 1, "failed": [_REFUSED_FOR_ITS_PLACE], "errors": []},
        {"status": "partial", "applied": 1, "failed": [{"index": 1, **_REFUSED_FOR_ITS_PLACE}], "errors": []},
    )

    status: Literal["success", "partial"]
    applied: int = Field(description="Events stored now or known already.")
    failed: list[Refusal]
    errors: list[Any]
    warnings: list[Verdict] | None = Field(default=None, description="Present only when not empty.")


class ScopeOut(_Wire):
    area_ids: list[str] | None
    entity_types: list[str] | None
    time_window: dict[str, Any] | None
    hash: str


class PullReply(_Wire):
    model_config = _example(
        {
            "events": [_EVENT | {"syncLevel": 1}],
            "nextCursor": "2026-11-16T08:30:00.000Z|6f1d7a52-0b7e-4c7f-9c35-2f0f6f1f4a01",
            "scope": {"areaIds": None, "entityTypes": None, "timeWindow": None, "hash": _HASH},
        }
    )

    events: list[EventOut]
    next_cursor: str | None = Field(description="Send it as `since` for the next page; null at the end.")
    warnings: list[str] | None = Field(
        default=None,
        description="Present only when not empty: what somebody should look at. Nothing is held back for it.",
    )
    scope: ScopeOut


class CallbackReply(_Wire):
    model_config = examples({"status": "not implemented"})

    status: Literal["not implemented"]
