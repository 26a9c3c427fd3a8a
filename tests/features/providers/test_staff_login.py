"""Signing in by a provider of the operator's."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx2 import AsyncClient, Response

from datacollect.features.providers.documents import RETRY_MILLIS
from datacollect.testing.oidc import OidcProvider
from tests.accounts import Person, assert_refused, bearer, make_person, refresh
from tests.features.conftest import Installation
from tests.features.providers.conftest import Office, entry, office_of

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def staffed(
    installation: Installation, **settings: Any
) -> AsyncIterator[tuple[Office, AsyncClient, OidcProvider]]:
    """A hub whose operator has named one provider, `office`."""
    async with OidcProvider.running(now=lambda: installation.clock.now() / 1000) as idp:
        named = {"name": "office", "type": "keycloak", "authority": idp.authority, "client_id": "hub"}
        values = {"STAFF_PROVIDERS": json.dumps([named]), "ALLOW_PRIVATE_ADAPTER_HOSTS": True} | settings
        async with installation.running(**values) as (app, client), office_of(app, installation.clock) as office:
            yield office, client, idp


async def sign_in(client: AsyncClient, token: str, **members: Any) -> Response:
    return await client.post("/api/users/login/provider", json={"provider": "office", "token": token} | members)


def told(person: Person, **claims: Any) -> dict[str, Any]:
    return {"aud": "hub", "email": person.email, "email_verified": True, **claims}


def assert_login_refused(answer: Response) -> None:
    assert_refused(answer, 401, "Sign-in by this provider was refused", "PROVIDER_LOGIN_REFUSED")


async def test_an_account_of_the_verified_address_is_signed_in(installation: Installation) -> None:
    async with staffed(installation) as (office, client, idp):
        person = await make_person(office.admin)
        answer = await sign_in(client, idp.id_token(**told(person, email=person.email.upper())))
        assert answer.status_code == 200, answer.text
        pair = answer.json()
        assert pair["userId"] == person.id
        me = await client.get("/api/users/me", headers=bearer(pair["token"]))
        assert me.json()["email"] == person.email
        assert (await refresh(client, pair["refreshToken"])).status_code == 200


async def test_the_login_page_learns_which_providers_there_are(installation: Installation) -> None:
    async with staffed(installation) as (_, client, idp):
        answer = await client.get("/api/users/login/providers")
        named = {"name": "office", "type": "keycloak", "authority": idp.authority, "clientId": "hub"}
        assert answer.json() == {"providers": [named]}


async def test_without_the_setting_there_are_none(client: AsyncClient) -> None:
    assert (await client.get("/api/users/login/providers")).json() == {"providers": []}
    assert_login_refused(await sign_in(client, "a.b.c"))


async def test_everybody_else_is_refused_in_the_same_words(installation: Installation) -> None:
    async with staffed(installation) as (office, client, idp), office.provider() as stranger:
        person = await make_person(office.admin)
        now = idp.time
        refused = {
            "unknown": idp.id_token(**told(person, email="nobody@hub.test")),
            "no address": idp.id_token(**told(person, email=None)),
            "not verified": idp.id_token(**told(person, email_verified=False)),
            "nearly verified": idp.id_token(**told(person, email_verified="true")),
            "another app's": idp.id_token(**told(person, aud="other")),
            "for several, and another asked": idp.id_token(**told(person, aud=["hub", "x"], azp="x")),
            "for several, and nobody asked": idp.id_token(**told(person, aud=["hub", "x"])),
            "an access token": idp.access_token(**told(person)),
            "ended": idp.id_token(**told(person, exp=now - 300)),
            "old": idp.id_token(**told(person, iat=now - 700, exp=now + 3600)),
            "without a time": idp.id_token(**told(person, iat=None)),
            "with a nonce": idp.id_token(**told(person, nonce="n-1")),
            "without a subject": idp.id_token(**told(person, sub=None)),
            "another provider's": stranger.id_token(**told(person)),
            "forged": idp.forged(told(person, sub="ada")),
            "unsigned": idp.unsigned(told(person, sub="ada")),
            "confused": idp.confused(told(person, sub="ada")),
            "no token": "x",
        }
        for name, token in refused.items():
            answer = await sign_in(client, token)
            assert answer.status_code == 401, name
            assert_login_refused(answer)
        assert_login_refused(await sign_in(client, idp.id_token(**told(person)), provider="other"))


async def test_a_nonce_has_to_be_the_one_that_was_sent(installation: Installation) -> None:
    async with staffed(installation) as (office, client, idp):
        person = await make_person(office.admin)
        assert_login_refused(await sign_in(client, idp.id_token(**told(person, nonce="n-1")), nonce="n-2"))
        assert_login_refused(await sign_in(client, idp.id_token(**told(person)), nonce="n-1"))
        assert (await sign_in(client, idp.id_token(**told(person, nonce="n-1")), nonce="n-1")).status_code == 200


async def test_an_id_token_signs_in_once(installation: Installation) -> None:
    async with staffed(installation) as (office, client, idp):
        token = idp.id_token(**told(await make_person(office.admin)))
        assert (await sign_in(client, token)).status_code == 200
        assert_login_refused(await sign_in(client, token))
        installation.clock.turn(seconds=250)
        assert_login_refused(await sign_in(client, token))


async def test_a_provider_that_is_away_uses_no_attempts_up(installation: Installation) -> None:
    async with staffed(installation, LOGIN_RATE_LIMIT=2) as (office, client, idp):
        person = await make_person(office.admin)
        idp.broken = True
        for _ in range(3):
            assert (await sign_in(client, idp.id_token(**told(person)))).status_code == 503
        idp.broken = False
        installation.clock.turn(seconds=RETRY_MILLIS / 1000 + 1)
        assert (await sign_in(client, idp.id_token(**told(person)))).status_code == 200


async def test_an_office_that_waits_for_a_provider_that_is_away_can_sign_in_by_password(
    installation: Installation,
) -> None:
    async with staffed(installation, LOGIN_RATE_LIMIT=3) as (office, client, idp):
        person = await make_person(office.admin)
        idp.held, idp.broken = asyncio.Event(), True
        calls = [asyncio.create_task(sign_in(client, idp.id_token(**told(person)))) for _ in range(4)]
        # The fourth one is refused when the three others have been counted.
        [refused], _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert (await refused).status_code == 429
        credentials = {"email": person.email, "password": person.password}
        assert (await client.post("/api/users/login", json=credentials)).status_code == 429
        idp.held.set()
        assert sorted([(await call).status_code for call in calls]) == [429, 503, 503, 503]
        answer = await client.post("/api/users/login", json=credentials)
        assert answer.status_code == 200, answer.text


async def test_a_second_signature_makes_no_second_token(installation: Installation) -> None:
    async with staffed(installation) as (office, client, idp):
        person = await make_person(office.admin)
        token = idp.id_token(**told(person), alg="ES256")
        again = idp.signed_anew(token)
        assert again != token
        assert (await sign_in(client, again)).status_code == 200
        assert_login_refused(await sign_in(client, token))
        assert_login_refused(await sign_in(client, again))


async def test_with_an_audience_for_access_tokens_id_tokens_still_name_the_client(installation: Installation) -> None:
    async with staffed(installation) as (office, _client, idp):
        named = {"name": "office", "type": "auth0", "authority": idp.authority, "client_id": "hub", "audience": "api"}
        async with installation.running(STAFF_PROVIDERS=json.dumps([named]), ALLOW_PRIVATE_ADAPTER_HOSTS=True) as (
            _,
            other,
        ):
            person = await make_person(office.admin)
            claims = told(person, aud="api", azp="hub", typ=None)
            for header in ({}, {"typ": "at+jwt"}):
                assert_login_refused(await sign_in(other, idp.sign({"sub": "ada", **claims}, header=header)))
            only_said = idp.sign({"sub": "ada", **told(person, typ=None)}, header={"typ": "at+jwt"})
            assert_login_refused(await sign_in(other, only_said))
            assert (await sign_in(other, idp.id_token(**told(person)))).status_code == 200


async def test_a_programs_provider_signs_nobody_in(installation: Installation) -> None:
    async with staffed(installation) as (office, client, _), office.provider() as programs:
        person = await make_person(office.admin, role="ADMIN")
        await office.program(entry(programs, "office", client_id="hub"))
        assert_login_refused(await sign_in(client, programs.id_token(**told(person))))
        assert programs.asked == 0


async def test_a_provider_that_is_away_is_told_apart(installation: Installation) -> None:
    async with staffed(installation) as (office, client, idp):
        person = await make_person(office.admin)
        await idp.stop()
        answer = await sign_in(client, idp.id_token(**told(person)))
        assert (answer.status_code, answer.json()["code"]) == (503, "IDENTITY_PROVIDER_UNAVAILABLE")
        # Nobody is asked, and nobody waits, for a token that is wrong anyway.
        assert_login_refused(await sign_in(client, idp.id_token(**told(person, aud="other"))))


async def test_failures_count_with_those_by_password_and_successes_do_not(installation: Installation) -> None:
    async with staffed(installation, LOGIN_RATE_LIMIT=5) as (office, client, idp):
        person = await make_person(office.admin)
        for number in range(5):
            assert_login_refused(await sign_in(client, "x"))
            if number < 3:
                assert (await sign_in(client, idp.id_token(**told(person, jti=str(number))))).status_code == 200
        answer = await sign_in(client, idp.id_token(**told(person)))
        assert_refused(answer, 429, "Too many login attempts, please try again later", "TOO_MANY_LOGINS")
        assert int(answer.headers["retry-after"]) > 0


async def test_the_security_log_tells_who_came_by_a_provider(installation: Installation) -> None:
    async with staffed(installation) as (office, client, idp):
        person = await make_person(office.admin)
        assert_login_refused(await sign_in(client, "x"))
        assert_login_refused(await sign_in(client, "x", provider="other"))
        assert (await sign_in(client, idp.id_token(**told(person)))).status_code == 200
        entries = (await office.admin.get("/api/security-log")).json()["entries"]
        told_of = [(one["action"], one["userId"], one["details"]["by"]) for one in entries[:3]]
        assert told_of == [
            ("login.succeeded", person.id, "office"),
            ("login.failed", None, "an unknown provider"),
            ("login.failed", None, "office"),
        ]
