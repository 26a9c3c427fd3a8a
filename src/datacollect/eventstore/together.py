"""Small appends to one tenant that wait for each other are made as one.

What an append costs beside its events (statements, trips, a savepoint) is most of what a small one costs, and an evening's
sync is many small ones to one tenant. So whoever comes while others are at work does not line up alone: a batch is in line
for all who wait, or as many batches as they fill, and when its turn comes it appends what they have brought by then, each
event under its own sender's name. Each is answered after the commit. Nobody waits longer for it: a batch is in line from
the first of those on for whom it is.

Nobody has a part in what is wrong with another's: whoever's event it is is left out before anything is stored, and appends
by themselves, as they would have without the others.
"""

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import structlog

from datacollect.db import Database
from datacollect.db.turns import MANY
from datacollect.eventstore.log import Appended, EventLog, Share
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import DataCollectError, StillLocked
from datacollect.kernel.identity import Role, TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant

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

    def send_away(self) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(StillLocked())
            self.outcome.exception()  # marks it as seen: they may have left in this very moment


@dataclass(slots=True)
class _Line:
    """Those who append small things to a tenant in one role: what a role may do decides what becomes of an event."""

    waiting: deque[_Place] = field(default_factory=deque)
    weight: int = 0
    """Of all who wait."""
    at_work: int = 0
    """By themselves, or as batches."""
    batches: int = 0
    """Which are in line for those who wait, and not of anybody yet."""


_Key = tuple[TenantId, Role]


class Together:
    """Who appends small things to which tenant in this process."""

    def __init__(self, db: Database, log: EventLog) -> None:
        self._db = db
        self._log = log
        self._lines: dict[_Key, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def is_small(self, weight: int) -> bool:
        """Whether an append of so many events gains by being one with others: of more the events are most of the work."""
        return 0 < weight <= self._db.most_events_of_each and self._db.appends_as_one

    @contextlib.asynccontextmanager
    async def turn(self, tenant: Tenant, share: Share, *, weight: int) -> AsyncIterator[Kept | None]:
        """For a small append by a caller who may write to all of the tenant.

        Gives what became of it if it was appended together with others. If that is None, the block is to append it.
        """
        key = (tenant.id, share.scope.role)
        line = self._lines.setdefault(key, _Line())
        if line.at_work:
            place = _Place(tenant, share, weight)
            line.waiting.append(place)
            line.weight += weight
            self._line_up(key, line, share.scope)
            yield await place.outcome
            return
        line.at_work += 1
        try:
            yield None
        finally:
            self._end(key, line)

    def _end(self, key: _Key, line: _Line) -> None:
        line.at_work -= 1
        if not line.at_work:  # so nobody waits: whoever does has a batch at work
            del self._lines[key]

    def _line_up(self, key: _Key, line: _Line, scope: TenantScope) -> None:
        """See to it that as many batches are in line as those who wait fill."""
        while line.weight > line.batches * self._db.most_events_as_one:
            line.batches += 1
            line.at_work += 1
            # Not the work of whoever comes first: their end must not be that of the others' appends, nor what they are
            # asking for what is logged of them.
            context = contextvars.copy_context()
            context.run(structlog.contextvars.clear_contextvars)
            task = asyncio.create_task(self._append(key, line, scope), context=context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _append(self, key: _Key, line: _Line, scope: TenantScope) -> None:
        batch, is_locked = _Batch(), False
        try:
            await self._append_batch(key, line, scope, batch)
        except StillLocked:
            is_locked = True  # by themselves they would wait for the same, for as long again
        except DataCollectError:
            pass  # the database is away, or the program archived: each will find out by themselves
        except Exception:
            _log.warning("appends.made_one_by_one", tenant_id=key[0], exc_info=True)
        finally:
            if not batch.has_begun:
                self._begin(key, line, scope, batch)
            for place in batch.places:
                if is_locked:
                    place.send_away()
                else:
                    place.tell(None)
            self._end(key, line)

    async def _append_batch(self, key: _Key, line: _Line, scope: TenantScope, batch: "_Batch") -> None:
        places = batch.places
        async with self._db.in_turn(scope, events=MANY - 1) as tx:
            self._begin(key, line, scope, batch)
            if not places:
                return
            made = await self._log.append_together(tx, places[0].tenant, [place.share for place in places])
        _tell([place for at, place in enumerate(places) if at not in made.left_out], made.appended)

    def _begin(self, key: _Key, line: _Line, scope: TenantScope, batch: "_Batch") -> None:
        """The turn has come: the batch is of those who have waited longest, as many as it holds."""
        batch.has_begun = True
        line.batches -= 1
        batch.places += _next_batch(line, self._db.most_events_as_one)
        self._line_up(key, line, scope)


@dataclass(slots=True)
class _Batch:
    has_begun: bool = False
    places: list[_Place] = field(default_factory=list)


def _next_batch(line: _Line, most_events: int) -> list[_Place]:
    """Those who are next, of one version of the program's config; those who have left are left out."""
    places: list[_Place] = []
    weight = 0
    while line.waiting:
        place = line.waiting[0]
        if not place.outcome.done():
            weight += place.weight
            if places and (weight > most_events or place.tenant.version != places[0].tenant.version):
                break
            places.append(place)
        line.waiting.popleft()
        line.weight -= place.weight
    return places


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
