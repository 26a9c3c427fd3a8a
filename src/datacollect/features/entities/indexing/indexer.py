"""The indexer: it gives new entities their terms, behind the pushes that have brought them.

A term goes to a place of its own in the index, and a database writes a whole page for it. For many entities in the order
of the key that costs a fraction of what it costs for each push, and nobody waits for it. What the indexer has not come by
yet is looked through by who searches, so it is not missed; nor is it lost when the process ends: the index tells by a
position how far it has come, and whoever starts, pushes or searches next has it go on.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import structlog

from datacollect.db import Database
from datacollect.db.turns import in_turns
from datacollect.eventstore.beside import Beside
from datacollect.eventstore.store import EventStore, Head
from datacollect.features.entities.entity import Entity
from datacollect.features.entities.indexing.batches import (
    changed_behind,
    is_still,
    list_changed,
    programs_behind,
    unchanged_among,
)
from datacollect.features.entities.indexing.queries import (
    Row,
    add_terms,
    find_index,
    in_key_order,
    read_index,
    store_index,
)
from datacollect.features.entities.indexing.state import IndexState
from datacollect.features.entities.indexing.terms import terms_of
from datacollect.features.entities.rebuilt import expect_growth
from datacollect.jobs.giving_way import Lookout, Visitors
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId

_log = structlog.get_logger(component="indexer")

MOST_AT_ONCE = 2000
"""Entities of one step: the more, the more of their rows are neighbours."""
ROWS_AT_ONCE = 400
"""The log is held while they are stored, one or two milliseconds, and pushes wait for that."""
ROWS_BESIDE_OTHERS = 80
"""While there are requests. SQLite's thread waits for a busy loop again and again, and the log is held for ten times as
long; so few are written on the loop."""
_ROWS_OF_EVENT = 8
"""About as much work as to append an event."""
_GATHERING_SECONDS = 0.2
"""Before a step: what comes meanwhile is done with it."""
_RESTS = ((20_000, 3.0), (100_000, 1.0))
"""Up to how many positions behind the log, and how many times as long as some work took it rests then. Farther behind it
does not rest: searches look through what it has not come by."""
_MOST_TENANTS = 10_000


def rows_of(state: IndexState, entity: Entity) -> Sequence[Row]:
    """All rows of an entity in the index."""
    return [(field, text, entity.guid) for field, text in terms_of(entity, state.fields_at(entity.changed_position))]


@dataclass(slots=True)
class Made:
    """The terms of the entities that were last changed behind the index, up to a position, on their way into it."""

    by: IndexState
    rows: Sequence[Row]
    """In the order of the key."""
    through: int
    seen: tuple[int, bytes]
    """Where the log ended when it was looked at last, and its chain hash there."""
    stored: int = 0
    """How many of the rows have had their turn."""
    unchanged: set[str] | None = None
    """Those of the entities that had not changed then; None if nobody has looked since the terms were made."""


class Indexer:
    """Follows the logs that have grown, some entities at a time, the tenants in turn."""

    def __init__(
        self,
        database: Database,
        store: EventStore,
        *,
        is_on: bool = True,
        batch: int = MOST_AT_ONCE,
        rows_at_once: int = ROWS_AT_ONCE,
        visitors: Visitors | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._is_on = is_on
        self._batch = batch
        self._rows_at_once = rows_at_once
        self._lookout = None if visitors is None else Lookout(visitors)
        self._waiting: dict[TenantId, int] = {}
        """How far they were behind when they were last looked at."""
        self._turn = asyncio.Lock()
        self._beside = Beside(self._follow)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow what grows, and first what others have left behind, until the block ends."""
        if not self._is_on:
            yield
            return
        async with self._beside.running():
            for tenant_id in await programs_behind(self._database):
                self.want(tenant_id)
            yield

    def committed(self, tenant_id: TenantId, before: Head, after: Head) -> None:
        """To be called when a log has grown."""
        self.want(tenant_id)

    def want(self, tenant_id: TenantId) -> None:
        """There may be entities of this log without terms."""
        if not self._beside.is_running or len(self._waiting) >= _MOST_TENANTS:
            return
        self._waiting.setdefault(tenant_id, 0)
        self._beside.wake()

    async def catch_up(self, scope: TenantScope) -> None:
        """Follow one log to where it ends now, without rest."""
        while await self.step(scope):
            pass

    async def _follow(self) -> None:
        await asyncio.sleep(_GATHERING_SECONDS)
        while self._waiting:
            tenant_id = next(iter(self._waiting))
            behind = self._waiting.pop(tenant_id)
            try:
                behind = await self.step(system_scope(tenant_id), rest=_rest_at(behind))
            except DataCollectError as error:  # the database is away: who pushes or searches next asks again
                behind = 0
                _log.warning("index.not_followed", code=error.code)
            except Exception as error:
                behind = 0
                _log.error("index.not_followed", exc_info=error)
            if behind:
                self._waiting[tenant_id] = behind  # behind the others
            else:
                await asyncio.sleep(_GATHERING_SECONDS)

    async def step(self, scope: TenantScope, *, rest: float = 0.0) -> int:
        """Bring some entities their terms; how many positions the index is behind the log after it.

        `rest` is how many times as long as it works it leaves the process to others.
        """
        async with self._turn:
            made = await self.make_some(scope, rest=rest)
            return 0 if made is None else await self.store(scope, made, rest=rest)

    async def make_some(self, scope: TenantScope, *, rest: float = 0.0) -> Made | None:
        """The terms of the next entities; None if there are none. Nobody waits for it: the log is not held."""
        async with self._database.reading(scope, in_order=True) as view:
            state = await read_index(view, scope)
            if state.is_void or state.beyond is None:
                return None
            batch = await list_changed(view, scope, after=state.indexed, to=state.ends, limit=self._batch)
        rows: list[Row] = []
        async for some in in_turns(batch.entities):
            begun = time.perf_counter()
            for entity in some:
                rows += rows_of(state, entity)
            await asyncio.sleep(rest * (time.perf_counter() - begun))
        return Made(state, await in_key_order(rows), batch.through, (state.ends, state.chain_hash))

    async def store(self, scope: TenantScope, made: Made, *, rest: float = 0.0) -> int:
        """Store the terms of those entities that are still what they were; how far the index is behind after it.

        In several transactions. Until the last one says that the index has come so far, they have some of their terms.
        """
        while True:
            begun = time.perf_counter()
            behind = await self.store_some(scope, made)
            await asyncio.sleep(rest * (time.perf_counter() - begun))
            if behind is not None:
                return behind

    async def store_some(self, scope: TenantScope, made: Made) -> int | None:
        """The next of the rows; None if there are more."""
        rows = min(self._rows_now(), len(made.rows) - made.stored)
        async with self._store.turn(scope), self._database.transaction(scope, events=1 + rows // _ROWS_OF_EVENT) as tx:
            await expect_growth(tx)
            head = await self._store.hold(tx, scope)
            state = await find_index(tx, scope)
            if head is None or state is None or state.is_void:
                return 0
            if state.epoch != made.by.epoch or state.indexed != made.by.indexed or not state.tells_as(made.by):
                return head.position - state.indexed  # somebody else was here, or the program was purged and made anew
            seen_at, chain_hash = made.seen
            if not await is_still(tx, scope, seen_at, chain_hash):
                # Another database took over, and lacks what the terms were made of.
                return head.position - state.indexed
            unchanged = made.unchanged
            if unchanged is None:
                unchanged = await unchanged_among(tx, scope, after=state.indexed, to=made.through)
            elif head.position > seen_at:
                unchanged -= await changed_behind(tx, scope, seen_at)
            made.seen, made.unchanged = (head.position, head.chain_hash), unchanged
            first, made.stored = made.stored, made.stored + rows
            await add_terms(tx, scope, [row for row in made.rows[first : made.stored] if row[2] in unchanged])
            if made.stored < len(made.rows):
                return None
            await store_index(tx, scope, replace(state, indexed=made.through))
            return head.position - made.through

    def _rows_now(self) -> int:
        if self._lookout is not None and self._lookout.is_anybody_there():
            return min(ROWS_BESIDE_OTHERS, self._rows_at_once)
        return self._rows_at_once


def _rest_at(behind: int) -> float:
    return next((rest for most, rest in _RESTS if behind <= most), 0.0)
