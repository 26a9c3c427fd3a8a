"""Wire models of devices."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model

_EXAMPLE: dict[str, Any] = {
    "tenantId": "household-registry",
    "userId": "12",
    "deviceId": "tablet-07",
    "lastPullAt": "2026-11-16T08:30:00.000Z",
    "lastPushAt": None,
    "totalPulled": 120,
    "totalPushed": 0,
    "lastScopeHash": "sha256:002c2ad434fe0c7bc2a82714efd7ce909c9c676f8329619f1613e8b4c100939f",
    "firstSeenAt": "2026-11-02T07:12:09.120Z",
    "clockSkewMs": -1840,
    "clockAhead": False,
    "revokedAt": None,
    "revokedBy": None,
}


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class DeviceOut(_Out):
    """One user's syncs on one device."""

    model_config = _Out.model_config | ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    tenant_id: str
    user_id: str = Field(description="The account; empty for callers an identity provider vouches for.")
    device_id: str = Field(description="What the device calls itself.")
    last_pull_at: str | None
    last_push_at: str | None
    total_pulled: int = Field(description="Events delivered; those delivered again count again.")
    total_pushed: int = Field(description="Events applied; those the hub knew already count too.")
    last_scope_hash: str | None
    first_seen_at: str
    clock_skew_ms: int | None = Field(
        description="How far the device's clock is ahead of the hub's (negative: behind); null until known."
    )
    clock_ahead: bool = Field(description="It once pushed an event from more than two minutes in the future.")
    revoked_at: str | None
    revoked_by: str | None


class RevocationOut(_Out):
    """For whom the device is shut out."""

    user_id: str | None = Field(description="The account; null: whoever signs in on the device.")
    revoked_at: str
    revoked_by: str


class RevocationReply(_Out):
    model_config = _Out.model_config | ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "success",
                    "tenantId": "household-registry",
                    "deviceId": "tablet-07",
                    "revocations": [
                        {"userId": None, "revokedAt": "2026-11-16T09:00:00.000Z", "revokedBy": "admin@example.org"}
                    ],
                }
            ]
        }
    )

    status: Literal["success"]
    tenant_id: str
    device_id: str
    revocations: list[RevocationOut] = Field(description="Those in force now; empty: the device may sync.")
