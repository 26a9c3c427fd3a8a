"""Who passes the guards of staff and sync routes, and how fast a change of an account is felt."""

import asyncio
import contextlib
from typing import Any, cast

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.db import Database
from datacollect.features.auth.errors import SelfServiceForbidden, UserGone
from datacollect.features.auth.service import TokenAuthenticator
from datacollect.http.hub import Hub
from datacollect.kernel.errors import Unauthenticated
from datacollect.kernel.ids import UserId
from datacollect.kernel.tokens import Tokens
from datacollect.testing.clock import TurnableClock
from tests.accounts import assert_refused, bearer, claims_of, login, make_person, make_programs
from tests.conftest import asgi_client, make_settings
from tests.factories import make_program
from tests.features.conftest import Alone, Installation
from tests.gated import GatedDatabase

pytestmark = pytest.mark.anyio

STAFF_ROUTES = [
    ("GET", "/api/users/check-token"),
    ("GET", "/api/users/me"),
    ("POST", "/api/users/me/password"),
    ("GET", "/api/users"),
    ("POST", "/api/users"),
    ("PUT", "/api/users/1"),
    ("DELETE", "/api/users/1"),
]
ADMIN_ROUTES = STAFF_ROUTES[3:]
SYNC_ROUTES = [("GET", "/api/sync/pull"), ("POST", "/api/sync/push")]


async def call(client: AsyncClient, route: tuple[str, str], authorization: str | None) -> Any:
    headers = {} if authorization is None else {"Authorization": authorization.encode()}
    return await client.request(*route, headers=headers)


def citizens_token(hub: Hub, **claims: Any) -> str:
    """As the self-service area will sign them."""
    return hub.tokens._sign(
        {"scope": "self-service", "identifier": "x", "tenantId": "a", **claims}, hub.clock.now(), 3600
    )


@pytest.mark.parametrize("route", STAFF_ROUTES, ids=" ".join)
async def test_staff_routes_say_what_is_wrong_with_the_header(
    client: AsyncClient, admin_token: str, route: tuple[str, str]
) -> None:
    assert_refused(await call(client, route, None), 401, "Authorization header missing", "AUTHORIZATION_MISSING")
    for other in ("Basic abc", admin_token, f"foo {admin_token}"):
        assert_refused(await call(client, route, other), 401, "Invalid authentication type")
    unsigned = admin_token.rpartition(".")[0] + "."
    for bad in ("Bearer", "Bearer ", "Bearer abc", f"Bearer {unsigned}", f"Bearer  {admin_token} x", "Bearer é"):
        assert_refused(await call(client, route, bad), 401, "Invalid token")


@pytest.mark.parametrize("route", SYNC_ROUTES, ids=" ".join)
async def test_sync_routes_say_what_is_wrong_with_the_header(
    client: AsyncClient, admin_token: str, route: tuple[str, str]
) -> None:
    assert_refused(await call(client, route, None), 401, "Authorization header missing")
    for bad in ("Basic abc", "Bearer abc", admin_token, f"foo {admin_token}", f"keycloak {admin_token}"):
        assert_refused(await call(client, route, bad), 401, "Invalid token")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_compared_without_regard_to_case(
    client: AsyncClient, admin_token: str, scheme: str
) -> None:
    answer = await call(client, STAFF_ROUTES[0], f"{scheme} {admin_token}")
    assert (answer.status_code, answer.json()) == (200, {"message": "Token is valid"})


@pytest.mark.parametrize("route", [*STAFF_ROUTES, *SYNC_ROUTES], ids=" ".join)
async def test_an_admins_refresh_token_opens_nothing(client: AsyncClient, hub: Hub, route: tuple[str, str]) -> None:
    body = {"email": "admin@hub.test", "password": "Correct-Horse-7"}
    pair = (await client.post("/api/users/login", json=body)).json()
    assert_refused(await call(client, route, f"Bearer {pair['refreshToken']}"), 401, "Invalid token")


