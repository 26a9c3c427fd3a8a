"""How the hub learns a provider's keys: seldom, whatever callers send, and with patience when the provider is away."""

import asyncio
from typing import Any

import pytest
from httpx2 import Response

from datacollect.features.providers.documents import FRESH_MILLIS, REFETCH_MILLIS, RETRY_MILLIS, STALE_MILLIS
from datacollect.http.limits import FAILURE_SHARE
from datacollect.testing.oidc import OidcProvider
from tests.accounts import assert_refused
from tests.features.conftest import Installation
from tests.features.providers.conftest import Office, entry, office_of

pytestmark = pytest.mark.anyio


def token_of(idp: OidcProvider, **claims: Any) -> str:
    return f"keycloak {idp.access_token(aud='app', **claims)}"


def forged(idp: OidcProvider, key_id: str) -> str:
    claims = {"typ": "Bearer", "sub": "eve", "aud": "app"}
    return f"keycloak {idp.forged(claims, key_id=key_id)}"


def assert_away(answer: Response) -> None:
    assert_refused(
        answer,
        503,
        "The identity provider cannot be reached just now. Try again in a moment.",
        "IDENTITY_PROVIDER_UNAVAILABLE",
    )
    assert 0 < int(answer.headers["retry-after"]) <= RETRY_MILLIS // 1000


