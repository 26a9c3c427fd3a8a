"""Wire models of conflicts."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from datacollect.http.wire import Model, Wire, examples
from datacollect.kernel.errors import IssueCode

_CONFLICT: dict[str, Any] = {
    "guid": "c1a5b0de-3a39-5e6c-9a3d-6f0f8a4b7c11",
    "entityGuid": "in-lan",
    "tenantId": "household-registry",
    "localEventGuid": "a5f1c2d4-0b6e-4a53-8a5e-9a7b0c6f2d20",
    "remoteEventGuid": "3f0e5b8a-52a7-4d0c-9a34-6d1f6a0c7e11",
    "localVersion": {"name": "Lan Tran", "village": "Ben Tre"},
    "remoteVersion": {"village": "Hoa Binh"},
    "fields": ["village"],
    "detectedAt": "2026-11-18T17:02:11.480Z",
    "resolvedAt": None,
    "resolution": None,
    "resolvedBy": None,
    "mergedData": None,
}
_DECIDED = _CONFLICT | {
    "resolvedAt": "2026-11-19T09:00:00.000Z",
    "resolution": "remote",
    "resolvedBy": "supervisor@example.org",
}


class ConflictDecision(Wire):
    """How to decide a conflict."""

    model_config = examples({"resolution": "remote"}, {"resolution": "merged", "mergedData": {"village": "Hoa Binh"}})

    resolution: Literal["local", "remote", "merged"] = Field(examples=["remote"])
    merged_data: dict[str, Any] | None = Field(None, description="The outcome; required, and only used, for `merged`.")

    @model_validator(mode="after")
    def _merged_has_data(self) -> "ConflictDecision":
        if self.resolution == "merged" and not self.merged_data:
            raise PydanticCustomError(IssueCode.MISSING.value, "mergedData must be an object with the outcome's fields")
        return self


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class ConflictView(_Out):
    """An event some of whose values lost against later ones."""

    guid: str
    entity_guid: str
    tenant_id: str
    local_event_guid: str = Field(description="The event whose value stayed; of several the latest.")
    remote_event_guid: str = Field(description="The event that lost.")
    local_version: dict[str, Any] = Field(description="The entity's data as the event left it; empty if it is deleted.")
    remote_version: dict[str, Any] = Field(description="What the event wrote.")
    fields: list[str] = Field(description="The fields whose value was not taken.")
    detected_at: str
    resolved_at: str | None
    resolution: Literal["local", "remote", "merged"] | None
    resolved_by: str | None
    merged_data: dict[str, Any] | None


class ConflictList(_Out):
    model_config = examples({"conflicts": [_CONFLICT], "unresolvedCount": 1, "nextCursor": None})

    conflicts: list[ConflictView]
    unresolved_count: int = Field(
        description="How many nobody has decided yet, on all pages and whatever was asked for."
    )
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null at the end.")


class ConflictReply(_Out):
    model_config = examples({"conflict": _CONFLICT})

    conflict: ConflictView


class ConflictResolved(_Out):
    model_config = examples({"status": "success", "conflict": _DECIDED})

    status: Literal["success"]
    conflict: ConflictView
