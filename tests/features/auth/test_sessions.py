"""Sessions: what one sees of them, who may end which, and how fast that is felt."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import func, insert, select, update

from datacollect.features.auth.model import MOST_SIGN_INS
from datacollect.features.auth.tables import sessions
from datacollect.http.hub import Hub
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.errors import Unauthenticated
from datacollect.kernel.ids import new_guid
from datacollect.testing.clock import TurnableClock
from tests.accounts import PASSWORD, Person, assert_refused, bearer, claims_of, login, make_person, refresh
from tests.features.auth.test_guards import neighbour
from tests.features.conftest import Alone, Installation

pytestmark = pytest.mark.anyio


@pytest.fixture
async def person(admin: AsyncClient) -> Person:
    return await make_person(admin)


async def works(client: AsyncClient, pair: dict[str, Any]) -> bool:
    return (await client.get("/api/users/check-token", headers=bearer(pair["token"]))).status_code == 200


async def listed(client: AsyncClient, pair: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await client.get("/api/users/me/sessions", headers=bearer(pair["token"]))
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def id_of(client: AsyncClient, pair: dict[str, Any]) -> str:
    """The session the pair belongs to, as it calls itself."""
    return str(next(one["id"] for one in await listed(client, pair) if one["current"]))


async def end(client: AsyncClient, pair: dict[str, Any], wanted: str = "") -> Any:
    address = f"/api/users/me/sessions/{wanted}" if wanted else "/api/users/me/sessions"
    return await client.delete(address, headers=bearer(pair["token"]))


async def assert_ended(client: AsyncClient, pair: dict[str, Any]) -> None:
    """With every token of it, at once."""
    assert_refused(await client.get("/api/users/me", headers=bearer(pair["token"])), 401, "Invalid token")
    assert_refused(await refresh(client, pair["refreshToken"]), 401, "Invalid or expired refresh token")
    renewed = await client.post("/api/users/refresh", headers=bearer(pair["token"]))
    assert_refused(renewed, 401, "Invalid or expired access token")


async def copy(hub: Hub, person: Person, count: int, **changes: Any) -> None:
    """Make so many more sign-ins of the account like its last one."""
    mine = select(sessions).where(sessions.c.user_id == person.id).order_by(sessions.c.last_used_ms.desc()).limit(1)
    async with hub.db.transaction() as tx:
        row = (await tx.execute(mine)).mappings().one()
        for _ in range(count):
            await tx.execute(insert(sessions).values({**row, "family": new_guid(), **changes}))


async def count_of(hub: Hub, person: Person) -> int:
    async with hub.db.reading() as view:
        mine = select(func.count()).where(sessions.c.user_id == person.id)
        return int((await view.execute(mine)).scalar_one())


# -- how many there are


async def test_of_too_many_sign_ins_the_one_unused_for_longest_ends(
    client: AsyncClient, person: Person, hub: Hub, clock: TurnableClock
) -> None:
    unused, used = await login(client, person), await login(client, person)
    clock.turn(seconds=60)
    used = (await refresh(client, used["refreshToken"])).json()
    await copy(hub, person, MOST_SIGN_INS - 3)
    last = await login(client, person)
    assert await works(client, unused), "so many there may be"
    clock.turn(seconds=60)
    one_more = await login(client, person)
    clock.turn(seconds=60)
    await assert_ended(client, unused)
    for pair in (used, last, one_more):
        assert await works(client, pair)
    assert await count_of(hub, person) == MOST_SIGN_INS


async def test_the_security_log_tells_of_sign_ins_that_were_too_many(
    client: AsyncClient, person: Person, hub: Hub, clock: TurnableClock, admin: AsyncClient
) -> None:
    await login(client, person)
    await copy(hub, person, MOST_SIGN_INS + 1)
    clock.turn(seconds=60)
    await login(client, person)
    wanted = {"action": "session.revoked", "userId": person.id}
    entries = (await admin.get("/api/security-log", params=wanted)).json()["entries"]
    assert [entry["details"] for entry in entries] == [{"sessions": 3, "by": "number"}]


async def test_a_sign_in_forgets_a_hundred_that_have_ended_and_no_more(
    client: AsyncClient, person: Person, hub: Hub, clock: TurnableClock
) -> None:
    await login(client, person)
    await copy(hub, person, 250, revoked_ms=clock.now())
    seen = []
    for _ in range(4):
        await login(client, person)
        seen.append(await count_of(hub, person))
    assert seen == [152, 53, 4, 5]


# -- the list


async def test_a_session_says_when_and_from_where_it_is_used(alone: Alone) -> None:
    person = await make_person(await alone.admin())
    client, began = alone.client, alone.clock.now()
    pair = await login(client, person, **{"User-Agent": "Field app/3.1"})
    [session] = await listed(client, pair)
    assert session.pop("id")
    created = session.pop("createdAt")
    assert format_timestamp(began) <= created <= format_timestamp(alone.clock.now())
    assert session.pop("expiresAt") > created
    assert session == {"lastUsedAt": created, "origin": "127.0.0.1", "userAgent": "Field app/3.1", "current": True}
    alone.clock.turn(seconds=600)
    headers = {"User-Agent": "Field app/3.2"}
    pair = (
        await client.post("/api/users/refresh", json={"refreshToken": pair["refreshToken"]}, headers=headers)
    ).json()
    [session] = await listed(client, pair)
    assert session["createdAt"] == created
    assert session["lastUsedAt"] > created
    assert session["userAgent"] == "Field app/3.2"


async def test_renewing_by_an_access_token_is_use_too(alone: Alone) -> None:
    person = await make_person(await alone.admin())
    pair = await login(alone.client, person)
    [before] = await listed(alone.client, pair)
    alone.clock.turn(seconds=600)
    assert (await alone.client.post("/api/users/refresh", headers=bearer(pair["token"]))).status_code == 200
    [after] = await listed(alone.client, pair)
    assert after["lastUsedAt"] > before["lastUsedAt"]


async def test_only_ones_own_sessions_are_listed_the_last_used_first(
    client: AsyncClient, admin: AsyncClient, person: Person, clock: TurnableClock
) -> None:
    other = await make_person(admin)
    await login(client, other)
    pairs = []
    for _ in range(3):
        clock.turn(seconds=1)
        pairs.append(await login(client, person))
    clock.turn(seconds=1)
    pairs[0] = (await refresh(client, pairs[0]["refreshToken"])).json()
    found = await listed(client, pairs[1])
    assert [one["id"] for one in found] == [await id_of(client, pairs[number]) for number in (0, 2, 1)]
    assert [one["current"] for one in found] == [False, False, True]


async def test_a_session_is_not_named_as_its_tokens_name_it(client: AsyncClient, person: Person) -> None:
    pair = await login(client, person)
    shown = await id_of(client, pair)
    assert claims_of(pair["token"])["fam"] not in shown


async def test_what_a_client_calls_itself_is_shown_without_control_characters(
    client: AsyncClient, person: Person
) -> None:
    pair = await login(client, person, **{"User-Agent": "Evil\tapp\x7f " + "x" * 500})
    [session] = await listed(client, pair)
    assert session["userAgent"].startswith("Evilapp xxx")
    assert len(session["userAgent"]) == 200


async def test_a_session_of_an_older_hub_is_listed_and_can_be_ended(
    client: AsyncClient, person: Person, hub: Hub
) -> None:
    pair = await login(client, person)
    older = {"last_used_ms": None, "origin": None, "user_agent": None, "version": None}
    async with hub.db.transaction() as tx:
        await tx.execute(update(sessions).where(sessions.c.user_id == person.id).values(older))
    [session] = await listed(client, pair)
    assert (session["origin"], session["userAgent"]) == (None, None)
    assert session["lastUsedAt"] == session["createdAt"]
    assert (await refresh(client, pair["refreshToken"])).status_code == 200
    assert (await end(client, pair, session["id"])).status_code == 200
    assert not await works(client, pair)


async def test_a_sign_in_that_a_new_password_overtook_is_not_listed(
    client: AsyncClient, person: Person, hub: Hub
) -> None:
    pair, overtaken = await login(client, person), await login(client, person)
    stale = sessions.c.family == claims_of(overtaken["token"])["fam"]
    async with hub.db.transaction() as tx:
        await tx.execute(update(sessions).where(stale).values(version=0))
    assert [session["current"] for session in await listed(client, pair)] == [True]


# -- ending them


async def test_one_session_is_ended_and_the_others_go_on(client: AsyncClient, person: Person) -> None:
    one, other = await login(client, person), await login(client, person)
    answer = await end(client, one, await id_of(client, other))
    assert (answer.status_code, answer.json()) == (200, {"message": "Session ended", "ended": 1})
    await assert_ended(client, other)
    assert [session["current"] for session in await listed(client, one)] == [True]
    assert (await refresh(client, one["refreshToken"])).status_code == 200


async def test_one_may_end_the_session_one_speaks_from(client: AsyncClient, person: Person) -> None:
    pair = await login(client, person)
    assert (await end(client, pair, await id_of(client, pair))).status_code == 200
    await assert_ended(client, pair)


async def test_what_is_not_a_session_of_ones_own_is_not_found(
    client: AsyncClient, admin: AsyncClient, person: Person
) -> None:
    mine, ended = await login(client, person), await login(client, person)
    theirs = await login(client, await make_person(admin))
    spent = await id_of(client, ended)
    await end(client, mine, spent)
    for wanted in (await id_of(client, theirs), spent, "nonsense", claims_of(mine["token"])["fam"]):
        assert_refused(await end(client, mine, wanted), 404, "Session not found", "SESSION_NOT_FOUND")
    assert await works(client, theirs)
    assert await works(client, mine)


async def test_all_other_sessions_are_ended(client: AsyncClient, admin: AsyncClient, person: Person) -> None:
    mine, *others = [await login(client, person) for _ in range(3)]
    theirs = await login(client, await make_person(admin))
    answer = await end(client, mine)
    assert (answer.status_code, answer.json()["ended"]) == (200, 2)
    for other in others:
        await assert_ended(client, other)
    assert await works(client, mine)
    assert await works(client, theirs)
    assert (await end(client, mine)).json()["ended"] == 0


async def test_an_administrator_signs_an_account_out_everywhere(
    client: AsyncClient, admin: AsyncClient, person: Person
) -> None:
    pairs = [await login(client, person) for _ in range(2)]
    theirs = await login(client, await make_person(admin))
    answer = await admin.delete(f"/api/users/{person.id}/sessions")
    assert (answer.status_code, answer.json()["ended"]) == (200, 2)
    for pair in pairs:
        await assert_ended(client, pair)
    assert await works(client, theirs)
    assert await works(client, await login(client, person)), "it can sign in again"


async def test_nobody_else_signs_others_out(client: AsyncClient, admin: AsyncClient, person: Person) -> None:
    victim = await login(client, await make_person(admin))
    pair = await login(client, person)
    for key in (claims_of(victim["token"])["id"], person.id):
        answer = await client.delete(f"/api/users/{key}/sessions", headers=bearer(pair["token"]))
        assert_refused(answer, 403, "Forbidden: Admin access required")
    assert (await client.delete(f"/api/users/{person.id}/sessions")).status_code == 401
    assert await works(client, victim)
    for key in ("999999999", "99999999999999999999", "abc", "1.5"):
        assert_refused(await admin.delete(f"/api/users/{key}/sessions"), 404, "User not found", "USER_NOT_FOUND")


async def test_signing_out_closes_the_access_token_too(client: AsyncClient, person: Person) -> None:
    pair, other = await login(client, person), await login(client, person)
    await client.post("/api/users/logout", json={"refreshToken": pair["refreshToken"]})
    await assert_ended(client, pair)
    assert await works(client, other)


async def test_a_copied_refresh_token_that_comes_back_closes_the_thiefs_access_too(
    client: AsyncClient, person: Person
) -> None:
    first = await login(client, person)
    second = (await refresh(client, first["refreshToken"])).json()
    third = (await refresh(client, second["refreshToken"])).json()
    assert (await refresh(client, first["refreshToken"])).status_code == 401
    for pair in (first, second, third):
        assert not await works(client, pair)


async def test_an_ended_session_is_felt_within_a_second_in_another_process(installation: Installation) -> None:
    async with installation.running() as (app, client):
        person = await make_person(await Alone(app, client, installation.clock).admin())
        one, other = await login(client, person), await login(client, person)
        guards = neighbour(app, installation)
        for pair in (one, other):
            await guards.staff(f"Bearer {pair['token']}")
        await end(client, one, await id_of(client, other))
        installation.clock.turn(seconds=1)
        await guards.staff(f"Bearer {one['token']}")
        with pytest.raises(Unauthenticated):
            await guards.staff(f"Bearer {other['token']}")
        with pytest.raises(Unauthenticated):
            await guards.sync_caller(f"Bearer {other['token']}")


# -- what else ends them


async def test_a_new_password_leaves_no_session_in_the_list(
    client: AsyncClient, admin: AsyncClient, person: Person
) -> None:
    pairs = [await login(client, person) for _ in range(2)]
    change = {"currentPassword": PASSWORD, "newPassword": "Another-Horse-9"}
    changed = await client.post("/api/users/me/password", json=change, headers=bearer(pairs[0]["token"]))
    assert changed.status_code == 200
    again = await login(client, Person(person.id, person.email, "Another-Horse-9"))
    assert len(await listed(client, again)) == 1
    account = {"email": person.email, "role": "USER", "password": PASSWORD}
    assert (await admin.put(f"/api/users/{person.id}", json=account)).status_code == 200
    latest = await login(client, person)
    assert [session["current"] for session in await listed(client, latest)] == [True]
    for pair in (*pairs, again):
        assert not await works(client, pair)


async def test_a_deleted_accounts_sessions_are_gone_with_it(
    client: AsyncClient, admin: AsyncClient, person: Person, app: FastAPI
) -> None:
    pair = await login(client, person)
    await admin.delete(f"/api/users/{person.id}")
    for method, address in (("GET", "/me/sessions"), ("DELETE", "/me/sessions"), ("DELETE", "/me/sessions/x")):
        answer = await client.request(method, f"/api/users{address}", headers=bearer(pair["token"]))
        assert_refused(answer, 401, "User no longer exists", "USER_GONE")


# -- its cost


async def test_an_account_and_its_session_are_looked_up_in_one_statement_a_second(
    hub: Hub, clock: TurnableClock, client: AsyncClient, person: Person
) -> None:
    pairs = [await login(client, person) for _ in range(2)]
    clock.turn(seconds=1)
    with hub.db.statements.record() as statements:
        for _ in range(20):
            for pair in pairs:
                assert await works(client, pair)
    assert len(statements) == 2, "one for each session"
