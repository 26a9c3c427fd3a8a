import pytest

from datacollect.http.proxy import client_address, parse_trust_proxy, trust_rule
from datacollect.kernel.errors import StartupError

PEER = "10.0.0.9"


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (None, False),
        ("", False),
        ("  ", False),
        ("false", False),
        ("true", True),
        ("0", 0),
        ("1", 1),
        ("3", 3),
        ("loopback", ("loopback",)),
        ("10.0.0.0/8", ("10.0.0.0/8",)),
        ("loopback, 10.0.0.0/8", ("loopback", "10.0.0.0/8")),
        ("-1", ("-1",)),
    ],
)
def test_trust_proxy_is_read_as_the_contract_says(value: str | None, meant: object) -> None:
    parsed = parse_trust_proxy(value)
    assert parsed == meant
    assert type(parsed) is type(meant)


@pytest.mark.parametrize(
    ("trust", "forwarded", "client"),
    [
        ("true", ["1.1.1.1, 2.2.2.2"], "1.1.1.1"),
        ("1", ["1.1.1.1, 2.2.2.2"], "2.2.2.2"),
        ("2", ["1.1.1.1, 2.2.2.2"], "1.1.1.1"),
        ("9", ["1.1.1.1, 2.2.2.2"], "1.1.1.1"),
        ("1", ["1.1.1.1", "2.2.2.2"], "2.2.2.2"),
        ("10.0.0.0/8", ["1.1.1.1, 10.7.7.7"], "1.1.1.1"),
        ("10.0.0.9", ["1.1.1.1, 10.7.7.7"], "10.7.7.7"),
        ("uniquelocal", ["1.1.1.1, 192.168.1.1"], "1.1.1.1"),
        ("loopback", ["1.1.1.1"], PEER),
        ("true", ["1.1.1.1, <script>"], PEER),
        ("true", ["nonsense, 2.2.2.2"], "2.2.2.2"),
        ("true", ["2001:db8::1"], "2001:db8::1"),
        ("true", [], PEER),
    ],
)
def test_the_client_is_the_nearest_address_that_is_not_ours(trust: str, forwarded: list[str], client: str) -> None:
    rule = trust_rule(trust)
    assert rule is not None
    assert client_address(PEER, forwarded, rule) == client


def test_a_mapped_ipv4_peer_counts_as_ipv4() -> None:
    rule = trust_rule("loopback")
    assert rule is not None
    assert client_address("::ffff:127.0.0.1", ["1.1.1.1"], rule) == "1.1.1.1"


@pytest.mark.parametrize("value", [None, "", "false", "0"])
def test_without_trust_there_is_no_rule(value: str | None) -> None:
    assert trust_rule(value) is None


@pytest.mark.parametrize("value", ["-1", "everywhere", "10.0.0.0/99", "loopback,nowhere"])
def test_an_unknown_name_stops_the_start(value: str) -> None:
    with pytest.raises(StartupError, match="TRUST_PROXY"):
        trust_rule(value)
