"""Signing in with a code that the hub redeems as a client with a key of its own, and with what userinfo says: eSignet.

The provider is on a real socket, and checks the hub's proof with another library's rules than made it.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from httpx2 import Response
from joserfc.jwk import RSAKey
from sqlalchemy import update

from datacollect.db import EVERY_TENANT
from datacollect.features.providers import fetching
from datacollect.features.tenants import asked as tenants
from datacollect.features.tenants.tables import programs
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sealing import Key, Seals
from datacollect.testing.oidc import OidcProvider
from tests.accounts import assert_refused
from tests.features.citizens.conftest import Street
from tests.features.citizens.test_providers import NOBODY, NONCE, REFUSED, entity_of, nonce_of, oidc, token

pytestmark = pytest.mark.anyio

BACK = "https://app.example/callback"
KEY = RSAKey.generate_key(2048)
PEM = KEY.as_pem(private=True).decode()
BY_ID = {"primaryClaim": "individual_id", "entityField": "nationalId"}
MISCONFIGURED = (502, "OIDC provider configuration error", "OIDC_PROVIDER_MISCONFIGURED")


@pytest.fixture
async def idp(street: Street) -> AsyncIterator[OidcProvider]:
    async with street.provider() as idp:
        idp.clients["citizens"] = RSAKey.import_key(KEY.as_pem(private=False))
        yield idp


async def program_of(street: Street, idp: OidcProvider, **changes: Any) -> str:
    return await street.program("oidc", oidcConfig=oidc(idp.authority, **{"privateKey": PEM} | changes))


def code_of(idp: OidcProvider, *, access: str = "opaque", challenge: str | None = None, **claims: Any) -> str:
    tokens = {"id_token": token(idp, **claims), "access_token": access}
    return idp.grant("citizens", BACK, tokens, challenge=challenge)


async def redeem(street: Street, program: str, code: str, **more: Any) -> Response:
    return await street.post("/oidc/exchange", {"tenantId": program, "code": code, "redirectUri": BACK} | more)


def told(idp: OidcProvider, subject: str = "ada", **claims: Any) -> str:
    """Userinfo as eSignet has it: signed."""
    return idp.sign({"sub": subject, "exp": None, "iat": None} | claims)


# -- redeeming codes


async def test_a_citizen_signs_in_with_a_code(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    guid = await street.person(program, oidcSubject="ada")
    nonce = await nonce_of(street, program)
    answer = await redeem(street, program, code_of(idp, nonce=nonce), nonce=nonce)
    assert await entity_of(answer) == guid
    assert answer.json()["username"] == f"self-service:{guid}"
    assert await street.opens(answer.json()["token"])
    assert dict(idp.requests) == {"discovery": 1, "keys": 1, "token": 1}


async def test_a_key_may_be_a_jwk_and_its_id_is_told(street: Street, idp: OidcProvider) -> None:
    jwk = KEY.as_dict(private=True, kid="of-the-hub")
    program = await program_of(street, idp, privateKey=json.dumps(jwk))
    guid = await street.person(program, oidcSubject="ada")
    assert await entity_of(await redeem(street, program, code_of(idp))) == guid


async def test_a_code_of_a_challenge_needs_its_verifier(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    guid = await street.person(program, oidcSubject="ada")
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    assert_refused(await redeem(street, program, code_of(idp, challenge=challenge)), *REFUSED)
    wrong = await redeem(street, program, code_of(idp, challenge=challenge), codeVerifier=verifier[::-1])
    assert_refused(wrong, *REFUSED)
    right = await redeem(street, program, code_of(idp, challenge=challenge), codeVerifier=verifier)
    assert await entity_of(right) == guid


async def test_a_code_signs_in_once_even_at_a_provider_that_redeems_it_twice(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    await street.person(program, oidcSubject="ada")
    code = code_of(idp)
    assert (await redeem(street, program, code)).status_code == 200
    assert_refused(await redeem(street, program, code), *REFUSED)
    idp.answers["token"] = ("200 OK", {"id_token": token(idp, jti="again"), "access_token": "opaque"})
    codes = await asyncio.gather(*(redeem(street, program, "lax") for _ in range(5)))
    assert sorted(answer.status_code for answer in codes) == [200, 401, 401, 401, 401]


async def test_what_is_wrong_with_a_code_is_one_answer(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    await street.person(program, oidcSubject="ada")
    tokens = {"id_token": token(idp), "access_token": "opaque"}
    for code in ("made-up", idp.grant("another", BACK, tokens), idp.grant("citizens", "https://app.example/", tokens)):
        assert_refused(await redeem(street, program, code), *REFUSED)
    assert_refused(await redeem(street, program, code_of(idp, sub="nobody")), *NOBODY)


async def test_the_id_token_of_a_code_is_checked_as_any_other(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp, requireNonce=True)
    await street.person(program, oidcSubject="ada")

    async def answer_to(id_token: Any, nonce: str) -> Response:
        code = idp.grant("citizens", BACK, {"id_token": id_token, "access_token": "opaque"})
        return await redeem(street, program, code, nonce=nonce)

    claims = {"typ": "ID", "sub": "ada", "aud": "citizens"}
    for change in ({"aud": "another"}, {"exp": idp.time - 120}, {"iat": idp.time - 700}, {"sub": None}):
        nonce = await nonce_of(street, program)
        assert_refused(await answer_to(token(idp, nonce=nonce, **change), nonce), *REFUSED)
    nonce = await nonce_of(street, program)
    for bad in (idp.forged(claims | {"nonce": nonce}), idp.unsigned(claims | {"nonce": nonce}), "a.b.c.d.e", "a.b.c"):
        assert_refused(await answer_to(bad, nonce), *REFUSED)
    other = await nonce_of(street, program)
    assert_refused(await answer_to(token(idp, nonce=other), nonce), *NONCE)
    assert_refused(await redeem(street, program, code_of(idp)), *NONCE)
    assert (await answer_to(token(idp, nonce=nonce), nonce)).status_code == 200


async def test_codes_are_for_programs_with_a_key_and_for_their_own_page(street: Street, idp: OidcProvider) -> None:
    without = await street.program("oidc", oidcConfig=oidc(idp.authority))
    answer = await redeem(street, without, "code")
    assert_refused(answer, 400, "This tenant does not redeem authorization codes", "OIDC_WITHOUT_KEY")
    program = await program_of(street, idp)
    for elsewhere in ("https://evil.example/callback", f"{BACK}/", ""):
        answer = await redeem(street, program, "code", redirectUri=elsewhere)
        assert_refused(answer, 400, "Redirect URI does not match tenant configuration", "OIDC_REDIRECT_URI")
    assert idp.asked == 0


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "idToken"),
        ({"code": "c", "idToken": "a.b.c", "redirectUri": BACK}, "idToken"),
        ({"code": "c"}, "redirectUri"),
        ({"code": "", "redirectUri": BACK}, "code"),
        ({"code": "c" * 2049, "redirectUri": BACK}, "code"),
        ({"code": "c", "redirectUri": BACK, "codeVerifier": "short"}, "codeVerifier"),
    ],
)
async def test_a_body_has_a_token_or_a_code(street: Street, body: dict[str, str], place: str) -> None:
    answer = await street.post("/oidc/exchange", {"tenantId": "any"} | body)
    assert answer.status_code == 400
    assert [issue["path"] for issue in answer.json()["details"]] == [[place]]


# -- the provider


async def test_a_provider_that_does_not_know_the_client_is_told_as_that(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    await street.person(program, oidcSubject="ada")
    idp.clients["citizens"] = RSAKey.generate_key(2048, private=False)
    assert_refused(await redeem(street, program, code_of(idp)), *MISCONFIGURED)
    idp.answers["token"] = ("400 Bad Request", {"error": "invalid_assertion"})
    assert_refused(await redeem(street, program, code_of(idp)), *MISCONFIGURED)


@pytest.mark.parametrize(
    "answer",
    [{}, [], {"id_token": None}, {"id_token": 7, "access_token": "x"}, {"id_token": "a.b.c", "access_token": 7}],
)
async def test_a_token_endpoint_that_gives_no_id_token_is_misconfigured(
    street: Street, idp: OidcProvider, answer: Any
) -> None:
    program = await program_of(street, idp)
    idp.answers["token"] = ("200 OK", answer)
    assert_refused(await redeem(street, program, "code"), *MISCONFIGURED)


@pytest.mark.parametrize("endpoint", ["https://elsewhere.example/token", "http://127.0.0.1:1/token", None, 7])
async def test_the_hub_proves_itself_only_where_the_authority_is(
    street: Street, idp: OidcProvider, endpoint: Any
) -> None:
    program = await program_of(street, idp)
    idp.discovery = {"token_endpoint": endpoint}
    assert_refused(await redeem(street, program, "code"), *MISCONFIGURED)


@pytest.mark.parametrize("name", ["token", "userinfo"])
async def test_an_endpoint_that_is_away_or_does_not_answer_as_it_should(
    street: Street, idp: OidcProvider, name: str
) -> None:
    program = await program_of(street, idp, userinfo=True)
    for status in ("500 Internal Server Error", "429 Too Many Requests", "302 Found"):
        idp.answers[name] = (status, {"error": "server_error"})
        answer = await redeem(street, program, code_of(idp, jti=status))
        assert_refused(answer, 502, "Failed to fetch OIDC discovery document", "OIDC_PROVIDER_UNAVAILABLE")
        assert answer.headers["Retry-After"] == "10"


@pytest.mark.parametrize("flow", ["discovery", "code", "userinfo"])
async def test_r11_a_provider_that_does_not_answer_in_time_is_told_as_that(
    street: Street, idp: OidcProvider, monkeypatch: pytest.MonkeyPatch, flow: str
) -> None:
    program = await program_of(street, idp, userinfo=flow == "userinfo")
    await street.person(program, oidcSubject="ada")
    if flow != "discovery":
        idp.people["opaque"] = told(idp)
        assert (await redeem(street, program, code_of(idp))).status_code == 200
    idp.held = asyncio.Event()
    monkeypatch.setattr(fetching, "TIMEOUT_SECONDS", 0.05)
    if flow == "code":
        answer = await redeem(street, program, code_of(idp, jti="late"))
    else:
        answer = await street.exchange(program, token(idp, jti="late"), accessToken="opaque")
    assert_refused(answer, 504, "The identity provider did not answer in time", "OIDC_PROVIDER_TOO_SLOW")
    assert answer.headers["Retry-After"]
    idp.held.set()


# -- userinfo


async def test_userinfo_says_who_somebody_is(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp, mapping=BY_ID, userinfo=True)
    guid = await street.person(program, nationalId="N-1")
    await street.person(program, nationalId="N-2")
    for alg in ("RS256", "PS256", "ES256"):
        idp.people["opaque"] = idp.sign({"sub": "ada", "individual_id": "N-1", "aud": "citizens"}, alg=alg)
        answer = await redeem(street, program, code_of(idp, jti=alg, individual_id="N-2"))
        assert await entity_of(answer) == guid
    idp.people["opaque"] = told(idp, individual_id="N-1", iss=None)
    assert await entity_of(await redeem(street, program, code_of(idp, jti="bare"))) == guid


async def test_userinfo_may_be_plain_if_the_provider_answers_so(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp, mapping=BY_ID, userinfo=True)
    guid = await street.person(program, nationalId="N-1")
    idp.people["opaque"] = {"sub": "ada", "individual_id": "N-1"}
    assert await entity_of(await redeem(street, program, code_of(idp))) == guid


async def test_userinfo_of_somebody_else_or_unproven_is_refused(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp, mapping=BY_ID, userinfo=True)
    await street.person(program, nationalId="N-1")
    found = {"sub": "ada", "individual_id": "N-1"}
    async with street.provider() as other:
        for number, bad in enumerate((
            found | {"sub": "bob"},
            found | {"sub": None},
            {"individual_id": "N-1"},
            told(idp, "bob", individual_id="N-1"),
            told(idp, individual_id="N-1", iss="https://elsewhere.example"),
            told(idp, individual_id="N-1", aud="another"),
            told(idp, individual_id="N-1", exp=idp.time - 120),
            idp.unsigned(found),
            idp.confused(found),
            idp.forged(found),
            idp.forged(found, key_id="unknown"),
            other.sign(found | {"iss": idp.issuer}),
            told(idp, individual_id="N-1")[:-4] + "AAAA",
        )):  # fmt: skip
            idp.people["opaque"] = bad
            answer = await redeem(street, program, code_of(idp, jti=str(number)))
            # A token without a signature has not the form of one.
            expected = MISCONFIGURED if isinstance(bad, str) and bad.endswith(".") else REFUSED
            assert_refused(answer, *expected)
    idp.people.clear()
    assert_refused(await redeem(street, program, code_of(idp)), *REFUSED)


async def test_userinfo_that_the_hub_cannot_read_is_the_programs_fault(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp, mapping=BY_ID, userinfo=True)
    encrypted = "eyJhbGciOiJSU0EtT0FFUC0yNTYiLCJlbmMiOiJBMjU2R0NNIn0.a.b.c.d"
    for number, odd in enumerate((encrypted, "no token", "")):
        idp.people["opaque"] = odd
        assert_refused(await redeem(street, program, code_of(idp, jti=str(number))), *MISCONFIGURED)
    idp.answers["userinfo"] = ("200 OK", ["ada"])
    assert_refused(await redeem(street, program, code_of(idp)), *MISCONFIGURED)
    idp.answers["token"] = ("200 OK", {"id_token": token(idp)})
    assert_refused(await redeem(street, program, "code"), *MISCONFIGURED)


async def test_userinfo_elsewhere_is_not_asked(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp, userinfo=True)
    async with street.provider() as other:
        idp.discovery = {"userinfo_endpoint": f"{other.authority}/userinfo"}
        assert_refused(await redeem(street, program, code_of(idp)), *MISCONFIGURED)
        assert other.asked == 0


async def test_an_app_with_an_id_token_sends_the_access_token_for_userinfo(street: Street, idp: OidcProvider) -> None:
    program = await street.program("oidc", oidcConfig=oidc(idp.authority, mapping=BY_ID, userinfo=True))
    guid = await street.person(program, nationalId="N-1")
    idp.people |= {"of-ada": told(idp, individual_id="N-1"), "of-bob": told(idp, "bob", individual_id="N-1")}
    text = token(idp)
    answer = await street.exchange(program, text)
    assert_refused(answer, 400, "Access token missing", "ACCESS_TOKEN_MISSING")
    for bad in ("of-bob", "unknown", "of ada\r\nX: y", ""):
        assert_refused(await street.exchange(program, text, accessToken=bad), *REFUSED)
    assert await entity_of(await street.exchange(program, text, accessToken="of-ada")) == guid
    assert_refused(await street.exchange(program, text, accessToken="of-ada"), *REFUSED)


async def test_an_email_that_userinfo_does_not_vouch_for_finds_nobody(street: Street, idp: OidcProvider) -> None:
    mapping = {"primaryClaim": "email", "entityField": "email"}
    program = await program_of(street, idp, mapping=mapping, userinfo=True)
    guid = await street.person(program, email="ana@x.example")
    idp.people["opaque"] = told(idp, email="ana@x.example")
    verified = {"email": "ana@x.example", "email_verified": True}
    assert_refused(await redeem(street, program, code_of(idp, jti="1", **verified)), *NOBODY)
    idp.people["opaque"] = told(idp, **verified)
    assert await entity_of(await redeem(street, program, code_of(idp, jti="2"))) == guid


# -- the key


async def test_nothing_of_keys_codes_and_tokens_is_logged(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp, userinfo=True)
    await street.person(program, oidcSubject="ada")
    idp.people["opaque-access"] = told(idp)
    good, bad = code_of(idp, access="opaque-access"), code_of(idp, access="unknown-access", jti="2")
    with structlog.testing.capture_logs() as lines:
        assert (await redeem(street, program, good)).status_code == 200
        assert_refused(await redeem(street, program, bad), *REFUSED)
        assert_refused(await redeem(street, program, "made-up-code"), *REFUSED)
        idp.clients.clear()
        assert_refused(await redeem(street, program, code_of(idp)), *MISCONFIGURED)
    text = json.dumps(lines, default=repr)
    assert {"citizen.signed_in", "citizen.id_token_refused", "provider.unavailable"} <= {
        line["event"] for line in lines
    }
    for secret in (good, bad, "made-up-code", "-access", "eyJ", "PRIVATE KEY", '"ada"'):
        assert secret not in text


async def test_a_key_that_no_key_of_the_hub_opens_is_told_as_a_wrong_config(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    sealed = Seals([Key("another-secret-of-32-characters!")]).seal("[]", f"{program}/config")
    async with street.hub.db.transaction(EVERY_TENANT) as tx:
        await tx.execute(update(programs).where(programs.c.id == program).values(config_secrets=sealed))
    assert_refused(await redeem(street, program, code_of(idp)), *MISCONFIGURED)
    assert idp.asked == 0


async def test_an_archived_programs_key_is_not_used(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    async with street.hub.db.reading() as view:
        assert await tenants.oidc_key(view, TenantId(program), seals=street.hub.seals) is not None
    assert (await street.admin.delete(f"/api/apps/{program}")).status_code == 200
    async with street.hub.db.reading() as view:
        assert await tenants.oidc_key(view, TenantId(program), seals=street.hub.seals) is None
        assert await tenants.oidc_key(view, TenantId("nobodys"), seals=street.hub.seals) is None
