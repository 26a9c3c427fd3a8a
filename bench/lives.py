"""The long history of one program, for what is measured beside it: people who are registered, and edited for years.

Straight through the log, beside the hub: the rows are those of pushes, and so are hashes, projections and search terms.
"""

import asyncio
import contextlib
import random
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from bench.client import BenchError
from bench.payload import EventMaker
from bench.runner import say
from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db import Database, open_database
from datacollect.db.database import closing
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.sealer import Sealer
from datacollect.features.entities.indexing.indexer import Indexer
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.entities.sweeping import Sweeper
from datacollect.features.tenants.directory import CachedTenantDirectory
from datacollect.kernel.clock import Millis, SystemClock
from datacollect.kernel.cursor import Cursor
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.settings import Settings

BATCH = 1_000
EVENTS_EACH = 10
"""Of each person: registered once, edited eight times in the days after, and now and then years later."""

_NEW = BATCH // EVENTS_EACH
_ROUNDS = EVENTS_EACH - 2
_LATER = BATCH - _NEW * (1 + _ROUNDS)
"""Events of a batch that edit anybody registered before."""

_AREAS = 100
_BEGAN = Millis(1_577_836_800_000)
_STEP_MS = 9_000
_SAID_SECONDS = 15
# The connection that fills, and no other: with the hub's own pages in its cache, and checkpoints that are few and large.
_SQLITE_FILLING = ("PRAGMA cache_size=-1048576", "PRAGMA wal_autocheckpoint=65536")


@dataclass(slots=True)
class Lives:
    """What happens, in the order in which it is pushed. `begin` is how many events there are already."""

    begin: int = 0
    chance: random.Random = field(default_factory=random.Random)
    people: list[str] = field(default_factory=list)
    _maker: EventMaker = field(default_factory=EventMaker)

    def batch(self) -> list[Event]:
        newcomers = [new_guid() for _ in range(_NEW)]
        told = [("create-individual", guid, self._registered()) for guid in newcomers]
        for _ in range(_ROUNDS):
            self.chance.shuffle(newcomers)
            told += [("update-individual", guid, self.edit()) for guid in newcomers]
        known = self.people or newcomers
        told += [("update-individual", self.chance.choice(known), self.edit()) for _ in range(_LATER)]
        self.people += newcomers
        return [self._event(*one) for one in told]

    def _registered(self) -> dict[str, Any]:
        data: dict[str, Any] = self._maker.create()["data"]
        return data | {"area_id": f"area-{self.chance.randrange(_AREAS)}"}

    def edit(self) -> dict[str, Any]:
        """One field of a person."""
        return edited(self.chance)

    def _event(self, kind: str, entity: str, data: dict[str, Any]) -> Event:
        self.begin += 1
        return Event(new_guid(), entity, kind, data, Millis(_BEGAN + self.begin * _STEP_MS), "bench")


