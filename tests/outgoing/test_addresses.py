"""Which addresses are refused: each range, and each way to hide one address in another."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.kernel.errors import StartupError
from datacollect.outgoing.addresses import Rules, Standing, plain, read_rules, read_v4, standing

INTERNAL_V4 = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("224.0.0.0/4", "240.0.0.0/4"),
]
INTERNAL_V6 = [
    *("::/128", "::1/128", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:2::/48"),
    *("2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.0", "100.128.0.0", "2606:4700::1111"]
METADATA = [
    *("169.254.169.254", "169.254.170.2", "169.254.42.42", "100.100.100.200", "168.63.129.16"),
    *("fd00:ec2::254", "fd20:ce::254", "fd00:42::42", "fd00:a9fe:a9fe::1"),
]


def internal_v4() -> st.SearchStrategy[IPv4Address]:
    return st.one_of([st.ip_addresses(network=IPv4Network(text)) for text in INTERNAL_V4])


def hidden_in_v6(address: IPv4Address) -> st.SearchStrategy[IPv6Address]:
    number, any32 = int(address), st.integers(0, 2**32 - 1)
    prefix = st.integers(0, 2**61 - 1).map(lambda low: (1 << 61 | low) << 64)  # of 2000::/3
    return st.one_of(
        st.just(IPv6Address(number)),
        st.just(IPv6Address(0xFFFF << 32 | number)),
        st.just(IPv6Address(0xFFFF << 48 | number)),
        st.just(IPv6Address(0x64FF9B << 96 | number)),
        st.just(IPv6Address(0x64FF9B0001 << 80 | number)),
        st.integers(0, 2**80 - 1).map(lambda low: IPv6Address(0x2002 << 112 | number << 80 | low)),
        any32.map(lambda server: IPv6Address(0x20010000 << 96 | server << 64 | number ^ 0xFFFFFFFF)),
        prefix.map(lambda high: IPv6Address(high | 0x5EFE << 32 | number)),
        prefix.map(lambda high: IPv6Address(high | 0x02005EFE << 32 | number)),
    )


@pytest.mark.parametrize("network", INTERNAL_V4)
def test_the_first_and_last_address_of_each_internal_ipv4_network_is_refused(network: str) -> None:
    assert not Rules().admit(IPv4Network(network)[0])
    assert not Rules().admit(IPv4Network(network)[-1])


@pytest.mark.parametrize("network", INTERNAL_V6)
def test_the_first_and_last_address_of_each_internal_ipv6_network_is_refused(network: str) -> None:
    assert not Rules().admit(IPv6Network(network)[0])
    assert not Rules().admit(IPv6Network(network)[-1])


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_admitted(address: str) -> None:
    assert Rules().admit(ip_address(address))


@given(internal_v4().flatmap(hidden_in_v6))
def test_an_internal_ipv4_address_is_refused_in_every_form_of_ipv6(address: IPv6Address) -> None:
    assert not Rules().admit(address)


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_admitted(address: IPv4Address | IPv6Address) -> None:
    if Rules().admit(address):
        real = plain(address)
        assert real.is_global
        assert not (real.is_multicast or real.is_reserved or real.is_link_local or real.is_loopback)


@given(st.ip_addresses())
def test_the_plain_form_of_an_address_is_plain_already_and_stands_the_same(address: IPv4Address | IPv6Address) -> None:
    assert plain(plain(address)) == plain(address)
    assert standing(plain(address)) is standing(address)


def test_a_zone_does_not_hide_an_address() -> None:
    assert not Rules().admit(IPv6Address("fe80::1%eth0"))
    assert not Rules(allow_private=True).admit(IPv6Address("fd00:ec2::254%eth0"))


@given(internal_v4(), st.data())
def test_every_spelling_of_an_ipv4_address_is_read_as_that_address(address: IPv4Address, data: st.DataObject) -> None:
    number, parts = int(address), data.draw(st.integers(1, 4))
    first = [number >> 8 * (3 - place) & 255 for place in range(parts - 1)]
    numbers = [*first, number & (256 ** (5 - parts) - 1)]
    styles = data.draw(st.lists(st.sampled_from(["{}", "0x{:x}", "0{:o}", "000{:o}"]), min_size=parts, max_size=parts))
    assert read_v4(".".join(style.format(part) for style, part in zip(styles, numbers, strict=True))) == address


@pytest.mark.parametrize("text", ["256.1.1.1", "1.2.3.4.5", "4294967296", "1.2.65536", "09.1.1.1", "1..2", "", "0xg"])
def test_what_is_no_ipv4_address_is_not_read_as_one(text: str) -> None:
    assert read_v4(text) is None


# What an operator opens.


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "192.168.0.1", "100.64.0.1", "::1", "fd12:3456::1"])
def test_private_hosts_can_be_allowed(address: str) -> None:
    assert standing(ip_address(address)) is Standing.PRIVATE
    assert Rules(allow_private=True).admit(ip_address(address))


@pytest.mark.parametrize("address", [*METADATA, "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"])
def test_metadata_services_stay_refused_unless_named_themselves(address: str) -> None:
    found = ip_address(address)
    around = "0.0.0.0/0,::/0,registry.lan"
    assert not Rules(allow_private=True).admit(found)
    assert not read_rules(allow_private=True, allowed=around).admit(found, "registry.lan")
    assert read_rules(allow_private=False, allowed=str(plain(found))).admit(found)


@pytest.mark.parametrize("address", ["0.0.0.0", "169.254.1.1", "224.0.0.1", "255.255.255.255", "::", "fe80::1"])
def test_addresses_that_are_no_hosts_stay_refused_when_private_ones_are_allowed(address: str) -> None:
    assert not Rules(allow_private=True).admit(ip_address(address))


def test_an_allowed_network_opens_its_addresses_and_no_others() -> None:
    rules = read_rules(allow_private=False, allowed=" 10.1.0.0/16, fd12::/32 ")
    assert rules.admit(ip_address("10.1.2.3"))
    assert rules.admit(ip_address("::ffff:10.1.2.3"))
    assert rules.admit(ip_address("fd12::9"))
    assert not rules.admit(ip_address("10.2.0.1"))
    assert not rules.admit(ip_address("fd13::9"))


def test_an_allowed_gateway_does_not_open_the_private_addresses_behind_it() -> None:
    rules = read_rules(allow_private=False, allowed="64:ff9b::/96")
    assert rules.admit(ip_address("64:ff9b::808:808"))
    assert not rules.admit(ip_address("64:ff9b::a00:1"))


def test_an_allowed_name_opens_what_it_resolves_to_and_no_other_name() -> None:
    rules = read_rules(allow_private=False, allowed="Registry.LAN.")
    assert rules.admit_name("registry.lan")
    assert rules.admit(ip_address("10.1.2.3"), "registry.lan")
    assert not rules.admit_name("other.lan")
    assert not rules.admit(ip_address("10.1.2.3"), "other.example")
    assert not rules.admit(ip_address("10.1.2.3"))


def test_a_metadata_name_is_admitted_only_when_it_is_named() -> None:
    metadata = ip_address("169.254.169.254")
    assert not Rules(allow_private=True).admit_name("metadata.google.internal")
    rules = read_rules(allow_private=False, allowed="metadata.google.internal")
    assert rules.admit_name("metadata.google.internal")
    assert rules.admit(metadata, "metadata.google.internal")


@pytest.mark.parametrize("text", ["10.1.2.3/16", "10.1", "a b", "http://registry.lan", "*.lan", "registry.lan:80"])
def test_a_mistyped_list_of_allowed_hosts_stops_the_start(text: str) -> None:
    with pytest.raises(StartupError, match="ALLOWED_PRIVATE_HOSTS"):
        read_rules(allow_private=False, allowed=text)


def test_an_unset_list_allows_nothing() -> None:
    assert read_rules(allow_private=False, allowed=None) == read_rules(allow_private=False, allowed=" , ") == Rules()
