"""How state is derived from events. Projections are registered with the log; it knows none of them by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from datacollect.db import Tx
from datacollect.eventstore.event import Event, Origin
from datacollect.eventstore.store import Scoping
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import Tenant


@dataclass(frozen=True, slots=True)
class Context:
    """What an event's application may depend on besides the event and the state: all of it is stored with the
    event, never read from a clock, so that a rebuild gives the same state."""

    position: int
    recorded_at: Millis
    origin: Origin = Origin.CLIENT
    size_bytes: int = 0
    """Of the event; 0 where it is stored already, and so is not refused for its size."""


class ProjectionRun(Protocol):
    """One batch of events being applied to the states it touches."""

    @property
    def figures(self) -> Mapping[str, int]:
        """How much each running count has changed so far."""

    def apply(self, event: Event, context: Context) -> None:
        """Apply one event in memory: entirely, or not at all and `EventRejected`. No I/O."""

    async def save(self, tx: Tx) -> None:
        """Store the changed states, in a constant number of statements."""

    async def snapshots(self, tx: Tx) -> Sequence[Event]:
        """What devices that hold only a part of the program must be told beside the events. The states are saved."""

    async def tell(self, tx: Tx) -> None:
        """Tell others what the events did. The events are stored."""


class InlineProjection(Protocol):
    """State kept in the transaction that appends."""

    async def start(
        self, tx: Tx, scope: TenantScope, tenant: Tenant, events: Sequence[Event], *, scoping: Scoping | None
    ) -> ProjectionRun:
        """Load all states these events touch, in a constant number of statements.

        With a `scoping` there are readers who hold only a part of the program.
        """
