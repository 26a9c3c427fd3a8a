"""`POST /api/users/refresh` and `/logout`: rotation, reuse, grace, and what ends a sign-in."""

import asyncio
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import func, select

from datacollect.features.auth.tables import attempts, sessions
from datacollect.http.hub import Hub
from datacollect.kernel.tokens import Tokens
from tests.accounts import (
    PASSWORD,
    Person,
    assert_refused,
    bearer,
    claims_of,
    find_account,
    login,
    make_person,
    make_programs,
    refresh,
)
from tests.features.conftest import Alone, Installation

pytestmark = pytest.mark.anyio

INVALID = "Invalid or expired refresh token"


@pytest.fixture
async def person(admin: AsyncClient) -> Person:
    return await make_person(admin)


async def renew(client: AsyncClient, token: str) -> Any:
    """The header variant, as the admin UI sends it."""
    return await client.post("/api/users/refresh", headers=bearer(token))


async def works(client: AsyncClient, token: str) -> bool:
    return (await client.get("/api/users/check-token", headers=bearer(token))).status_code == 200


# -- every row of the contract's table


async def test_a_refresh_gives_a_new_pair(client: AsyncClient, person: Person) -> None:
    first = await login(client, person)
    answer = await refresh(client, first["refreshToken"])
    assert answer.status_code == 200
    second = answer.json()
    assert set(second) == {"token", "refreshToken", "userId"}
    assert second["userId"] == person.id
    assert second["refreshToken"] != first["refreshToken"]
    assert await works(client, second["token"])


async def test_claims_are_built_anew_from_the_database(client: AsyncClient, admin: AsyncClient, person: Person) -> None:
    first = await login(client, person)
    await make_programs(admin, "later")
    changed = {"email": person.email, "role": "USER", "tenantIds": ["later"]}
    await admin.put(f"/api/users/{person.id}", json=changed)
    second = (await refresh(client, first["refreshToken"])).json()
    assert claims_of(second["token"])["tenantIds"] == ["later"]
    assert await works(client, first["token"]), "a changed membership needs no new sign-in"


async def test_an_access_token_is_no_refresh_token(client: AsyncClient, person: Person) -> None:
    access = (await login(client, person))["token"]
    assert_refused(await refresh(client, access), 401, "Invalid refresh token")


@pytest.mark.parametrize("token", ["abc", "a.b.c", 7, True, ["x"], {"$ne": ""}], ids=str)
async def test_a_bad_body_token_is_refused(client: AsyncClient, token: Any) -> None:
    assert_refused(await refresh(client, token), 401, INVALID, "REFRESH_TOKEN_INVALID")


async def test_the_body_wins_over_the_header(client: AsyncClient, person: Person) -> None:
    access = (await login(client, person))["token"]
    answer = await client.post("/api/users/refresh", json={"refreshToken": "abc"}, headers=bearer(access))
    assert_refused(answer, 401, INVALID)


@pytest.mark.parametrize("authorization", ["Bearer abc", "Bearer", "Basic abc", "abc"])
async def test_a_bad_header_token_is_refused(client: AsyncClient, authorization: str) -> None:
    answer = await client.post("/api/users/refresh", headers={"Authorization": authorization})
    assert_refused(answer, 401, "Invalid or expired access token")


@pytest.mark.parametrize("body", [None, {}, {"refreshToken": None}, {"refreshToken": ""}, []], ids=str)
async def test_no_token_at_all_is_refused(client: AsyncClient, body: Any) -> None:
    assert_refused(await client.post("/api/users/refresh", json=body), 401, "No token provided")


async def test_a_deleted_user_is_told_so(client: AsyncClient, admin: AsyncClient, person: Person) -> None:
    pair = await login(client, person)
    await admin.delete(f"/api/users/{person.id}")
    assert_refused(await refresh(client, pair["refreshToken"]), 401, "User no longer exists")
    assert_refused(await renew(client, pair["token"]), 401, "User no longer exists")


async def test_the_header_variant_gives_an_access_token_only(client: AsyncClient, person: Person) -> None:
    access = (await login(client, person))["token"]
    answer = await renew(client, access)
    assert answer.status_code == 200
    assert set(answer.json()) == {"token", "userId"}
    assert await works(client, answer.json()["token"])


