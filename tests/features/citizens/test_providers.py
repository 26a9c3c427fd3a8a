"""Signing in by an identity provider that speaks the real protocol on a real socket."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx2 import Response

from datacollect.features.providers.documents import FRESH_MILLIS, RETRY_MILLIS
from datacollect.testing.oidc import OidcProvider
from tests.accounts import assert_refused, claims_of
from tests.citizens import change_citizen
from tests.features.citizens.conftest import Street, anywhere
from tests.settling import catch_up

pytestmark = pytest.mark.anyio

REFUSED = (401, "Invalid or expired OIDC token", "ID_TOKEN_INVALID")
NOBODY = (401, "Authentication failed", "AUTHENTICATION_FAILED")
NONCE = (401, "Invalid nonce", "ID_TOKEN_NONCE")


@pytest.fixture
async def idp(street: Street) -> AsyncIterator[OidcProvider]:
    async with street.provider() as idp:
        yield idp


def oidc(authority: str, *, mapping: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "authority": authority,
        "redirectUri": "https://app.example/callback",
        "clientId": "citizens",
        "scope": "openid",
        "entityMapping": mapping or {"primaryClaim": "sub", "entityField": "oidcSubject"},
    } | changes


async def program_of(street: Street, idp: OidcProvider, **changes: Any) -> str:
    return await street.program("oidc", oidcConfig=oidc(idp.authority, **changes))


def token(idp: OidcProvider, **claims: Any) -> str:
    return idp.id_token(**{"aud": "citizens", **claims})


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def entity_of(answer: Response) -> Any:
    assert answer.status_code == 200, answer.text
    return claims_of(answer.json()["token"])["entityGuid"]


# -- the way in


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256"])
async def test_a_citizen_signs_in_with_an_id_token(street: Street, idp: OidcProvider, alg: str) -> None:
    program = await program_of(street, idp)
    guid = await street.person(program, oidcSubject="ada")
    answer = await street.exchange(program, token(idp, alg=alg), accessToken="anything")
    assert await entity_of(answer) == guid
    assert answer.json()["username"] == f"self-service:{guid}"
    assert claims_of(answer.json()["token"])["identifier"] == guid
    assert await street.opens(answer.json()["token"])


async def test_r9_the_access_token_may_be_left_out(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    guid = await street.person(program, oidcSubject="ada")
    assert await entity_of(await street.exchange(program, token(idp))) == guid


async def test_r10_an_issuer_with_a_slash_at_its_end_is_the_one_that_the_program_names(street: Street) -> None:
    async with street.provider(slash=True) as idp:
        for authority in (idp.authority, f"{idp.authority}/"):
            program = await street.program("oidc", oidcConfig=oidc(authority))
            guid = await street.person(program, oidcSubject="ada")
            assert await entity_of(await street.exchange(program, token(idp, jti=authority))) == guid


async def test_documents_are_fetched_once_for_many(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    await street.person(program, oidcSubject="ada")
    tokens = [token(idp, jti=str(number)) for number in range(10)]
    answers = await asyncio.gather(*(street.exchange(program, one) for one in tokens))
    assert {answer.status_code for answer in answers} == {200}
    assert dict(idp.requests) == {"discovery": 1, "keys": 1}


async def test_those_who_sign_in_together_do_not_use_the_attempts_of_their_address_up(
    street: Street, idp: OidcProvider
) -> None:
    program, origin = await program_of(street, idp), anywhere()
    await street.person(program, oidcSubject="ada")
    idp.held = asyncio.Event()
    calls = [
        asyncio.create_task(street.exchange(program, token(idp, jti=str(number)), origin=origin)) for number in range(6)
    ]
    # The others wait for the provider.
    [refused], _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert (await refused).status_code == 429
    idp.held.set()
    assert sorted([(await call).status_code for call in calls]) == [200] * 5 + [429]
    assert (await street.exchange(program, token(idp, jti="6"), origin=origin)).status_code == 200


# -- what is wrong with a token


async def test_what_is_no_token_is_told_before_anybody_is_asked(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    good = {"iss": idp.issuer, "sub": "ada", "aud": "citizens"}
    for text, status, error, code in (
        ("abc", 400, "Invalid ID token format", "ID_TOKEN_FORMAT"),
        ("a.b", 400, "Invalid ID token format", "ID_TOKEN_FORMAT"),
        ("a.b.c.d", 400, "Invalid ID token format", "ID_TOKEN_FORMAT"),
        ("a..c", 400, "Invalid ID token payload", "ID_TOKEN_PAYLOAD"),
        ("a.!!!.c", 400, "Invalid ID token payload", "ID_TOKEN_PAYLOAD"),
        (f"a.{part(b'no json')}.c", 400, "Invalid ID token payload", "ID_TOKEN_PAYLOAD"),
        (f"a.{part([1])}.c", 400, "Invalid ID token payload", "ID_TOKEN_PAYLOAD"),
        (f"a.{part(good | {'iss': None})}.c", 400, "ID token missing issuer claim", "ID_TOKEN_WITHOUT_ISSUER"),
        (f"a.{part(good | {'iss': 5})}.c", 400, "ID token missing issuer claim", "ID_TOKEN_WITHOUT_ISSUER"),
        (
            token(idp, iss="https://evil.example"),
            401,
            "Token issuer does not match tenant configuration",
            "ID_TOKEN_ISSUER",
        ),
        (token(idp, sub=None), 400, "ID token missing subject claim", "ID_TOKEN_WITHOUT_SUBJECT"),
    ):
        assert_refused(await street.exchange(program, text), status, error, code)
    assert idp.asked == 0


async def test_a_token_that_proves_nothing_is_refused(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    await street.person(program, oidcSubject="ada")
    claims = {"typ": "ID", "sub": "ada", "aud": "citizens"}
    async with street.provider() as other:
        for bad in (
            token(idp, aud="another"),
            token(idp, aud=["citizens", "another"]),
            token(idp, exp=idp.time - 120),
            token(idp, exp=None),
            token(idp, iat=idp.time - 700),
            token(idp, nbf=idp.time + 300),
            token(idp, typ="Bearer"),
            token(idp, azp="another"),
            idp.unsigned(claims),
            idp.confused(claims),
            idp.forged(claims),
            idp.forged(claims, key_id="unknown"),
            other.sign(claims | {"iss": idp.issuer}),
            token(idp)[:-4] + "AAAA",
        ):
            assert_refused(await street.exchange(program, bad), *REFUSED)


async def test_without_a_config_there_is_no_such_sign_in(street: Street) -> None:
    program = await street.program("oidc")
    for path, body in (("/oidc/exchange", {"idToken": "a.b.c"}), ("/oidc/nonce", {})):
        answer = await street.post(path, body | {"tenantId": program})
        assert_refused(answer, 400, "OIDC not configured for this tenant", "OIDC_NOT_CONFIGURED")


# -- replay


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
async def test_r11_an_id_token_signs_in_once(street: Street, idp: OidcProvider, alg: str) -> None:
    program = await program_of(street, idp)
    await street.person(program, oidcSubject="ada")
    text = token(idp, alg=alg)
    assert (await street.exchange(program, text)).status_code == 200
    assert_refused(await street.exchange(program, text), *REFUSED)
    if alg == "ES256":
        assert_refused(await street.exchange(program, idp.signed_anew(text)), *REFUSED)
    street.clock.turn(seconds=700)
    assert_refused(await street.exchange(program, text), *REFUSED)


async def test_r11_of_ten_exchanges_of_one_token_at_once_one_succeeds(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    await street.person(program, oidcSubject="ada")
    text = token(idp)
    answers = await asyncio.gather(*(street.exchange(program, text) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200, *[401] * 9]


async def test_a_nonce_of_the_clients_must_be_the_tokens(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    guid = await street.person(program, oidcSubject="ada")
    assert_refused(await street.exchange(program, token(idp, nonce="n-1")), *NONCE)
    assert_refused(await street.exchange(program, token(idp, nonce="n-1"), nonce="n-2"), *NONCE)
    assert_refused(await street.exchange(program, token(idp), nonce="n-1"), *NONCE)
    assert await entity_of(await street.exchange(program, token(idp, nonce="n-1"), nonce="n-1")) == guid


async def nonce_of(street: Street, program: str) -> str:
    answer = await street.post("/oidc/nonce", {"tenantId": program})
    assert answer.status_code == 200, answer.text
    assert answer.json()["expiresIn"] == 600
    return str(answer.json()["nonce"])


async def test_r11_a_nonce_of_the_hubs_is_good_once_and_for_ten_minutes(street: Street, idp: OidcProvider) -> None:
    program, other = await program_of(street, idp), await program_of(street, idp)
    guid = await street.person(program, oidcSubject="ada")
    nonce = await nonce_of(street, program)
    assert nonce != await nonce_of(street, program)
    answer = await street.exchange(program, token(idp, nonce=nonce, jti="1"), nonce=nonce)
    assert await entity_of(answer) == guid
    again = token(idp, nonce=nonce, jti="2")
    assert_refused(await street.exchange(program, again, nonce=nonce), *NONCE)
    for bad in (await nonce_of(street, other), (await nonce_of(street, program))[:-2] + "AA", "dch1.", "dch1.9e99.x.y"):
        assert_refused(await street.exchange(program, token(idp, nonce=bad), nonce=bad), *NONCE)
    late = await nonce_of(street, program)
    street.clock.turn(seconds=601)
    assert_refused(await street.exchange(program, token(idp, nonce=late), nonce=late), *NONCE)


async def test_r11_a_program_can_ask_for_nonces_of_the_hubs(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp, requireNonce=True)
    guid = await street.person(program, oidcSubject="ada")
    assert_refused(await street.exchange(program, token(idp)), *NONCE)
    assert_refused(await street.exchange(program, token(idp, nonce="mine"), nonce="mine"), *NONCE)
    nonce = await nonce_of(street, program)
    assert await entity_of(await street.exchange(program, token(idp, nonce=nonce), nonce=nonce)) == guid


# -- the provider


async def test_r11_a_provider_that_is_away_is_told_as_that(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    await street.person(program, oidcSubject="ada")
    idp.broken = True
    refused = await street.exchange(program, token(idp))
    assert_refused(refused, 502, "Failed to fetch OIDC discovery document", "OIDC_PROVIDER_UNAVAILABLE")
    assert refused.headers["Retry-After"]
    await street.exchange(program, token(idp))
    assert idp.asked == 1, "whoever sends tokens does not make the hub ask again and again"
    idp.broken = False
    street.clock.turn(seconds=11)
    text = token(idp)
    assert (await street.exchange(program, text)).status_code == 200
    await idp.stop()
    street.clock.turn(seconds=FRESH_MILLIS / 1000 + 1)
    assert (await street.exchange(program, token(idp))).status_code == 200, "known keys serve while it is away"


async def test_a_provider_that_is_away_uses_no_attempts_up(street: Street, idp: OidcProvider) -> None:
    program, origin = await program_of(street, idp), anywhere()
    await street.person(program, oidcSubject="ada")
    idp.broken = True
    for _ in range(6):
        assert (await street.exchange(program, token(idp), origin=origin)).status_code == 502
    idp.broken = False
    street.clock.turn(seconds=RETRY_MILLIS / 1000 + 1)
    assert (await street.exchange(program, token(idp), origin=origin)).status_code == 200


async def test_those_who_wait_together_for_a_provider_that_is_away_use_no_attempts_up(
    street: Street, idp: OidcProvider
) -> None:
    program, origin = await program_of(street, idp), anywhere()
    idp.held, idp.broken = asyncio.Event(), True
    calls = [asyncio.create_task(street.exchange(program, token(idp), origin=origin)) for _ in range(6)]
    [refused], _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert (await refused).status_code == 429
    idp.held.set()
    assert sorted([(await call).status_code for call in calls]) == [429] + [502] * 5
    assert (await street.exchange(program, token(idp), origin=origin)).status_code == 502


async def test_r11_a_provider_that_cannot_be_connected_to_is_away(street: Street) -> None:
    async with street.provider() as idp:
        program = await program_of(street, idp)
        text = token(idp)
    answer = await street.exchange(program, text)
    assert_refused(answer, 502, "Failed to fetch OIDC discovery document", "OIDC_PROVIDER_UNAVAILABLE")


@pytest.mark.parametrize(
    "discovery",
    [
        {"jwks_uri": "https://elsewhere.example/keys"},
        {"jwks_uri": "http://127.0.0.1:1/keys"},
        {"jwks_uri": None},
        {"issuer": "https://elsewhere.example"},
    ],
)
async def test_a_provider_that_says_wrong_things_of_itself_is_not_followed(
    street: Street, idp: OidcProvider, discovery: dict[str, Any]
) -> None:
    program = await program_of(street, idp)
    idp.discovery = discovery
    answer = await street.exchange(program, token(idp))
    assert_refused(answer, 502, "OIDC provider configuration error", "OIDC_PROVIDER_MISCONFIGURED")
    assert idp.requests["keys"] == 0


# -- whose record


async def test_r11_nobody_and_two_people_get_one_answer(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    for _ in range(2):
        await street.person(program, oidcSubject="twin")
    for subject in ("ada", "twin"):
        assert_refused(await street.exchange(program, token(idp, sub=subject)), *NOBODY)


async def test_r9_the_mapping_says_by_what_a_record_is_found(street: Street, idp: OidcProvider) -> None:
    mapping = {
        "primaryClaim": "individual_id",
        "entityField": "nationalId",
        "fallbackClaim": "phone_number",
        "fallbackField": "phone",
    }
    program = await program_of(street, idp, mapping=mapping)
    by_id = await street.person(program, nationalId="N-1", phone="+1000")
    by_phone = await street.person(program, phone="+1555")
    by_subject = await street.person(program, oidcSubject="ada")
    decoy = await street.person(program, nationalId="ada", name="Whose national id is the subject")

    async def found(**claims: Any) -> Any:
        return await entity_of(await street.exchange(program, token(idp, **claims)))

    assert await found(individual_id="N-1") == by_id
    assert await found(individual_id="N-1", phone_number="+1555", phone_number_verified=True) == by_id
    assert await found(individual_id="N-9", phone_number="+1555", phone_number_verified=True) == by_phone
    assert await found(phone_number="+1555", phone_number_verified=True) == by_phone
    assert await found(sub="ada", jti="1") == by_subject
    assert by_subject != decoy


@pytest.mark.parametrize(
    ("claim", "field", "value", "vouched"),
    [
        ("email", "email", "Ana@x.example", "email_verified"),
        ("phone_number", "phone", "+1555", "phone_number_verified"),
    ],
)
async def test_a_claim_that_nobody_has_verified_finds_nobody(
    street: Street, idp: OidcProvider, claim: str, field: str, value: str, vouched: str
) -> None:
    program = await program_of(street, idp, mapping={"primaryClaim": claim, "entityField": field})
    guid = await street.person(program, **{field: value})
    for claims in ({}, {vouched: False}, {vouched: "true"}):
        text = token(idp, **{claim: value, "jti": str(claims)}, **claims)
        assert_refused(await street.exchange(program, text), *NOBODY)
    assert await entity_of(await street.exchange(program, token(idp, **{claim: value, vouched: True}))) == guid


BY_PHONE = {"primaryClaim": "phone_number", "entityField": "phone"}


def by_phone(idp: OidcProvider, number: str, **claims: Any) -> str:
    return token(idp, phone_number=number, phone_number_verified=True, **claims)


async def test_a_number_in_a_claim_is_the_same_however_its_digits_are_grouped(
    street: Street, idp: OidcProvider
) -> None:
    program = await program_of(street, idp, mapping=BY_PHONE)
    for held, claimed in (("+33 6 12 34 56 78", "0033612345678"), ("0049 (151) 123", "+49151123")):
        guid = await street.person(program, phone=held)
        await catch_up(street.hub)
        answer = await street.exchange(program, by_phone(idp, claimed))
        assert await entity_of(answer) == guid
        assert await street.opens(answer.json()["token"])


@pytest.mark.parametrize(
    "other", [{"phone": "+33 6 12 34 56 78"}, {"phone": "0033612345678"}, {"email": "+33612345678"}]
)
async def test_r7_a_number_that_two_people_have_lets_neither_in_by_a_provider(
    street: Street, idp: OidcProvider, other: dict[str, str]
) -> None:
    program = await street.program("otp", "oidc", oidcConfig=oidc(idp.authority, mapping=BY_PHONE))
    await street.person(program, phone="+33612345678")
    await street.person(program, **other)
    await catch_up(street.hub)
    assert_refused(await street.exchange(program, by_phone(idp, "+33612345678")), *NOBODY)


async def test_a_number_that_stands_in_another_field_alone_is_not_what_is_mapped(
    street: Street, idp: OidcProvider
) -> None:
    program = await street.program("otp", "oidc", oidcConfig=oidc(idp.authority, mapping=BY_PHONE))
    await street.person(program, email="+33612345678")
    by_subject = await street.person(program, oidcSubject="ada")
    assert await entity_of(await street.exchange(program, by_phone(idp, "+33612345678", sub="ada"))) == by_subject


@pytest.mark.parametrize("value", [None, "", 7, True, ["N-1"], {"value": "N-1"}, "n-1", "N-1\x00", "N-1" * 200])
async def test_odd_claims_find_nobody(street: Street, idp: OidcProvider, value: Any) -> None:
    program = await program_of(street, idp, mapping={"primaryClaim": "id", "entityField": "nationalId"})
    await street.person(program, nationalId="N-1")
    assert_refused(await street.exchange(program, token(idp, id=value)), *NOBODY)


async def test_a_number_in_a_claim_is_its_text_and_a_path_leads_into_the_record(
    street: Street, idp: OidcProvider
) -> None:
    program = await program_of(street, idp, mapping={"primaryClaim": "id", "entityField": "papers.number"})
    guid = await street.person(program, papers={"number": "4711"})
    assert await entity_of(await street.exchange(program, token(idp, id=4711))) == guid


async def test_the_list_of_identifiers_can_be_what_is_mapped(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp, mapping={"primaryClaim": "id", "entityField": "identifiers"})
    guid = await street.person(program, identifiers=[{"type": "national-id", "value": "N-1"}])
    assert await entity_of(await street.exchange(program, token(idp, id="N-1"))) == guid


async def test_a_provider_of_another_program_signs_nobody_in(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    await street.person(program, oidcSubject="ada")
    async with street.provider() as other:
        await program_of(street, other)
        answer = await street.exchange(program, token(other))
        assert_refused(answer, 401, "Token issuer does not match tenant configuration")
        assert other.asked == 0


async def test_a_sign_in_ends_when_the_record_has_another_subject(street: Street, idp: OidcProvider) -> None:
    program = await program_of(street, idp)
    guid = await street.person(program, oidcSubject="ada")
    answer = await street.exchange(program, token(idp))
    await change_citizen(street.admin, program, guid, oidcSubject="bob")
    assert not await street.opens(answer.json()["token"])