@pytest.mark.parametrize("claims", [{}, {"id": 1, "role": "ADMIN", "tenantIds": ["a"], "typ": "access", "ver": 1}])
async def test_a_citizens_token_is_forbidden_to_staff_and_unknown_to_sync(
    client: AsyncClient, hub: Hub, claims: dict[str, Any]
) -> None:
    token = f"Bearer {citizens_token(hub, **claims)}"
    for route in STAFF_ROUTES:
        text = "Forbidden: self-service tokens cannot access this endpoint"
        assert_refused(await call(client, route, token), 403, text, "SELF_SERVICE_FORBIDDEN")
    for route in SYNC_ROUTES:
        assert_refused(await call(client, route, token), 401, "Invalid token")
    assert_refused(
        await client.post("/api/users/refresh", headers={"Authorization": token}),
        401,
        "Invalid or expired access token",
    )


@pytest.mark.parametrize("route", ADMIN_ROUTES, ids=" ".join)
async def test_admin_routes_are_closed_to_ordinary_accounts_before_their_body_is_read(
    client: AsyncClient, admin: AsyncClient, route: tuple[str, str]
) -> None:
    person = await make_person(admin, roleAssignments=[{"tenantId": "a", "role": "supervisor"}])
    token = (await login(client, person))["token"]
    answer = await client.request(*route, content=b"{not json", headers=bearer(token))
    assert_refused(answer, 403, "Forbidden: Admin access required", "ADMIN_REQUIRED")


async def test_rights_come_from_the_database_not_from_the_token(
    hub: Hub, client: AsyncClient, admin: AsyncClient
) -> None:
    """Even a claim the hub itself had signed would mean nothing."""
    person = await make_person(admin)
    pair = await login(client, person)
    held = claims_of(pair["token"])
    inflated = hub.tokens.access(
        {"id": person.id, "email": "admin@hub.test", "role": "ADMIN"}, version=held["ver"], family=held["fam"]
    )
    assert_refused(
        await call(client, ("GET", "/api/users"), f"Bearer {inflated}"), 403, "Forbidden: Admin access required"
    )


async def test_a_demotion_a_membership_and_a_deletion_are_felt_at_once(client: AsyncClient, admin: AsyncClient) -> None:
    await make_programs(admin, "a")
    person = await make_person(admin, role="ADMIN")
    headers = bearer((await login(client, person))["token"])
    assert (await client.get("/api/users", headers=headers)).status_code == 200
    account = {"email": person.email, "role": "USER", "tenantIds": ["a"]}
    await admin.put(f"/api/users/{person.id}", json=account)
    assert_refused(await client.get("/api/users", headers=headers), 403, "Forbidden: Admin access required")
    foreign = await client.get("/api/entities", params={"configId": "b"}, headers=headers)
    assert_refused(foreign, 403, "Forbidden: No access to this tenant")
    await admin.delete(f"/api/users/{person.id}")
    for route in (STAFF_ROUTES[0], STAFF_ROUTES[3], *SYNC_ROUTES):
        assert_refused(await client.request(*route, headers=headers), 401, "User no longer exists", "USER_GONE")


async def test_a_change_made_by_another_process_is_felt_within_a_second(installation: Installation) -> None:
    async with installation.running() as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        person = await make_person(admin, role="ADMIN")
        token = (await login(admin, person))["token"]
        other = neighbour(app, installation)
        assert (await other.staff(f"Bearer {token}")).is_admin
        await admin.put(f"/api/users/{person.id}", json={"email": person.email, "role": "USER"})
        installation.clock.turn(seconds=1)
        assert not (await other.staff(f"Bearer {token}")).is_admin
        await admin.delete(f"/api/users/{person.id}")
        installation.clock.turn(seconds=1)
        with pytest.raises(UserGone):
            await other.staff(f"Bearer {token}")


def neighbour(app: FastAPI, installation: Installation) -> TokenAuthenticator:
    """The guards of another process on the same database: their own memory, the same secret."""
    hub: Hub = app.state.hub
    secret = make_settings(installation.folder, installation.url).jwt_secret
    assert secret is not None
    return TokenAuthenticator(hub.db, Tokens(secret.get_secret_value(), installation.clock), installation.clock)


async def test_an_account_is_looked_up_once_a_second(
    hub: Hub, clock: TurnableClock, admin: AsyncClient, client: AsyncClient
) -> None:
    person = await make_person(admin)
    authorization = f"Bearer {(await login(client, person))['token']}"
    guards = TokenAuthenticator(hub.db, hub.tokens, clock)
    with hub.db.statements.record() as statements:
        actors = [await guards.staff(authorization) for _ in range(50)]
    assert len(statements) == 1
    assert actors[0] is actors[49]
    clock.turn(seconds=1)
    with hub.db.statements.record() as statements:
        await guards.staff(authorization)
    assert len(statements) == 1


