"""Making counter-examples small."""

from dataclasses import replace

import pytest

from datacollect.testing.devices import Generation
from datacollect.testing.simulation.schedule import DeviceSpec, Do, Schedule, Step, make_schedule
from datacollect.testing.simulation.shrinking import shrink

pytestmark = pytest.mark.anyio

PLAIN = DeviceSpec(Generation.V1)


def with_culprits(seed: int) -> Schedule:
    """A schedule of many steps, two of which matter."""
    schedule = make_schedule(seed)
    steps = [step for step in schedule.steps if step.do not in (Do.DELETE, Do.FORGET)]
    steps.insert(len(steps) // 3, Step(Do.DELETE, 0, 9))
    steps.append(Step(Do.FORGET, 1))
    return replace(schedule, steps=tuple(steps))


@pytest.mark.parametrize("seed", range(8))
async def test_what_matters_is_left_in_its_order(seed: int) -> None:
    async def breaks(schedule: Schedule) -> bool:
        kinds = [step.do for step in schedule.steps]
        return Do.DELETE in kinds and Do.FORGET in kinds[kinds.index(Do.DELETE) :]

    smallest = await shrink(with_culprits(seed), breaks)
    assert [(step.do, step.number) for step in smallest.steps] == [(Do.DELETE, 0), (Do.FORGET, 0)]
    assert len(smallest.devices) == 2
    assert [(spec.skew_ms, spec.page_size, spec.hub) for spec in smallest.devices] == [(0, None, 0)] * 2


async def test_the_steps_of_devices_behind_one_that_is_left_out_stay_theirs() -> None:
    async def breaks(schedule: Schedule) -> bool:
        return any(
            step.do is Do.ECHO and schedule.devices[step.device].generation is Generation.V2 for step in schedule.steps
        )

    devices = (PLAIN, PLAIN, DeviceSpec(Generation.V2))
    smallest = await shrink(Schedule(1, devices, (Step(Do.CREATE, 0, 1), Step(Do.ECHO, 2))), breaks)
    assert smallest.devices == (DeviceSpec(Generation.V2),)
    assert smallest.steps == (Step(Do.ECHO, 0),)


async def test_numbers_become_as_small_as_matters_and_never_senseless() -> None:
    async def breaks(schedule: Schedule) -> bool:
        return sum(step.number for step in schedule.steps if step.do is Do.CREATE) >= 5

    smallest = await shrink(Schedule(1, (PLAIN,), (Step(Do.CREATE, 0, 3), Step(Do.CREATE, 0, 11))), breaks)
    assert smallest.steps == (Step(Do.CREATE, 0, 5),)


async def test_it_ends_even_if_everything_breaks() -> None:
    async def breaks(schedule: Schedule) -> bool:
        return True

    smallest = await shrink(make_schedule(3), breaks)
    assert smallest.steps == ()
    assert len(smallest.devices) == 1
