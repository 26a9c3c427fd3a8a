"""Making a counter-example small: fewer steps, then fewer and plainer devices, then smaller numbers."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace

from datacollect.testing.simulation.schedule import DeviceSpec, Do, Schedule, Step

Breaks = Callable[[Schedule], Awaitable[bool]]
_MOST_RUNS = 1500


class _Budget:
    """Asks whether a schedule still breaks the law, as often as is allowed."""

    def __init__(self, breaks: Breaks) -> None:
        self._breaks = breaks
        self._left = _MOST_RUNS

    async def allows(self, schedule: Schedule) -> bool:
        self._left -= 1
        return self._left >= 0 and await self._breaks(schedule)


async def shrink(schedule: Schedule, breaks: Breaks) -> Schedule:
    """The smallest schedule found that `breaks` still says yes to. Deterministic."""
    budget = _Budget(breaks)
    before = None
    while before != schedule:
        before = schedule
        schedule = await _fewer_steps(schedule, budget)
        for simpler in (_devices_left_out, _plainer_devices, _smaller_numbers):
            schedule = await _take(schedule, simpler, budget)
    return schedule


async def _fewer_steps(schedule: Schedule, budget: _Budget) -> Schedule:
    """Leave out runs of steps: half of them, then quarters, down to single ones, as long as that helps."""
    size = max(1, len(schedule.steps) // 2)
    while size:
        start = 0
        while start < len(schedule.steps):
            steps = (*schedule.steps[:start], *schedule.steps[start + size :])
            fewer = replace(schedule, steps=steps)
            if await budget.allows(fewer):
                schedule = fewer
            else:
                start += size
        size //= 2
    return schedule


async def _take(schedule: Schedule, simpler: Callable[[Schedule], Iterator[Schedule]], budget: _Budget) -> Schedule:
    """Go to a simpler schedule, and on from there, until none breaks the law."""
    found = True
    while found:
        found = False
        for candidate in simpler(schedule):
            if await budget.allows(candidate):
                schedule, found = candidate, True
                break
    return schedule


def _devices_left_out(schedule: Schedule) -> Iterator[Schedule]:
    for gone in reversed(range(len(schedule.devices))):
        devices = _without(schedule.devices, gone)
        steps = [
            replace(step, device=step.device - (step.device > gone)) for step in schedule.steps if step.device != gone
        ]
        if devices:
            yield replace(schedule, devices=devices, steps=tuple(steps))


def _without(devices: Sequence[DeviceSpec], gone: int) -> Sequence[DeviceSpec]:
    return tuple(spec for index, spec in enumerate(devices) if index != gone)


def _plainer_devices(schedule: Schedule) -> Iterator[Schedule]:
    for index, spec in enumerate(schedule.devices):
        for plainer in (replace(spec, skew_ms=0), replace(spec, page_size=None), replace(spec, hub=0)):
            if plainer != spec:
                devices = (*schedule.devices[:index], plainer, *schedule.devices[index + 1 :])
                yield replace(schedule, devices=devices)


def _smaller_numbers(schedule: Schedule) -> Iterator[Schedule]:
    for index, step in enumerate(schedule.steps):
        for number in _smaller(step):
            steps = (*schedule.steps[:index], replace(step, number=number), *schedule.steps[index + 1 :])
            yield replace(schedule, steps=steps)


def _smaller(step: Step) -> Iterator[int]:
    lowest = 1 if step.do in (Do.CREATE, Do.BURST, Do.ADVANCE, Do.CUT) else 0
    if step.do is Do.SKEW or step.number <= lowest:
        return
    yield lowest
    if step.number // 2 > lowest:
        yield step.number // 2
    if step.number - 1 > lowest:
        yield step.number - 1