async def test_a_change_during_a_look_up_is_not_lost(hub: Hub, admin: AsyncClient, client: AsyncClient) -> None:
    person = await make_person(admin)
    authorization = f"Bearer {(await login(client, person))['token']}"
    gated = GatedDatabase(hub.db)
    guards = TokenAuthenticator(cast(Database, gated), hub.tokens, hub.clock)
    looking = asyncio.create_task(guards.staff(authorization))
    await gated.has_read.wait()
    # Made elsewhere in this process; what was read is of before.
    guards.forget(UserId(person.id))
    later = asyncio.create_task(guards.staff(authorization))
    gated.may_go.set()
    await asyncio.gather(looking, later)
    assert gated.glances == 2, "who asks after the change is not told what was read before it"
    await guards.staff(authorization)
    assert gated.glances == 2, "what was read after it is remembered"


async def test_all_who_ask_at_the_same_time_share_a_look_up(hub: Hub, admin: AsyncClient, client: AsyncClient) -> None:
    person, other = await make_person(admin), await make_person(admin)
    headers = [f"Bearer {(await login(client, one))['token']}" for one in (person, other)]
    gated = GatedDatabase(hub.db)
    guards = TokenAuthenticator(cast(Database, gated), hub.tokens, hub.clock)
    looking = [asyncio.create_task(guards.staff(header)) for header in headers for _ in range(8)]
    await gated.has_read.wait()
    gated.may_go.set()
    actors = await asyncio.gather(*looking)
    assert gated.glances == 2
    assert [actor.user_id for actor in actors] == [UserId(person.id)] * 8 + [UserId(other.id)] * 8


async def test_who_asks_often_does_not_wait_when_the_second_is_over(
    hub: Hub, clock: TurnableClock, admin: AsyncClient, client: AsyncClient
) -> None:
    person = await make_person(admin)
    authorization = f"Bearer {(await login(client, person))['token']}"
    gated = GatedDatabase(hub.db)
    guards = TokenAuthenticator(cast(Database, gated), hub.tokens, clock)
    gated.may_go.set()
    for _ in range(9):
        await guards.staff(authorization)
    gated.may_go.clear()
    clock.turn(seconds=0.6)
    assert (await guards.staff(authorization)).user_id == person.id, "nobody waits for what is begun now"
    await gated.until_glances(2)
    await guards.staff(authorization)
    clock.turn(seconds=0.5)
    waiting = asyncio.create_task(guards.staff(authorization))
    await asyncio.sleep(0)
    assert not waiting.done(), "nothing is believed for more than a second"
    gated.may_go.set()
    await waiting
    assert gated.glances == 2, "that one is joined"
    await guards.staff(authorization)
    assert gated.glances == 2


async def test_an_account_that_was_changed_elsewhere_is_noticed_within_a_second_however_often_it_is_asked_for(
    installation: Installation,
) -> None:
    async with installation.running() as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        person = await make_person(admin)
        token = (await login(admin, person))["token"]
        other = neighbour(app, installation)
        for _ in range(20):
            await other.staff(f"Bearer {token}")
        installation.clock.turn(seconds=0.6)
        await other.staff(f"Bearer {token}")
        await admin.delete(f"/api/users/{person.id}")
        for _ in range(20):  # what had been begun before, and may have read it still
            with contextlib.suppress(UserGone):
                await other.staff(f"Bearer {token}")
            await asyncio.sleep(0)
        installation.clock.turn(seconds=1)
        with pytest.raises(UserGone):
            await other.staff(f"Bearer {token}")


async def test_the_guards_themselves_tell_a_citizen_from_a_stranger(hub: Hub) -> None:
    with pytest.raises(SelfServiceForbidden):
        await hub.auth.staff(f"Bearer {citizens_token(hub)}")
    with pytest.raises(Unauthenticated):
        await hub.auth.sync_caller(f"Bearer {citizens_token(hub)}")


