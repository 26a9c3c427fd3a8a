"""`datacollect secrets reseal`, beside hubs that start and stop."""

import asyncio
from pathlib import Path

import pytest

from datacollect.app import prepare
from datacollect.assembly import create_hub
from datacollect.features.messages import queries
from datacollect.features.tenants import service
from datacollect.features.tenants.accepting import accept
from datacollect.features.tenants.seeding import SeedPlan
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from tests.conftest import ENGINES, database_url, make_settings
from tests.e2e.conftest import Run
from tests.factories import make_config
from tests.features.messages.outbox import PHONE, make_message

pytestmark = pytest.mark.anyio

OLD, NEW, THIRD = (
    "an-old-key-of-32-characters-and-",
    "a-new-key-of-32-characters-and-m",
    "a-third-key-of-32-characters-and",
)


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_key_is_changed_and_the_old_one_let_go(
    request: pytest.FixtureRequest, run: Run, environment: dict[str, str], engine: str
) -> None:
    config = make_config(externalSync={"type": "mock", "adapterConfig": {"clientSecret": "CANARY"}})
    scope = system_scope(TenantId(config["id"]))

    async def reseal(**settings: str) -> tuple[int, str]:
        environment.update(settings)
        ended = await asyncio.to_thread(run, "secrets", "reseal")
        assert "CANARY" not in ended.stdout + ended.stderr
        return ended.returncode, ended.stdout + ended.stderr

    async with database_url(engine, request) as url:
        if url:
            environment["DATABASE_URL"] = url
        folder = Path(environment["DATA_DIR"])
        code, text = await reseal(SECRETS_KEY=OLD)
        assert code == 1 and "datacollect migrate" in text
        hub = create_hub(make_settings(folder, url, SECRETS_KEY=OLD))
        await prepare(hub)
        async with hub.db.transaction(scope) as tx:
            nothing_to_seed = SeedPlan(())
            await service.upload(
                tx, scope, accept(config), nothing_to_seed, log=hub.log, seals=hub.seals, now=hub.clock.now()
            )
            tenant = Tenant(scope.tenant_id, "Program")
            message_id = await hub.messages.enqueue(
                tx, scope, tenant, make_message(hub.clock.now()), now=hub.clock.now()
            )
        await hub.db.close()
        nothing, all_three = (
            "Sealed anew: 0 rows of programs and their versions, 0 waiting messages.\n",
            "Sealed anew: 2 rows of programs and their versions, 1 waiting message.\n",
        )
        assert await reseal() == (0, nothing)
        code, text = await reseal(SECRETS_KEY=NEW)
        assert code == 3 and text.startswith(nothing + "WRONG: 3 rows") and "SECRETS_KEY_PREVIOUS" in text
        assert await reseal(SECRETS_KEY_PREVIOUS=OLD) == (0, all_three)
        assert await reseal() == (0, nothing)
        assert await reseal(SECRETS_KEY=THIRD, SECRETS_KEY_PREVIOUS=NEW) == (0, all_three)
        hub = create_hub(make_settings(folder, url, SECRETS_KEY=THIRD))
        async with hub.db.reading(scope) as view:
            found = await queries.find(view, scope, message_id)
            assert found is not None and hub.messages.opened(message_id, found[1] or "").address == PHONE
        await hub.db.close()
        code, text = await reseal(SECRETS_KEY="short")
        assert code == 1 and "SECRETS_KEY must be at least 32 characters long" in text
