"""Replays of long histories: how far the last ones have come, and how many go on at once."""

import asyncio
import time
from collections import OrderedDict
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from datacollect.features.entities.history import Replay
from datacollect.kernel.ids import TenantId

AT_ONCE = 2
"""Each holds one of the views of the database that all requests share."""
_MOST = 8
_SECONDS = 60.0
"""As long as somebody takes to ask for the next page."""


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
    the last one ended, and a gate for all of them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[TenantId, str, int], tuple[float, Kept]] = OrderedDict()
        self._turns = asyncio.Semaphore(AT_ONCE)

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

    def begun(self) -> AbstractAsyncContextManager[None]:
        """A replay, which lasts as long as the block, and begins when fewer than `AT_ONCE` others are under way."""
        return self._turns
