"""Tokens: what is signed, what is refused, and what is remembered."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from datacollect.kernel.clock import Millis
from datacollect.kernel.tokens import (
    AccessClaims,
    RefreshClaims,
    SelfServiceToken,
    TokenInvalid,
    Tokens,
)
from datacollect.testing.clock import TurnableClock

SECRET = "0123456789abcdef0123456789abcdef"
USER = {"id": 7, "email": "u@hub.test", "role": "USER", "tenantIds": ["a"], "roleAssignments": []}
FAMILY = RefreshClaims(user_id=7, version=3, family="f1", token_id="t1")
NOW = Millis(1_900_000_000_000)


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture
def tokens(clock: TurnableClock) -> Tokens:
    return Tokens(SECRET, clock)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unpacked(token: str) -> tuple[Any, Any]:
    header, payload, _ = token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) for text in (header, payload))  # type: ignore[return-value]


def signed(claims: Any, header: Any = None, *, secret: str = SECRET, digest: str = "sha256") -> str:
    """A token made without the hub's code."""
    text = f"{part(header or {'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    return f"{text}.{part(hmac.new(secret.encode(), text.encode(), digest).digest())}"


def access_claims(clock: TurnableClock, **changes: Any) -> dict[str, Any]:
    now = clock.now() // 1000
    own = {"typ": "access", "iss": "datacollect-hub", "ver": 3, "fam": "f1", "iat": now, "exp": now + 3600}
    claims = {**USER, **own, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def test_an_access_token_lasts_one_hour_and_shows_the_contracts_claims(tokens: Tokens) -> None:
    header, claims = unpacked(tokens.access(USER, version=3, family="f1"))
    assert {name: header[name] for name in ("alg", "typ")} == {"alg": "HS256", "typ": "JWT"}
    assert set(header) == {"alg", "typ", "kid"}
    assert claims["exp"] - claims["iat"] == 3600
    assert {name: claims[name] for name in USER} == USER


def test_a_refresh_token_lasts_thirty_days_and_shows_the_contracts_claims(tokens: Tokens) -> None:
    _, claims = unpacked(tokens.refresh(FAMILY, email="u@hub.test", issued_at=NOW))
    assert claims["exp"] - claims["iat"] == 30 * 24 * 3600
    assert (claims["id"], claims["email"], claims["type"]) == (7, "u@hub.test", "refresh")


def test_both_kinds_are_read_back(tokens: Tokens) -> None:
    assert tokens.read_access(tokens.access(USER, version=3, family="f1")) == AccessClaims(7, 3, "f1")
    assert tokens.read_refresh(tokens.refresh(FAMILY, email="u@hub.test", issued_at=NOW)) == FAMILY


def test_neither_kind_passes_as_the_other(tokens: Tokens) -> None:
    with pytest.raises(TokenInvalid):
        tokens.read_access(tokens.refresh(FAMILY, email="u@hub.test", issued_at=NOW))
    assert tokens.read_refresh(tokens.access(USER, version=3, family="f1")) is None


def test_a_token_made_elsewhere_by_the_rules_is_accepted(tokens: Tokens, clock: TurnableClock) -> None:
    """So that the refusals below are about what they change, and not about how the test signs."""
    assert tokens.read_access(signed(access_claims(clock))) == AccessClaims(7, 3, "f1")


@pytest.mark.parametrize(
    "changes",
    [
        {"typ": None},
        {"typ": "refresh"},
        {"iss": None},
        {"iss": "somebody-else"},
        {"aud": "somebody-else"},
        {"aud": "datacollect-hub:refresh"},
        {"aud": ["datacollect-hub:api"]},
        {"id": None},
        {"id": "7"},
        {"id": True},
        {"ver": None},
        {"ver": "3"},
        {"fam": None},
        {"fam": 1},
        {"exp": None},
        {"exp": "2999-01-01"},
        {"exp": float("nan")},
        {"exp": True},
        {"exp": 1},
    ],
    ids=str,
)
def test_claims_that_are_missing_or_wrong_are_refused(
    tokens: Tokens, clock: TurnableClock, changes: dict[str, Any]
) -> None:
    with pytest.raises(TokenInvalid):
        tokens.read_access(signed(access_claims(clock, **changes)))


@pytest.mark.parametrize("role", [None, "ADMIN"])
def test_a_citizens_token_is_told_apart_whatever_else_it_claims(
    tokens: Tokens, clock: TurnableClock, role: str | None
) -> None:
    with pytest.raises(SelfServiceToken):
        tokens.read_access(signed(access_claims(clock, scope="self-service", role=role)))


@pytest.mark.parametrize("algorithm", ["none", "None", "HS384", "HS512", "RS256", "", None, ["HS256"]])
def test_only_hs256_is_accepted(tokens: Tokens, clock: TurnableClock, algorithm: Any) -> None:
    digest = {"HS384": "sha384", "HS512": "sha512"}.get(str(algorithm), "sha256")
    forged = signed(access_claims(clock), {"alg": algorithm, "typ": "JWT"}, digest=digest)
    for token in (forged, forged.rpartition(".")[0] + "."):
        with pytest.raises(TokenInvalid):
            tokens.read_access(token)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "abc",
        "a.b.c",
        "é.b.c",
        "a" * 100_000,
        signed(b"[" * 20_000),
        signed([]),
        signed(b'{"exp":' + b"9" * 5000 + b"}"),
        signed(b'{"a":"\xff"}'),
        signed({}, []),
        signed({}, "alg"),
        signed({}, b"[" * 300),
        signed({}, {"alg": "HS256", "crit": ["x"]}),
        signed({}, {"alg": "HS256", "b64": False, "crit": ["b64"]}),
    ],
    ids=lambda token: token[:12],
)
def test_whatever_comes_as_a_token_is_refused_and_never_crashes(tokens: Tokens, token: str) -> None:
    with pytest.raises(TokenInvalid):
        tokens.read_access(token)
    with pytest.raises(TokenInvalid):
        tokens.read_refresh(token)


