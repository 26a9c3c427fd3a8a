"""Wire models of messages."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model

_MESSAGE: dict[str, Any] = {
    "id": "6f0e4a53-0b0f-4f3e-8f4e-0a9d4f8a5a11",
    "purpose": "otp",
    "channel": "sms",
    "to": "+49…12",
    "status": "delivered",
    "code": None,
    "attempts": 1,
    "createdAt": "2026-11-16T08:30:00.000Z",
    "updatedAt": "2026-11-16T08:30:02.000Z",
    "expiresAt": "2026-11-16T08:35:00.000Z",
}
_PAGE: dict[str, Any] = {
    "messages": [_MESSAGE],
    "today": {"day": "2026-11-16", "used": 41, "most": 1000},
    "channels": {"sms": "gateway", "mail": None, "webhook": "http"},
    "nextCursor": None,
}


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class MessageOut(_Out):
    """A message, without its text."""

    model_config = _Out.model_config | ConfigDict(json_schema_extra={"examples": [_MESSAGE]})

    id: str = Field(description="Also in what is sent: `Message-ID` of mails, `webhook-id` of requests.")
    purpose: str = Field(description="Why it is sent; more may be added.")
    channel: Literal["sms", "mail", "webhook"]
    to: str = Field(description="To whom, masked.")
    status: Literal["waiting", "sending", "delivered", "refused", "expired", "dropped"] = Field(
        description="`delivered`: the gateway or mail server has it."
    )
    code: str | None = Field(description="Why it is not delivered (yet).")
    attempts: int = Field(description="How often it was begun to be sent.")
    created_at: str
    updated_at: str
    expires_at: str = Field(description="From then on it is not sent any more.")


class DayOut(_Out):
    """How many messages count for today."""

    day: str = Field(description="In UTC.")
    used: int = Field(description="Those that were dropped because of the budget count, too.")
    most: int


class MessagePage(_Out):
    model_config = _Out.model_config | ConfigDict(json_schema_extra={"examples": [_PAGE]})

    messages: list[MessageOut]
    today: DayOut
    channels: dict[str, str | None] = Field(
        description="What takes messages of each channel: `smtp`, `gateway`, `http`, `console`; null if nothing does."
    )
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null at the end.")
