"""Uploads, deletions, the collector and crashes in every order: bytes that an attachment has are there, and no others stay."""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import delete

from datacollect.db import Tx, Within
from datacollect.features.attachments.contents import queries
from datacollect.features.attachments.contents.keeping import PUT_SECONDS, Contents
from datacollect.features.attachments.contents.model import GRACE_MILLIS
from datacollect.features.attachments.contents.tables import attachment_contents, attachment_loose
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.objects import MemoryStore, ObjectKey, Spooled, StorageUnavailable
from datacollect.testing.clock import SetClock
from tests.features.attachments.collector import Collector
from tests.memory import MemoryDatabase

TENANT = TenantId("mini")
SCOPE = system_scope(TENANT)
CONTENTS = (b"one photo", b"another")


class Turns:
    """Who is about to do something stands here until it is told to go on. Nothing else makes anybody wait."""

    def __init__(self) -> None:
        self.waiting: dict[asyncio.Task[None], asyncio.Future[None]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def take(self) -> None:
        task = asyncio.current_task()
        if task in self.tasks:
            turn = asyncio.get_running_loop().create_future()
            self.waiting[task] = turn
            await turn

    async def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))
        await self._settle()

    async def go(self, number: int) -> None:
        task = list(self.waiting)[number % len(self.waiting)]
        self.waiting.pop(task).set_result(None)
        await self._settle()

    async def crash(self, number: int) -> None:
        task = list(self.waiting)[number % len(self.waiting)]
        del self.waiting[task]
        task.cancel()
        await self._settle()

    async def _settle(self) -> None:
        while any(not task.done() and task not in self.waiting for task in self.tasks):  # noqa: ASYNC110
            await asyncio.sleep(0)
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.result()
        self.tasks = [task for task in self.tasks if not task.done()]


class TurnedDatabase(MemoryDatabase):
    turns: Turns

    @contextlib.asynccontextmanager
    async def transaction(self, within: Within = None, *, events: int = 0) -> AsyncIterator[Tx]:
        await self.turns.take()
        async with super().transaction(within, events=events) as tx:
            yield tx


class TurnedStore(MemoryStore):
    """Puts in two turns: until the second one nothing is there. It ends in time, or not at all."""

    def __init__(self, turns: Turns, clock: Clock) -> None:
        super().__init__()
        self._turns = turns
        self._clock = clock

    async def put(self, key: ObjectKey, spooled: Spooled) -> None:
        began = self._clock.now()
        await self._turns.take()
        await self._turns.take()
        if self._clock.now() - began > PUT_SECONDS * 1000:
            raise StorageUnavailable
        self.objects.setdefault(key, spooled.path.read_bytes())

    async def stat(self, key: ObjectKey) -> int | None:
        await self._turns.take()
        return await super().stat(key)

    async def delete(self, key: ObjectKey) -> None:
        await self._turns.take()
        await super().delete(key)


class World:
    def __init__(self, folder: Path, database: TurnedDatabase) -> None:
        self.turns = Turns()
        self.clock = SetClock(Millis(1_800_000_000_000))
        self.database = database
        database.turns = self.turns
        self.store = TurnedStore(self.turns, self.clock)
        self.contents = Contents(self.database, self.store, self.clock)
        self.collector = Collector(self.database, self.store, self.clock, SCOPE)
        self.attached: Counter[str] = Counter()
        """What has been acknowledged, and not deleted since."""
        self.spooled: list[Spooled] = []
        for number, content in enumerate(CONTENTS):
            file = folder / f"{number}.part"
            file.write_bytes(content)
            self.spooled.append(Spooled(file, hashlib.sha256(content).hexdigest(), len(content)))

    async def upload(self, number: int) -> None:
        spooled = self.spooled[number % len(self.spooled)]
        while True:
            try:
                secured = await self.contents.secure(SCOPE, spooled)
            except StorageUnavailable:
                return
            async with self.database.transaction(SCOPE) as tx:
                if await self.contents.take(tx, SCOPE, secured):
                    self.attached[spooled.digest] += 1
                    return

    async def delete(self, number: int) -> None:
        digest = self.spooled[number % len(self.spooled)].digest
        async with self.database.transaction(SCOPE) as tx:
            if self.attached[digest]:
                self.attached[digest] -= 1
                await self.contents.release(tx, SCOPE, digest)

    async def check(self) -> None:
        """What an attachment has is there, and counted."""
        async with self.database.reading(SCOPE) as view:
            known = await queries.list_all(view, SCOPE, after="", most=10)
        assert {content.digest: refs for content, refs in known if refs} == +self.attached
        for content, refs in known:
            if refs:
                held = self.store.objects.get(content.key(TENANT))
                assert held is not None, "deleted under an attachment's hands"
                assert hashlib.sha256(held).hexdigest() == content.digest

    async def check_at_rest(self) -> None:
        """Nothing is left of what nobody has."""
        await self.check()
        async with self.database.reading(SCOPE) as view:
            known = await queries.list_all(view, SCOPE, after="", most=10)
            assert await queries.list_loose(view, SCOPE) == []
        assert {content.key(TENANT) for content, _ in known} == set(self.store.objects)
        assert {content.digest for content, _ in known} == set(+self.attached)


MOVES = st.tuples(
    st.sampled_from(["upload", "upload", "delete", "collect", "go", "go", "go", "go", "go", "go", "turn", "crash"]),
    st.integers(0, 5),
)


@pytest.fixture(scope="module")
def database() -> Iterator[TurnedDatabase]:
    database = TurnedDatabase()
    yield database
    asyncio.run(database.close())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contents")


# An upload that stands still for hours, and the collector decides about it just before it goes on.
TOO_LATE = [("upload", 0), ("go", 0), ("go", 0), ("go", 0), ("turn", 5), ("collect", 0), ("go", 1), ("go", 0)]
# The second upload finds what the first one has stored, while the collector is at the same content.
FOUND = [("upload", 0), ("go", 0), ("go", 0), ("go", 0), ("go", 0), ("delete", 0), ("go", 0), ("turn", 5)]
FOUND += [("upload", 0), ("collect", 0), ("go", 1), ("go", 0), ("go", 0), ("go", 0)]


@example(moves=TOO_LATE)
@example(moves=FOUND)
@given(moves=st.lists(MOVES, min_size=12, max_size=50))
@hypothesis_settings(max_examples=250)
def test_no_order_of_things_loses_bytes_or_leaves_any(
    folder: Path, database: TurnedDatabase, moves: list[tuple[str, int]]
) -> None:
    asyncio.run(_play(World(folder, database), moves))


async def _play(world: World, moves: list[tuple[str, int]]) -> None:
    async with world.database.transaction() as tx:
        for table in (attachment_contents, attachment_loose):
            await tx.execute(delete(table))
    try:
        for move, number in moves:
            await _move(world, move, number)
            await world.check()
        while world.turns.waiting:
            await world.turns.go(0)
            await world.check()
        world.clock.turn(2 * GRACE_MILLIS)
        await world.turns.start(world.collector.collect())
        while world.turns.waiting:
            await world.turns.go(0)
        await world.check_at_rest()
    finally:
        for task in world.turns.tasks:
            task.cancel()


async def _move(world: World, move: str, number: int) -> None:
    turns = world.turns
    match move:
        case "upload":
            await turns.start(world.upload(number))
        case "delete":
            await turns.start(world.delete(number))
        case "collect":
            await turns.start(world.collector.collect())
        case "turn":
            world.clock.turn(GRACE_MILLIS * (number + 2) // 4)
        case "go" if turns.waiting:
            await turns.go(number)
        case "crash" if turns.waiting:
            await turns.crash(number)
