"""Events of older layouts: stored as they were sent, applied in the current layout."""

from collections.abc import Mapping
from typing import Any

import pytest

from datacollect.eventstore.event import Event
from datacollect.eventstore.upcasting import Upcaster, Upcasters
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import StartupError


def _event(version: int | None = None, **data: Any) -> Event:
    return Event("g", "e", "create-individual", data, Millis(1), "u", version)


def _step(from_version: int, to_version: int, event_type: str = "create-individual") -> Upcaster:
    def note(data: Mapping[str, Any]) -> dict[str, Any]:
        return {**data, "steps": [*data.get("steps", []), from_version]}

    return Upcaster(event_type, from_version, to_version, note)


@pytest.mark.parametrize(("version", "steps"), [(None, [1, 2]), (1, [1, 2]), (2, [2])])
def test_an_older_event_takes_every_step_from_its_version_on(version: int | None, steps: list[int]) -> None:
    event = _event(version, name="Ana")
    read = Upcasters([_step(2, 5), _step(1, 2)]).upcast(event)
    assert (read.data, read.schema_version) == ({"name": "Ana", "steps": steps}, 5)
    assert event.data == {"name": "Ana"}


@pytest.mark.parametrize("version", [3, 5, 9])
def test_an_event_that_no_step_reads_is_left_as_it_is(version: int) -> None:
    event = _event(version, name="Ana")
    assert Upcasters([_step(1, 2), _step(2, 5)]).upcast(event) is event


def test_other_types_are_left_as_they_are() -> None:
    event = _event(name="Ana")
    assert Upcasters([_step(1, 2, "create-group")]).upcast(event) is event


def test_the_current_version_is_the_highest_a_step_leads_to() -> None:
    upcasters = Upcasters([_step(1, 2), _step(2, 5)])
    assert upcasters.current_version("create-individual") == 5
    assert upcasters.current_version("create-group") == 1


@pytest.mark.parametrize(
    "steps", [[_step(1, 2), _step(1, 3)], [_step(1, 2), _step(3, 4)], [_step(2, 2)], [_step(3, 1)]]
)
def test_steps_that_do_not_make_one_chain_stop_the_start(steps: list[Upcaster]) -> None:
    with pytest.raises(StartupError):
        Upcasters(steps)
