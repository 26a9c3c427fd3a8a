"""Small appends to one tenant that wait for each other are made as one.

What an append costs beside its events (statements, trips, a place in line, a commit) is most of what a small one costs,
and an evening's sync is many small ones to one tenant. So while one is at work, those that come are gathered, and what
they bring is appended next as one batch, each event under its own sender's name; each is answered after the commit.

Nobody has a part in what is wrong with another's: if anything is, nothing of the batch is stored, and whoever's event it
was appends by themselves, as they would have without the others.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import structlog

from datacollect.db import Database
from datacollect.db.turns import MANY
from datacollect.eventstore.log import Appended, BatchRejected, EventLog, Share
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.identity import Role
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant

_TRIES = 2
"""Of a batch: once more without the one whose event could not be applied."""

_log = structlog.get_logger(component="log")


@dataclass(frozen=True, slots=True)
class Kept:
    """An append that is on disk: its events are in the log, `newest` the latest time of those that were new."""

    newest: Millis | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Somebody who waits."""

    tenant: Tenant
    share: Share
    weight: int
    outcome: "asyncio.Future[Kept | None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def tell(self, outcome: Kept | None) -> None:
        if not self.outcome.done():  # who has left need not be told
            self.outcome.set_result(outcome)


_Key = tuple[TenantId, Role]
"""What a role may do decides what becomes of an event."""


class Together:
    """Who appends to which tenant in this process, and who waits for them."""

    def __init__(self, db: Database, log: EventLog) -> None:
        self._db = db
        self._log = log
        self._lines: dict[_Key, deque[_Place]] = {}
        """Who waits; a line is there as long as somebody of it is at work."""
        self._tasks: set[asyncio.Task[None]] = set()

    def is_small(self, weight: int) -> bool:
        """Whether an append of so many events gains by being one with others: of more the events are most of the work."""
        return 0 < weight < MANY and 2 * weight <= self._db.most_events_as_one

    @contextlib.asynccontextmanager
    async def turn(self, tenant: Tenant, share: Share, *, weight: int) -> AsyncIterator[Kept | None]:
        """A turn at the tenant's log for a small append by a caller who may write to all of the tenant.

        Gives what became of it if it was appended together with others. If that is None, the block is to append it.
        """
        key = (tenant.id, share.scope.role)
        line = self._lines.get(key)
        if line is not None:
            place = _Place(tenant, share, weight)
            line.append(place)
            yield await place.outcome
            return
        self._lines[key] = deque()
        try:
            yield None
        finally:
            self._go_on(key)

    def _go_on(self, key: _Key) -> None:
        if not self._lines[key]:
            del self._lines[key]
            return
        # Not the work of whoever comes first: their end must not be that of the others' appends.
        task = asyncio.create_task(self._work_off(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work_off(self, key: _Key) -> None:
        line = self._lines[key]
        try:
            while places := _next_batch(line, self._db.most_events_as_one):
                await self._append(places)
        finally:
            del self._lines[key]
            for place in line:  # only if it was cancelled: the process ends
                place.tell(None)

    async def _append(self, places: list[_Place]) -> None:
        try:
            for _ in range(_TRIES):
                if not places:
                    return
                try:
                    appended = await self._try(places)
                except BatchRejected as batch:
                    _take_out(places, batch.rejection.index)
                except _Reused as reused:
                    _take_out(places, reused.index)
                else:
                    _tell(places, appended)
                    return
        except DataCollectError:
            pass  # the database is away, or the program archived: each will find out by themselves
        except Exception:
            _log.warning("appends.made_one_by_one", tenant_id=places[0].tenant.id, exc_info=True)
        finally:
            for place in places:
                place.tell(None)

    async def _try(self, places: Sequence[_Place]) -> Appended:
        weight = sum(place.weight for place in places)
        async with self._db.in_turn(places[0].share.scope, events=weight) as tx:
            appended = await self._log.append_together(tx, places[0].tenant, [place.share for place in places])
            if appended.reused:
                raise _Reused(appended.reused[0])
        return appended


class _Reused(Exception):
    """An event has the guid of another one. Raised inside the transaction: it is its sender's who has to be told."""

    def __init__(self, index: int) -> None:
        super().__init__("a guid is reused")
        self.index = index


def _next_batch(line: deque[_Place], most_events: int) -> list[_Place]:
    """Those who are next, of one version of the program's config; those who have left are left out."""
    places: list[_Place] = []
    weight = 0
    while line:
        place = line[0]
        if not place.outcome.done():
            weight += place.weight
            if places and (weight > most_events or place.tenant.version != places[0].tenant.version):
                break
            places.append(place)
        line.popleft()
    return places


def _take_out(places: list[_Place], index: int) -> None:
    """Whoever's event has this index, counted through all: they go on by themselves."""
    for place in places:
        index -= len(place.share.events)
        if index < 0:
            places.remove(place)
            place.tell(None)
            return
    raise IndexError(index)


def _tell(places: Sequence[_Place], appended: Appended) -> None:
    """Each what became of their own."""
    first, at = 0, 0
    for place in places:
        end, newest = first + len(place.share.events), None
        while at < len(appended.indexes) and appended.indexes[at] < end:
            occurred_at = appended.stored[at].occurred_at
            newest = occurred_at if newest is None else max(newest, occurred_at)
            at += 1
        place.tell(Kept(newest))
        first = end
