"""Units of one tenant that wait for each other and are committed together: each for itself all the same."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from datacollect.db import EVERY_TENANT, Database, Tx
from datacollect.db.lines import MOST_UNITS
from datacollect.db.postgres import PostgresDatabase
from datacollect.kernel.errors import Unavailable
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.postgres import fresh_database
from tests.factories import new_id

pytestmark = pytest.mark.anyio


def new_tenant() -> TenantScope:
    return system_scope(TenantId(new_id("turn")))


async def write(tx: Tx, scope: TenantScope, number: int) -> None:
    columns = "(tenant_id, place, position) VALUES "
    values = ("($1, 'g', $2)", "(?, 'g', ?)")[tx.dialect == "sqlite"]
    await tx.run(f"INSERT INTO event_places {columns}{values}", scope.tenant_id, number)


async def write_many(tx: Tx, scope: TenantScope, numbers: range) -> None:
    columns = "(tenant_id, place, position) VALUES "
    values = ("($1, 'g', $2)", "(?, 'g', ?)")[tx.dialect == "sqlite"]
    await tx.run_many(f"INSERT INTO event_places {columns}{values}", [(scope.tenant_id, number) for number in numbers])


async def written(database: Database, scope: TenantScope) -> list[int]:
    async with database.reading(EVERY_TENANT) as view:
        mark = "?" if view.dialect == "sqlite" else "$1"
        sql = f"SELECT position FROM event_places WHERE tenant_id = {mark} ORDER BY position"
        return [row[0] for row in await view.fetch(sql, scope.tenant_id)]


async def test_who_fails_takes_nobody_with_it_and_who_does_not_is_stored_when_its_block_ends(
    database: Database,
) -> None:
    scope, told = new_tenant(), list[int]()

    async def unit(number: int) -> None:
        async with database.in_turn(scope, events=1) as tx:
            await write(tx, scope, number)
            tx.after_commit(lambda: told.append(number))
            if number % 3 == 0:
                raise ZeroDivisionError
            if number % 3 == 1:
                await write(tx, scope, 100 + number)
        assert number in told
        assert number in await written(database, scope)

    outcomes = await asyncio.gather(*(unit(n) for n in range(9)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        (ZeroDivisionError, type(None), type(None))[n % 3] for n in range(9)
    ]
    assert await written(database, scope) == [1, 2, 4, 5, 7, 8, 101, 104, 107]
    assert sorted(told) == [1, 2, 4, 5, 7, 8]


async def test_a_statement_that_fails_is_undone_with_its_unit_only(database: Database) -> None:
    scope = new_tenant()

    async def unit(number: int) -> None:
        async with database.in_turn(scope, events=1) as tx:
            await write(tx, scope, number)
            if number in (0, 3):
                await write(tx, scope, number)

    outcomes = await asyncio.gather(*(unit(n) for n in range(6)), return_exceptions=True)
    assert [outcome is None for outcome in outcomes] == [n not in (0, 3) for n in range(6)]
    assert await written(database, scope) == [1, 2, 4, 5]


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 6, 9, 14])
async def test_who_is_cancelled_blocks_nobody(database: Database, steps: int) -> None:
    scope = new_tenant()

    async def unit(number: int) -> None:
        async with database.in_turn(scope, events=1) as tx:
            await write(tx, scope, number)
            await asyncio.sleep(0)
            await write(tx, scope, 100 + number)

    tasks = [asyncio.create_task(unit(n)) for n in range(6)]
    for _ in range(steps):
        await asyncio.sleep(0)
    for cancelled in (0, 2, 3):
        tasks[cancelled].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await unit(7)
    kept = await written(database, scope)
    assert {1, 4, 5, 7} <= set(kept)
    assert [number + 100 for number in kept if number < 100] == [number for number in kept if number >= 100]


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_ends_a_unit_all_of_it_is_stored_or_nothing(database: Database, seed: int) -> None:
    """Units of any size, of two tenants, of which some fail and some are cancelled anywhere."""
    chance, tenants, told = random.Random(seed), (new_tenant(), new_tenant()), set[int]()
    events = [chance.choice((1, 3, 20)) for _ in range(40)]
    sizes = [[chance.choice((1, 5, 120, 1_500)) for _ in range(chance.randint(1, 3))] for _ in events]

    async def unit(number: int) -> None:
        scope, begin = tenants[number % 2], number * 10_000
        async with database.in_turn(scope, events=events[number]) as tx:
            for size in sizes[number]:
                await write_many(tx, scope, range(begin, begin := begin + size))
                await tx.fetch("SELECT 1")
            if number % 5 == 0:
                raise Unavailable
        told.add(number)

    async def unit_or_less(number: int) -> None:
        task = asyncio.create_task(unit(number))
        if number % 3 == 0:
            for _ in range(chance.randint(0, 60)):
                await asyncio.sleep(0)
            task.cancel()
        with contextlib.suppress(Unavailable, asyncio.CancelledError):
            await task

    await asyncio.gather(*(unit_or_less(number) for number in range(len(events))))
    stored = [position for scope in tenants for position in await written(database, scope)]
    found = Counter(position // 10_000 for position in stored)
    assert told <= found.keys() <= {number for number in range(len(events)) if number % 5}
    assert found == {number: sum(sizes[number]) for number in found}
    assert {number for number in range(len(events)) if number % 5 and number % 3} <= told


async def test_who_appends_few_events_does_not_wait_for_who_appends_many_behind_them(database: Database) -> None:
    scope, is_answered = new_tenant(), asyncio.Event()

    async def few() -> None:
        async with database.in_turn(scope, events=3) as tx:
            await write(tx, scope, 1)
        is_answered.set()

    async def many() -> None:
        async with database.in_turn(scope, events=100) as tx:
            await write(tx, scope, 2)
            await is_answered.wait()

    async with asyncio.timeout(20):
        await asyncio.gather(few(), many())
    assert await written(database, scope) == [1, 2]


# -- how PostgreSQL does it


@pytest.fixture
async def postgres(postgres_server: str) -> AsyncIterator[PostgresDatabase]:
    async with fresh_database(postgres_server) as url:
        database = PostgresDatabase(url, pool_size=4)
        async with database.transaction() as tx:
            await tx.run("CREATE TABLE event_places (tenant_id text, place text, position int)")
        yield database
        await database.close()


class Lined:
    """Two units in one transaction: the first has done its work and waits, the second is at work."""

    def __init__(self, database: PostgresDatabase) -> None:
        self.database, self.scope = database, new_tenant()
        self.is_second = asyncio.Event()
        self._go = asyncio.Event()

    async def _first(self) -> None:
        async with self.database.in_turn(self.scope, events=1) as tx:
            await write(tx, self.scope, 1)
            await self._go.wait()

    async def _second(self, sql: str, ends_with: Exception | None) -> None:
        async with self.database.in_turn(self.scope, events=1) as tx:
            await write(tx, self.scope, 2)
            self.is_second.set()
            await tx.fetch(sql)
            if ends_with is not None:
                raise ends_with

    async def begin(
        self, sql: str, *, ends_with: Exception | None = None
    ) -> tuple[asyncio.Task[None], asyncio.Task[None]]:
        first = asyncio.create_task(self._first())
        second = asyncio.create_task(self._second(sql, ends_with))
        await asyncio.sleep(0)
        self._go.set()
        await self.is_second.wait()
        return first, second

    async def written(self) -> list[int]:
        return await written(self.database, self.scope)


async def test_who_waits_together_is_of_one_transaction_and_never_of_two_tenants(postgres: PostgresDatabase) -> None:
    seen = dict[str, list[tuple[str, str]]]()

    async def unit(scope: TenantScope) -> None:
        async with postgres.in_turn(scope, events=1) as tx:
            [row] = await tx.fetch("SELECT pg_current_xact_id()::text, current_setting('datacollect.tenant')")
            seen.setdefault(scope.tenant_id, []).append(tuple(row))

    tenants = [new_tenant() for _ in range(2)]
    await asyncio.gather(*(unit(scope) for _ in range(MOST_UNITS) for scope in tenants))
    assert {name: {tenant for _, tenant in rows} for name, rows in seen.items()} == {
        scope.tenant_id: {scope.tenant_id} for scope in tenants
    }
    transactions = [{transaction for transaction, _ in rows} for rows in seen.values()]
    assert not transactions[0] & transactions[1]
    assert sum(map(len, transactions)) < MOST_UNITS


async def test_no_unit_has_its_statements_compiled(postgres: PostgresDatabase) -> None:
    scope = new_tenant()
    units = [
        postgres.in_turn(scope, events=1),
        *(postgres.transaction(within) for within in (None, EVERY_TENANT, scope)),
        *(postgres.reading(within, seconds=9, in_order=True) for within in (None, EVERY_TENANT, scope)),
        *(postgres.reading(within) for within in (EVERY_TENANT, scope)),
        *(postgres.snapshot(within) for within in (None, EVERY_TENANT, scope)),
        postgres.glancing(scope),
    ]
    for unit in units:
        async with unit as view:
            assert list(map(tuple, await view.fetch("SELECT current_setting('jit')"))) == [("off",)]


async def test_who_is_cancelled_in_a_statement_ends_alone(postgres: PostgresDatabase) -> None:
    lined = Lined(postgres)
    async with postgres.transaction() as other:
        await other.fetch("SELECT pg_advisory_xact_lock(7)")
        first, second = await lined.begin("SELECT pg_advisory_xact_lock(7)")
        for _ in range(3):  # however often
            second.cancel()
            await asyncio.sleep(0)
        assert not first.done() and not second.done()
    await first
    with pytest.raises(asyncio.CancelledError):
        await second
    assert await lined.written() == [1]


async def test_a_lost_connection_is_an_error_for_all_who_were_to_be_committed_together(
    postgres: PostgresDatabase,
) -> None:
    lined = Lined(postgres)
    outcomes = await asyncio.gather(
        *await lined.begin("SELECT pg_terminate_backend(pg_backend_pid())"), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    assert await lined.written() == []


async def test_a_unit_that_has_waited_too_long_for_the_server_ends_all_who_were_to_be_committed_with_it(
    postgres: PostgresDatabase,
) -> None:
    """Nobody knows whether the server has ended its statement, or will end the next one instead."""
    lined = Lined(postgres)
    first, second = await lined.begin("SELECT 1", ends_with=TimeoutError())
    assert [type(end) for end in await asyncio.gather(first, second, return_exceptions=True)] == [Unavailable] * 2
    assert await lined.written() == []


async def test_a_commit_that_fails_is_an_error_for_all_who_were_to_be_committed_together(
    postgres: PostgresDatabase,
) -> None:
    async with postgres.transaction() as tx:
        await tx.run("ALTER TABLE event_places ADD UNIQUE (position) DEFERRABLE INITIALLY DEFERRED")
    lined = Lined(postgres)
    await asyncio.gather(*await lined.begin("SELECT 1"))
    again = Lined(postgres)
    outcomes = await asyncio.gather(*await again.begin("SELECT 1"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncpg.UniqueViolationError] * 2
    assert await again.written() == []


async def test_who_goes_on_after_a_statement_has_failed_is_not_reported_as_stored(postgres: PostgresDatabase) -> None:
    scope = new_tenant()

    async def unit(number: int) -> None:
        async with postgres.in_turn(scope, events=1) as tx:
            await write(tx, scope, number)
            if number == 1:
                with pytest.raises(asyncpg.UndefinedTableError):
                    await tx.fetch("SELECT * FROM no_such_table")

    outcomes = await asyncio.gather(*(unit(n) for n in range(3)), return_exceptions=True)
    stored = [number for number, outcome in enumerate(outcomes) if outcome is None]
    assert 1 not in stored
    assert await written(postgres, scope) == stored


async def test_a_pool_that_is_used_up_fails_one_unit_after_the_other(postgres_server: str) -> None:
    async with fresh_database(postgres_server) as url:
        database = PostgresDatabase(url, pool_size=1, pool_timeout_seconds=0.1)
        scope = new_tenant()

        async def unit() -> None:
            async with database.in_turn(scope, events=1):
                pass

        async with database.transaction():
            outcomes = await asyncio.gather(unit(), unit(), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
        await unit()
        await database.close()
