"""Passwords that somebody else has chosen, and that have to be changed."""

import pytest
from httpx2 import AsyncClient

from tests.accounts import PASSWORD, Person, assert_refused, bearer, login, make_person, refresh
from tests.factories import make_program, pull

pytestmark = pytest.mark.anyio


async def test_until_it_is_changed_an_account_may_do_nothing_else(client: AsyncClient, admin: AsyncClient) -> None:
    program = await make_program(admin)
    person = await make_person(admin, tenantIds=[program], mustChangePassword=True)
    pair = await login(client, person)
    client.headers.update(bearer(pair["token"]))
    assert (await client.get("/api/users/me")).json()["mustChangePassword"] is True
    assert (await refresh(client, pair["refreshToken"])).status_code == 200
    refused = [
        await pull(client, program),
        await client.get("/api/users/check-token"),
        await client.get("/api/entities", params={"configId": program}),
        await client.get("/api/apps"),
    ]
    for answer in refused:
        assert_refused(answer, 403, "Change your password first.", "PASSWORD_CHANGE_REQUIRED")
    change = {"currentPassword": PASSWORD, "newPassword": "Another-Horse-9"}
    assert (await client.post("/api/users/me/password", json=change)).status_code == 200
    changed = Person(person.id, person.email, "Another-Horse-9")
    client.headers.update(bearer((await login(client, changed))["token"]))
    assert (await client.get("/api/users/me")).json()["mustChangePassword"] is False
    assert (await pull(client, program)).status_code == 200


async def test_it_binds_administrators_too(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin, role="ADMIN", mustChangePassword=True)
    client.headers.update(bearer((await login(client, person))["token"]))
    assert_refused(await client.get("/api/users"), 403, "Change your password first.", "PASSWORD_CHANGE_REQUIRED")


async def test_it_is_set_and_lifted_by_a_change_and_felt_at_once(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    client.headers.update(bearer((await login(client, person))["token"]))
    body = {"email": person.email, "role": "USER"}
    for due, status in ((True, 403), (None, 403), (False, 200), (None, 200)):
        changes = {} if due is None else {"mustChangePassword": due}
        await admin.put(f"/api/users/{person.id}", json=body | changes)
        assert (await client.get("/api/users/check-token")).status_code == status
        shown = (await admin.get(f"/api/users/{person.id}")).json()
        assert shown["mustChangePassword"] is (status == 403)
