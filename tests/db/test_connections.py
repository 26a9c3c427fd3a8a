"""How many connections the hub may ask for: those that the server keeps back for superusers are not among them."""

from pathlib import Path

import pytest

from datacollect.cli.serve import _require_connections
from datacollect.db.database import closing
from datacollect.db.postgres import PostgresDatabase
from datacollect.kernel.errors import StartupError
from datacollect.testing.postgres import fresh_database
from tests.conftest import make_settings

pytestmark = pytest.mark.anyio


async def test_the_hub_starts_with_all_that_are_left_when_superusers_have_theirs_and_with_none_more(
    postgres_server: str, tmp_path: Path
) -> None:
    async with fresh_database(postgres_server) as url, closing(PostgresDatabase(url, pool_size=1)) as database:
        async with database.reading() as view:
            [[allowed, reserved]] = await view.fetch(
                "SELECT current_setting('max_connections')::int, current_setting('superuser_reserved_connections')::int"
            )
        assert reserved > 0
        settings = make_settings(tmp_path, url, DB_POOL_SIZE=1)
        # One more than there are of them, while they are replaced.
        await _require_connections(database, settings, allowed - reserved - 1)
        with pytest.raises(StartupError, match=f"gives {allowed - reserved} connections"):
            await _require_connections(database, settings, allowed - reserved)
