"""SQLAlchemy's asynchronous engines without its ORM.

The package they are in imports the ORM for sessions, which the hub does not use: 6 MiB of each process, and a twentieth of
a start. So it is not executed when it is imported first: it holds what is about engines, and becomes whole as soon as
somebody asks it for anything else.
"""

import contextlib
import importlib.util
import sys
from collections.abc import AsyncIterator
from typing import Any

_PACKAGE = "sqlalchemy.ext.asyncio"


def _import_engines_alone() -> None:
    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None and spec.loader is not None
    loader, package = spec.loader, importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    from sqlalchemy.ext.asyncio import engine  # noqa: PLC0415

    def become_whole(wanted: str) -> Any:
        if wanted.startswith("__"):
            raise AttributeError(wanted)
        del vars(package)["__getattr__"]
        loader.exec_module(package)
        return getattr(package, wanted)

    for one in (engine.AsyncConnection, engine.AsyncEngine, engine.create_async_engine):
        setattr(package, one.__name__, one)
    vars(package)["__getattr__"] = become_whole  # which modules may have, as classes do


if _PACKAGE not in sys.modules:
    _import_engines_alone()

from sqlalchemy.ext import asyncio as engines  # noqa: E402
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine  # noqa: E402

__all__ = ["AsyncConnection", "AsyncEngine", "connected", "create_async_engine"]


def create_async_engine(url: str, **options: Any) -> AsyncEngine:
    """As SQLAlchemy's; on SQLite over connections that take one trip to their thread for a statement."""
    if url.startswith("sqlite"):
        from datacollect.db import trips  # noqa: PLC0415 - a hub on PostgreSQL need not hold it

        options["connect_args"] = {**options.get("connect_args", {}), "async_creator_fn": trips.connect}
    return engines.create_async_engine(url, **options)


@contextlib.asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """As `engine.connect()`, for connections that are given back without a word to the database: SQLAlchemy does that in a
    task of its own, which takes two rounds of the loop, in case somebody is cancelled while the database is spoken to."""
    connection = await engine.connect().start()
    try:
        yield connection
    finally:
        await connection.close()
