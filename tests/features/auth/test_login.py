"""`POST /api/users/login`: who gets in, what the answer tells, and how often it may be tried."""

import asyncio
import unicodedata
from typing import Any
from urllib.parse import quote

import bcrypt
import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import update
from structlog.testing import capture_logs

from datacollect.features.auth.model import WINDOW_SECONDS
from datacollect.features.users import passwords
from datacollect.features.users.tables import users
from datacollect.http.hub import Hub
from tests.accounts import PASSWORD, assert_refused, bearer, claims_of, login, make_person, refresh
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.factories import new_id
from tests.features.conftest import Installation

pytestmark = pytest.mark.anyio

WRONG = "Invalid email or password"


async def attempt(client: AsyncClient, body: Any) -> Any:
    return await client.post("/api/users/login", json=body)


async def test_login_gives_both_tokens_and_the_users_id(client: AsyncClient, admin: AsyncClient) -> None:
    assignments = [{"tenantId": "a", "role": "viewer"}]
    person = await make_person(admin, tenantIds=["a"], roleAssignments=assignments)
    body = await login(client, person)
    assert set(body) == {"token", "refreshToken", "userId"}
    assert body["userId"] == person.id
    claims = claims_of(body["token"])
    shown = {name: claims[name] for name in ("id", "email", "role", "tenantIds", "roleAssignments")}
    assert shown == {
        "id": person.id,
        "email": person.email,
        "role": "USER",
        "tenantIds": ["a"],
        "roleAssignments": assignments,
    }
    assert claims["exp"] - claims["iat"] == 3600
    assert claims_of(body["refreshToken"])["type"] == "refresh"


async def test_emails_are_trimmed_and_compared_without_regard_to_case(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    answer = await attempt(client, {"email": f"  {person.email.upper()} ", "password": PASSWORD})
    assert answer.status_code == 200


@pytest.mark.parametrize("is_older", [False, True])
async def test_an_accent_is_the_same_however_it_is_written(
    hub: Hub, client: AsyncClient, admin: AsyncClient, is_older: bool
) -> None:
    """Some keyboards send it as a character of its own, and some accounts were stored so."""
    person = await make_person(admin, email=f"Jos\u00e9-{new_id()}@hub.test")
    apart = unicodedata.normalize("NFD", person.email)
    if is_older:
        async with hub.db.transaction() as tx:
            await tx.execute(update(users).where(users.c.id == person.id).values(email=apart))
    for email in (person.email, apart, apart.upper()):
        answer = await attempt(client, {"email": email, "password": PASSWORD})
        assert (answer.status_code, answer.json().get("userId")) == (200, person.id)
        again = await admin.post("/api/users", json={"email": email, "password": PASSWORD, "role": "USER"})
        assert again.status_code == 409
        assert (await admin.get(f"/api/users/{quote(email)}")).json()["id"] == person.id


async def test_unknown_email_and_wrong_password_get_the_same_answer(client: AsyncClient) -> None:
    answers = [
        await attempt(client, {"email": ADMIN_EMAIL, "password": "Wrong-Horse-7"}),
        await attempt(client, {"email": "nobody@hub.test", "password": ADMIN_PASSWORD}),
    ]
    for answer in answers:
        assert_refused(answer, 401, WRONG, "WRONG_CREDENTIALS")
    without_id = [{k: v for k, v in answer.json().items() if k != "requestId"} for answer in answers]
    assert without_id[0] == without_id[1]


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "text",
        {"email": ADMIN_EMAIL},
        {"password": ADMIN_PASSWORD},
        {"email": None, "password": None},
        {"email": ADMIN_EMAIL, "password": 7},
        {"email": ADMIN_EMAIL, "password": ""},
        {"email": {"$ne": ""}, "password": ADMIN_PASSWORD},
        {"email": [ADMIN_EMAIL], "password": ADMIN_PASSWORD},
        {"email": ADMIN_EMAIL, "password": "x" * 50_000},
    ],
    ids=lambda body: str(body)[:50],
)
async def test_missing_or_strange_fields_are_wrong_credentials(client: AsyncClient, body: Any) -> None:
    assert_refused(await attempt(client, body), 401, WRONG, "WRONG_CREDENTIALS")


