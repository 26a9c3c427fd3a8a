"""Who the client is when proxies stand in front: the one place that reads `X-Forwarded-For`.

By default the header is ignored, because anybody can send it. `TRUST_PROXY` says how far it may be believed.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from itertools import islice

from starlette.types import ASGIApp, Receive, Scope, Send

from datacollect.kernel.errors import StartupError

Trust = Callable[[str, int], bool]
"""Whether the address at that distance is a proxy of ours; 0 is the socket's peer."""

_MOST_HOPS = 100
_WITH_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+)(?=:))(?::[0-9]{1,5})?")
_PRESETS = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "linklocal": ("169.254.0.0/16", "fe80::/10"),
    "uniquelocal": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
}

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_trust_proxy(value: str | None) -> bool | int | tuple[str, ...]:
    """Read `TRUST_PROXY`: unset or empty is False; a boolean; a number of hops; else names or networks."""
    text = (value or "").strip()
    if text in {"", "false"}:
        return False
    if text == "true":
        return True
    if text.isascii() and text.isdigit():
        return int(text)
    return tuple(part.strip() for part in text.split(",") if part.strip())


def trust_rule(value: str | None) -> Trust | None:
    """The rule `TRUST_PROXY` stands for; None when no proxy is trusted. Raises `StartupError` for unknown names."""
    parsed = parse_trust_proxy(value)
    if isinstance(parsed, bool):
        return (lambda _address, _distance: True) if parsed else None
    if isinstance(parsed, int):
        return (lambda _address, distance: distance < parsed) if parsed else None
    networks = [network for part in parsed for network in _networks(part)]
    return lambda address, _distance: _within(address, networks)


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Trust) -> str:
    """The nearest address that is not a proxy of ours, of the nearest hundred; `forwarded_for` holds the header's values
    as sent."""
    claimed = [_without_port(part.strip()) for value in forwarded_for for part in value.split(",")]
    address = peer
    for distance, previous in enumerate(islice(reversed(claimed), _MOST_HOPS)):
        # What is not an address was not written by a proxy of ours; what stands before it cannot be believed either.
        if not trusted(address, distance) or not _is_address(previous):
            break
        address = previous
    return address


def _without_port(text: str) -> str:
    """Some proxies write one: `203.0.113.7:51234`, `[2001:db8::7]:443`."""
    written = _WITH_PORT.fullmatch(text)
    return text if written is None else written["v6"] or written["v4"]


def _networks(part: str) -> list[_Network]:
    try:
        return [ipaddress.ip_network(network, strict=False) for network in _PRESETS.get(part, (part,))]
    except ValueError:
        raise StartupError(
            f"TRUST_PROXY: {part!r} is neither true, false, a number of hops, an address or network, "
            f"nor one of {', '.join(_PRESETS)}"
        ) from None


def _within(address: str, networks: Sequence[_Network]) -> bool:
    if not _is_address(address):
        return False
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class ClientAddress:
    """Middleware that replaces the socket's peer by the client behind trusted proxies."""

    def __init__(self, app: ASGIApp, trusted: Trust) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client"):
            values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
            if values:
                peer, port = scope["client"]
                scope["client"] = (client_address(peer, values, self._trusted), port)
        await self._app(scope, receive, send)
