"""Accounts for tests: making them, signing in, and reading what a token says."""

import base64
import functools
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from httpx2 import AsyncClient, Response

from tests.factories import make_program, new_id

PASSWORD = "Correct-Horse-8"


@dataclass(frozen=True)
class Person:
    id: int
    email: str
    password: str = PASSWORD


async def make_person(admin: AsyncClient, **changes: Any) -> Person:
    """A new account of role USER, unless `changes` to its payload say otherwise. Programs it names are made for it."""
    account = {"email": f"{new_id('u')}@hub.test", "password": PASSWORD, "role": "USER"} | changes
    answer = await admin.post("/api/users", json=account)
    if answer.status_code == 400:
        await make_programs(admin, *_unknown_programs(account, answer.json()["details"]))
        answer = await admin.post("/api/users", json=account)
    assert answer.status_code == 201, answer.text
    # By its e-mail: a search looks through all accounts of a run.
    stored = (await admin.get(f"/api/users/{quote(account['email'].strip().lower())}")).json()
    return Person(stored["id"], stored["email"], account["password"])


def _unknown_programs(account: dict[str, Any], issues: list[dict[str, Any]]) -> set[str]:
    """The programs an account could not be made for; an account that is wrong in other ways fails the test."""
    assert {issue["code"] for issue in issues} == {"unknown_program"}, issues
    return {functools.reduce(lambda value, step: value[step], issue["path"], account) for issue in issues}


async def make_programs(admin: AsyncClient, *program_ids: str) -> None:
    """The smallest programs of these ids; one that is there stays."""
    for program_id in program_ids:
        if (await admin.get(f"/api/apps/{program_id}")).status_code == 404:
            await make_program(admin, config_id=program_id)


async def find_account(admin: AsyncClient, email: str) -> dict[str, Any]:
    """The account as the list shows it."""
    accounts: list[dict[str, Any]] = (await admin.get("/api/users", params={"search": email})).json()
    return next(account for account in accounts if account["email"] == email)


async def login(client: AsyncClient, person: Person, **headers: str) -> Any:
    """The tokens of a new sign-in."""
    answer = await client.post(
        "/api/users/login", json={"email": person.email, "password": person.password}, headers=headers
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refresh(client: AsyncClient, refresh_token: Any) -> Response:
    return await client.post("/api/users/refresh", json={"refreshToken": refresh_token})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def assert_refused(answer: Response, status: int, error: str, code: str | None = None) -> None:
    """The status and a whole error body: the text twice, a code and the request's id."""
    body = answer.json()
    assert (answer.status_code, body["error"], body["message"]) == (status, error, error), answer.text
    assert body["requestId"] and body["code"] == (code or body["code"])
