"""Entities that were there before lists could be sorted."""

from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from datacollect.db import EVERY_TENANT, open_database
from datacollect.db.migrate import migrate
from datacollect.db.upgrading import migration_config
from datacollect.features.entities.keys import form_key, sort_name
from tests.conftest import ENGINES, database_url

pytestmark = pytest.mark.anyio

ROW = """
INSERT INTO entities (tenant_id, guid, type, entity_name, name, version, data, stamps, deleted, changed_position, last_updated)
VALUES ('p', '{guid}', 'individual', {form}, {name}, 1, '{{}}', '[1,1]', {deleted}, 1, 1)"""


@pytest.mark.parametrize("engine", ENGINES)
async def test_their_names_and_forms_are_filled_in(request: pytest.FixtureRequest, tmp_path: Path, engine: str) -> None:
    before = ScriptDirectory.from_config(migration_config()).get_revision("0017").down_revision
    assert isinstance(before, str)

    def upgrade(connection: Connection) -> None:
        config = migration_config()
        config.attributes["connection"] = connection
        command.upgrade(config, before)

    names = {f"e-{n:04}": name for n, name in enumerate(["Ángela", "ZOË", "x" * 300, "ß" * 150, *["N"] * 2100])}
    async with database_url(engine, request) as url:
        database = open_database(url, data_dir=tmp_path, pool_size=2)
        await database.run_migration(upgrade)
        async with database.transaction(EVERY_TENANT) as tx:
            for guid, name in names.items():
                await tx.run(ROW.format(guid=guid, form=f"'f-{name}'", name=f"'{name}'", deleted="false"))
            await tx.run(ROW.format(guid="gone", form="NULL", name="NULL", deleted="true"))
        await migrate(database)
        async with database.reading(EVERY_TENANT) as view:
            rows = await view.fetch("SELECT guid, sort_name, form_key FROM entities ORDER BY guid")
        await database.close()
    expected = [(guid, sort_name(name), form_key(f"f-{name}")) for guid, name in names.items()]
    assert [tuple(row) for row in rows] == [*expected, ("gone", "", "")]
