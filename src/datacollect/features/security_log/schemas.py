"""Wire models of the security log."""

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model

_ENTRY: dict[str, Any] = {
    "id": 4711,
    "recordedAt": "2026-11-16T08:30:00.000Z",
    "action": "login.succeeded",
    "actorUserId": 12,
    "userId": 12,
    "hint": None,
    "tenantId": None,
    "origin": "192.0.2.7",
    "requestId": "0b0f5f3e-6f0e-4a53-8f4e-0a9d4f8a5a11",
    "details": {},
}


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class EntryOut(_Out):
    """One thing that happened."""

    model_config = _Out.model_config | ConfigDict(json_schema_extra={"examples": [_ENTRY]})

    id: int
    recorded_at: str
    action: str = Field(description="What happened; more names may be added.")
    actor_user_id: int | None = Field(
        description="The account that did it; null: somebody not signed in, the command line, or the hub."
    )
    user_id: int | None = Field(description="The account it is about. It may have been deleted since.")
    hint: str | None = Field(description="Stands for an e-mail without an account: equal for equal ones.")
    tenant_id: str | None
    origin: str | None = Field(description="The client's address; of IPv6 its /64 network. Or `command line`.")
    request_id: str | None = Field(description="The `X-Request-Id` of the answer.")
    details: dict[str, Any]


class SecurityLogPage(_Out):
    model_config = _Out.model_config | ConfigDict(
        json_schema_extra={"examples": [{"entries": [_ENTRY], "nextCursor": None}]}
    )

    entries: list[EntryOut]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null at the end.")
