"""Replays of long histories: how far the last ones have come, and how much of the process they may take."""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from datacollect.db.turns import others_turn
from datacollect.features.entities.history import Replay
from datacollect.kernel.ids import TenantId

AT_ONCE = 20
"""Events: some milliseconds of work."""
_MOST = 8
_SECONDS = 60.0
"""As long as somebody takes to ask for the next page."""
_LONGEST_REST = 0.05


@dataclass(frozen=True, slots=True)
class Kept:
    """An entity as it was behind an event. It may be taken up while the log has that event with that hash, and so all
    before it."""

    position: int
    chain_hash: bytes
    replay: Replay
    """Not to be applied to: `fork` it."""


class Replays:
    """Implements `Replays` of the hub: a few replays of each process, so that the next page of a history goes on where
    the last one ended, and a pace for those that begin anew."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[TenantId, str, int], tuple[float, Kept]] = OrderedDict()
        self._under_way = 0

    def find(self, tenant_id: TenantId, guid: str, *, through: int) -> Kept | None:
        """The latest that is not behind that position."""
        self._forget_old()
        found = [one for (tenant, entity, _), (_, one) in self._kept.items() if (tenant, entity) == (tenant_id, guid)]
        return max((one for one in found if one.position <= through), key=lambda one: one.position, default=None)

    def keep(self, tenant_id: TenantId, guid: str, kept: Kept) -> None:
        key = (tenant_id, guid, kept.position)
        self._kept[key] = (time.monotonic() + _SECONDS, kept)
        self._kept.move_to_end(key)
        self._forget_old()

    def _forget_old(self) -> None:
        now = time.monotonic()
        while self._kept and (len(self._kept) > _MOST or next(iter(self._kept.values()))[0] <= now):
            self._kept.popitem(last=False)

    @contextlib.contextmanager
    def begun(self) -> Iterator["Pace"]:
        """A replay, which lasts as long as the block."""
        self._under_way += 1
        try:
            yield Pace(self)
        finally:
            self._under_way -= 1

    @property
    def under_way(self) -> int:
        return self._under_way


class Pace:
    """Keeps all replays together from taking more than half of the process."""

    def __init__(self, replays: Replays) -> None:
        self._replays = replays
        self._done = 0
        self._since = time.perf_counter()

    async def step(self) -> None:
        """To be awaited after each event."""
        self._done += 1
        if self._done % AT_ONCE:
            return
        worked = min(time.perf_counter() - self._since, _LONGEST_REST)
        await others_turn()
        await asyncio.sleep(worked * self._replays.under_way)
        self._since = time.perf_counter()
