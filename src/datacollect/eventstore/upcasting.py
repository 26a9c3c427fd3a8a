"""Reading events that were written in an older layout.

An event is stored and delivered as it was sent, schema version included: its hash and its echo depend on it. Only what
is applied to projections is brought to the current layout, live and in a rebuild alike. Source: the contract's model, 7.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from datacollect.eventstore.event import Event
from datacollect.kernel.errors import StartupError

FIRST_VERSION = 1
"""What an event without a schema version has."""


@dataclass(frozen=True, slots=True)
class Upcaster:
    """One step for one event type: a pure function from the data of a version to that of a later one."""

    event_type: str
    from_version: int
    to_version: int
    upcast: Callable[[Mapping[str, Any]], dict[str, Any]]


class Upcasters:
    """All steps. Raises `StartupError` if one is there twice, leads nowhere or backwards, or a version between is missing."""

    def __init__(self, steps: Iterable[Upcaster] = ()) -> None:
        self._steps: dict[str, dict[int, Upcaster]] = {}
        for step in steps:
            known = self._steps.setdefault(step.event_type, {})
            if step.from_version in known:
                raise StartupError(f"Two upcasters read version {step.from_version} of {step.event_type} events.")
            if step.to_version <= step.from_version:
                raise StartupError(f"An upcaster of {step.event_type} events does not lead to a later version.")
            known[step.from_version] = step
        for event_type in self._steps:
            self._require_whole_chain(event_type)

    def current_version(self, event_type: str) -> int:
        steps = self._steps.get(event_type, {})
        return max((step.to_version for step in steps.values()), default=FIRST_VERSION)

    def describe(self) -> str:
        """All steps as a text that changes with them."""
        known = (step for steps in self._steps.values() for step in steps.values())
        return " ".join(sorted(f"{step.event_type}:{step.from_version}>{step.to_version}" for step in known))

    def upcast(self, event: Event) -> Event:
        """The event in its type's current layout; itself if it is in it, or in one that no step reads."""
        steps = self._steps.get(event.type)
        if not steps:
            return event
        version = event.schema_version or FIRST_VERSION
        data = event.data
        while (step := steps.get(version)) is not None:
            data, version = step.upcast(data), step.to_version
        return event if data is event.data else replace(event, data=data, schema_version=version)

    def _require_whole_chain(self, event_type: str) -> None:
        steps, current = self._steps[event_type], self.current_version(event_type)
        version = min(steps)
        while version != current:
            if version not in steps:
                raise StartupError(f"No upcaster reads version {version} of {event_type} events.")
            version = steps[version].to_version
