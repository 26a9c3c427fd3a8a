"""Two administrators who remove each other, one of them not quite done yet."""

import asyncio

from datacollect.features.users import service
from tests.accounts import bearer, find_account, login, make_person
from tests.conftest import ADMIN_EMAIL
from tests.features.conftest import Alone


async def test_whoever_comes_second_waits_and_then_finds_only_one_left(alone: Alone) -> None:
    admin = await alone.admin()
    second = await make_person(admin, role="ADMIN")
    token = (await login(admin, second))["token"]
    async with alone.hub.db.transaction() as tx:
        await service.delete_user(tx, second.email)
        deletion = asyncio.create_task(admin.delete(f"/api/users/{ADMIN_EMAIL}", headers=bearer(token)))
        done, _ = await asyncio.wait({deletion}, timeout=0.3)
        assert not done, "did not wait for the other deletion"
    # 401 if it was so late that its own account was gone before it was even asked for.
    assert (await deletion).status_code in (409, 401)
    assert await find_account(admin, ADMIN_EMAIL)
