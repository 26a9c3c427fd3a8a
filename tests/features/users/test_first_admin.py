"""The administrator a hub starts with."""

import asyncio
from typing import Any

import pytest

from datacollect.db import Database, open_database
from datacollect.db.migrate import migrate
from datacollect.features.users.service import ensure_first_admin
from datacollect.kernel.errors import StartupError
from tests.accounts import make_person
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.features.conftest import Alone, Installation

pytestmark = pytest.mark.anyio


async def ensure(database: Database, installation: Installation, **changes: Any) -> bool:
    wanted = {
        "email": ADMIN_EMAIL,
        "password": ADMIN_PASSWORD,
        "strict": True,
        "now": installation.clock.now(),
    } | changes
    async with database.transaction() as tx:
        return await ensure_first_admin(tx, **wanted)


async def signs_in(client: Any, email: str, password: str) -> bool:
    answer = await client.post("/api/users/login", json={"email": email, "password": password})
    return bool(answer.status_code == 200)


async def test_it_is_made_once_and_later_settings_mean_nothing(installation: Installation) -> None:
    async with installation.running(ADMIN_EMAIL=" First@Hub.Test ") as (_, client):
        assert await signs_in(client, "first@hub.test", ADMIN_PASSWORD)
    later = {"ADMIN_EMAIL": "second@hub.test", "ADMIN_PASSWORD": "weak"}
    async with installation.running(**later) as (_, client):
        assert await signs_in(client, "first@hub.test", ADMIN_PASSWORD)
        assert not await signs_in(client, "second@hub.test", "weak")


async def test_a_weak_password_stops_the_start_with_every_rule_it_breaks(installation: Installation) -> None:
    with pytest.raises(StartupError) as refused:
        async with installation.running(ADMIN_PASSWORD="aaaaaaaa"):
            pass
    assert refused.value.message == (
        "ADMIN_PASSWORD does not meet strength requirements: Password must contain at least one uppercase letter; "
        "Password must contain at least one number; Password must contain at least one special character"
    )


async def test_one_that_is_guessed_first_stops_it_in_production_or_where_that_is_asked_for(
    installation: Installation,
) -> None:
    for settings in ({"STRICT_PASSWORDS": "true"}, {"NODE_ENV": "production"}):
        with pytest.raises(StartupError, match="guessed first"):
            async with installation.running(ADMIN_PASSWORD="Password1!", **settings):
                pass
    async with installation.running(ADMIN_PASSWORD="Password1!") as (_, client):
        assert await signs_in(client, ADMIN_EMAIL, "Password1!")


async def test_an_ordinary_account_is_never_made_an_administrator(alone: Alone, installation: Installation) -> None:
    person = await make_person(await alone.admin())
    async with alone.hub.db.transaction() as tx:
        await tx.run(f"DELETE FROM users WHERE id <> {person.id}")
    with pytest.raises(StartupError, match="ADMIN_EMAIL belongs to an ordinary user"):
        await ensure(alone.hub.db, installation, email=person.email.upper())
    assert await ensure(alone.hub.db, installation, email="other@hub.test")


async def test_processes_that_start_at_once_make_one(installation: Installation) -> None:
    database = open_database(installation.url, data_dir=installation.folder, pool_size=5)
    try:
        await migrate(database)
        made = await asyncio.gather(*(ensure(database, installation) for _ in range(5)))
        assert sorted(made) == [False] * 4 + [True]
    finally:
        await database.close()
