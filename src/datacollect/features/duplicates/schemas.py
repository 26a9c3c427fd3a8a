"""Wire models of duplicates."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model, Wire, examples

StatusName = Literal["open", "not-a-duplicate", "merged", "deleted"]


_REASONS = [
    {"about": "name", "found": "close", "bits": 7.4},
    {"about": "birthDate", "found": "same", "bits": 9.1},
    {"about": "phone", "found": "same", "bits": 6.0},
]
_FIRST: dict[str, Any] = {
    "guid": "p-1",
    "type": "individual",
    "entityName": "individual",
    "name": "Rudo Moyo",
    "areaId": "cedar-bay",
    "lastUpdated": "2026-11-02T07:12:09.120Z",
}
_PAIR: dict[str, Any] = {
    "entityGuid": "p-2",
    "duplicateGuid": "p-1",
    "status": "open",
    "score": 22.5,
    "reasons": _REASONS,
    "detectedAt": "2026-11-16T08:30:02.000Z",
    "decidedAt": None,
    "decidedBy": None,
    "survivorGuid": None,
    "entity": _FIRST | {"guid": "p-2", "name": "Ruddo Moyo", "lastUpdated": "2026-11-16T08:30:00.000Z"},
    "duplicate": _FIRST,
}
_MERGED = _PAIR | {
    "status": "merged",
    "decidedAt": "2026-11-17T09:00:00.000Z",
    "decidedBy": "12",
    "survivorGuid": "p-1",
}


class PairDecision(Wire):
    """What is to become of a pair."""

    model_config = examples(
        {"newItem": "p-2", "existingItem": "p-1", "resolution": "merge", "mergedData": {"phone": "+26377000111"}},
        {"newItem": "p-2", "existingItem": "p-1", "resolution": "keep-both"},
        {"newItem": "p-2", "existingItem": "p-1", "shouldDeleteNewItem": True},
    )

    new_item: str | None = Field(
        None, description="One of the two: the one that is deleted, or merged into the other.", examples=["p-2"]
    )
    existing_item: str | None = Field(None, description="The other one, which stays.", examples=["p-1"])
    should_delete_new_item: bool | None = Field(
        None, description="What older clients send: `true` is `delete-new`, `false` is `keep-both`."
    )
    resolution: Literal["keep-both", "delete-new", "merge"] | None = Field(
        None, description="Wins over `shouldDeleteNewItem`. Neither is `keep-both`.", examples=["merge"]
    )
    merged_data: dict[str, Any] | None = Field(
        None,
        description="Of a merge: fields that the one that stays is to hold. Without it, it takes what it lacks from the other one.",
        examples=[{"phone": "+26377000111"}],
    )


class DuplicateCheck(Wire):
    """A form that is being filled in."""

    model_config = examples(
        {"type": "individual", "data": {"name": "Rudo Moyo", "birthDate": "1990-04-02", "entityName": "individual"}}
    )

    type: Literal["individual", "group"] = Field("individual", examples=["individual"])
    entity_name: str | None = Field(None, description="The form's name; else the data's `entityName`.")
    guid: str | None = Field(None, description="Of the entity itself, if it is known already: it is not told.")
    data: dict[str, Any] = Field(
        description="What has been filled in so far.",
        examples=[{"name": "Rudo Moyo", "birthDate": "1990-04-02", "entityName": "individual"}],
    )


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class EvidenceView(_Out):
    """One comparison, and how much it says."""

    about: str = Field(description="What was compared.", examples=["phone"])
    found: str = Field(description="What came of it; never a value.", examples=["same"])
    bits: float = Field(description="Speaks for one person if positive, for two if negative.", examples=[6.0])


class EntitySummary(_Out):
    """One of a pair."""

    guid: str
    type: str | None
    entity_name: str | None
    name: str | None
    area_id: str | None
    last_updated: str


class PairView(_Out):
    """Two entities that may be one."""

    model_config = examples(_PAIR)

    entity_guid: str = Field(description="The one that came later.")
    duplicate_guid: str = Field(description="The one that was there.")
    status: StatusName
    score: float = Field(description="All evidence together, in bits: 10 bits are a thousand to one.")
    reasons: list[EvidenceView]
    detected_at: str
    decided_at: str | None
    decided_by: str | None
    survivor_guid: str | None = Field(description="The one that the other was merged into.")
    entity: EntitySummary | None
    duplicate: EntitySummary | None


class PairResolved(_Out):
    model_config = examples({"status": "success", "pair": _MERGED})

    status: Literal["success"]
    pair: PairView


class MatchView(_Out):
    """Somebody who is there already."""

    guid: str
    name: str | None
    type: str | None
    entity_name: str | None
    score: float
    likelihood: Literal["probable", "possible"]
    reasons: list[EvidenceView]


class DuplicateCheckReply(_Out):
    model_config = examples(
        {
            "status": "success",
            "matches": [
                {
                    "guid": "p-1",
                    "name": "Rudo Moyo",
                    "type": "individual",
                    "entityName": "individual",
                    "score": 22.5,
                    "likelihood": "probable",
                    "reasons": _REASONS,
                }
            ],
            "elsewhere": False,
        }
    )

    status: Literal["success"]
    matches: list[MatchView]
    elsewhere: bool = Field(description="Whether there is one that the caller may not see; no more is told of it.")


class SweepReply(_Out):
    model_config = examples({"status": "success", "jobId": "1f0c8e14-3f0d-4a39-9a5b-7b1c6d2f9e10"})

    status: Literal["success"]
    job_id: str