def edited(chance: random.Random) -> dict[str, Any]:
    number = chance.randrange(10_000_000)
    match number % 5:
        case 0:
            return {"phone": f"+1555{number:07}"}
        case 1:
            return {"householdSize": number % 13 + 1}
        case 2:
            return {"address": f"{number % 400} Station Road"}
        case 3:
            return {"email": f"p{number}@example.org"}
        case _:
            return {"village": ("Hilltop", "Lower Ford", "Market Cross", "New Harbour")[number // 5 % 4]}


@dataclass(frozen=True, slots=True)
class Filled:
    """A program beside the hub, in its database."""

    database: Database
    settings: Settings
    config_id: str

    @property
    def _scope(self) -> TenantScope:
        return system_scope(TenantId(self.config_id))

    async def head(self) -> int:
        """How many events there are."""
        async with self.database.reading(self._scope) as view:
            found = await EventLog(event_store(self.database), [], SystemClock()).head(view, self._scope)
        return 0 if found is None else found.position

    async def fill(self, total: int) -> int:
        """Append until there are as many events; how many were appended."""
        clock, scope = SystemClock(), self._scope
        projection = EntityProjection(FOLLOWERS, keeps_index=self.settings.search_index)
        log = EventLog(event_store(self.database), [projection], clock)
        tenants = CachedTenantDirectory(self.database, clock)
        at_first = reached = await self.head()
        lives, begun, said = Lives(reached), time.perf_counter(), time.perf_counter()
        while reached < total:
            batch = lives.batch()[: total - reached]
            tenant = await tenants.find(scope.tenant_id)
            if tenant is None:
                raise BenchError(f"{self.config_id} is not there")
            async with self.database.transaction(scope) as tx:
                if reached == at_first and tx.dialect == "sqlite":
                    for pragma in _SQLITE_FILLING:
                        await tx.fetch(pragma)
                await log.append(tx, scope, tenant, batch)
            reached += len(batch)
            if time.perf_counter() - said > _SAID_SECONDS:
                said = time.perf_counter()
                per_second = (reached - at_first) / (said - begun)
                left = (total - reached) / per_second / 60
                say(f"{reached:,} of {total:,} events, {per_second:,.0f}/s, {left:.0f} minutes left")
        return reached - at_first

    async def index(self) -> None:
        """Bring the search index up to the log, as a hub would have while it grew."""
        indexer, behind, said = Indexer(self.database, event_store(self.database)), 1, time.perf_counter()
        while self.settings.search_index and behind:
            behind = await indexer.step(self._scope)
            if time.perf_counter() - said > _SAID_SECONDS:
                said = time.perf_counter()
                say(f"the search index is {behind:,} events behind")

    async def seal(self) -> int:
        """Seal all that a hub would have sealed while it grew; how many runs there are."""
        store, scope = event_store(self.database), self._scope
        if self.settings.seal_segments:
            sealer = Sealer(self.database, store)
            async with sealer.running():
                sealer.want(scope.tenant_id)
                work = asyncio.create_task(sealer.settle())
                while not (await asyncio.wait([work], timeout=_SAID_SECONDS))[0]:
                    say(f"sealed {await self._sealed():,} runs")
                work.result()
        return await self._sealed()

    async def sweep(self) -> None:
        """Take away what edits have left in lists, as a hub would have while it grew."""
        await Sweeper(self.database).catch_up(self._scope)

    async def _sealed(self) -> int:
        async with self.database.reading(self._scope) as view:
            reached = await event_store(self.database).sealed_to(view, self._scope)
        return 0 if reached is None else reached[1]

    async def settle(self) -> None:
        """What the database does by itself before long, and should not do while something is measured."""
        url = self.settings.database_url
        if url is None:
            await asyncio.to_thread(_write_back, self.settings.data_dir / "hub.sqlite3")
            return
        connection = await asyncpg.connect(url, timeout=10)
        try:
            for statement in ("VACUUM (ANALYZE)", "CHECKPOINT"):
                await connection.execute(statement, timeout=3600)
        finally:
            await connection.close()

    async def cursors(self, positions: Sequence[int]) -> list[str]:
        """Of the events at these positions, as a device writes them."""
        async with self.database.reading(self._scope) as view:
            events = await event_store(self.database).read_at(view, self._scope, positions)
        return [str(Cursor(event.occurred_at, event.guid)) for event in events.rows]

    async def some_people(self, count: int, chance: random.Random) -> list[str]:
        """Anybody, wherever they are in the log: those next to guids that are drawn."""
        mark = "?{}" if self.database.dialect == "sqlite" else "${}"
        query = (
            f"SELECT guid FROM entities WHERE tenant_id = {mark.format(1)} AND guid >= {mark.format(2)}"
            " AND NOT deleted ORDER BY guid LIMIT 1"
        )
        found: set[str] = set()
        count = min(count, await self.head())
        async with self.database.reading(self._scope) as view:
            for _ in range(count):
                rows = await view.fetch(query, self.config_id, f"{chance.randrange(16**8):08x}")
                found.update(row[0] for row in rows)
        return sorted(found)


def _write_back(file: Path) -> None:
    """Leave nothing in the write-ahead log, which the filling has made longer than a hub's would be."""
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def beside(environment: Mapping[str, str]) -> tuple[AbstractAsyncContextManager[Database], Settings]:
    """The database of a hub that was started with this environment, and its settings."""
    names = {one.alias for one in Settings.model_fields.values()}
    values: dict[str, Any] = {name: value for name, value in environment.items() if name in names}
    settings = Settings(_env_file=None, **values)
    database = open_database(
        settings.database_url,
        data_dir=settings.data_dir,
        pool_size=2,
        row_level_security=settings.row_level_security,
    )
    return closing(database), settings