async def test_new_keys_are_found_when_a_token_names_one(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    before = token_of(idp)
    assert (await office.pull(program, before)).status_code == 200
    idp.rotate()
    office.clock.turn(seconds=REFETCH_MILLIS / 1000 + 1)
    assert (await office.pull(program, token_of(idp))).status_code == 200
    assert idp.requests == {"discovery": 2, "keys": 2}
    # The old key is published no longer, and what it signed is not remembered for so long.
    assert (await office.pull(program, before)).status_code == 401


async def test_keys_that_overlap_serve_side_by_side(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    before = token_of(idp)
    idp.rotate(keep=True)
    for token in (before, token_of(idp), token_of(idp, alg="ES256")):
        assert (await office.pull(program, token)).status_code == 200
    assert idp.asked == 2


async def test_made_up_key_ids_cause_one_request_in_half_a_minute(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    assert (await office.pull(program, token_of(idp))).status_code == 200
    for _ in range(2):
        office.clock.turn(seconds=REFETCH_MILLIS / 1000 + 1)
        asked = idp.requests["keys"]
        for number in range(20):
            assert (await office.pull(program, forged(idp, f"made-up-{number}"))).status_code == 401
        assert idp.requests["keys"] == asked + 1
    assert (await office.pull(program, token_of(idp))).status_code == 200


async def test_all_who_come_at_once_share_one_answer(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    idp.held = asyncio.Event()
    calls = [asyncio.create_task(office.pull(program, token_of(idp, jti=str(number)))) for number in range(20)]
    await idp.arrived("discovery")
    idp.held.set()
    assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200] * 20
    assert idp.asked == 2


async def test_who_has_a_known_key_does_not_wait_for_a_slow_provider(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    assert (await office.pull(program, token_of(idp))).status_code == 200
    office.clock.turn(seconds=FRESH_MILLIS / 1000 + 1)
    idp.held = asyncio.Event()
    waiting = asyncio.create_task(office.pull(program, token_of(idp)))
    await idp.arrived("discovery", times=2)
    async with asyncio.timeout(30):
        assert (await office.pull(program, token_of(idp))).status_code == 200
    assert not waiting.done()
    idp.held.set()
    assert (await waiting).status_code == 200


async def test_whoever_has_a_new_key_waits_for_the_answer_to_who_asked_for_it_first(
    office: Office, idp: OidcProvider
) -> None:
    program = await office.program(entry(idp))
    before = token_of(idp)
    assert (await office.pull(program, before)).status_code == 200
    idp.rotate()
    office.clock.turn(seconds=REFETCH_MILLIS / 1000 + 1)
    idp.held = asyncio.Event()
    first = asyncio.create_task(office.pull(program, token_of(idp, jti="1")))
    await idp.arrived("discovery", times=2)
    second = asyncio.create_task(office.pull(program, token_of(idp, jti="2")))
    assert (await office.pull(program, before)).status_code == 200
    idp.held.set()
    assert [(await one).status_code for one in (first, second)] == [200, 200]


async def test_a_provider_that_was_never_reached_is_unavailable_and_not_asked_at_every_call(office: Office) -> None:
    async with office.provider() as idp:
        program = await office.program(entry(idp))
        idp.broken = True
        for _ in range(5):
            assert_away(await office.pull(program, token_of(idp)))
        assert idp.asked == 1
        await idp.stop()
        office.clock.turn(seconds=RETRY_MILLIS / 1000 + 1)
        assert_away(await office.pull(program, token_of(idp)))
        await idp.start()
        idp.broken = False
        assert_away(await office.pull(program, token_of(idp)))
        office.clock.turn(seconds=RETRY_MILLIS / 1000 + 1)
        assert (await office.pull(program, token_of(idp))).status_code == 200


async def test_known_keys_serve_for_a_day_while_the_provider_is_away(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    assert (await office.pull(program, token_of(idp))).status_code == 200
    await idp.stop()
    for _ in range(3):
        office.clock.turn(seconds=FRESH_MILLIS / 1000 + 1)
        assert (await office.pull(program, token_of(idp))).status_code == 200
    # A key that is not known may be a new one: nobody can tell.
    assert_away(await office.pull(program, forged(idp, "made-up")))
    # Forged ones are told by the keys that are.
    assert (
        await office.pull(program, f"keycloak {idp.forged({'typ': 'Bearer', 'sub': 'e', 'aud': 'app'})}")
    ).status_code == 401
    office.clock.turn(seconds=STALE_MILLIS / 1000)
    assert_away(await office.pull(program, token_of(idp)))


async def test_with_one_provider_away_another_of_the_type_still_vouches(office: Office, idp: OidcProvider) -> None:
    async with office.provider() as away:
        program = await office.program(entry(away), entry(idp))
        await away.stop()
        assert (await office.pull(program, token_of(idp))).status_code == 200
        assert_away(await office.pull(program, token_of(away)))
        # Two entries may name one issuer, at different addresses.
        both = await office.program(entry(away, issuer=idp.issuer), entry(idp))
        assert (await office.pull(both, token_of(idp))).status_code == 200
        # Whoever is refused anyway is not told who is away.
        assert (await office.pull(program, token_of(idp, exp=1))).status_code == 401


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://elsewhere.example/realms/test"},
        {"issuer": None},
        {"jwks_uri": "https://elsewhere.example/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": None},
        {"jwks_uri": 7},
    ],
    ids=str,
)
async def test_a_discovery_document_that_leads_elsewhere_is_not_followed(
    office: Office, idp: OidcProvider, discovery: dict[str, Any]
) -> None:
    program = await office.program(entry(idp))
    idp.discovery = discovery
    assert_away(await office.pull(program, token_of(idp)))
    assert idp.requests == {"discovery": 1}


async def test_keys_of_another_origin_are_not_taken(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    async with office.provider() as stranger:
        idp.discovery = {"jwks_uri": f"{stranger.authority}/keys"}
        assert_away(await office.pull(program, token_of(stranger, iss=idp.issuer)))
        assert stranger.asked == 0


async def test_a_userinfo_endpoint_of_another_origin_is_not_shown_a_token(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, userinfo="true"))
    async with office.provider() as stranger:
        stranger.people["opaque"] = {"sub": "ada"}
        idp.discovery = {"userinfo_endpoint": f"{stranger.authority}/userinfo"}
        assert (await office.pull(program, "keycloak opaque")).status_code == 401
        assert stranger.asked == 0


async def test_an_issuer_may_be_named_beside_the_authority(office: Office, idp: OidcProvider) -> None:
    # As behind a proxy: tokens name the public address, and the hub asks at an inner one.
    idp.discovery = {"issuer": "https://idp.example/realms/test"}
    program = await office.program(entry(idp, issuer="https://idp.example/realms/test"))
    token = token_of(idp, iss="https://idp.example/realms/test")
    assert (await office.pull(program, token)).status_code == 200
    assert (await office.pull(program, token_of(idp))).status_code == 401


async def test_a_hub_that_may_not_call_inner_networks_does_not(installation: Installation) -> None:
    async with installation.running() as (app, _), office_of(app, installation.clock) as strict:
        async with strict.provider() as idp:
            program = await strict.program(entry(idp))
            assert_away(await strict.pull(program, token_of(idp)))
            assert idp.asked == 0


async def test_devices_whose_provider_is_away_do_not_use_up_the_patience_with_their_address(
    installation: Installation,
) -> None:
    settings = {"ALLOW_PRIVATE_ADAPTER_HOSTS": True, "REQUEST_RATE_LIMIT": 2 * FAILURE_SHARE}
    async with installation.running(**settings) as (app, _), office_of(app, installation.clock) as office:
        async with office.provider() as idp:
            program = await office.program(entry(idp))
            idp.broken = True
            for _ in range(5):
                assert_away(await office.pull(program, token_of(idp)))
            idp.broken = False
            office.clock.turn(seconds=RETRY_MILLIS / 1000 + 1)
            assert (await office.pull(program, token_of(idp))).status_code == 200
