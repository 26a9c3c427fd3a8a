"""Checks of events that a program asks for, made before anybody waits for its log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from datacollect.eventstore.event import Event
from datacollect.kernel.tenancy import Tenant


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A value that the program's form would not have let pass."""

    form: str
    entity_guid: str
    """The entity the value is of: the event's, or a member's inside it."""
    path: tuple[str | int, ...]
    """From the event's root."""
    message: str
    """What is expected; never what was sent."""


class EventCheck(Protocol):
    def mismatches(self, event: Event) -> Sequence[Mismatch]:
        """Pure, and never an error."""


class EventChecks(Protocol):
    async def of(self, tenant: Tenant) -> EventCheck | None:
        """The check the program asks for, as its config is; None for most."""
