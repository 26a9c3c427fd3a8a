"""Changing the secret that signs tokens without signing anybody out."""

import pytest

from tests.accounts import assert_refused, bearer, claims_of, login, make_person, refresh
from tests.features.conftest import Alone, Installation

pytestmark = pytest.mark.anyio

FIRST, SECOND, THIRD = "first-" * 6, "second-" * 6, "third-" * 6


async def test_who_is_signed_in_stays_so_while_the_secret_before_is_accepted(installation: Installation) -> None:
    async with installation.running(JWT_SECRET=FIRST) as (app, client):
        person = await make_person(await Alone(app, client, installation.clock).admin())
        pair = await login(client, person)
    async with installation.running(JWT_SECRET=SECOND, JWT_SECRET_PREVIOUS=FIRST) as (_, client):
        assert (await client.get("/api/users/me", headers=bearer(pair["token"]))).status_code == 200
        renewed = await refresh(client, pair["refreshToken"])
        assert renewed.status_code == 200
    async with installation.running(JWT_SECRET=SECOND) as (_, client):
        assert_refused(await client.get("/api/users/me", headers=bearer(pair["token"])), 401, "Invalid token")
        assert (await client.get("/api/users/me", headers=bearer(renewed.json()["token"]))).status_code == 200
        assert (await refresh(client, renewed.json()["refreshToken"])).status_code == 200


async def test_without_the_secret_before_everybody_is_signed_out(installation: Installation) -> None:
    async with installation.running(JWT_SECRET=FIRST) as (app, client):
        person = await make_person(await Alone(app, client, installation.clock).admin())
        pair = await login(client, person)
    for settings in ({"JWT_SECRET": SECOND}, {"JWT_SECRET": SECOND, "JWT_SECRET_PREVIOUS": THIRD}):
        async with installation.running(**settings) as (_, client):
            assert_refused(await client.get("/api/users/me", headers=bearer(pair["token"])), 401, "Invalid token")
            answer = await refresh(client, pair["refreshToken"])
            assert_refused(answer, 401, "Invalid or expired refresh token")


async def test_an_answer_lost_while_the_secret_changed_is_given_again(installation: Installation) -> None:
    """Its successor was made with the old secret. A second one would be taken for a copy and end the session."""
    async with installation.running(JWT_SECRET=FIRST) as (app, client):
        person = await make_person(await Alone(app, client, installation.clock).admin())
        pair = await login(client, person)
        lost = (await refresh(client, pair["refreshToken"])).json()
    async with installation.running(JWT_SECRET=SECOND, JWT_SECRET_PREVIOUS=FIRST) as (_, client):
        again = await refresh(client, pair["refreshToken"])
        assert again.status_code == 200
        same = [claims_of(answer["refreshToken"])["jti"] for answer in (lost, again.json())]
        assert same[0] == same[1]
        assert (await refresh(client, again.json()["refreshToken"])).status_code == 200
