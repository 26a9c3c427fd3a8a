"""Wire models that several slices share."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from datacollect.kernel.clock import parse_timestamp


def examples(*values: Any, required: Sequence[str] = ()) -> ConfigDict:
    """`model_config = examples({…})`: what the API description shows of a model.

    All examples are of one hub: `tests/features/test_api_examples.py` sends those of requests, and checks the others
    against their schemas. `required` are members that the route misses with a refusal of its own.
    """
    extra: dict[str, Any] = {"required": list(required)} if required else {}
    return ConfigDict(json_schema_extra={"examples": list(values), **extra})


def _or_none(value: object) -> object:
    return None if value == "" else value


EMPTY_IS_ABSENT = BeforeValidator(_or_none)
"""Of a filter: a web form sends an empty one for none."""

NonEmpty = Annotated[str, StringConstraints(min_length=1)]


class Model(BaseModel):
    """The base of all models of the wire.

    What checks and writes one is built when it is first used, or described: no hub is asked for all that it can do, and
    together they are 2 MiB and a tenth of a start. pydantic builds each once, whatever threads ask for it.
    """

    model_config = ConfigDict(defer_build=True)


class Wire(Model):
    """Only the wire's names, no conversions: `"true"` is not a boolean. Unknown keys are dropped."""

    model_config = ConfigDict(alias_generator=to_camel, strict=True, extra="ignore", validate_by_name=False)


def _instant(text: str) -> str:
    parse_timestamp(text)
    return text


Instant = Annotated[str, AfterValidator(_instant)]
"""An ISO-8601 UTC timestamp ending in `Z`."""


class RollingWindow(Wire):
    """What happened in the last so many days."""

    type: Literal["rolling"]
    # A hundred years; numbers beyond the calendar could not be subtracted from today.
    days: int = Field(gt=0, le=36_500)


class FixedWindow(Wire):
    """What happened since an instant."""

    type: Literal["fixed"]
    floor: Instant = Field(examples=["2025-01-01T00:00:00.000Z"])


class SyncScope(Wire):
    """How much of a program a device may hold. A dimension that is absent is not limited; empty lists are refused."""

    area_ids: Annotated[list[NonEmpty], Field(fail_fast=True)] | None = Field(None, min_length=1, max_length=10_000)
    entity_types: list[Literal["individual", "group"]] | None = Field(None, min_length=1, max_length=100)
    time_window: Annotated[RollingWindow | FixedWindow, Field(discriminator="type")] | None = None


def place_in_body(location: Sequence[str | int]) -> tuple[str | int, ...]:
    """Where a schema has found something, as the body has it: without the kind of window that it was held against."""
    before = (None, *location)
    return tuple(step for at, step in enumerate(location) if before[at] != "timeWindow")
