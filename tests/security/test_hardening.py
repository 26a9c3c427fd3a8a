"""The contract's list of security behaviours (hardening), paragraph by paragraph, as far as the routes are there."""

import json
import re
from typing import Any

import pytest
from httpx2 import AsyncClient

from tests.accounts import Person, bearer, claims_of, login, make_person
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.factories import make_config, make_event, make_program, new_id
from tests.features.conftest import Installation
from tests.security.conftest import Attacker

pytestmark = pytest.mark.anyio

ORIGIN = "https://evil.test"


@pytest.mark.parametrize("configured", [None, "https://ui.test", "https://ui.test,https://other.test"])
async def test_hardening_1_a_foreign_origin_gets_no_leave(installation: Installation, configured: str | None) -> None:
    async with installation.running(CORS_ORIGINS=configured) as (_, client):
        for origin in (
            ORIGIN,
            "null",
            "https://ui.test.evil.test",
            "https://UI.test",
            "http://ui.test",
            "https://ui.test:444",
        ):
            preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            for answer in (
                await client.options("/api/users/login", headers=preflight),
                await client.get("/health", headers={"Origin": origin}),
            ):
                allowed = answer.headers.get("access-control-allow-origin")
                assert allowed is None, (configured, origin, allowed)


async def test_hardening_1_a_listed_origin_is_named_and_answers_vary(installation: Installation) -> None:
    async with installation.running(CORS_ORIGINS=" https://ui.test , https://b.test") as (_, client):
        answer = await client.get("/health", headers={"Origin": "https://ui.test"})
        assert answer.headers["access-control-allow-origin"] == "https://ui.test"
        assert "origin" in answer.headers["vary"].lower()


async def test_hardening_2_errors_are_json_for_browsers_too(client: AsyncClient) -> None:
    for method, path in (
        ("GET", "/nowhere"),
        ("GET", "/api/users"),
        ("POST", "/api/users/login"),
        ("PATCH", "/health"),
    ):
        answer = await client.request(method, path, content=b"{", headers={"Accept": "text/html"})
        assert answer.headers["content-type"].startswith("application/json")
        assert isinstance(answer.json(), dict)
        assert not {"<!doctype", "<html", "<pre"} & set(re.findall("<[!a-z]+", answer.text.lower()))


async def test_hardening_3_an_access_token_lasts_an_hour_and_not_longer(client: AsyncClient) -> None:
    claims = claims_of((await login(client, Person(1, ADMIN_EMAIL, ADMIN_PASSWORD)))["token"])
    assert claims["exp"] - claims["iat"] == 3600


async def test_hardening_3_9_unknown_and_known_accounts_get_the_same_answer(
    client: AsyncClient, admin: AsyncClient
) -> None:
    person = await make_person(admin)
    answers = []
    for email in (person.email, f"nobody-{person.email}"):
        answer = await client.post("/api/users/login", json={"email": email, "password": "Wrong-Horse-9"})
        body = {name: value for name, value in answer.json().items() if name != "requestId"}
        names = sorted(name for name in answer.headers if name != "x-request-id")
        answers.append((answer.status_code, body, names))
    assert answers[0] == answers[1]


async def test_hardening_7_a_login_screen_learns_no_more_than_it_shows(admin: AsyncClient, client: AsyncClient) -> None:
    config = make_config(
        new_id(),
        entityData=[{"name": "individual", "data": [{"id": "1", "name": "Seeded"}]}],
        selfService={"enabled": True, "authMethods": ["otp"], "allowedForms": [], "requireReview": True},
        authConfigs=[{"type": "auth0", "fields": {"authority": "https://idp.test", "client_secret": "hidden"}}],
    )
    assert (await admin.post("/api/apps", json=config)).status_code == 200
    answer = await client.get(f"/api/apps/{config['id']}/public")
    assert answer.json()["selfService"]["languages"] == ["en"]
    assert {"ratelimit", "ratelimit-policy"} <= set(answer.headers)
    assert not any(word in answer.text for word in ("Seeded", "hidden", "entityForms", "artifactId", "idp.test"))


async def test_hardening_9_a_member_of_no_program_enters_none(attacker: Attacker) -> None:
    """`default` is nobody's by itself."""
    nobody = bearer((await login(attacker.client, await make_person(attacker.admin)))["token"])
    for path in ("/api/entities", "/api/entities/count", "/api/sync/pull", "/api/conflicts"):
        assert (await attacker.client.get(path, headers=nobody)).status_code == 403, path


