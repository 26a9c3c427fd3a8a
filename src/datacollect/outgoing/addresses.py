"""Which addresses and host names the hub may connect to. Pure judgement; nothing is looked up here."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from datacollect.kernel.errors import StartupError

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


class Standing(Enum):
    """What an address is to the hub."""

    PUBLIC = auto()
    PRIVATE = auto()
    """An organisation's own network, or this machine: allowed where an operator says so."""
    SPECIAL = auto()
    """No place where a service has its address. Opened by naming the network only."""
    METADATA = auto()
    """Hands a cloud machine's credentials to whoever asks. Opened by naming the very address only."""


_PRIVATE_V4 = [IPv4Network(text) for text in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]  # fmt: skip
_SPECIAL_V4 = [
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # "this host": reaches loopback on many systems
        "169.254.0.0/16",  # link-local
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation, as the next two of the kind
        "192.88.99.0/24",  # relays from 6to4
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]

_PRIVATE_V6 = [IPv6Network("::1/128"), IPv6Network("fc00::/7")]
_GLOBAL_V6 = IPv6Network("2000::/3")
"""All there is of public IPv6. What lies outside (link-local, site-local, multicast, translated IPv4, …) is special."""
_SPECIAL_V6 = [
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation, as 3fff::
        "2002::/16",  # 6to4: leads to the IPv4 address inside
        "3fff::/20",
    )
]

_CARRIES_V4 = [IPv6Network(text) for text in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")]
"""IPv6 that ends in an IPv4 address: compatible, and translated in three ways."""

_METADATA: frozenset[IpAddress] = frozenset(
    {
        IPv4Address("169.254.169.254"),  # nearly everywhere
        IPv4Address("169.254.170.2"),  # AWS, credentials of containers
        IPv4Address("169.254.170.23"),
        IPv4Address("168.63.129.16"),  # Azure; a public address by its number
        IPv4Address("100.100.100.200"),  # Alibaba
        IPv4Address("192.0.0.192"),  # Oracle
        IPv4Address("169.254.42.42"),  # Scaleway
        IPv6Address("fd00:ec2::254"),  # AWS
        IPv6Address("fd00:ec2::23"),
        IPv6Address("fd20:ce::254"),  # Google
        IPv6Address("fd00:42::42"),  # Scaleway
        IPv6Address("fd00:a9fe:a9fe::1"),  # Akamai, that was Linode
    }
)
_METADATA_NAMES = frozenset(
    {"instance-data", "instance-data.ec2.internal", "metadata", "metadata.goog", "metadata.google.internal"}
)
_INTERNAL_SUFFIXES = (".arpa", ".corp", ".home", ".internal", ".intranet", ".lan", ".local", ".localdomain", ".localhost")  # fmt: skip

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NAME_LENGTH = 253


def plain(address: IpAddress) -> IpAddress:
    """The address that a connection really goes to: IPv4 where it is written as IPv6, without a zone."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def standing(address: IpAddress) -> Standing:
    address = plain(address)
    if address in _METADATA or any(inner in _METADATA for inner in embedded(address)):
        return Standing.METADATA
    if isinstance(address, IPv4Address):
        if _within(address, _SPECIAL_V4):
            return Standing.SPECIAL
        return Standing.PRIVATE if _within(address, _PRIVATE_V4) else Standing.PUBLIC
    if _is_isatap(address):
        return Standing.SPECIAL
    if _within(address, _PRIVATE_V6):
        return Standing.PRIVATE
    return Standing.PUBLIC if address in _GLOBAL_V6 and not _within(address, _SPECIAL_V6) else Standing.SPECIAL


def embedded(address: IpAddress) -> Iterator[IPv4Address]:
    """The IPv4 addresses to which a gateway may pass on what is sent to this IPv6 address."""
    if isinstance(address, IPv4Address):
        return
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    if _within(address, _CARRIES_V4) or _is_isatap(address):
        yield IPv4Address(int(address) & 0xFFFFFFFF)


def _within(address: IpAddress, networks: Iterable[IpNetwork]) -> bool:
    return any(address in network for network in networks)


def _is_isatap(address: IPv6Address) -> bool:
    return int(address) >> 32 & 0xFDFFFFFF == 0x00005EFE


def is_name(text: str) -> bool:
    """Whether it can be a host's name: lower case, no dot at the end, and no way to write a number."""
    return len(text) <= _NAME_LENGTH and bool(_NAME.fullmatch(text)) and not ends_in_number(text)


def ends_in_number(host: str) -> bool:
    """Whether some system takes the host for an IPv4 address: the rule that browsers follow."""
    return bool(_NUMBER.fullmatch(host.rpartition(".")[2]))


def read_v4(host: str) -> IPv4Address | None:
    """Read any spelling of an IPv4 address (decimal, hexadecimal, octal, short), as the C library does."""
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        *first, last = [_number(part) for part in parts]
    except ValueError:
        return None
    if any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        return None
    return IPv4Address(sum(number << 8 * (3 - place) for place, number in enumerate(first)) + last)


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)


@dataclass(frozen=True, slots=True)
class Rules:
    """What of the inside an operator has opened. The default is nothing."""

    allow_private: bool = False
    names: frozenset[str] = frozenset()
    networks: tuple[IpNetwork, ...] = ()

    def admit_name(self, name: str) -> bool:
        """Whether the name may be looked up at all."""
        if name in self.names:
            return True
        if name in _METADATA_NAMES:
            return False
        # A name without a dot is looked up in the search domain of the hub's own network.
        return self.allow_private or not ("." not in name or name.endswith(_INTERNAL_SUFFIXES))

    def admit(self, address: IpAddress, name: str | None = None) -> bool:
        """Whether to connect to the address, which was found under `name` unless it was written as it is."""
        address = plain(address)
        found = standing(address)
        if found is Standing.PUBLIC or self._named(address):
            return True
        if found is Standing.METADATA:
            return name in self.names and name in _METADATA_NAMES
        if name in self.names or (self.allow_private and found is Standing.PRIVATE):
            return True
        # To open a gateway's network is not to open all that lies behind it.
        return _within(address, self.networks) and all(map(self.admit, embedded(address)))

    def _named(self, address: IpAddress) -> bool:
        return any(network.num_addresses == 1 and address == network.network_address for network in self.networks)


def read_rules(*, allow_private: bool, allowed: str | None) -> Rules:
    """Read `ALLOWED_PRIVATE_HOSTS`: names, addresses and networks. Raises `StartupError` for anything else."""
    names: set[str] = set()
    networks: list[IpNetwork] = []
    for item in (part.strip().lower() for part in (allowed or "").split(",")):
        if is_name(item.removesuffix(".")):
            names.add(item.removesuffix("."))
        elif item:
            networks.append(_network(item))
    return Rules(allow_private, frozenset(names), tuple(networks))


def _network(item: str) -> IpNetwork:
    try:
        return ip_network(item)
    except ValueError:
        raise StartupError(
            f"ALLOWED_PRIVATE_HOSTS: {item!r} is neither a host name, an address nor a network such as 10.1.0.0/16"
        ) from None
