"""Wire models of integrity."""

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model, examples

_HEAD = "v3:398a872adfd302e34b2a6455db974bac81c7a1d1f52a09709c476babd93d6a11"
_CHECKED = "v3:0c4f0e5d5f3b4c1f8d8c2e0f7a9b6d3e1c5a7f9b2d4e6f8091a3b5c7d9e1f203"


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class VerificationFinding(_Out):
    """The first thing that was wrong."""

    code: str = Field(examples=["CONTENT_CHANGED"])
    position: int | None = Field(description="Null if it is not about an event.")
    guid: str | None = Field(description="Null if there is no event at that position, or its guid is none.")
    message: str


class VerificationView(_Out):
    """The last run of `datacollect verify` over this log."""

    verified_at: str
    ok: bool
    position: int = Field(description="The last event up to which everything was in order.")
    head: str = Field(description="The chain hash there; empty if there is none.")
    finding: VerificationFinding | None


class AnchorView(_Out):
    """A chain hash that is kept outside the database."""

    position: int
    head: str
    written_at: str


class IntegrityReply(_Out):
    """Where a program's log ends, and how far that is confirmed."""

    model_config = examples(
        {
            "status": "success",
            "configId": "household-registry",
            "algorithm": "v3",
            "head": _HEAD,
            "count": 1204,
            "position": 1204,
            "recordedAt": "2026-11-18T17:02:11.480Z",
            "lastVerification": {
                "verifiedAt": "2026-11-18T02:00:00.000Z",
                "ok": True,
                "position": 1000,
                "head": _CHECKED,
                "finding": None,
            },
            "lastAnchor": {"position": 1000, "head": _CHECKED, "writtenAt": "2026-11-17T11:20:31.004Z"},
        }
    )

    status: Literal["success"]
    config_id: str
    algorithm: Literal["v3"]
    head: str = Field(
        description="The chain hash of the last event; empty if there is none.",
        examples=["v3:398a872adfd302e34b2a6455db974bac81c7a1d1f52a09709c476babd93d6a11"],
    )
    count: int = Field(description="The number of events.")
    position: int = Field(description="The last event's position. Positions have no gaps, so it equals `count`.")
    recorded_at: str | None = Field(description="When the last event was stored.")
    last_verification: VerificationView | None = Field(description="Null if the log has never been verified.")
    last_anchor: AnchorView | None = Field(
        description="The anchor written last on this machine; null if there is none or its file cannot be read."
    )
