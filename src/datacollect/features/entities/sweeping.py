"""The sweeper: it takes away the rows of lists that mean nothing any more, behind the pushes that have left them.

A push takes its own away where they are near the end of the log, and only counts those that are farther back
(`listings.py`). Once an eighth of the rows of a stretch of the log are stale they go together: they are neighbours, and a page
that is written once loses many of them. Lists are right without it, as who reads them passes over what is stale. It keeps
their table near the number of the entities, but for what is too little to be worth a look.

What is due is in the database, so nothing is lost when the process ends or the database is away: whoever starts next
looks at all programs, and whoever pushes next at those that have grown. Several processes may be at work on one stretch;
each row is judged once more by the statement that deletes it.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from datacollect.db import Database
from datacollect.eventstore.beside import Beside
from datacollect.eventstore.store import Head
from datacollect.features.entities import listings, stretches
from datacollect.features.entities.listings import may_take_away
from datacollect.features.entities.stretches import Counted, Page, Place, Stretch
from datacollect.jobs.giving_way import GivingWay, Metered, Visitors
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId

_T = TypeVar("_T")

_log = structlog.get_logger(component="sweeper")

PAGE = 5000
"""Rows that one statement looks at. A stretch has as many as there are positions in it, or very many: one event may
change a hundred thousand entities."""
ROWS_AT_ONCE = 200
"""Taken away in one transaction."""
_ROWS_OF_EVENT = 8
"""About as much work as to append an event."""
_STRETCHES_AT_ONCE = 16
"""Of one program, before it is another one's turn."""
_GATHERING_SECONDS = 2.0
"""Before it looks what is due: nobody waits for it."""
_ALONE = 1.0
"""Times as long as a piece of work took it rests while nobody asks anything: others may write to the database."""
_MOST_TENANTS = 10_000
"""Whose growing is noted one by one."""
_BEFORE_ALL = -1

_Rest = Callable[[float, float], Awaitable[None]]
"""Called behind each piece of work with the seconds that it kept the loop, and those that it took."""


async def _no_rest(worked: float, took: float) -> None:
    del worked, took


