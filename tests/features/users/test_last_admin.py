"""Two administrators who remove each other, one of them not quite done yet."""

import asyncio

from datacollect.features.users import service
from datacollect.kernel.identity import AccountRole, Actor
from datacollect.kernel.ids import UserId
from tests.accounts import assert_refused, bearer, find_account, login, make_person
from tests.conftest import ADMIN_EMAIL
from tests.features.conftest import Alone


async def test_whoever_comes_second_waits_and_then_finds_only_one_left(alone: Alone) -> None:
    admin = await alone.admin()
    second = await make_person(admin, role="ADMIN")
    token = (await login(admin, second))["token"]
    first = Actor("user", ADMIN_EMAIL, UserId(1), AccountRole.ADMIN)
    async with alone.hub.db.transaction() as tx:
        await service.delete_user(tx, first, second.email, source=None, now=alone.clock.now())
        deletion = asyncio.create_task(admin.delete(f"/api/users/{ADMIN_EMAIL}", headers=bearer(token)))
        done, _ = await asyncio.wait({deletion}, timeout=0.3)
        assert not done, "did not wait for the other deletion"
    assert_refused(await deletion, 401, "User no longer exists")
    assert await find_account(admin, ADMIN_EMAIL)


async def test_of_two_who_give_up_their_role_at_once_one_keeps_it(alone: Alone) -> None:
    admin = await alone.admin()
    second = await make_person(admin, role="ADMIN")
    first_token, second_token = admin.headers["Authorization"], f"Bearer {(await login(admin, second))['token']}"

    async def resign(email: str, token: str) -> int:
        body = {"email": email, "role": "USER"}
        return (await admin.put(f"/api/users/{email}", json=body, headers={"Authorization": token})).status_code

    statuses = await asyncio.gather(resign(ADMIN_EMAIL, first_token), resign(second.email, second_token))
    assert sorted(statuses) == [200, 409]
