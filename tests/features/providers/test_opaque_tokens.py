"""Tokens that only the provider can read: shown to it where a program says so, and then not at every call."""

import asyncio
from typing import Any

import pytest

from datacollect.features.providers.verifying import USERINFO_MILLIS, USERINFO_REFUSED_MILLIS
from datacollect.testing.oidc import OidcProvider
from tests.accounts import assert_refused
from tests.features.providers.conftest import Office, entry

pytestmark = pytest.mark.anyio

OPAQUE = "auth0 opaque-0123456789"
ENCRYPTED = "auth0 eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..iv.text.tag"


async def test_they_are_refused_unless_the_program_lets_the_provider_be_asked(
    office: Office, idp: OidcProvider
) -> None:
    idp.people["opaque-0123456789"] = {"sub": "ada"}
    for fields in ({}, {"userinfo": "false"}, {"userinfo": ""}):
        program = await office.program(entry(idp, "auth0", **fields))
        assert (await office.pull(program, OPAQUE)).status_code == 401
    for name in ("client_id", "audience"):
        nobodys = entry(idp, "auth0", userinfo="true", client_id="")
        assert (await office.pull(await office.program(nobodys), OPAQUE)).status_code == 401
        assert idp.asked == 0
        named = await office.program(entry(idp, "auth0", userinfo="true", **({"client_id": ""} | {name: "app"})))
        assert (await office.pull(named, OPAQUE)).status_code == 200
        idp.requests.clear()


@pytest.mark.parametrize(
    ("token", "seconds"),
    [(OPAQUE, USERINFO_MILLIS / 1000 + 1), (ENCRYPTED, USERINFO_MILLIS / 1000 + 1), (OPAQUE, -600)],
    ids=["opaque", "encrypted", "clock set back"],
)
async def test_what_the_provider_says_counts_for_a_minute(
    office: Office, idp: OidcProvider, token: str, seconds: float
) -> None:
    program = await office.program(entry(idp, "auth0", userinfo="true", default_role="viewer"))
    idp.people[token.removeprefix("auth0 ")] = {"sub": "ada"}
    for _ in range(5):
        assert (await office.pull(program, token)).status_code == 200
    assert idp.requests["userinfo"] == 1
    assert (await office.push(program, token)).status_code == 403
    idp.people.clear()
    office.clock.turn(seconds=seconds)
    assert (await office.pull(program, token)).status_code == 401


async def test_a_refusal_counts_for_a_moment(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, "auth0", userinfo="true"))
    for _ in range(5):
        assert_refused(await office.pull(program, OPAQUE), 401, "Invalid token", "UNAUTHENTICATED")
    assert idp.requests["userinfo"] == 1
    idp.people["opaque-0123456789"] = {"sub": "ada"}
    office.clock.turn(seconds=USERINFO_REFUSED_MILLIS / 1000 + 1)
    assert (await office.pull(program, OPAQUE)).status_code == 200


@pytest.mark.parametrize(
    "said", [{}, {"sub": ""}, {"sub": "ada"}, {"sub": "ada", "org_id": "org_2"}, [], "ada"], ids=str
)
async def test_what_it_says_has_to_be_complete(office: Office, idp: OidcProvider, said: Any) -> None:
    program = await office.program(entry(idp, "auth0", userinfo="true", organization="org_1"))
    idp.people["opaque-0123456789"] = said
    assert (await office.pull(program, OPAQUE)).status_code == 401


async def test_a_signed_token_is_never_shown_to_the_provider(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, "auth0", userinfo="true"))
    for token in (idp.access_token(aud="other"), idp.unsigned({"sub": "ada"}) + "x"):
        idp.people[token] = {"sub": "ada"}
        assert (await office.pull(program, f"auth0 {token}")).status_code == 401
    assert idp.requests["userinfo"] == 0


async def test_a_provider_that_fails_is_away_and_does_not_refuse(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, "auth0", userinfo="true"))
    idp.people["opaque-0123456789"] = {"sub": "ada"}
    assert (await office.pull(program, OPAQUE)).status_code == 200
    idp.broken = True
    assert (await office.pull(program, OPAQUE + "1")).status_code == 503
    await idp.stop()
    assert (await office.pull(program, OPAQUE + "1")).status_code == 503


async def test_few_questions_are_asked_at_once(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, "auth0", userinfo="true"))
    assert (await office.pull(program, OPAQUE)).status_code == 401
    idp.held = asyncio.Event()
    calls = [asyncio.create_task(office.pull(program, f"{OPAQUE}{number}")) for number in range(12)]
    await idp.arrived("userinfo", times=5)
    for _ in range(20):  # let whoever could go on do so
        await asyncio.sleep(0)
    assert idp.requests["userinfo"] == 5
    idp.held.set()
    assert {answer.status_code for answer in await asyncio.gather(*calls)} == {401}


async def test_the_line_of_those_who_want_to_ask_has_an_end(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, "auth0", userinfo="true"))
    assert (await office.pull(program, OPAQUE)).status_code == 401
    idp.held = asyncio.Event()
    calls = [
        asyncio.create_task(office.pull(program, f"{OPAQUE}{number}", address=f"192.0.2.{number % 2}"))
        for number in range(50)
    ]
    waiting = set(calls)
    while len(waiting) > 36:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for turned_away in done:
            assert turned_away.result().status_code == 503
            assert turned_away.result().headers["retry-after"]
    idp.held.set()
    codes = [answer.status_code for answer in await asyncio.gather(*calls)]
    assert (codes.count(401), codes.count(503)) == (36, 14)
    assert (await office.pull(program, f"{OPAQUE}later")).status_code == 401


async def test_a_name_that_http_cannot_carry_is_refused(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, "auth0", userinfo="true"))
    for token in ("auth0 é", "auth0 a b", f"auth0 {'x' * 20_000}"):
        assert (await office.pull(program, token)).status_code == 401
    assert idp.requests["userinfo"] == 0
