"""Reads a URL in the one way that is then used to judge it and to connect: no other parser sees it.

Strict where parsers differ (backslashes, user-info, odd spellings of numbers, characters beyond ASCII in the host): what
two programs can read in two ways is refused, not interpreted.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import quote, urljoin

from datacollect.outgoing.addresses import IpAddress, Rules, ends_in_number, is_name, plain, read_v4
from datacollect.outgoing.errors import InternalUrl, UrlRefused

MAX_URL_LENGTH = 2048

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PARTS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)(?:#.*)?")
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

# The ports browsers never send HTTP to, because what listens there could take a request for its own language: mail,
# printers, remote shells, … (the list of the Fetch standard).
_BAD_PORTS_TEXT = """
0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 135
137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 995 1719
1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080
"""
_BAD_PORTS = frozenset(map(int, _BAD_PORTS_TEXT.split()))


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `host` is ASCII in lower case, an IPv6 address without brackets; `path` has the query."""

    scheme: str
    host: str
    port: int
    path: str
    address: IpAddress | None
    """The host, if it is an address."""

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    def join(self, location: str, rules: Rules) -> "Target":
        """Where a redirect leads; judged as if it had been sent."""
        _check_characters(location)  # before `urljoin`, which drops some silently
        try:
            return read_url(urljoin(self.url, location), rules)
        except ValueError:
            raise UrlRefused from None


def read_url(text: str, rules: Rules) -> Target:
    """Raises `UrlRefused` for a URL that cannot be read in one way only, `InternalUrl` for one that leads inside."""
    _check_characters(text)
    parts = _PARTS.fullmatch(text)
    if not parts:
        raise UrlRefused
    scheme = parts["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise UrlRefused("The URL must begin with http:// or https://")
    if "@" in parts["authority"]:
        raise UrlRefused("The URL must not contain a user name or password")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if not authority:
        raise UrlRefused
    port = _DEFAULT_PORTS[scheme] if authority["port"] is None else int(authority["port"])
    address = _read_address(authority["host"].lower())
    if address:
        host = str(address)
        if not rules.admit(address):
            raise InternalUrl
    else:
        host = _read_name(authority["host"].lower(), rules)
    if port in _BAD_PORTS or port > 65535:
        raise UrlRefused("The URL names a port that is not used for HTTP")
    rest = parts["rest"] if parts["rest"].startswith("/") else f"/{parts['rest']}"
    return Target(scheme, host, port, quote(rest, safe=_PRINTABLE), address)


def require_url(text: str) -> None:
    """Raises `UrlRefused` for what cannot be read as the URL of another system. Where it leads is not judged."""
    with suppress(InternalUrl):
        read_url(text, Rules(allow_private=True))


def host_of(text: str) -> str | None:
    """Whom a URL names, for logs; None for one that the hub does not read. Nothing is judged."""
    try:
        return read_url(text, Rules(allow_private=True)).host
    except UrlRefused:
        return None


def _check_characters(text: str) -> None:
    if len(text) > MAX_URL_LENGTH:
        raise UrlRefused("The URL is too long")
    if "\\" in text or not text.isprintable() or any(character.isspace() for character in text):
        raise UrlRefused("The URL contains a backslash, a space or a control character")


def _read_address(host: str) -> IpAddress | None:
    if host.startswith("["):
        try:
            return None if "%" in host else plain(IPv6Address(host[1:-1]))
        except AddressValueError:
            return None
    host = host.removesuffix(".")
    address = read_v4(host) if ends_in_number(host) else None
    if address and str(address) != host and Rules().admit(address):
        # Whether 010.0.0.1 is 8.0.0.1 or 10.0.0.1 depends on who reads it.
        raise UrlRefused("Write the IP address as four decimal numbers")
    return address


def _read_name(host: str, rules: Rules) -> str:
    name = host.removesuffix(".")
    if not name.isascii():
        raise UrlRefused("Write the host name in ASCII (names in other scripts begin with xn--)")
    if not is_name(name):
        raise UrlRefused("The URL does not contain a valid host name")
    if not rules.admit_name(name):
        raise InternalUrl
    return name