async def test_hardening_11_bodies_beyond_their_limits_are_refused(admin: AsyncClient, client: AsyncClient) -> None:
    mebibyte = b" " * (1024 * 1024)
    for path, body in (
        ("/api/users/login", mebibyte + b"{}"),
        ("/api/users", mebibyte + b"{}"),
        ("/api/sync/push", mebibyte * 50 + b"{}"),
        ("/api/apps", mebibyte * 11),
    ):
        answer = await admin.post(path, content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE"), path


async def test_hardening_11_what_only_the_hub_may_set_is_taken_out_of_events(admin: AsyncClient) -> None:
    program = await make_program(admin)
    planted = {"id": "1", "guid": "other", "externalId": "E-1", "_displayName": "x", "syncLevel": 2, "version": 99}
    event = make_event(data={"name": "N", "entityName": "individual"} | planted)
    pushed = await admin.post("/api/sync/push", json={"events": [event], "configId": program})
    assert pushed.status_code == 200
    stored = (await admin.get(f"/api/entities/{event['entityGuid']}", params={"configId": program})).json()
    assert stored["guid"] == event["entityGuid"]
    assert "externalId" not in stored["data"]


async def test_hardening_14_9_which_programs_there_are_cannot_be_asked(attacker: Attacker, client: AsyncClient) -> None:
    """A stranger, and a member of another program, get the same answer for one that exists, is archived, or never was."""
    archived = await make_program(attacker.admin)
    await attacker.admin.delete(f"/api/apps/{archived}")
    headers = await attacker.headers("system-admin")
    for caller in ({}, headers, {"Authorization": "Bearer x"}):
        for method, path, body in (
            ("GET", "/api/sync/pull", None),
            ("GET", "/api/entities", None),
            ("GET", "/api/entities/x", None),
            ("GET", "/api/conflicts", None),
            ("GET", "/api/sync/quarantine", None),
            ("GET", "/api/sync/pull/audit-logs", None),
            ("POST", "/api/sync/push", {"events": []}),
            ("GET", "/api/apps/{}", None),
            ("PATCH", "/api/apps/{}/syncScope", {"syncScope": None}),
        ):
            told = set()
            for program in (attacker.theirs, archived, new_id()):
                answer = await attacker.client.request(
                    method, path.format(program), params={"configId": program}, json=body, headers=caller
                )
                text = json.dumps({k: v for k, v in answer.json().items() if k != "requestId"}).replace(program, "?")
                told.add((answer.status_code, text))
            assert len(told) == 1, (method, path, told)


async def test_answers_of_the_api_are_kept_on_no_disk(admin: AsyncClient, client: AsyncClient) -> None:
    program = await make_program(admin)
    for path in (
        "/api/users",
        "/api/users/me",
        f"/api/entities?configId={program}",
        f"/api/sync/pull?configId={program}",
    ):
        assert (await admin.get(path)).headers["cache-control"] == "no-store", path
        assert (await client.get(path)).headers["cache-control"] == "no-store", path
    assert "private" in (await admin.get(f"/api/apps/{program}")).headers["cache-control"]
    answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "TRACK", "DEBUG", "PROPFIND"])
async def test_methods_that_tell_too_much_are_not_there(client: AsyncClient, method: str) -> None:
    for path in ("/", "/health", "/api/users/me"):
        answer = await client.request(method, path, headers={"Authorization": "Bearer canary-word"})
        assert answer.status_code in {401, 404, 405} and "canary-word" not in answer.text


async def test_members_that_are_not_asked_for_change_nothing(client: AsyncClient, admin: AsyncClient) -> None:
    """Mass assignment: what an account is cannot be set through members that the route does not name."""
    planted: Any = {
        "id": 1,
        "version": 99,
        "passwordHash": "$argon2id$x",
        "isAdmin": True,
        "permissions": {"*": ["read"]},
    }
    person = await make_person(admin, **planted)
    headers = bearer((await login(client, person))["token"])
    me = (await client.get("/api/users/me", headers=headers)).json()
    assert (me["id"], me["role"], me["permissions"]) == (person.id, "USER", {})
    change = {"currentPassword": person.password, "newPassword": "Another-Horse-9", "role": "ADMIN"}
    assert (await client.post("/api/users/me/password", json=change, headers=headers)).status_code == 200
    again = await login(client, Person(person.id, person.email, "Another-Horse-9"))
    assert (await client.get("/api/users/me", headers=bearer(again["token"]))).json()["role"] == "USER"
