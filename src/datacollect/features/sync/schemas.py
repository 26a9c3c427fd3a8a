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


class Verdict(_Wire):
    """What is to be said about one event: why it was not applied, or, in `warnings`, what is wrong with it."""

    index: int
    guid: str | None = None
    event_guid: str | None = None
    entity_guid: str | None = None
    type: str | None = None
    code: str = Field(description="One of the codes of `docs/reference/errors.md`.")
    path: list[str | int] = Field(description="Where in the event, from its root; empty for the event as a whole.")
    message: str
    help: str = Field(description="What to do about it.")
    error: str | None = None
    reason: str | None = None


class PushReply(_Wire):
    model_config = _example({"status": "success", "applied": 1, "failed": [], "errors": []})

    status: Literal["success", "partial"]
    applied: int = Field(description="Events stored now or known already.")
    failed: list[Verdict]
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