class Sweeper:
    """Looks through the stretches that are due, some at a time, the programs in turn."""

    def __init__(
        self,
        database: Database,
        *,
        visitors: Visitors | None = None,
        page: int = PAGE,
        rows_at_once: int = ROWS_AT_ONCE,
    ) -> None:
        self._database = database
        self._giving_way = GivingWay(visitors or Visitors())
        self._page = page
        self._rows_at_once = rows_at_once
        self._grown: set[TenantId] | None = None
        """Programs whose logs have grown since it looked what is due; None if it may be any."""
        self._turn = asyncio.Lock()
        self._beside = Beside(self._follow)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take away what others have left behind, and then what pushes leave, until the block ends."""
        async with self._beside.running():
            self._grown = None
            self._beside.wake()
            yield

    def committed(self, tenant_id: TenantId, before: Head, after: Head) -> None:
        """To be called when a log has grown."""
        if not self._beside.is_running:
            return
        if self._grown is not None:
            self._grown.add(tenant_id)
            if len(self._grown) > _MOST_TENANTS:
                self._grown = None
        self._beside.wake()

    async def catch_up(self, scope: TenantScope) -> None:
        """Take away what is due of one program now, without rest."""
        after: int | None = _BEFORE_ALL
        while after is not None:
            after = await self.step(scope, after=after)

    async def _follow(self) -> None:
        while self._grown is None or self._grown:  # also what has come meanwhile
            await asyncio.sleep(_GATHERING_SECONDS)
            try:
                await self.sweep(rest=self._rest)
            except DataCollectError as error:  # the database is away: who pushes next has it look again
                _log.warning("lists.not_swept", code=error.code)
                return
            except Exception as error:
                _log.error("lists.not_swept", exc_info=error)
                return

    async def sweep(self, *, rest: _Rest = _no_rest) -> None:
        """Look once what is due in the programs that have grown since the last time, and take it away.

        After a failure it may be any of them.
        """
        grown, self._grown = self._grown, set()
        try:
            due = await stretches.due_programs(self._database, grown)
            in_turn = deque((tenant_id, _BEFORE_ALL) for tenant_id in due)
            while in_turn:
                tenant_id, after = in_turn.popleft()
                reached = await self.step(system_scope(tenant_id), after=after, rest=rest)
                if reached is not None:
                    in_turn.append((tenant_id, reached))
        except BaseException:
            self._grown = None
            raise

    async def step(self, scope: TenantScope, *, after: int, rest: _Rest = _no_rest) -> int | None:
        """Look through the next stretches of a program that are due behind a stretch; the last one of them if there may be
        more."""
        async with self._turn:
            due = await self._piece(self._due(scope, after), rest)
            for one in due:
                await self._look_through(scope, one, rest)
        return due[-1].block if len(due) == _STRETCHES_AT_ONCE else None

    async def _due(self, scope: TenantScope, after: int) -> list[Stretch]:
        async with self._database.reading(scope) as view:
            return list(await stretches.due_stretches(view, scope, after=after, limit=_STRETCHES_AT_ONCE))

    async def _look_through(self, scope: TenantScope, stretch: Stretch, rest: _Rest) -> None:
        """Take the stale rows of a stretch away if they are an eighth of it or more; else see to it that it is let alone until
        they are."""
        found = Counted(0, 0)
        async for page in self._pages(scope, stretch, rest):
            on_page = await self._piece(self._count(scope, page), rest)
            found = Counted(found.rows + on_page.rows, found.stale + on_page.stale)
        if stretch.is_to_be_tidied or listings.SHARE * found.stale >= found.rows:
            async for page in self._pages(scope, stretch, rest):
                taken = await self._clear(scope, page, rest)
                if taken is None:
                    return
                found = found._replace(rows=max(0, found.rows - taken))
            found = found._replace(stale=0)
        await self._piece(self._settle(scope, stretch, found), rest)

    async def _pages(self, scope: TenantScope, stretch: Stretch, rest: _Rest) -> AsyncIterator[Page]:
        """What is in a stretch, a limited number of rows at a time."""
        left = stretch.whole
        while left.after != left.through:
            page = await self._piece(self._first_page(scope, left), rest)
            yield page
            left = left._replace(after=page.through)

    async def _clear(self, scope: TenantScope, page: Page, rest: _Rest) -> int | None:
        """Take away what is stale on a page; how much that was. None if it is not the time for that."""
        taken = 0
        while True:
            stale = await self._piece(self._stale(scope, page), rest)
            gone = await self._piece(self._take_away(scope, stale), rest) if stale else 0
            if gone is None:
                return None
            taken += gone
            if len(stale) < self._rows_at_once:
                return taken
            page = page._replace(after=stale[-1])

    # -- pieces: between two of them no view and no transaction is held

    async def _first_page(self, scope: TenantScope, places: Page) -> Page:
        async with self._database.reading(scope, in_order=True) as view:
            return await stretches.first_page(view, scope, places, limit=self._page)

    async def _count(self, scope: TenantScope, page: Page) -> Counted:
        async with self._database.reading(scope, in_order=True) as view:
            return await stretches.count(view, scope, page)

    async def _stale(self, scope: TenantScope, page: Page) -> list[Place]:
        async with self._database.reading(scope, in_order=True) as view:
            return list(await stretches.stale_places(view, scope, page, limit=self._rows_at_once))

    async def _take_away(self, scope: TenantScope, places: list[Place]) -> int | None:
        async with self._database.transaction(scope, events=1 + len(places) // _ROWS_OF_EVENT) as tx:
            if not await may_take_away(tx, scope):
                return None  # whoever has put entities elsewhere has every stretch looked at
            return await stretches.take_away(tx, scope, places)

    async def _settle(self, scope: TenantScope, stretch: Stretch, left: Counted) -> None:
        async with self._database.transaction(scope, events=1) as tx:
            await stretches.settle(tx, scope, stretch, left)

    async def _piece(self, work: Coroutine[Any, Any, _T], rest: _Rest) -> _T:
        begun, metered = time.perf_counter(), Metered(work)
        done = await metered
        await rest(metered.seconds, time.perf_counter() - begun)
        return done

    async def _rest(self, worked: float, took: float) -> None:
        await asyncio.sleep(self._giving_way.rest_seconds(worked, took, alone=_ALONE))
