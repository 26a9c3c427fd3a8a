"""Wire models of signing in."""

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model, examples

_ACCESS = "eyJhbGciOi….eyJzdWIiOi….c2lnbmF0…"
_REFRESH = "eyJhbGciOi….eyJ0eXAiOi….bmV3bmV3…"


class _Wire(Model):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class LoginRequest(_Wire):
    model_config = examples({"email": "agent@example.org", "password": "Sunny-Kettle-31"})

    email: str = Field(examples=["agent@example.org"])
    password: str = Field(examples=["Correct-Horse-7"])


class RefreshRequest(_Wire):
    model_config = examples({"refreshToken": _REFRESH}, {})

    refresh_token: str | None = Field(None, description="Left out, a valid access token in the header is renewed.")


class LogoutRequest(_Wire):
    model_config = examples({"refreshToken": _REFRESH}, {})

    refresh_token: str | None = Field(None, description="Left out, the access token in the header tells the sign-in.")


class PasswordChange(_Wire):
    model_config = examples({"currentPassword": "Sunny-Kettle-31", "newPassword": "Rainy-Teapot-58"})

    current_password: str
    new_password: str


class SignedIn(_Wire):
    model_config = examples({"token": _ACCESS, "refreshToken": _REFRESH, "userId": 12})

    token: str = Field(description="Access token for one hour.")
    refresh_token: str = Field(description="Refresh token for 30 days; each one can be used once.")
    user_id: int


class Renewed(_Wire):
    model_config = examples({"token": _ACCESS, "refreshToken": _REFRESH, "userId": 12})

    token: str = Field(description="Access token for one hour.")
    refresh_token: str | None = Field(None, description="Only in exchange for a refresh token.")
    user_id: int


class SessionReply(_Wire):
    model_config = examples({"message": "Signed out"})

    message: str


_SESSION: dict[str, Any] = {
    "id": "6ad1c8a2f7d94a1f9f5b3c0f1f0f2a77",
    "createdAt": "2026-11-02T07:12:09.120Z",
    "lastUsedAt": "2026-11-16T08:30:00.000Z",
    "expiresAt": "2026-12-16T08:30:00.000Z",
    "origin": "192.0.2.7",
    "userAgent": "Mozilla/5.0 (Android 14; Mobile)",
    "current": True,
}


class SessionOut(_Wire):
    """A sign-in that lasts."""

    model_config = _Wire.model_config | ConfigDict(json_schema_extra={"examples": [_SESSION]})

    id: str
    created_at: str
    last_used_at: str = Field(description="When it began or last refreshed its tokens.")
    expires_at: str = Field(description="Unless it is refreshed before.")
    origin: str | None = Field(description="The address it was last used from; of IPv6 its /64 network.")
    user_agent: str | None = Field(description="What the client calls itself. Anybody can write anything there.")
    current: bool = Field(description="The one this request comes from.")


class Ended(_Wire):
    model_config = examples({"message": "Sessions ended", "ended": 2})

    message: str
    ended: int = Field(description="How many sessions that were.")
