"""The wire form of entities, for the API document; the routes write the same bytes without building models."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, RootModel
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model, examples

_MEMBER: dict[str, Any] = {
    "guid": "p-001",
    "id": "p-001",
    "name": "Ana Rivera",
    "entityName": "individual",
    "type": "individual",
    "data": {"entityName": "individual", "name": "Ana Rivera", "phone": "+49151123456"},
    "lastUpdated": "2026-11-16T08:30:00.000Z",
}
_GROUP: dict[str, Any] = {
    "guid": "hh-001",
    "id": "hh-001",
    "name": "Rivera household",
    "entityName": "household",
    "type": "group",
    "data": {"entityName": "household", "name": "Rivera household"},
    "lastUpdated": "2026-11-16T08:30:00.000Z",
    "memberIds": ["p-001", "p-002"],
}


class _Wire(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class EntityCount(_Wire):
    model_config = examples({"count": 3})

    count: int = Field(ge=0, description="Groups, individuals and records, members included.")


class CountByForm(RootModel[dict[str, int]]):
    """Entities by the form they came from; those without one under `Unknown`. The values add up to the count."""

    model_config = examples({"household": 1, "individual": 2})


class MemberView(_Wire):
    """An entity as its group's list of members shows it."""

    model_config = examples(_MEMBER)

    guid: str
    id: str = Field(description="The same as `guid`.")
    name: str | None = Field(None, description="Left out when there is none.")
    entity_name: str | None = Field(None, description="The form it came from; left out when unknown.")
    type: Literal["group", "individual", "record"]
    external_id: str | None = Field(
        None, description="Its key in the other system that the program exchanges with; left out without one."
    )
    data: dict[str, Any] = Field(description="The current values of its form, and `externalId` once more.")
    last_updated: str = Field(description="When its state last changed here, ISO-8601 UTC with milliseconds.")


class EntityView(MemberView):
    """The current state of an entity."""

    model_config = examples(_GROUP)

    member_ids: list[str] | None = Field(None, description="Of groups only: guids in the order of joining.")


class ListedEntity(_Wire):
    """The current state of an entity; with `fields`, of it only the members that are named."""

    model_config = examples(_MEMBER)

    guid: str | None = None
    id: str | None = Field(None, description="The same as `guid`.")
    name: str | None = Field(None, description="Left out when there is none.")
    entity_name: str | None = Field(None, description="The form it came from; left out when unknown.")
    type: Literal["group", "individual", "record"] | None = None
    external_id: str | None = Field(
        None, description="Its key in the other system that the program exchanges with; left out without one."
    )
    data: dict[str, Any] | None = Field(None, description="The current values of its form, and `externalId` once more.")
    member_ids: list[str] | None = Field(None, description="Of groups only: guids in the order of joining.")
    last_updated: str | None = Field(None, description="When its state last changed here, ISO-8601 UTC.")