def test_another_secrets_signature_and_a_changed_payload_are_refused(tokens: Tokens, clock: TurnableClock) -> None:
    with pytest.raises(TokenInvalid):
        tokens.read_access(signed(access_claims(clock), secret="f" * 32))
    header, _, signature = tokens.access(USER, version=3, family="f1").split(".")
    with pytest.raises(TokenInvalid):
        tokens.read_access(f"{header}.{part(access_claims(clock, id=1))}.{signature}")


def test_a_token_ends_after_its_hour_even_if_it_was_just_used(tokens: Tokens, clock: TurnableClock) -> None:
    token = tokens.access(USER, version=3, family="f1")
    clock.turn(seconds=3590)
    tokens.read_access(token)
    clock.turn(seconds=11)
    with pytest.raises(TokenInvalid):
        tokens.read_access(token)


def test_a_refresh_token_ends_after_thirty_days(tokens: Tokens, clock: TurnableClock) -> None:
    token = tokens.refresh(FAMILY, email="u@hub.test", issued_at=clock.now())
    clock.turn(seconds=30 * 24 * 3600 - 10)
    assert tokens.read_refresh(token) == FAMILY
    clock.turn(seconds=11)
    with pytest.raises(TokenInvalid):
        tokens.read_refresh(token)


def test_a_checked_token_is_remembered_for_thirty_seconds(tokens: Tokens, clock: TurnableClock) -> None:
    token = tokens.access(USER, version=3, family="f1")
    first = tokens.read_access(token)
    clock.turn(seconds=29)
    assert tokens.read_access(token) is first
    clock.turn(seconds=2)
    assert tokens.read_access(token) is not first


def test_what_is_remembered_is_bounded_and_holds_no_token(clock: TurnableClock) -> None:
    tokens = Tokens(SECRET, clock, remembered=3)
    made = [tokens.access({**USER, "id": number}, version=1, family="f") for number in range(5)]
    for token in made:
        tokens.read_access(token)
    assert set(tokens._checked) == {hashlib.sha256(token.encode()).digest() for token in made[2:]}


