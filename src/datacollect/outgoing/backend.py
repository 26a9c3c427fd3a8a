"""The network layer of the HTTP client: names are looked up once, and connections go to addresses that were checked."""

import asyncio
import math
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from itertools import zip_longest
from typing import Any

import anyio
import httpcore2

from datacollect.outgoing.addresses import IpAddress, Rules, plain
from datacollect.outgoing.errors import InternalUrl, NameUnresolved
from datacollect.outgoing.resolving import Resolver

LOOK_UP_SECONDS = 10.0
CONNECT_SECONDS = 5.0
MAX_ATTEMPTS = 4
READ_BYTES = 16 * 1024
"""At once: what is there is parsed in one go, and nobody else has a turn meanwhile."""

REUSED_BYTES = READ_BYTES
"""Read for one answer: after longer ones a connection is not used again. Pieces of this size may end where the answer does,
with more of them waiting in the layers below, where nobody sees it."""

MAX_AGE_SECONDS = 60.0
"""How long a connection is used for further requests, and so how long a changed name goes unnoticed."""


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses only, except for what the rules open. Knows no proxies and no unix sockets."""

    def __init__(self, rules: Rules, resolve: Resolver, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._resolve = resolve
        self._monotonic = monotonic
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is the library's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        failure: Exception = httpcore2.ConnectError()
        for address in _alternating(await self._checked(host))[:MAX_ATTEMPTS]:
            try:
                # An address, not the name: nothing is left to look up, here or in the libraries below.
                stream = await self._network.connect_tcp(str(address), port, timeout=CONNECT_SECONDS)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return AgingStream(stream, self._monotonic() + MAX_AGE_SECONDS, self._monotonic)
        raise failure

    async def _checked(self, host: str) -> Sequence[IpAddress]:
        """The addresses of the host. If one is internal none is given: which is used is not left to chance."""
        try:
            address = ip_address(host)
        except ValueError:
            found = await self._look_up(host)
            admitted = all(self._rules.admit(address, host) for address in found)
        else:
            found, admitted = [address], self._rules.admit(address)
        if not admitted:
            raise InternalUrl
        return [plain(address) for address in found]

    async def _look_up(self, name: str) -> Sequence[IpAddress]:
        if not self._rules.admit_name(name):
            raise InternalUrl
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                found = await self._resolve(name)
        except TimeoutError:
            raise NameUnresolved(temporary=True) from None
        except OSError as error:
            raise NameUnresolved(temporary=error.errno == socket.EAI_AGAIN) from None
        if not found:
            raise NameUnresolved(temporary=False)
        return found

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise InternalUrl

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class AgingStream(httpcore2.AsyncNetworkStream):
    """A connection that the pool takes for closed by the other side once it is old enough, or holds what nobody asked for:
    that would be read as the answer to the next request, whoever sends it."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, use_until: float, monotonic: Callable[[], float]) -> None:
        self._stream = stream
        self._use_until = use_until
        self._monotonic = monotonic
        self._read_bytes = 0
        """Since something was sent last."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        taken = await self._stream.read(min(max_bytes, READ_BYTES), timeout)
        self._read_bytes += len(taken)
        return taken

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._read_bytes = 0
        await self._stream.write(buffer, timeout)

    def retire(self) -> None:
        """Not used for another request."""
        self._use_until = -math.inf

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            # The library closes it when the handshake fails, but not when the deadline comes first.
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
            raise
        return AgingStream(stream, self._use_until, self._monotonic)

    def get_extra_info(self, info: str) -> Any:
        # The pool asks this of an idle connection before each use: readable means that the other side has hung up.
        if info == "is_readable":
            if self._read_bytes >= REUSED_BYTES or self._holds_more():
                self.retire()
            if self._monotonic() > self._use_until:
                return True
        return self._stream.get_extra_info(info)

    def _holds_more(self) -> bool:
        """Whether TLS has taken in more than was read: the socket does not tell of that."""
        tls = self._stream.get_extra_info("ssl_object")
        if tls is None:
            return False
        try:
            tls.read(1)
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            return True
        return True


def _alternating(addresses: Sequence[IpAddress]) -> Sequence[IpAddress]:
    """One of each kind in turn, beginning with the first's: where one kind does not work, the other is near."""
    first = [address for address in addresses if address.version == addresses[0].version]
    other = [address for address in addresses if address.version != addresses[0].version]
    return [address for pair in zip_longest(first, other) for address in pair if address]