async def test_a_body_that_is_no_json_is_unreadable(client: AsyncClient) -> None:
    answer = await client.post("/api/users/login", content=b"{")
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_JSON")


@pytest.mark.usefixtures("dear_hashes")
async def test_an_unknown_email_costs_as_much_hashing_as_a_known_one(client: AsyncClient) -> None:
    """Counted, not timed: every attempt verifies one hash, and the placeholder has the parameters of real ones."""
    verified: list[str] = []
    pool = passwords._pool
    submit = pool.submit

    def counting(function: Any, *arguments: Any, **keywords: Any) -> Any:
        verified.append(function.__name__)
        return submit(function, *arguments, **keywords)

    pool.submit = counting  # type: ignore[method-assign]
    try:
        await attempt(client, {"email": ADMIN_EMAIL, "password": "Wrong-Horse-7"})
        known, verified = verified, []
        await attempt(client, {"email": "nobody@hub.test", "password": "Wrong-Horse-7"})
    finally:
        del pool.submit  # type: ignore[method-assign]
    assert verified == known == ["_verify"]
    assert not passwords.is_outdated(passwords.NOBODYS_HASH)


@pytest.mark.usefixtures("dear_hashes")
async def test_a_flood_of_logins_leaves_the_event_loop_free(client: AsyncClient, admin: AsyncClient) -> None:
    guess = {"email": (await make_person(admin)).email, "password": "Wrong-Horse-7"}
    flood = [asyncio.ensure_future(attempt(client, guess)) for _ in range(20)]
    answered_meanwhile = 0
    while not all(one.done() for one in flood):
        assert (await client.get("/health")).status_code == 200
        answered_meanwhile += 1
    # Were hashes made on the loop, each turn of it would wait for one: there would be about as many as logins.
    assert answered_meanwhile > 20


@pytest.mark.usefixtures("dear_hashes")
async def test_a_bcrypt_hash_of_an_existing_deployment_works_and_is_replaced(
    client: AsyncClient, admin: AsyncClient, hub: Hub
) -> None:
    person = await make_person(admin)
    old = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    await set_hash(hub, person.id, old)
    body = await login(client, person)
    kept = await stored_hash(hub, person.id)
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await login(client, person)
    assert (await client.get("/api/users/me", headers=bearer(body["token"]))).status_code == 200


@pytest.mark.parametrize("broken", ["", "plain", "$2b$10$short", "$argon2id$v=19$nonsense"])
async def test_a_damaged_hash_lets_nobody_in_and_crashes_nothing(
    client: AsyncClient, admin: AsyncClient, hub: Hub, broken: str
) -> None:
    person = await make_person(admin)
    await set_hash(hub, person.id, broken)
    assert_refused(await attempt(client, {"email": person.email, "password": PASSWORD}), 401, WRONG)


async def set_hash(hub: Hub, user_id: int, password_hash: str) -> None:
    async with hub.db.transaction() as tx:
        await tx.execute(update(users).where(users.c.id == user_id).values(password_hash=password_hash))


async def stored_hash(hub: Hub, user_id: int) -> str:
    async with hub.db.reading() as view:
        return str((await view.execute(users.select().where(users.c.id == user_id))).one().password_hash)


