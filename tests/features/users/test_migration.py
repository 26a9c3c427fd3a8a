"""Accounts that were there before anybody kept a list of who belongs to a program."""

import json
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from datacollect.db import open_database
from datacollect.db.migrate import migrate
from datacollect.db.upgrading import migration_config
from tests.conftest import ENGINES, database_url

pytestmark = pytest.mark.anyio

ACCOUNTS = [
    ("USER", ["p", "q"], [("p", "viewer"), ("p", "supervisor")]),
    ("USER", ["p", "p"], [("p", "ENUMERATOR"), ("r", "viewer")]),
    ("ADMIN", [], []),
    ("ADMIN", ["p"], [("p", "system-admin"), ("p", "root")]),
]


@pytest.mark.parametrize("engine", ENGINES)
async def test_accounts_that_were_there_are_found_by_their_programs(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str
) -> None:
    before = ScriptDirectory.from_config(migration_config()).get_revision("0011").down_revision
    assert isinstance(before, str)

    def upgrade(connection: Connection) -> None:
        config = migration_config()
        config.attributes["connection"] = connection
        command.upgrade(config, before)

    async with database_url(engine, request) as url:
        database = open_database(url, data_dir=tmp_path, pool_size=2)
        await database.run_migration(upgrade)
        async with database.transaction() as tx:
            for number, (role, tenants, assignments) in enumerate(ACCOUNTS, start=1):
                assigned = [{"tenantId": tenant, "role": name} for tenant, name in assignments]
                await tx.run(
                    "INSERT INTO users (email, password_hash, role, tenant_ids, role_assignments, version, created_ms,"
                    f" updated_ms) VALUES ('u{number}', 'h', '{role}', '{json.dumps(tenants)}',"
                    f" '{json.dumps(assigned)}', 1, 0, 0)"
                )
        await migrate(database)
        async with database.reading() as view:
            rows = await view.fetch("SELECT user_id, tenant_id, role FROM user_tenants ORDER BY user_id, tenant_id")
            due = await view.fetch("SELECT must_change_password FROM users")
        await database.close()
    assert [tuple(row) for row in rows] == [
        (1, "p", "supervisor"),
        (1, "q", "enumerator"),
        (2, "p", None),
        (4, "p", "system-admin"),
    ]
    assert [bool(row[0]) for row in due] == [False] * 4