def test_a_remembered_token_costs_microseconds(tokens: Tokens) -> None:
    token = tokens.access(USER, version=3, family="f1")
    tokens.read_access(token)
    fastest = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(100):
            tokens.read_access(token)
        fastest = min(fastest, (time.perf_counter() - began) / 100)
    assert fastest < 50e-6


def test_somebody_in_hundreds_of_programs_gets_a_token_that_fits_a_header(tokens: Tokens) -> None:
    programs = [f"program-{number}" for number in range(1000)]
    token = tokens.access({**USER, "tenantIds": programs}, version=3, family="f1")
    assert len(token) < 8000
    assert tokens.read_access(token) == AccessClaims(7, 3, "f1")
    assert unpacked(token)[1]["email"] == "u@hub.test"


# -- one secret taking the place of another


OLD = "the-secret-that-was-used-before-this-one"


def test_a_token_of_the_secret_before_is_accepted_and_one_of_any_other_is_not(clock: TurnableClock) -> None:
    before, after = Tokens(OLD, clock), Tokens(SECRET, clock, previous=OLD)
    assert after.read_access(before.access(USER, version=3, family="f1")) == AccessClaims(7, 3, "f1")
    assert after.read_refresh(before.refresh(FAMILY, email="u@hub.test", issued_at=clock.now())) == FAMILY
    for forgotten in (Tokens(SECRET, clock), Tokens(SECRET, clock, previous="f" * 32)):
        with pytest.raises(TokenInvalid):
            forgotten.read_access(before.access(USER, version=3, family="f1"))


def test_what_is_signed_is_signed_with_the_new_secret(clock: TurnableClock) -> None:
    between = Tokens(SECRET, clock, previous=OLD)
    token = between.access(USER, version=3, family="f1")
    assert Tokens(SECRET, clock).read_access(token) == AccessClaims(7, 3, "f1")
    with pytest.raises(TokenInvalid):
        Tokens(OLD, clock).read_access(token)


def test_a_token_of_an_older_hub_names_no_key_and_may_be_of_either_secret(clock: TurnableClock) -> None:
    between = Tokens(SECRET, clock, previous=OLD)
    for secret in (SECRET, OLD):
        assert between.read_access(signed(access_claims(clock), secret=secret)) == AccessClaims(7, 3, "f1")
    with pytest.raises(TokenInvalid):
        between.read_access(signed(access_claims(clock), secret="f" * 32))


@pytest.mark.parametrize("name", ["unknown", "", None, 7, ["x"], {"x": 1}], ids=str)
def test_a_key_that_is_not_ours_opens_nothing(clock: TurnableClock, name: Any) -> None:
    between = Tokens(SECRET, clock, previous=OLD)
    header = {"alg": "HS256", "typ": "JWT", "kid": name}
    for secret in (SECRET, OLD):
        with pytest.raises(TokenInvalid):
            between.read_access(signed(access_claims(clock), header, secret=secret))


def test_the_named_key_alone_is_tried(clock: TurnableClock) -> None:
    between = Tokens(SECRET, clock, previous=OLD)
    header, _ = unpacked(Tokens(OLD, clock).access(USER, version=3, family="f1"))
    with pytest.raises(TokenInvalid):
        between.read_access(signed(access_claims(clock), header, secret=SECRET))


def test_the_name_of_a_key_tells_nothing_of_it(tokens: Tokens) -> None:
    header, _ = unpacked(tokens.access(USER, version=3, family="f1"))
    assert header["kid"] not in (SECRET[:16], hashlib.sha256(SECRET.encode()).hexdigest()[:16])
    assert len(header["kid"]) == 16


def test_refresh_tokens_are_meant_for_refreshing(tokens: Tokens, clock: TurnableClock) -> None:
    """Absent in tokens of older hubs; when it is there it must be right."""
    claims = access_claims(clock, typ="refresh", jti="t1")
    assert tokens.read_refresh(signed(claims)) == FAMILY
    assert tokens.read_refresh(signed(claims | {"aud": "datacollect-hub:refresh"})) == FAMILY
    assert tokens.read_refresh(signed(claims | {"aud": "datacollect-hub:api"})) is None
