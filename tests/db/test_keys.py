"""Rows by many keys at once: the same ones on both engines."""

import pytest
from sqlalchemy import select

from datacollect.db import Database
from datacollect.db.keys import rows_with
from datacollect.features.entities.links.queries import StoredLink, keep_links
from datacollect.features.entities.links.tables import external_links
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId

pytestmark = pytest.mark.anyio

ODD = ["", " ", "a", "A", "á", '"', "\\", "{}", "NULL", "'; --", "x" * 2000, "𐌀", "\x01", "a\n"]


async def test_each_row_comes_once_whatever_its_key_is(database: Database) -> None:
    scope, column = system_scope(TenantId("p")), external_links.c.external_id
    async with database.transaction(scope) as tx:
        await keep_links(tx, scope, "s", [StoredLink(f"e-{number}", key) for number, key in enumerate(ODD)])

        async def found(*keys: str) -> list[str]:
            within = (external_links.c.tenant_id == "p", external_links.c.system == "s")
            return sorted((await tx.execute(select(rows_with(tx, column, keys, *within).c.external_id))).scalars())

        assert await found() == []
        assert await found(*ODD, "strange") == sorted(ODD)
        assert await found("a", "a") == ["a"]
        assert await found("y" * 1_000_000) == []
