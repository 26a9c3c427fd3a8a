"""Wire models of conflicts."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from datacollect.http.wire import Wire
from datacollect.kernel.errors import IssueCode


class Resolve(Wire):
    """How to decide a conflict."""

    resolution: Literal["local", "remote", "merged"] = Field(examples=["remote"])
    merged_data: dict[str, Any] | None = Field(None, description="The outcome; required, and only used, for `merged`.")

    @model_validator(mode="after")
    def _merged_has_data(self) -> "Resolve":
        if self.resolution == "merged" and not self.merged_data:
            raise PydanticCustomError(IssueCode.MISSING.value, "mergedData must be an object with the outcome's fields")
        return self


class _Out(BaseModel):
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
    conflicts: list[ConflictView]
    unresolved_count: int


class ConflictReply(_Out):
    conflict: ConflictView


class ResolveReply(_Out):
    status: Literal["success"]
    conflict: ConflictView
