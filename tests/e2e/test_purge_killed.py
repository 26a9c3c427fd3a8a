"""A hub that is killed in the middle of a purge: the next one deletes the rest, and each row was deleted once."""

import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from datacollect.db import EVERY_TENANT, Database, open_database
from datacollect.db.database import closing
from datacollect.db.metadata import metadata
from datacollect.db.walls import tenant_tables
from tests.e2e.conftest import Serve, signed_in
from tests.factories import make_config, make_event
from tests.processes import wait_until

pytestmark = pytest.mark.anyio

EVENTS = 4000
BATCH = 1000


@pytest.fixture
async def database(anyio_backend: str, migrated: str | None, environment: dict[str, str]) -> AsyncIterator[Database]:
    """The hub's own, looked at from outside."""
    environment["JOB_LEASE"] = "1"
    async with closing(open_database(migrated, data_dir=Path(environment["DATA_DIR"]), pool_size=2)) as database:
        yield database


async def rows_of(database: Database, program: str) -> dict[str, int]:
    counts = {}
    async with database.reading(EVERY_TENANT) as view:
        for name in tenant_tables():
            table = metadata.tables[name]
            found = select(func.count()).select_from(table).where(table.c.tenant_id == program)
            counts[name] = int((await view.execute(found)).scalar_one())
    return {name: count for name, count in counts.items() if count}


async def test_a_killed_purge_is_gone_on_with_by_the_next_hub(serve: Serve, database: Database) -> None:
    config = make_config()
    program = config["id"]
    with serve() as hub, signed_in(hub) as admin:
        assert admin.post("/api/apps", json=config).status_code == 200
        for _ in range(0, EVENTS, BATCH):
            events = [make_event() for _ in range(BATCH)]
            assert admin.post("/api/sync/push", json={"configId": program, "events": events}).status_code == 200
        assert admin.delete(f"/api/apps/{program}").status_code == 200
        full = await rows_of(database, program)
        assert full["events"] == EVENTS

        def begin() -> None:
            with suppress(httpx2.TransportError):
                admin.delete(f"/api/apps/{program}/purge")

        purge = threading.Thread(target=begin)
        purge.start()
        while sum((left := await rows_of(database, program)).values()) == sum(full.values()):
            assert hub.process.poll() is None
        hub.process.kill()
        purge.join()
        hub.process.wait()
    left = await rows_of(database, program)
    assert left, "killed too late to tell anything"
    with serve() as hub, signed_in(hub) as admin:

        def answer() -> Any:
            return admin.delete(f"/api/apps/{program}/purge")

        wait_until(lambda: answer().status_code == 404)
        assert await rows_of(database, program) == {}
        [entry] = admin.get("/api/security-log", params={"action": "program.purged"}).json()["entries"]
        assert entry["details"]["rows"]["events"] == EVENTS, "each is counted once"
        assert admin.post("/api/apps", json=config).status_code == 200
