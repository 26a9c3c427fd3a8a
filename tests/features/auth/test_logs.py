"""What signing in leaves in the logs: who and what, never a secret."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from httpx2 import AsyncClient
from structlog.typing import EventDict

from datacollect.http.hub import Hub
from datacollect.logs import describe_exception
from tests.accounts import bearer, login, make_person, refresh

OLD, WRONG, NEW, WEAK = "Canary-Old-1", "Canary-Wrong-2", "Canary-New-3", "canary-weak"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[EventDict]]:
    """Everything the hub logs, and whatever libraries say at their most talkative."""
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_no_password_hash_token_or_email_is_ever_logged(
    hub: Hub, client: AsyncClient, admin: AsyncClient, lines: list[EventDict], caplog: pytest.LogCaptureFixture
) -> None:
    person = await make_person(admin, password=OLD)
    url, account = f"/api/users/{person.id}", {"email": person.email, "role": "USER"}
    await client.post("/api/users/login", json={"email": person.email, "password": WRONG})
    await client.post("/api/users/login", json={"email": "nobody-canary@hub.test", "password": WRONG})
    first = await login(client, person)
    second = (await refresh(client, first["refreshToken"])).json()
    third = (await refresh(client, second["refreshToken"])).json()
    assert (await refresh(client, first["refreshToken"])).status_code == 401
    await client.get("/api/users/me", headers=bearer(third["token"] + "x"))
    await client.get("/api/users/me", headers=bearer(third["refreshToken"]))
    await admin.post("/api/users", json=account | {"password": WEAK})
    await admin.post("/api/users", json=account | {"password": NEW})
    await admin.put(url, json=account | {"password": WEAK})
    fourth = await login(client, person)
    change = {"currentPassword": OLD, "newPassword": NEW}
    changed = await client.post("/api/users/me/password", json=change, headers=bearer(fourth["token"]))
    assert changed.status_code == 200
    await client.post("/api/users/logout", json={"refreshToken": fourth["refreshToken"]})
    await admin.delete(f"/api/users/{person.email}")

    # The test's own client logs the addresses it calls; `configure_logging` silences the driver.
    silent = ("httpx", "aiosqlite")
    libraries = [record.getMessage() for record in caplog.records if not record.name.startswith(silent)]
    told = json.dumps([*map(_as_written, lines), *libraries], default=str)
    assert "auth.family_revoked" in told
    secrets = [token[name] for token in (first, second, third, fourth) for name in ("token", "refreshToken")]
    for secret in [*secrets, OLD, WRONG, NEW, WEAK, "$argon2", person.email, "nobody-canary"]:
        assert secret not in told


async def test_what_happened_is_logged_with_the_users_id(
    client: AsyncClient, admin: AsyncClient, lines: list[EventDict]
) -> None:
    person = await make_person(admin)
    await client.post("/api/users/login", json={"email": person.email, "password": WRONG})
    first = await login(client, person)
    second = (await refresh(client, first["refreshToken"])).json()
    await refresh(client, second["refreshToken"])
    await refresh(client, first["refreshToken"])
    other = await login(client, person)
    await client.post("/api/users/logout", json={"refreshToken": other["refreshToken"]})
    mine = [(line["log_level"], line["event"]) for line in lines if line.get("user_id") == person.id]
    assert mine == [
        ("info", "auth.login_refused"),
        ("info", "auth.signed_in"),
        ("warning", "auth.family_revoked"),
        ("info", "auth.signed_in"),
        ("info", "auth.signed_out"),
    ]


def _as_written(line: EventDict) -> EventDict:
    """As `logs` writes it: of an exception, the traceback and the first line."""
    error = line.get("exc_info")
    return {**line, "exc_info": describe_exception(error)} if isinstance(error, BaseException) else line
