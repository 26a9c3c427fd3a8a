"""What signing in leaves in the security log."""

from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import func, select, text

from datacollect.features.auth.model import session_id
from datacollect.features.auth.tables import sessions
from datacollect.features.security_log import service as security_log
from datacollect.features.security_log.service import Filters, SecurityAction
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis
from tests.accounts import PASSWORD, Person, bearer, claims_of, login, make_person, refresh
from tests.features.conftest import Alone, Installation

pytestmark = pytest.mark.anyio

WRONG = "Wrong-Horse-7"


async def told(admin: AsyncClient, **query: Any) -> list[dict[str, Any]]:
    """What the log tells, the oldest first."""
    answer = await admin.get("/api/security-log", params={"limit": 500, **query})
    assert answer.status_code == 200, answer.text
    return list(reversed(answer.json()["entries"]))


async def actions(admin: AsyncClient, person: Person) -> list[str]:
    """All but what administrators did to the account."""
    return [entry["action"] for entry in await told(admin, userId=person.id) if entry["action"][:5] != "user."]


async def attempt(client: AsyncClient, email: str, password: str = WRONG) -> Any:
    return await client.post("/api/users/login", json={"email": email, "password": password})


async def test_signing_in_refreshing_and_out_are_noted(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    await attempt(client, person.email)
    first = await login(client, person)
    second = (await refresh(client, first["refreshToken"])).json()
    await client.post("/api/users/refresh", headers=bearer(second["token"]))
    await client.post("/api/users/logout", json={"refreshToken": second["refreshToken"]})
    await client.post("/api/users/logout", json={"refreshToken": second["refreshToken"]})
    await refresh(client, second["refreshToken"])
    assert await actions(admin, person) == [
        "login.failed",
        "login.succeeded",
        "refresh.succeeded",
        "refresh.succeeded",
        "logout",
        "refresh.refused",
    ]
    failed, succeeded, *_, refused = [
        entry for entry in await told(admin, userId=person.id) if entry["action"][:5] != "user."
    ]
    assert (failed["actorUserId"], failed["hint"], failed["origin"]) == (None, None, "127.0.0.1")
    assert (succeeded["actorUserId"], refused["actorUserId"]) == (person.id, None)
    session = session_id(claims_of(first["token"])["fam"])
    assert succeeded["details"] == {"session": session, "by": "password"}
    assert refused["details"] == {"session": session}


async def test_an_entry_names_the_request_that_made_it(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    answer = await attempt(client, person.email)
    [entry] = await told(admin, userId=person.id, action="login.failed")
    assert entry["requestId"] == answer.headers["X-Request-Id"]


async def test_a_copied_token_is_noted_as_such(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    first = await login(client, person)
    second = (await refresh(client, first["refreshToken"])).json()
    await refresh(client, second["refreshToken"])
    await refresh(client, first["refreshToken"])
    assert (await actions(admin, person))[-1] == "refresh.reused"


async def test_ended_sessions_are_noted_with_who_ended_them(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    mine, other, _ = [await login(client, person) for _ in range(3)]
    wanted = session_id(claims_of(other["token"])["fam"])
    await client.delete(f"/api/users/me/sessions/{wanted}", headers=bearer(mine["token"]))
    await client.delete("/api/users/me/sessions", headers=bearer(mine["token"]))
    await client.delete("/api/users/me/sessions", headers=bearer(mine["token"]))
    await admin.delete(f"/api/users/{person.id}/sessions")
    ended = await told(admin, userId=person.id, action="session.revoked")
    administrator = (await admin.get("/api/users/me")).json()["id"]
    assert [entry["actorUserId"] for entry in ended] == [person.id, person.id, administrator]
    assert [entry["details"] for entry in ended] == [{"session": wanted}, {"sessions": 1}, {"sessions": 1}]


async def test_password_changes_and_guesses_are_noted(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    headers = bearer((await login(client, person))["token"])
    for current in (WRONG, PASSWORD):
        change = {"currentPassword": current, "newPassword": "Another-Horse-9"}
        await client.post("/api/users/me/password", json=change, headers=headers)
    seen = await actions(admin, person)
    assert seen == ["login.succeeded", "password.refused", "session.revoked", "password.changed"]


async def test_an_unknown_email_is_kept_as_a_hint_only(alone: Alone) -> None:
    """People type passwords into the field for the e-mail."""
    admin = await alone.admin()
    for typed in ("Hunter-2-Secret", "hunter-2-secret ", "somebody-else@hub.test"):
        await attempt(admin, typed)
    entries = await told(admin, action="login.failed")
    assert [entry["userId"] for entry in entries] == [None] * 3
    hints = [entry["hint"] for entry in entries]
    assert hints[0] == hints[1] != hints[2]
    async with alone.hub.db.reading() as view:
        for table in ("security_log", "attempts", "familiar_origins"):
            rows = (await view.execute(text(f"SELECT * FROM {table}"))).all()
            assert rows
            assert "unter-2" not in str(rows)


async def test_what_is_refused_to_an_address_or_an_account_is_noted_once_a_window(installation: Installation) -> None:
    async with installation.running(LOGIN_RATE_LIMIT=4, LOGIN_ACCOUNT_LIMIT=2) as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        person = await make_person(admin)
        for _ in range(2):
            for _ in range(4):
                await attempt(client, person.email)
            for _ in range(4):
                await attempt(client, "nobody@hub.test")
            installation.clock.turn(seconds=901)
        locked = await told(admin, action="login.locked")
        throttled = await told(admin, action="login.throttled")
        failed = await told(admin, action="login.failed")
    # What is refused for an account alone counts for nobody else at the address.
    assert [(entry["userId"], bool(entry["hint"])) for entry in locked] == [(person.id, False), (None, True)] * 2
    assert [(entry["userId"], bool(entry["hint"])) for entry in throttled] == [(None, True)] * 2
    assert [entry["userId"] for entry in failed] == [person.id, person.id, None, None] * 2


async def test_it_is_noted_once_whichever_process_refuses(installation: Installation) -> None:
    for _ in range(2):
        async with installation.running(LOGIN_RATE_LIMIT=2, LOGIN_ACCOUNT_LIMIT=1) as (app, client):
            for _ in range(2):
                assert (await attempt(client, "nobody@hub.test")).status_code in (401, 429)
            for number in range(3):
                await attempt(client, f"u{number}@hub.test")
            hub: Hub = app.state.hub
            async with hub.db.reading() as view:
                entries, _ = await security_log.newest(view, Filters(), before=None, limit=100)
    noted = [entry.action for entry in reversed(entries)]
    assert noted == ["user.created", "login.failed", "login.locked", "login.failed", "login.throttled"]


async def test_refreshes_refused_are_noted_once_a_window(installation: Installation) -> None:
    async with installation.running(LOGIN_RATE_LIMIT=1) as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        person = await make_person(admin)
        pair = await login(client, person)
        for _ in range(7):
            answer = await refresh(client, pair["refreshToken"])
            pair = answer.json() if answer.status_code == 200 else pair
        for _ in range(43):
            await refresh(client, "abc")
        throttled = await told(admin, action="refresh.throttled")
        refused = await told(admin, action="refresh.refused")
    assert [(entry["userId"], entry["details"]["by"]) for entry in throttled] == [
        (person.id, "session"),
        (None, "address"),
    ]
    assert {entry["details"]["code"] for entry in refused} == {"REFRESH_TOKEN_INVALID"}
    assert len(refused) == 40


async def test_a_refresh_for_a_deleted_account_is_noted(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    pair = await login(client, person)
    await admin.delete(f"/api/users/{person.id}")
    await refresh(client, pair["refreshToken"])
    assert (await actions(admin, person))[-1] == "refresh.refused"


async def test_nobody_signs_in_unnoted(alone: Alone) -> None:
    person = await make_person(await alone.admin())
    async with alone.hub.db.transaction() as tx:
        await tx.execute(text("DROP TABLE security_log"))
    for password in (PASSWORD, WRONG):
        assert (await attempt(alone.client, person.email, password)).status_code >= 500
    async with alone.hub.db.reading() as view:
        mine = select(func.count()).select_from(sessions).where(sessions.c.user_id == person.id)
        assert (await view.execute(mine)).scalar_one() == 0


async def test_signing_in_forgets_what_has_expired(installation: Installation) -> None:
    async with installation.running(SECURITY_LOG_DAYS=10) as (app, client):
        hub: Hub = app.state.hub
        old = Millis(installation.clock.now() - 11 * 86_400_000)
        async with hub.db.transaction() as tx:
            await security_log.record(tx, SecurityAction.LOGOUT, source=None, now=old)
        admin = await Alone(app, client, installation.clock).admin()
        assert await told(admin, action="logout") == []
