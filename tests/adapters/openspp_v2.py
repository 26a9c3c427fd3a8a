"""An OpenSPP V2 adapter, its registry, and a clock that stands for both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from datacollect.adapters import openspp_v2
from datacollect.adapters.kinds import Context, FieldMapping
from datacollect.adapters.openspp_v2.adapter import OpenSppV2Adapter
from datacollect.adapters.port import Followed, FollowUp, Link, Outgoing, Pushed, RecordType
from datacollect.kernel.clock import Millis
from datacollect.testing.openspp_v2 import OpenSppV2Registry

GUID = "6f1c2d3e-0000-4000-8000-000000000001"
OTHER = "6f1c2d3e-0000-4000-8000-000000000002"
THIRD = "6f1c2d3e-0000-4000-8000-000000000003"
HOUSEHOLD = "6f1c2d3e-0000-4000-8000-0000000000aa"
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@dataclass
class World:
    """`slept` is how long the adapter has waited: its pauses turn the clock instead of taking time."""

    registry: OpenSppV2Registry
    context: Context
    time: datetime = NOW
    slept: list[float] = field(default_factory=list)
    while_asleep: Callable[[], object] = lambda: None

    def now(self) -> Millis:
        return Millis(int(self.time.timestamp() * 1000))

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.while_asleep()

    def adapter(self, *mappings: FieldMapping, **options: Any) -> OpenSppV2Adapter:
        settings = {"url": f"{self.registry.url}/", "clientId": "dc", "clientSecret": "s3cret", **options}
        context = replace(self.context, mappings=mappings)
        return OpenSppV2Adapter(openspp_v2.KIND.options.model_validate(settings), context, sleep=self.sleep)


Make = Callable[..., OpenSppV2Adapter]


def person(guid: str = GUID, **changes: Any) -> Outgoing:
    return _record(guid, RecordType.INDIVIDUAL, {"firstName": "Maria", "lastName": "Santos"}, changes)


def household(guid: str = HOUSEHOLD, **changes: Any) -> Outgoing:
    return _record(guid, RecordType.GROUP, {"name": "Santos"}, changes)


def _record(guid: str, type: RecordType, data: dict[str, Any], changes: dict[str, Any]) -> Outgoing:
    data = data | changes.pop("data", {})
    version = changes.pop("version", 1)
    return Outgoing(guid=guid, type=type, data=data, version=version, key=f"{guid}:{version}", **changes)


def after(record: Outgoing, outcome: Any, **data: Any) -> Outgoing:
    """The record as it is told the next time, with changed `data`."""
    assert isinstance(outcome, Pushed), outcome
    state = record.state if outcome.state is None else outcome.state
    version = record.version + bool(data)
    return replace(record, link=outcome.link, state=state, data=record.data | data, version=version)


def followed(record: Outgoing) -> Followed:
    return Followed(guid=record.guid, type=record.type, state=record.state, link=record.link, data=record.data)


def after_follow_up(record: Outgoing, told: FollowUp) -> Outgoing:
    return replace(record, state=told.state, link=told.link or record.link)


def linked(guid: str, **state: Any) -> Link:
    return Link(external_id=guid, version="1", state={"identifierType": "system_id", **state})


def codes(failures: Sequence[Any]) -> list[str]:
    return [failure.code for failure in failures]
