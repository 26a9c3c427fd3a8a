"""Where connections really go: names are looked up once, and judged by every answer."""

import asyncio
import socket
from collections.abc import Sequence

import pytest

from datacollect.outgoing import GuardedClient, InternalUrl, NameUnresolved, Rules, UpstreamRedirected
from datacollect.outgoing.addresses import IpAddress
from datacollect.outgoing.backend import CheckedBackend
from datacollect.outgoing.resolving import system_resolver
from tests.outgoing.conftest import (
    ELSEWHERE,
    INSIDE,
    OUTSIDE,
    RULES,
    Monotonic,
    Names,
    Upstreams,
    answer,
    ok,
    redirect,
)

INTERNAL = "URLs targeting private or internal networks are not allowed"


async def test_a_name_that_is_rebound_after_the_check_is_reached_at_the_checked_address(
    outgoing: GuardedClient, upstream: Upstreams, names: Names
) -> None:
    outside = await upstream(ok(b"outside"))
    inside = await upstream(ok(b"inside"), host=INSIDE, port=outside.port)
    names.answers["rebinding.example"] = [[OUTSIDE], [INSIDE]]
    for _ in range(3):
        got = await outgoing.request("GET", outside.url(host="rebinding.example"))
        assert got.body == b"outside"
    assert names.asked == ["rebinding.example"]
    assert (outside.connections, inside.connections) == (1, 0)


async def test_a_connection_is_given_up_after_a_minute_and_its_name_judged_anew(
    outgoing: GuardedClient, upstream: Upstreams, names: Names, monotonic: Monotonic
) -> None:
    served = await upstream()
    names.answers["rebinding.example"] = [[OUTSIDE], [OUTSIDE], [INSIDE]]
    url = served.url(host="rebinding.example")
    for turn in (0, 59, 2):
        monotonic.now += turn
        await outgoing.request("GET", url)
    assert served.connections == 2
    monotonic.now += 61
    with pytest.raises(InternalUrl):
        await outgoing.request("GET", url)
    assert len(names.asked) == 3


@pytest.mark.parametrize(
    "answers",
    [
        [INSIDE],
        [OUTSIDE, INSIDE],
        [INSIDE, OUTSIDE],
        ["8.8.8.8", "10.0.0.1"],
        ["8.8.8.8", "fd00::1"],
        ["169.254.169.254"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%lo"],
        ["::"],
    ],
)
async def test_a_name_is_refused_if_any_of_its_addresses_is_internal(
    outgoing: GuardedClient, upstream: Upstreams, names: Names, answers: Sequence[str]
) -> None:
    outside = await upstream()
    inside = await upstream(host=INSIDE, port=outside.port)
    names.answers["mixed.example"] = [answers]
    with pytest.raises(InternalUrl) as refused:
        await outgoing.request("GET", outside.url(host="mixed.example"))
    assert (refused.value.status, refused.value.message) == (400, INTERNAL)
    assert (outside.connections, inside.connections) == (0, 0)


@pytest.mark.parametrize(
    ("failure", "temporary"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), False),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), True),
        (None, False),
    ],
)
async def test_a_name_that_does_not_resolve_looks_like_an_internal_one_to_callers(
    failure: OSError | None, temporary: bool
) -> None:
    async def resolver(_: str) -> Sequence[IpAddress]:
        if failure:
            raise failure
        return []

    client = GuardedClient(resolver=resolver)
    with pytest.raises(NameUnresolved) as unresolved:
        await client.request("GET", "http://nobody.example/")
    internal = InternalUrl()
    found = unresolved.value
    assert (found.status, found.code, found.message, found.extra) == (
        internal.status,
        internal.code,
        internal.message,
        internal.extra,
    )
    assert found.temporary is temporary
    await client.aclose()


async def test_internal_names_are_not_even_looked_up(outgoing: GuardedClient, names: Names) -> None:
    for host in ("localhost", "registry.internal", "printer.local", "postgres", "metadata.google.internal"):
        with pytest.raises(InternalUrl):
            await outgoing.request("GET", f"http://{host}/")
    assert names.asked == []


async def test_the_next_address_is_tried_when_one_does_not_answer(
    outgoing: GuardedClient, upstream: Upstreams, names: Names
) -> None:
    served = await upstream(host=ELSEWHERE)
    names.answers["registry.example"] = [[OUTSIDE, ELSEWHERE]]
    assert (await outgoing.request("GET", served.url(host="registry.example"))).status == 200
    assert served.requests[0].partition(b"\r\nhost: ")[2].startswith(b"registry.example:")


async def test_the_network_layer_judges_by_itself() -> None:
    """It does not rely on the URL having been judged before."""
    backend = CheckedBackend(Rules(), Names({"rebinding.example": [[INSIDE]]}))
    for host in ("127.0.0.1", "::1", "::ffff:10.0.0.1", "localhost", "rebinding.example"):
        with pytest.raises(InternalUrl):
            await backend.connect_tcp(host, 80)
    with pytest.raises(InternalUrl):
        await backend.connect_unix_socket("/var/run/docker.sock")


async def test_an_allowed_private_host_is_reached_by_its_name(upstream: Upstreams) -> None:
    served = await upstream(host=INSIDE)
    names = Names({"registry.lan": [[INSIDE]], "other.example": [[INSIDE]]})
    client = GuardedClient(Rules(names=frozenset({"registry.lan"})), resolver=names)
    assert (await client.request("GET", served.url(host="registry.lan"))).status == 200
    for host in ("other.example", INSIDE):
        with pytest.raises(InternalUrl):
            await client.request("GET", served.url(host=host))
    await client.aclose()


