"""Where a request under way can be left standing, so that the seed decides who goes on."""

import asyncio
from collections.abc import Sequence
from enum import StrEnum

from datacollect.db import Tx
from datacollect.eventstore.store import EventStore, OpenLog
from datacollect.kernel.identity import TenantScope
from datacollect.testing.simulation.rules import DelegatingStore


class Point(StrEnum):
    """Where a request can be left; everything since the point before has been done."""

    PUSH_ARRIVED = "push arrived"
    LOADED = "loaded without the lock"
    """Only under the rule that loads before it locks."""
    LOCKED = "locked"
    WRITTEN = "written"
    COMMITTED = "committed"
    PULL_ARRIVED = "pull arrived"
    READ = "read"


class BrokenOff(Exception):
    """The request is over for its sender, wherever the hub had got with it. No `OSError`: those the database takes for
    its own."""


class Gate:
    """One device's requests stop at each point until they are told to go on."""

    def __init__(self) -> None:
        self.point: Point | None = None
        """Where the request stands, or what it passed last; None between syncs."""
        self.stands_still = asyncio.Event()
        """Set while the device waits at a point, or has nothing under way."""
        self.passing = False
        """Whether the points inside the transaction are passed without a stop."""
        self._go_on: asyncio.Future[None] | None = None

    async def at(self, point: Point) -> None:
        """Raises `BrokenOff` when the request is to end here."""
        self.point = point
        if self.passing and point in (Point.LOCKED, Point.WRITTEN):
            return
        self._go_on = asyncio.get_running_loop().create_future()
        self.stands_still.set()
        await self._go_on

    def go(self) -> None:
        self.stands_still.clear()
        assert self._go_on is not None
        self._go_on.set_result(None)

    def break_off(self) -> None:
        self.stands_still.clear()
        assert self._go_on is not None
        self._go_on.set_exception(BrokenOff("the connection broke off"))


class WatchedStore(DelegatingStore):
    """Stops at the gate as soon as the lock is held."""

    def __init__(self, inner: EventStore, gate: Gate) -> None:
        super().__init__(inner)
        self._gate = gate

    async def open(self, tx: Tx, scope: TenantScope, guids: Sequence[str]) -> OpenLog:
        opened = await self._inner.open(tx, scope, guids)
        await self._gate.at(Point.LOCKED)
        return opened
