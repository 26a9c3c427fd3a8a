"""A token is asked for when it is needed, and by one caller at a time."""

import asyncio
from base64 import urlsafe_b64encode
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from datacollect.adapters.calling import CallFailed, CallKind
from datacollect.adapters.kinds import Context
from datacollect.adapters.tokens import ClientCredentials
from datacollect.testing.clock import TurnableClock
from datacollect.testing.remote import Answer, Instead, RemoteSystem, Request


class Issuer:
    def __init__(self) -> None:
        self.answer: dict[str, Any] = {}
        self.given = 0

    def handle(self, request: Request) -> Answer:
        self.given += 1
        return Answer(200, {"access_token": f"t{self.given}", "token_type": "Bearer"} | self.answer)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def system(issuer: Issuer) -> Any:
    with RemoteSystem(issuer.handle) as system:
        yield system


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture
def credentials(system: RemoteSystem, context: Context, clock: TurnableClock) -> ClientCredentials:
    return ClientCredentials(context.client, f"{system.url}/token", "hub", SecretStr("s3cret"), clock)


def token_until(seconds: float) -> str:
    claims = urlsafe_b64encode(msgspec.json.encode({"exp": int(seconds)})).rstrip(b"=").decode()
    return f"head.{claims}.signature"


async def test_it_is_asked_for_with_a_json_body_and_kept(credentials: ClientCredentials, system: RemoteSystem) -> None:
    assert await credentials.headers() == {"authorization": "Bearer t1"}
    assert await credentials.headers() == {"authorization": "Bearer t1"}
    [asked] = system.log
    expected = {"grant_type": "client_credentials", "client_id": "hub", "client_secret": "s3cret"}
    assert asked.json() == expected
    assert asked.headers["content-type"] == "application/json"


async def test_callers_that_come_together_share_one_request(
    credentials: ClientCredentials, system: RemoteSystem
) -> None:
    tokens = await asyncio.gather(*[credentials.token() for _ in range(20)])
    assert set(tokens) == {"t1"}
    assert system.asked == 1


@pytest.mark.parametrize(
    ("answer", "kept_seconds"),
    [
        ({"expires_in": 600}, 540),
        ({}, 3540),
        ({"expires_in": "soon"}, 3540),
        ({"expires_in": 60}, 30),
        ({"exp_in": 900, "expires_in": 60}, 840),
        ({"exp_in": -900, "expires_in": 600}, 540),
    ],
)
async def test_it_is_replaced_a_minute_before_it_ends(
    credentials: ClientCredentials, issuer: Issuer, clock: TurnableClock, answer: dict[str, Any], kept_seconds: int
) -> None:
    """By its own claim first, unless a wrong clock makes that one nonsense."""
    issuer.answer = {name: value for name, value in answer.items() if name != "exp_in"}
    if "exp_in" in answer:
        issuer.answer["access_token"] = token_until(clock.now() / 1000 + answer["exp_in"])
    await credentials.token()
    clock.turn(seconds=kept_seconds - 3)
    await credentials.token()
    assert issuer.given == 1
    clock.turn(seconds=5)
    await credentials.token()
    assert issuer.given == 2


async def test_a_token_that_was_replaced_meanwhile_is_not_forgotten(
    credentials: ClientCredentials, issuer: Issuer
) -> None:
    old = await credentials.headers()
    credentials.forget(old)
    new = await credentials.headers()
    credentials.forget(old)
    assert await credentials.headers() == new
    assert issuer.given == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Instead(401), CallKind.AUTH),
        (Instead(400, {"error": "invalid_client", "error_description": "s3cret"}), CallKind.AUTH),
        (Instead(500), CallKind.UNAVAILABLE),
        (Instead(429), CallKind.THROTTLED),
        (Instead(200, {"token": "t"}), CallKind.UNREADABLE),
        (Instead(200, b"welcome"), CallKind.UNREADABLE),
        (Instead(200, {"access_token": "t", "more": [[]] * 110_000}), CallKind.UNREADABLE),
    ],
)
async def test_a_sign_in_that_fails_says_how_and_quotes_nothing(
    credentials: ClientCredentials, system: RemoteSystem, fault: Instead, kind: CallKind
) -> None:
    system.faults.add(fault)
    with pytest.raises(CallFailed) as raised:
        await credentials.token()
    assert raised.value.kind is kind
    assert "s3cret" not in str(raised.value)
    assert await credentials.token()


@pytest.mark.parametrize("status", [404, 405, 410, 422])
async def test_a_sign_in_that_is_not_there_says_nothing_of_a_record(
    credentials: ClientCredentials, system: RemoteSystem, status: int
) -> None:
    """Who reads "not found" of a record takes it for gone."""
    system.faults.add(Instead(status))
    with pytest.raises(CallFailed) as raised:
        await credentials.token()
    assert raised.value.kind is not CallKind.NOT_FOUND
    assert raised.value.retryable


async def test_scopes_are_kept(credentials: ClientCredentials, issuer: Issuer) -> None:
    issuer.answer = {"scope": "individual:read group:read"}
    await credentials.token()
    assert credentials.scopes == ("individual:read", "group:read")