async def test_the_systems_resolver_gives_plain_addresses() -> None:
    assert "127.0.0.1" in map(str, await system_resolver("localhost"))
    with pytest.raises(OSError, match=r"Name or service|name resolution|No address|not known"):
        await system_resolver("nobody.invalid")


# Redirects.


async def test_a_redirect_is_refused_unless_asked_for(outgoing: GuardedClient, upstream: Upstreams) -> None:
    served = await upstream(redirect("/elsewhere"))
    with pytest.raises(UpstreamRedirected):
        await outgoing.request("GET", served.url())
    assert len(served.requests) == 1


async def test_a_redirect_is_followed_as_often_as_allowed(outgoing: GuardedClient, upstream: Upstreams) -> None:
    served = await upstream(redirect("/one?a=b"), redirect("two", "308 Permanent Redirect"), ok(b"there"))
    got = await outgoing.request("GET", served.url("/start/"), follow=2)
    assert got.body == b"there"
    assert [request.split(b" ")[1] for request in served.requests] == [b"/start/", b"/one?a=b", b"/two"]
    served.replies = [redirect("/again")]
    with pytest.raises(UpstreamRedirected):
        await outgoing.request("GET", served.url(), follow=3)


@pytest.mark.parametrize("inside", ["http://{INSIDE}:{port}/", "//{INSIDE}:{port}/", "http://2130706433:{port}/"])
async def test_a_redirect_to_the_inside_is_refused(outgoing: GuardedClient, upstream: Upstreams, inside: str) -> None:
    secret = await upstream(host=INSIDE)
    served = await upstream(redirect(inside.format(INSIDE=INSIDE, port=secret.port)))
    with pytest.raises(InternalUrl) as refused:
        await outgoing.request("GET", served.url(), follow=5)
    assert refused.value.message == INTERNAL
    assert secret.connections == 0


async def test_a_redirect_to_a_name_that_leads_inside_is_refused(
    outgoing: GuardedClient, upstream: Upstreams, names: Names
) -> None:
    secret = await upstream(host=INSIDE)
    names.answers["inside.example"] = [[INSIDE]]
    served = await upstream(redirect(secret.url(host="inside.example")))
    with pytest.raises(InternalUrl):
        await outgoing.request("GET", served.url(), follow=5)
    assert secret.connections == 0


@pytest.mark.parametrize(
    "location",
    ["ftp://registry.example/", "http://user:x@registry.example/", "http://[::1", "http://x\\@y/", "http://registry.example:25/", "http://exa\tmple/"],
)  # fmt: skip
async def test_a_redirect_to_what_is_no_proper_url_is_the_other_systems_fault(
    outgoing: GuardedClient, upstream: Upstreams, location: str
) -> None:
    served = await upstream(redirect(location))
    with pytest.raises(UpstreamRedirected):
        await outgoing.request("GET", served.url(), follow=5)


async def test_credentials_stay_with_their_origin(outgoing: GuardedClient, upstream: Upstreams) -> None:
    other = await upstream(host=ELSEWHERE)
    served = await upstream(redirect("/same"), redirect(other.url("/other")))
    secrets = {"Authorization": "Bearer secret", "Cookie": "secret", "X-Api-Key": "secret", "Accept": "text/plain"}
    await outgoing.request("GET", served.url(), headers=secrets, follow=2)
    assert [request.count(b"secret") for request in (*served.requests, *other.requests)] == [3, 3, 0]
    assert b"accept: text/plain" in other.requests[0]


@pytest.mark.parametrize("status", ["301 x", "302 x", "303 x"])
async def test_a_post_becomes_a_get_without_its_body(outgoing: GuardedClient, upstream: Upstreams, status: str) -> None:
    served = await upstream(redirect("/done", status), ok())
    await outgoing.request("POST", served.url(), json={"secret": 1}, follow=1)
    assert served.requests[1].startswith(b"GET /done ")
    assert b"content-" not in served.requests[1] and b"secret" not in served.requests[1]


async def test_a_body_is_sent_again_to_the_same_origin_only(outgoing: GuardedClient, upstream: Upstreams) -> None:
    other = await upstream(host=ELSEWHERE)
    served = await upstream(redirect("/again", "307 x"), ok(), redirect(other.url(), "307 x"))
    await outgoing.request("POST", served.url(), json={"secret": 1}, follow=1)
    assert served.requests[1].startswith(b"POST /again ") and served.requests[1].endswith(b'{"secret":1}')
    with pytest.raises(UpstreamRedirected):
        await outgoing.request("POST", served.url(), json={"secret": 1}, follow=1)
    assert other.connections == 0


async def test_what_is_no_redirect_is_an_answer(outgoing: GuardedClient, upstream: Upstreams) -> None:
    served = await upstream(answer("304 Not Modified"), answer("302 Found"), answer("201 Created", b"", "Location: /x"))
    assert [(await outgoing.request("GET", served.url())).status for _ in range(3)] == [304, 302, 201]


async def test_the_deadline_is_for_all_hops_together(outgoing: GuardedClient, upstream: Upstreams) -> None:
    async def slow_redirect(served: object, writer: asyncio.StreamWriter, request: bytes) -> None:
        await asyncio.sleep(0.05)
        await redirect("/again")(served, writer, request)  # type: ignore[arg-type]

    served = await upstream(slow_redirect)
    started = asyncio.get_running_loop().time()
    with pytest.raises(Exception, match="in time"):
        await outgoing.request("GET", served.url(), follow=1000, timeout_seconds=0.3)
    assert asyncio.get_running_loop().time() - started < 3


def test_the_rules_of_these_tests_leave_the_inside_closed() -> None:
    assert not RULES.allow_private
