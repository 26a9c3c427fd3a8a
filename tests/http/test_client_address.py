import pytest
from fastapi import FastAPI, Request

from datacollect.http.proxy import client_address, trust_rule
from tests.http.conftest import OpenHub

pytestmark = pytest.mark.anyio


def extend(app: FastAPI) -> None:
    async def who(request: Request) -> str:
        assert request.client is not None
        return request.client.host

    app.add_api_route("/who", who)


@pytest.mark.parametrize(("trust", "seen"), [(None, "127.0.0.1"), ("1", "2.2.2.2"), ("true", "1.1.1.1")])
async def test_forwarded_addresses_count_only_as_far_as_trusted(
    open_hub: OpenHub, trust: str | None, seen: str
) -> None:
    async with open_hub(extend, TRUST_PROXY=trust) as client:
        answer = await client.get("/who", headers={"X-Forwarded-For": "1.1.1.1, 2.2.2.2"})
    assert answer.json() == seen


async def test_made_up_addresses_do_not_dodge_the_login_limit(open_hub: OpenHub) -> None:
    async with open_hub(JWT_SECRET="s" * 32) as client:
        statuses = [
            (
                await client.post(
                    "/api/users/login",
                    json={"email": "nobody@hub.test", "password": "Wrong-Pass-1"},
                    headers={"X-Forwarded-For": f"203.0.113.{number}"},
                )
            ).status_code
            for number in range(30)
        ]
    assert statuses == [401] * 15 + [429] * 15


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("203.0.113.7:51234", "203.0.113.7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("203.0.113.7, 10.0.0.2:80", "203.0.113.7"),
        # None of these is an address, and none is believed.
        ("203.0.113.7:", "10.0.0.1"),
        ("203.0.113.7:http", "10.0.0.1"),
        ("[203.0.113:1]:1", "10.0.0.1"),
        ("[]:1", "10.0.0.1"),
        ("2001:db8::7]:443", "10.0.0.1"),
    ],
)
def test_a_port_that_a_proxy_writes_is_no_part_of_the_address(written: str, seen: str) -> None:
    trusted = trust_rule("uniquelocal")
    assert trusted is not None
    assert client_address("10.0.0.1", [written], trusted) == seen


def test_of_a_header_full_of_addresses_the_nearest_hundred_are_looked_at() -> None:
    trusted = trust_rule("true")
    assert trusted is not None
    assert client_address("10.0.0.1", ["203.0.113.1" + ", 10.0.0.2" * 99], trusted) == "203.0.113.1"
    assert client_address("10.0.0.1", ["203.0.113.1" + ", 10.0.0.2" * 7000], trusted) == "10.0.0.2"
