"""Connections go to an address, but certificates are checked for the name."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datacollect.outgoing import GuardedClient, InternalUrl, UpstreamRedirected, UpstreamTooSlow, UpstreamUnavailable
from tests.certificates import Authority, make_authority
from tests.outgoing.conftest import INSIDE, OUTSIDE, RULES, Monotonic, Names, Upstream, Upstreams, ok, redirect

UNTRUSTED = "The other system's certificate is not valid for its name, or not trusted."


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path)


@pytest.fixture
async def trusting(authority: Authority, names: Names, monotonic: Monotonic) -> AsyncIterator[GuardedClient]:
    names.answers |= {"registry.example": [[OUTSIDE]], "other.example": [[OUTSIDE]]}
    client = GuardedClient(RULES, resolver=names, tls=authority.trust(), monotonic=monotonic)
    yield client
    await client.aclose()


async def test_the_server_is_told_the_name_and_its_certificate_is_checked_for_it(
    trusting: GuardedClient, authority: Authority, upstream: Upstreams
) -> None:
    context = authority.server("registry.example")
    told: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: told.append(name)
    served = await upstream(tls=context)
    for _ in range(2):
        assert (await trusting.request("GET", served.url(host="registry.example."))).status == 200
    assert told == ["registry.example"]
    assert served.connections == 1


async def test_a_connection_with_tls_is_given_up_after_a_minute_too(
    trusting: GuardedClient, authority: Authority, upstream: Upstreams, names: Names, monotonic: Monotonic
) -> None:
    served = await upstream(tls=authority.server("registry.example"))
    await trusting.request("GET", served.url(host="registry.example"))
    monotonic.now += 61
    names.answers["registry.example"] = [[INSIDE]]
    with pytest.raises(InternalUrl):
        await trusting.request("GET", served.url(host="registry.example"))


async def test_an_answer_that_is_given_twice_is_not_read_as_that_to_the_next_request(
    trusting: GuardedClient, authority: Authority, upstream: Upstreams
) -> None:
    async def twice(served: Upstream, writer: asyncio.StreamWriter, request: bytes) -> None:
        # Two records of TLS, which come in together.
        await ok(b"a")(served, writer, request)
        await ok(b"a")(served, writer, request)

    served = await upstream(twice, ok(b"b"), tls=authority.server("registry.example"))
    for body in (b"a", b"b", b"b"):
        assert (await trusting.request("GET", served.url(host="registry.example"))).body == body
    assert served.connections == 2


async def test_a_certificate_of_another_name_is_refused(
    trusting: GuardedClient, authority: Authority, upstream: Upstreams
) -> None:
    served = await upstream(tls=authority.server("registry.example"))
    for host in ("other.example", OUTSIDE):
        with pytest.raises(UpstreamUnavailable) as failed:
            await trusting.request("GET", served.url(host=host))
        assert failed.value.message == UNTRUSTED
    assert served.requests == []


async def test_a_certificate_of_an_unknown_authority_is_refused(
    authority: Authority, upstream: Upstreams, names: Names
) -> None:
    names.answers["registry.example"] = [[OUTSIDE]]
    served = await upstream(tls=authority.server("registry.example"))
    client = GuardedClient(RULES, resolver=names)
    with pytest.raises(UpstreamUnavailable) as failed:
        await client.request("GET", served.url(host="registry.example"))
    assert failed.value.message == UNTRUSTED
    assert served.requests == []
    await client.aclose()


async def test_a_handshake_that_is_not_answered_ends_at_the_deadline_and_leaves_nothing_open(
    trusting: GuardedClient, upstream: Upstreams
) -> None:
    served = await upstream()  # waits for a request in clear text
    served.scheme = "https"
    with pytest.raises(UpstreamTooSlow):
        await trusting.request("GET", served.url(host="registry.example"), timeout_seconds=0.3)
    assert served.requests == []
    gc.collect()  # pytest makes the warning of a socket that nobody closed an error


async def test_a_redirect_does_not_lead_from_https_to_http(
    trusting: GuardedClient, authority: Authority, upstream: Upstreams
) -> None:
    plain = await upstream()
    served = await upstream(redirect(plain.url()), tls=authority.server("registry.example"))
    with pytest.raises(UpstreamRedirected):
        await trusting.request("GET", served.url(host="registry.example"), follow=5)
    assert plain.connections == 0
