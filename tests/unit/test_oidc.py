"""How identity providers are configured, and when a token's claims are believed."""

from typing import Any

import pytest

from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import Actor, Role
from datacollect.kernel.ids import TenantId
from datacollect.kernel.oidc import (
    Provider,
    TokenRefused,
    address_problem,
    check_access_token,
    check_id_token,
    is_scheme,
    provider_of,
    provider_problems,
    same_origin,
)

AUTHORITY = "https://idp.example/realms/x"
NOW = Millis(1_800_000_000_000)
SECONDS = NOW // 1000
CLAIMS = {"iss": AUTHORITY, "sub": "ada", "aud": "app", "iat": SECONDS, "exp": SECONDS + 300}


def provider(**fields: str) -> Provider:
    found = provider_of("keycloak", {"authority": AUTHORITY, "client_id": "app"} | fields)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "address",
    [
        "idp.example",
        "//idp.example",
        "ftp://idp.example",
        "https://",
        "https:///realms/x",
        "https://idp.example:port",
        "https://idp.example:99999",
        "https://user@idp.example",
        "https://user:secret@idp.example",
        "https://idp.example?x=1",
        "https://idp.example#x",
        "https://idp.example/a b",
        "https://idp.example\\@elsewhere.example",
        "https://idp.exämple",
        "https://[::1",
        " https://idp.example",
        "https://idp.example\n",
    ],
)
def test_an_authority_has_to_be_a_plain_absolute_address(address: str) -> None:
    assert address_problem(address, https_only=False)
    assert provider_of("keycloak", {"authority": address, "client_id": "app"}) is None


def test_http_is_for_places_where_it_is_allowed() -> None:
    assert address_problem("http://idp.example", https_only=False) is None
    assert address_problem("http://idp.example", https_only=True) == "must be an https URL"
    assert address_problem("https://idp.example:8443/realms/x/", https_only=True) is None


def test_fields_are_read_and_empty_ones_count_as_left_out() -> None:
    assert provider(default_role="", userinfo="", issuer="", audience="") == provider()
    assert provider().default_role is Role.ENUMERATOR
    read = provider(authority=AUTHORITY + "/", issuer="https://other/", default_role="viewer", default_area="A1")
    assert (read.authority, read.issuer, read.default_role, read.default_area) == (
        AUTHORITY,
        "https://other",
        Role.VIEWER,
        "A1",
    )


@pytest.mark.parametrize("role", ["program-admin", "system-admin", "ADMIN", "Viewer", "boss"])
def test_a_provider_makes_nobody_more_than_a_supervisor(role: str) -> None:
    fields = {"authority": AUTHORITY, "default_role": role}
    assert [field for field, _ in provider_problems(fields)] == ["default_role"]
    assert provider_of("keycloak", fields) is None


def test_a_type_has_to_fit_in_front_of_a_token() -> None:
    assert all(is_scheme(type_) for type_ in ("keycloak", "My-Realm_2", "x"))
    for type_ in ("", "two words", "bearer", "Bearer", "self-service", "External", "é", "a,b", "x" * 65):
        assert not is_scheme(type_)
        assert provider_of(type_, {"authority": AUTHORITY, "client_id": "app"}) is None


def test_an_origin_is_scheme_host_and_port() -> None:
    for other in ("https://idp.example/keys", "https://IDP.example:443/x", "HTTPS://idp.example"):
        assert same_origin(AUTHORITY, other), other
    for other in (
        "http://idp.example/keys",
        "https://idp.example:8443/keys",
        "https://idp.example.elsewhere.example/keys",
        "https://idp.example@elsewhere.example/keys",
        "https://elsewhere.example/idp.example",
        "/keys",
        "",
        "ftp://idp.example",
    ):
        assert not same_origin(AUTHORITY, other), other
    assert not same_origin("", "")


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": 10**30},
        {"exp": -1},
        {"nbf": "soon"},
        {"iat": None},
        {"aud": 7},
        {"aud": [7, None]},
        {"sub": 7},
        {"iss": 7},
        {"iss": AUTHORITY + "x"},
        {"typ": 7},
        {"token_use": "id"},
    ],
    ids=str,
)
def test_claims_of_strange_types_are_refused(claims: dict[str, Any]) -> None:
    assert check_access_token(CLAIMS, provider(), now=NOW).subject == "ada"
    with pytest.raises(TokenRefused):
        check_access_token(CLAIMS | claims, provider(), now=NOW)


def test_an_id_token_is_fresh_and_for_this_app() -> None:
    assert check_id_token(CLAIMS | {"azp": "app"}, provider(), nonce=None, now=NOW).subject == "ada"
    for claims in ({"iat": SECONDS - 661}, {"iat": None}, {"azp": "x"}, {"aud": ["app", "x"]}, {"token_use": "access"}):
        with pytest.raises(TokenRefused):
            check_id_token(CLAIMS | claims, provider(), nonce=None, now=NOW)
    with pytest.raises(TokenRefused, match="audience"):
        check_id_token(
            {key: value for key, value in CLAIMS.items() if key != "aud"}, provider(client_id=""), nonce=None, now=NOW
        )


def test_the_end_of_a_token_has_a_minute_of_grace_and_no_more() -> None:
    ends = {"exp": SECONDS - 59}
    assert check_access_token(CLAIMS | ends, provider(), now=NOW).expires_at == NOW + 1000
    with pytest.raises(TokenRefused, match="expired"):
        check_access_token(CLAIMS | {"exp": SECONDS - 60}, provider(), now=NOW)


def test_an_actor_of_a_provider_belongs_to_one_program_and_is_no_administrator() -> None:
    for tenants in ((), ("a", "b")):
        with pytest.raises(ValueError, match="exactly one"):
            Actor(kind="provider", label="x:y", tenant_ids=frozenset(map(TenantId, tenants)))
