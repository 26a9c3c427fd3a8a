"""Exchanges that were there before columns were taken away."""

from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection

from datacollect.db import EVERY_TENANT, open_database
from datacollect.db.migrate import migrate
from datacollect.db.upgrading import migration_config
from datacollect.features.external.queries import find_marks
from datacollect.features.external.record_queries import failed_records
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.conftest import ENGINES, database_url

pytestmark = pytest.mark.anyio

ROWS = (
    "INSERT INTO external_marks (tenant_id, system, adapter, push, pull) VALUES ('p', 's', 'mock', '{\"0\":[7,\"g\"]}', 'm')",
    "INSERT INTO external_outcomes (tenant_id, system, guid, stage, status, is_due, is_open, code, retryable, run_id,"
    " updated_ms) VALUES ('p', 's', 'g', 0, 'dead', false, false, 'NO', false, 3, 5)",
)


@pytest.mark.parametrize("engine", ENGINES)
async def test_marks_and_outcomes_that_were_there_stay(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str
) -> None:
    def upgrade(connection: Connection) -> None:
        config = migration_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0024")

    async with database_url(engine, request) as url:
        database = open_database(url, data_dir=tmp_path, pool_size=2)
        await database.run_migration(upgrade)
        async with database.transaction(EVERY_TENANT) as tx:
            for row in ROWS:
                await tx.run(row)
        await migrate(database)
        scope = system_scope(TenantId("p"))
        async with database.reading(scope) as view:
            marks = await find_marks(view, scope, "s")
            [record] = await failed_records(view, scope, "s", run_id=None, after="", limit=9)
        await database.close()
    assert marks is not None and (marks.push, marks.pull) == ({0: (7, "g")}, "m")
    assert (record.guid, record.code, record.run_id) == ("g", "NO", 3)