async def test_me_shows_the_account_as_it_is_now_with_its_permissions(client: AsyncClient, admin: AsyncClient) -> None:
    assignments = [
        {"tenantId": "a", "role": "enumerator", "areaId": "A1"},
        {"tenantId": "b", "role": "supervisor", "syncScopeOverride": {"areaIds": ["x"], "entityTypes": ["group"]}},
    ]
    person = await make_person(admin, tenantIds=["c"], roleAssignments=assignments)
    answer = await client.get("/api/users/me", headers=bearer((await login(client, person))["token"]))
    assert answer.json() == {
        "id": person.id,
        "email": person.email,
        "role": "USER",
        "tenantIds": ["c", "a", "b"],
        "roleAssignments": assignments,
        "permissions": {
            "a": ["read", "create", "update"],
            "b": ["read", "create", "update", "delete", "approve"],
            "c": ["read", "create", "update"],
        },
        "mustChangePassword": False,
        "programs": [
            _program("a", "enumerator", areaIds=["A1"]),
            _program("b", "supervisor", areaIds=["x"], entityTypes=["group"]),
            _program("c", "enumerator"),
        ],
    }


def _program(tenant_id: str, role: str, **limits: Any) -> dict[str, Any]:
    unlimited = {"areaIds": None, "entityTypes": None, "timeWindow": None}
    return {"tenantId": tenant_id, "state": "running", "role": role, **unlimited, **limits}


@pytest.mark.parametrize(
    ("assignments", "role", "limits"),
    [
        ([{"role": "viewer"}, {"role": "supervisor", "areaId": "A1"}], "viewer", {}),
        ([{"role": "supervisor"}, {"role": "enumerator", "areaId": "A1"}], "supervisor", {}),
        (
            [{"role": "supervisor", "areaId": "A1"}, {"role": "enumerator", "areaId": "A2"}],
            "enumerator",
            {"areaIds": ["A1", "A2"]},
        ),
    ],
)
async def test_me_shows_the_role_that_holds_in_all_of_what_is_shown_as_reached(
    client: AsyncClient, admin: AsyncClient, assignments: list[dict[str, str]], role: str, limits: dict[str, Any]
) -> None:
    held = [{"tenantId": "a"} | one for one in assignments]
    person = await make_person(admin, tenantIds=["a"], roleAssignments=held)
    body = (await client.get("/api/users/me", headers=bearer((await login(client, person))["token"]))).json()
    assert body["programs"] == [_program("a", role, **limits)]
    assert body["permissions"] == {"a": ["read", "create", "update", "delete", "approve"]}, "each somewhere in it"


async def test_me_of_an_administrator_may_everything_everywhere(admin: AsyncClient) -> None:
    body = (await admin.get("/api/users/me")).json()
    assert body["role"] == "ADMIN"
    assert body["permissions"]["*"][-1] == "manage-config"
    assert body["programs"] == [] and "hint" not in body


async def test_a_user_who_can_do_nothing_learns_it(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    body = (await client.get("/api/users/me", headers=bearer((await login(client, person))["token"]))).json()
    assert (body["permissions"], body["programs"]) == ({}, [])
    assert body["hint"] == "This account belongs to no program yet. Ask an administrator to add it to one."


async def test_a_user_whose_programs_have_stopped_learns_that(client: AsyncClient, admin: AsyncClient) -> None:
    program = await make_program(admin)
    person = await make_person(admin, tenantIds=[program])
    await admin.delete(f"/api/apps/{program}")
    body = (await client.get("/api/users/me", headers=bearer((await login(client, person))["token"]))).json()
    assert [one["state"] for one in body["programs"]] == ["archived"]
    assert body["hint"] == "None of this account's programs is running. Ask an administrator."


async def test_a_token_passes_for_an_hour(alone: Alone) -> None:
    await alone.admin()
    alone.clock.turn(seconds=3590)
    assert (await alone.client.get("/api/users/check-token")).status_code == 200
    alone.clock.turn(seconds=11)
    assert_refused(await alone.client.get("/api/users/check-token"), 401, "Invalid token")


async def test_two_clients_do_not_see_each_others_accounts(app: FastAPI, admin: AsyncClient) -> None:
    people = [await make_person(admin) for _ in range(2)]
    tokens = [(await login(admin, person))["token"] for person in people]
    async with asgi_client(app, tokens[0]) as one, asgi_client(app, tokens[1]) as two:
        answers = await asyncio.gather(*(client.get("/api/users/me") for client in (one, two) * 20))
    assert [answer.json()["email"] for answer in answers] == [person.email for person in people] * 20
