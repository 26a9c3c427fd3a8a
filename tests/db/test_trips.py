"""Statements on SQLite take one trip to the connection's thread, and give what they give over the driver's own cursors."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, exc, insert, select, text, update
from sqlalchemy.ext.asyncio.engine import AsyncEngine
from sqlalchemy.ext.asyncio.engine import create_async_engine as create_plain_engine

from datacollect.db.core import create_async_engine

pytestmark = pytest.mark.anyio

THINGS = Table("things", MetaData(), Column("id", Integer, primary_key=True), Column("name", String, unique=True))

STATEMENTS: list[tuple[Any, Any]] = [
    (insert(THINGS).values(name="one"), None),
    (insert(THINGS), [{"name": name} for name in ("two", "three", "four")]),
    (insert(THINGS).returning(THINGS.c.id, THINGS.c.name), {"name": "five"}),
    (select(THINGS).order_by(THINGS.c.id), None),
    (select(THINGS.c.name).where(THINGS.c.name == "nobody"), None),
    (update(THINGS).where(THINGS.c.id > 2).values(name=THINGS.c.name + "!"), None),
    (update(THINGS).where(THINGS.c.id == 1).values(name="1").returning(THINGS.c.name), None),
    (text("DELETE FROM things WHERE id IN (1, 2)"), None),
    (text("PRAGMA user_version = 7"), None),
    (text("PRAGMA user_version"), None),
]


@pytest.fixture(params=[create_async_engine, create_plain_engine], ids=["one trip", "driver's own"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    create: Callable[..., AsyncEngine] = request.param
    engine = create(f"sqlite+aiosqlite:///{tmp_path / 'things.sqlite3'}", isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"))
    yield engine
    await engine.dispose()


async def test_statements_give_their_rows_counts_and_names(engine: AsyncEngine) -> None:
    given = []
    async with engine.connect() as connection:
        for statement, parameters in STATEMENTS:
            result = await connection.execute(statement, parameters)
            rows = [tuple(row) for row in result.all()] if result.returns_rows else None
            given.append((rows, result.rowcount, list(result.keys()) if rows is not None else None))
    assert given == [
        (None, 1, None),
        (None, 3, None),
        ([(5, "five")], 1, ["id", "name"]),
        ([(1, "one"), (2, "two"), (3, "three"), (4, "four"), (5, "five")], -1, ["id", "name"]),
        ([], -1, ["name"]),
        (None, 3, None),
        ([("1",)], 1, ["name"]),
        (None, 2, None),
        (None, -1, None),
        ([(7,)], -1, ["user_version"]),
    ]


async def test_a_statement_that_fails_tells_why_and_the_next_one_runs(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        key = (await connection.execute(insert(THINGS).values(name="one"))).inserted_primary_key
        assert key == (1,)
        with pytest.raises(exc.IntegrityError, match=r"things\.name"):
            await connection.execute(insert(THINGS).values(name="one"))
        with pytest.raises(exc.OperationalError, match="no such table"):
            await connection.execute(text("SELECT 1 FROM nowhere"))
        assert (await connection.execute(select(THINGS.c.name))).scalars().all() == ["one"]


async def test_each_takes_one_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trips = 0
    go: Callable[..., Any] = aiosqlite.Connection._execute

    async def counted(self: aiosqlite.Connection, *arguments: Any) -> Any:
        nonlocal trips
        trips += 1
        return await go(self, *arguments)

    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'things.sqlite3'}", isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"))
        monkeypatch.setattr(aiosqlite.Connection, "_execute", counted)
        for statement, parameters in STATEMENTS:
            await connection.execute(statement, parameters)
        assert trips == len(STATEMENTS)
        monkeypatch.undo()
    await engine.dispose()
