"""Where a request comes from, as far as the hub keeps it."""

import ipaddress
from dataclasses import dataclass

_LONGEST_USER_AGENT = 200
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Where a network that has only IPv6 puts all of IPv4. Source: RFC 6052."""


@dataclass(frozen=True, slots=True)
class Source:
    """`origin` is whom attempts are counted for; see `origin_of`."""

    origin: str
    request_id: str | None = None
    user_agent: str | None = None


AT_THE_COMMAND_LINE = Source("command line")
"""Where commands come from."""


def origin_of(address: str) -> str:
    """Whom attempts from an address are counted for: itself, but of IPv6 the /64 that one customer gets."""
    if ":" not in address:
        return address
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip in _NAT64:
        return str(ipaddress.IPv4Address(ip.packed[-4:]))
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))


def site_of(origin: str) -> str | None:
    """The /48 that an origin of IPv6 is in: a subscriber, or a tunnel that costs nothing, may have all of its 65,536. None
    for any other."""
    if ":" not in origin:
        return None
    try:
        return str(ipaddress.ip_network(origin).supernet(new_prefix=48))
    except ValueError:
        return None


def shown_user_agent(header: str | None) -> str | None:
    """What a client calls itself, fit to be stored and shown: anybody can write anything there."""
    if header is None:
        return None
    return "".join(letter for letter in header if letter.isprintable()).strip()[:_LONGEST_USER_AGENT] or None