async def test_logs_tell_what_happened_by_ids_only(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    with capture_logs() as lines:
        pair = await login(client, person)
        await refresh(client, pair["refreshToken"])
        await attempt(client, {"email": person.email, "password": "Wrong-Horse-7"})
        await attempt(client, {"email": "nobody@hub.test", "password": "Wrong-Horse-7"})
        await client.post("/api/users/logout", json={"refreshToken": pair["refreshToken"]})
    told = [(line["event"], line["user_id"]) for line in lines if line["event"].startswith("auth.")]
    assert told == [
        ("auth.signed_in", person.id),
        ("auth.login_refused", person.id),
        ("auth.login_refused", None),
        ("auth.signed_out", person.id),
    ]
    for secret in (person.email, "nobody@", PASSWORD, "Wrong-Horse-7", pair["token"], pair["refreshToken"]):
        assert secret not in str(lines)


# -- how often


async def test_fifteen_attempts_in_fifteen_minutes_restarts_and_other_processes_included(
    installation: Installation,
) -> None:
    body = {"email": ADMIN_EMAIL, "password": "Wrong-Horse-7"}
    async with installation.running(LOGIN_RATE_LIMIT=15) as (_, client):
        for used in range(1, 11):
            answer = await attempt(client, body)
            assert answer.status_code == 401
            assert answer.headers["RateLimit-Policy"] == '"login";q=15;w=900'
            assert answer.headers["RateLimit"].startswith(f'"login";r={15 - used};t=')
            assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]
    async with installation.running(LOGIN_RATE_LIMIT=15) as (_, client):
        statuses = [(await attempt(client, body)).status_code for _ in range(5)]
        assert statuses == [401] * 5
        # The right password too: a guess is not to be told by its answer.
        refused = await attempt(client, {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        assert_refused(refused, 429, "Too many login attempts, please try again later", "TOO_MANY_LOGINS")
        assert 0 < int(refused.headers["Retry-After"]) <= WINDOW_SECONDS
        assert refused.headers["RateLimit"].startswith('"login";r=0;t=')
        installation.clock.turn(seconds=WINDOW_SECONDS)
        answer = await attempt(client, {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        assert answer.status_code == 200
        assert answer.headers["RateLimit"].startswith('"login";r=15;t='), "a success does not count"


async def test_attempts_made_at_once_are_all_counted(installation: Installation) -> None:
    body = {"email": "nobody@hub.test", "password": "Wrong-Horse-7"}
    async with installation.running(LOGIN_RATE_LIMIT=5) as (_, client):
        answers = await asyncio.gather(*(attempt(client, body) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 7


async def test_the_limit_comes_before_the_body(installation: Installation) -> None:
    async with installation.running(LOGIN_RATE_LIMIT=1) as (_, client):
        assert (await client.post("/api/users/login", content=b"{")).status_code == 400
        answers = [await attempt(client, {"email": "nobody@hub.test", "password": "Wrong-Horse-7"}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [401, 429]
        assert (await client.post("/api/users/login", content=b"{")).status_code == 429


async def test_a_lost_database_is_503_not_a_wrong_password(installation: Installation) -> None:
    async with installation.running() as (app, client):
        body = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        token = (await attempt(client, body)).json()["token"]
        await lose_database(app)
        with capture_logs():  # printing the tracebacks takes seconds
            answers = [
                await attempt(client, body),
                await client.get("/api/users/me", headers=bearer(token)),
                await client.get("/api/users", headers=bearer(token)),
                await client.post("/api/users/refresh", headers=bearer(token)),
            ]
        for answer in answers:
            assert (answer.status_code, answer.json()["code"]) == (503, "DATABASE_UNAVAILABLE")


async def lose_database(app: FastAPI) -> None:
    """What the hub sees when its database goes away, for the rest of the test."""
    hub: Hub = app.state.hub
    database: Any = hub.db
    if hub.db.dialect == "sqlite":
        path = database._path
        await hub.db.close()
        for file in path.parent.glob(path.name + "*"):
            file.unlink()
        path.mkdir()
        return
    await hub.db.close()
    database._engine = type(database)("postgresql://nobody@127.0.0.1:1/none", pool_size=1)._engine


async def test_a_login_while_the_account_is_deleted_is_refused_cleanly(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    tries = [attempt(client, {"email": person.email, "password": PASSWORD}) for _ in range(6)]
    *answers, deleted = await asyncio.gather(*tries, admin.delete(f"/api/users/{person.id}"))
    assert deleted.status_code == 200
    assert {answer.status_code for answer in answers} <= {200, 401}
    assert (await attempt(client, {"email": person.email, "password": PASSWORD})).status_code == 401