async def test_a_refresh_token_in_the_header_renews_nothing(client: AsyncClient, person: Person) -> None:
    pair = await login(client, person)
    assert_refused(await renew(client, pair["refreshToken"]), 401, "Invalid or expired access token")


# -- rotation


async def test_an_answer_that_was_lost_can_be_asked_for_again(alone: Alone) -> None:
    person = await make_person(await alone.admin())
    first = await login(alone.client, person)
    second = (await refresh(alone.client, first["refreshToken"])).json()
    alone.clock.turn(seconds=58)
    again = await refresh(alone.client, first["refreshToken"])
    assert again.status_code == 200
    assert again.json()["refreshToken"] == second["refreshToken"], "a family has one living token"
    assert (await refresh(alone.client, second["refreshToken"])).status_code == 200


async def test_a_token_that_comes_back_late_ends_the_family(alone: Alone) -> None:
    person = await make_person(await alone.admin())
    first = await login(alone.client, person)
    other = await login(alone.client, person)
    second = (await refresh(alone.client, first["refreshToken"])).json()
    alone.clock.turn(seconds=61)
    assert_refused(await refresh(alone.client, first["refreshToken"]), 401, INVALID)
    assert_refused(await refresh(alone.client, second["refreshToken"]), 401, INVALID)
    assert (await refresh(alone.client, other["refreshToken"])).status_code == 200, "other sign-ins go on"


async def test_an_older_token_ends_the_family_even_at_once(client: AsyncClient, person: Person) -> None:
    first = await login(client, person)
    second = (await refresh(client, first["refreshToken"])).json()
    third = (await refresh(client, second["refreshToken"])).json()
    assert_refused(await refresh(client, first["refreshToken"]), 401, INVALID)
    for token in (second["refreshToken"], third["refreshToken"]):
        assert_refused(await refresh(client, token), 401, INVALID)
    assert_refused(await renew(client, third["token"]), 401, "Invalid or expired access token")


