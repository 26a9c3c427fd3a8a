"""The list of programs, when there are many of them and they hold much."""

import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import msgspec

from bench.client import BenchError
from bench.payload import FORM
from bench.runner import Bench, fill, get_repeatedly, say
from bench.stats import Samples

_ENTITIES = 1_000_000
_FORMS = 10
_FIELDS = 30
"""Of each form: about 60 kB of config in each program."""

_LISTS = {
    "first": "/api/apps",
    "hundred": "/api/apps?pageSize=100",
    "last": "/api/apps?page=100000&sortBy=id&sortOrder=desc",
    "by-count": "/api/apps?sortBy=entitiesCount&sortOrder=desc",
    "search": "/api/apps?search=07&pageSize=100",
}


async def programs(bench: Bench) -> None:
    """Pages of a list of --programs programs that hold --events entities together."""
    count = bench.options.programs
    each = max(1, (bench.options.events or _ENTITIES) // count)
    ids = [f"bench-list-{number:04}-{uuid.uuid4().hex[:6]}" for number in range(count)]
    for config_id in ids:
        answer = await bench.client.send("POST", "/api/apps", _config(config_id))
        if answer.outcome != "200":
            raise BenchError(f"the program was refused: {answer.outcome}")
    await fill(bench, ids[0], each)
    await _copy(bench, ids[0], ids[1:])
    listed = (await bench.client.get_json("/api/apps?sortBy=entitiesCount&pageSize=100"))["data"]
    if {line["entitiesCount"] for line in listed} != {each}:
        raise BenchError(f"the list does not count {each} entities in each program")
    say(f"{count} programs with {each} entities each")
    for name, path in _LISTS.items():
        samples, meter = Samples(), bench.meter()
        size = await get_repeatedly(bench, path, samples)
        bench.record(f"programs/{count}/{name}", meter, entities=count * each, answer_bytes=size, **samples.summary())


def _config(config_id: str) -> bytes:
    fields = [
        {"type": "textfield", "key": f"field{n}", "label": f"A question of the form, number {n}", "input": True}
        | {"validate": {"required": False, "maxLength": 200}, "tableView": True}
        for n in range(_FIELDS)
    ]
    forms = [
        {"id": f"f{n}", "name": f"{FORM}{n or ''}", "title": f"Form {n}", "entityType": "individual"}
        | {"formio": {"components": fields}}
        for n in range(_FORMS)
    ]
    sync = {
        "type": "mock",
        "url": "http://mock.example",
        "adapterConfig": {"clientId": "bench", "clientSecret": "bench", "batchSize": 10},
    }
    config = {"id": config_id, "name": f"Program {config_id[11:15]}", "description": "For a list", "version": "1.0.0"}
    return msgspec.json.encode(config | {"entityForms": forms, "externalSync": sync})


async def _copy(bench: Bench, source: str, targets: list[str]) -> None:
    """Give each target the log and the entities of the source, in the database itself.

    A log does not say whose it is, so a copy of one is a log as good as the first, with its counters.
    """
    if bench.commands is None:
        raise BenchError("this scenario needs a hub of its own: --serve")
    environment = bench.commands.environment
    if "DATABASE_URL" in environment:
        connection = await asyncpg.connect(environment["DATABASE_URL"], command_timeout=600)
        try:
            await connection.execute("SET datacollect.every_tenant = 'on'")
            columns = {table: await _postgres_columns(connection, table) for table in ("events", "entities")}
            head = await _postgres_columns(connection, "log_heads")
            for target in targets:
                async with connection.transaction():
                    for statement in _statements(columns, head, lambda n: f"${n}"):
                        await connection.execute(statement, source, target)
            await connection.execute("ANALYZE")
        finally:
            await connection.close()
    else:
        with _sqlite(Path(environment["DATA_DIR"])) as file:
            columns = {table: _sqlite_columns(file, table) for table in ("events", "entities")}
            head = _sqlite_columns(file, "log_heads")
            for target in targets:
                with file:
                    for statement in _statements(columns, head, lambda n: f"?{n}"):
                        file.execute(statement, (source, target))


def _statements(columns: dict[str, list[str]], head: list[str], mark: Callable[[int], str]) -> Iterator[str]:
    for table, names in columns.items():
        listed = ", ".join(names)
        yield (
            f"INSERT INTO {table} (tenant_id, {listed}) SELECT {mark(2)}, {listed} FROM {table}"
            f" WHERE tenant_id = {mark(1)}"
        )
    set_to = ", ".join(
        f"{name} = (SELECT {name} FROM log_heads WHERE tenant_id = {mark(1)})"
        for name in head
        if not name.startswith(("epoch", "closed"))
    )
    yield f"UPDATE log_heads SET {set_to} WHERE tenant_id = {mark(2)}"


async def _postgres_columns(connection: "asyncpg.Connection[asyncpg.Record]", table: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND table_schema = current_schema()"
        " AND column_name <> 'tenant_id' ORDER BY ordinal_position",
        table,
    )
    return [row[0] for row in rows]


@contextlib.contextmanager
def _sqlite(data_dir: Path) -> Iterator[sqlite3.Connection]:
    file = sqlite3.connect(data_dir / "hub.sqlite3", timeout=60)
    try:
        yield file
    finally:
        file.close()


def _sqlite_columns(file: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in file.execute(f"PRAGMA table_info({table})") if row[1] != "tenant_id"]
