"""Rows that were in quarantine before decisions about them could be made."""

from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from datacollect.db import EVERY_TENANT, open_database
from datacollect.db.migrate import migrate
from datacollect.db.upgrading import migration_config
from tests.conftest import ENGINES, database_url

pytestmark = pytest.mark.anyio

ROW = """
INSERT INTO quarantine (tenant_id, id, event_guid, received_ms, actor, device_id, code, message, body)
VALUES ('p', 'i', 'g', 5, '7', NULL, 'INVALID_GROUP', 'No.', '{"guid":"g","entityGuid":"hh-12"}')"""


@pytest.mark.parametrize("engine", ENGINES)
async def test_rows_that_were_there_are_open(request: pytest.FixtureRequest, tmp_path: Path, engine: str) -> None:
    before = ScriptDirectory.from_config(migration_config()).get_revision("0009").down_revision
    assert isinstance(before, str)

    def upgrade(connection: Connection) -> None:
        config = migration_config()
        config.attributes["connection"] = connection
        command.upgrade(config, before)

    async with database_url(engine, request) as url:
        database = open_database(url, data_dir=tmp_path, pool_size=2)
        await database.run_migration(upgrade)
        async with database.transaction(EVERY_TENANT) as tx:
            await tx.run(ROW)
        await migrate(database)
        async with database.reading(EVERY_TENANT) as view:
            rows = await view.fetch(
                "SELECT kind, status, entity_guid, last_seen_ms, attempts FROM quarantine WHERE tenant_id = 'p'"
            )
        await database.close()
    assert [tuple(row) for row in rows] == [("refused", "open", "hh-12", 5, 1)]