async def test_refreshes_at_once_get_one_successor_and_end_nothing(client: AsyncClient, person: Person) -> None:
    first = await login(client, person)
    answers = await asyncio.gather(*(refresh(client, first["refreshToken"]) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    successors = {answer.json()["refreshToken"] for answer in answers}
    assert len(successors) == 1
    assert (await refresh(client, successors.pop())).status_code == 200


async def test_a_family_lives_thirty_days_from_its_last_refresh(alone: Alone) -> None:
    person = await make_person(await alone.admin())
    pair = await login(alone.client, person)
    idle = await login(alone.client, person)
    for _ in range(3):
        alone.clock.turn(seconds=29 * 86_400)
        answer = await refresh(alone.client, pair["refreshToken"])
        assert answer.status_code == 200
        pair = answer.json()
    assert_refused(await refresh(alone.client, idle["refreshToken"]), 401, INVALID)
    alone.clock.turn(seconds=30 * 86_400)
    assert_refused(await refresh(alone.client, pair["refreshToken"]), 401, INVALID)


async def test_renewing_by_header_does_not_outlast_the_sign_in(alone: Alone) -> None:
    """A stolen access token must not become an endless one."""
    person = await make_person(await alone.admin())
    claims = claims_of((await login(alone.client, person))["token"])

    async def renewed_hour_by_hour() -> Any:
        """Whether the last of a chain of renewals, which would be this one, is renewed again."""
        token = alone.hub.tokens.access({"id": person.id}, version=claims["ver"], family=claims["fam"])
        return await renew(alone.client, token)

    alone.clock.turn(seconds=30 * 86_400 - 60)
    assert (await renewed_hour_by_hour()).status_code == 200
    alone.clock.turn(seconds=61)
    assert_refused(await renewed_hour_by_hour(), 401, "Invalid or expired access token")


async def test_tokens_are_stored_hashed(client: AsyncClient, person: Person, hub: Hub) -> None:
    pair = await login(client, person)
    token_id = claims_of(pair["refreshToken"])["jti"]
    async with hub.db.reading() as view:
        rows = (await view.execute(select(sessions).where(sessions.c.user_id == person.id))).all()
    assert len(rows) == 1
    assert token_id not in str(rows) and token_id.encode() not in rows[0].current_hash


# -- what ends a sign-in


async def test_logout_ends_the_family_and_no_other(client: AsyncClient, person: Person) -> None:
    first, other = await login(client, person), await login(client, person)
    answer = await client.post("/api/users/logout", json={"refreshToken": first["refreshToken"]})
    assert answer.status_code == 200
    assert_refused(await refresh(client, first["refreshToken"]), 401, INVALID)
    assert_refused(await renew(client, first["token"]), 401, "Invalid or expired access token")
    assert (await refresh(client, other["refreshToken"])).status_code == 200
    again = await client.post("/api/users/logout", json={"refreshToken": first["refreshToken"]})
    assert again.status_code == 200


async def test_an_access_token_signs_out_its_own_sign_in(client: AsyncClient, person: Person) -> None:
    first, other = await login(client, person), await login(client, person)
    assert (await client.post("/api/users/logout", headers=bearer(first["token"]))).status_code == 200
    assert_refused(await refresh(client, first["refreshToken"]), 401, INVALID)
    assert_refused(await renew(client, first["token"]), 401, "Invalid or expired access token")
    assert (await refresh(client, other["refreshToken"])).status_code == 200
    answer = await client.post("/api/users/logout", headers=bearer("abc"))
    assert_refused(answer, 401, "Invalid or expired access token")


async def test_logout_takes_refresh_tokens_only_in_its_body(client: AsyncClient, person: Person) -> None:
    access = (await login(client, person))["token"]
    assert_refused(await client.post("/api/users/logout", json={"refreshToken": access}), 401, "Invalid refresh token")
    assert_refused(await client.post("/api/users/logout", json={"refreshToken": "abc"}), 401, INVALID)
    assert_refused(await client.post("/api/users/logout", json={}), 401, "No token provided")


async def test_a_new_password_ends_every_token(client: AsyncClient, admin: AsyncClient, person: Person) -> None:
    pair, other = await login(client, person), await login(client, person)
    update = {"email": person.email, "role": "USER", "password": "Another-Horse-9"}
    assert (await admin.put(f"/api/users/{person.id}", json=update)).status_code == 200
    for tokens in (pair, other):
        assert not await works(client, tokens["token"])
        # First by itself: a refresh ends the sign-in, and with it all that could be renewed.
        assert_refused(await renew(client, tokens["token"]), 401, "Invalid or expired access token")
        assert_refused(await refresh(client, tokens["refreshToken"]), 401, INVALID)


# -- limits and spent rows


async def test_refreshes_are_limited_per_sign_in_and_per_address(installation: Installation) -> None:
    text = "Too many requests, please try again later"
    async with installation.running(LOGIN_RATE_LIMIT=2) as (app, client):
        admin = Alone(app, client, installation.clock)
        await admin.admin()
        person = await make_person(client)
        pair = await login(client, person)
        for _ in range(8):
            answer = await refresh(client, pair["refreshToken"])
            assert answer.status_code == 200
            pair = answer.json()
        refused = await refresh(client, pair["refreshToken"])
        assert_refused(refused, 429, text, "TOO_MANY_REFRESHES")
        assert int(refused.headers["Retry-After"]) > 0
        assert_refused(await renew(client, pair["token"]), 429, text)
        statuses = [(await refresh(client, "abc")).status_code for _ in range(81)]
        assert statuses == [401] * 80 + [429]
        # Whose token is good does not suffer from those at their address whose are not.
        other = await login(client, person)
        assert (await refresh(client, other["refreshToken"])).status_code == 200
        installation.clock.turn(seconds=901)
        assert (await refresh(client, pair["refreshToken"])).status_code == 200


async def test_a_sign_in_that_was_ended_uses_up_no_refreshes_of_the_others(installation: Installation) -> None:
    """A phone that was lost, or an app that goes on asking: its owner's other devices are to stay signed in."""
    async with installation.running(LOGIN_RATE_LIMIT=1) as (app, client):
        await Alone(app, client, installation.clock).admin()
        person = await make_person(client)
        lost, own = await login(client, person), await login(client, person)
        await client.delete("/api/users/me/sessions", headers=bearer(own["token"]))
        assert [(await refresh(client, lost["refreshToken"])).status_code for _ in range(5)] == [401] * 4 + [429]
        assert (await refresh(client, own["refreshToken"])).status_code == 200


async def test_spent_rows_are_cleared_away(alone: Alone) -> None:
    person = await make_person(await alone.admin())
    for _ in range(3):
        pair = await login(alone.client, person)
        await alone.client.post("/api/users/logout", json={"refreshToken": pair["refreshToken"]})
    await refresh(alone.client, pair["refreshToken"])
    alone.clock.turn(seconds=40 * 86_400)
    await login(alone.client, person)
    async with alone.hub.db.reading() as view:
        mine = select(func.count()).select_from(sessions).where(sessions.c.user_id == person.id)
        assert (await view.execute(mine)).scalar_one() == 1
        rows = (await view.execute(select(attempts).order_by(attempts.c.key))).all()
    assert [row.key[:14] for row in rows] == ["login:account:", "login:ip:127.0"]
    assert [row.count for row in rows] == [0, 0], "of this sign-in, which was none too many"


# -- changing one's own password


async def change(client: AsyncClient, token: str, current: str, new: str) -> Any:
    body = {"currentPassword": current, "newPassword": new}
    return await client.post("/api/users/me/password", json=body, headers=bearer(token))


async def test_a_user_changes_their_own_password(client: AsyncClient, person: Person) -> None:
    pair = await login(client, person)
    answer = await change(client, pair["token"], PASSWORD, "Another-Horse-9")
    assert answer.status_code == 200
    assert not await works(client, pair["token"])
    assert_refused(await refresh(client, pair["refreshToken"]), 401, INVALID)
    old = await client.post("/api/users/login", json={"email": person.email, "password": PASSWORD})
    assert old.status_code == 401
    assert await login(client, Person(person.id, person.email, "Another-Horse-9"))


async def test_the_current_password_must_be_right_and_the_new_one_strong(client: AsyncClient, person: Person) -> None:
    token = (await login(client, person))["token"]
    assert_refused(
        await change(client, token, "Wrong-Horse-7", "Another-Horse-9"),
        403,
        "The current password is wrong.",
        "WRONG_PASSWORD",
    )
    same = await change(client, token, PASSWORD, PASSWORD)
    assert_refused(same, 400, "Password must not be the present one")
    weak = await change(client, token, PASSWORD, "short")
    assert weak.status_code == 400
    assert [issue["path"] for issue in weak.json()["details"]] == [["newPassword"]] * 4
    assert (await client.post("/api/users/me/password", json={}, headers=bearer(token))).status_code == 400
    assert (await client.post("/api/users/me/password", json={})).status_code == 401
    assert await works(client, token)


async def test_two_changes_at_once_do_not_both_succeed(client: AsyncClient, person: Person) -> None:
    token = (await login(client, person))["token"]
    answers = await asyncio.gather(*(change(client, token, PASSWORD, f"Another-Horse-{number}") for number in range(4)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, 403, 409}
    number = [answer.status_code for answer in answers].index(200)
    assert await login(client, Person(person.id, person.email, f"Another-Horse-{number}"))


async def test_a_stolen_token_cannot_try_passwords_for_ever(installation: Installation) -> None:
    async with installation.running(LOGIN_ACCOUNT_LIMIT=3) as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        token = admin.headers["Authorization"].removeprefix("Bearer ")
        answers = [await change(client, token, f"Wrong-Horse-{number}", "Another-Horse-9") for number in range(4)]
        assert [answer.status_code for answer in answers] == [403] * 3 + [429]
        assert answers[3].json()["code"] == "TOO_MANY_PASSWORD_CHANGES"
        assert int(answers[3].headers["Retry-After"]) > 0


async def test_a_refresh_token_of_another_secret_is_refused(client: AsyncClient, person: Person, hub: Hub) -> None:
    pair = await login(client, person)
    elsewhere = Tokens("f" * 32, hub.clock)
    mine = claims_of(pair["refreshToken"])
    claims = hub.tokens.read_refresh(pair["refreshToken"])
    forged = elsewhere.refresh(claims, email=mine["email"], issued_at=hub.clock.now())
    assert_refused(await refresh(client, forged), 401, INVALID)


async def test_the_list_of_accounts_shows_no_hash_and_no_token(
    client: AsyncClient, admin: AsyncClient, person: Person
) -> None:
    await login(client, person)
    shown = await find_account(admin, person.email)
    assert set(shown) == {"id", "email", "role", "tenantIds", "roleAssignments"}
