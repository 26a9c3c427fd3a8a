"""The HTTP client for addresses that come from people, configs or other systems."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakValueDictionary

import anyio
import httpcore2
import msgspec
import structlog

from datacollect.kernel.canonical import is_too_dense
from datacollect.kernel.errors import DataCollectError
from datacollect.outgoing import bodies
from datacollect.outgoing.addresses import Rules
from datacollect.outgoing.backend import MAX_AGE_SECONDS, CheckedBackend
from datacollect.outgoing.errors import (
    InternalUrl,
    UpstreamRedirected,
    UpstreamTooLarge,
    UpstreamTooSlow,
    UpstreamUnavailable,
    UpstreamUnreadable,
    UrlRefused,
)
from datacollect.outgoing.resolving import Resolver, system_resolver
from datacollect.outgoing.urls import Target, read_url

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

MAX_BYTES = 5_000_000
TIMEOUT_SECONDS = 30.0
MAX_PER_ORIGIN = 8
"""Connections at once; later calls to that system wait. Whoever waits long for one system keeps nobody from another."""
MAX_CONNECTIONS = 200
"""More than all jobs of a process ask for at once, as the settings are by themselves."""
MAX_IDLE = 20
USER_AGENT = "datacollect-hub"

_REDIRECTS = (301, 302, 303, 307, 308)
_KEPT_ACROSS_ORIGINS = ("accept", "accept-language", "user-agent")
_OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)

_BROKEN = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    OSError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
)

_log = structlog.get_logger(component="outgoing")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other system said. Names of headers are in lower case; cookies are left out."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Raises `UpstreamUnreadable` if the body is not JSON, or such that takes far more room than it has."""
        if is_too_dense(self.body):
            raise UpstreamUnreadable
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError):
            raise UpstreamUnreadable from None


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    target: Target
    headers: Mapping[str, str]
    content: bytes | None


class _Progress:
    """How far a request has come, with all its hops."""

    def __init__(self) -> None:
        self.is_sent = False
        """Whether anything has gone out."""

    async def trace(self, event: str, _: Mapping[str, Any]) -> None:
        """Told by the library of all that it does."""
        if event == "http11.send_request_headers.started":
            self.is_sent = True


class GuardedClient:
    """Calls other systems at addresses it has judged, within limits of size and time. Has its own connections.

    Uses no proxy, no cookies and no credentials but those given with a request.
    """

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        resolver: Resolver = system_resolver,
        tls: ssl.SSLContext | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tls` says which certificates to trust: those of the operating system unless given."""
        self._rules = rules or Rules()
        self._backend = CheckedBackend(self._rules, resolver, monotonic=monotonic)
        self._tls = tls
        self._pool: httpcore2.AsyncConnectionPool | None = None
        self._turns: WeakValueDictionary[tuple[str, str, int], asyncio.Semaphore] = WeakValueDictionary()
        """By origin, as long as somebody calls it."""

    async def request(
        self,
        method: Method,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        json: Any = None,
        max_bytes: int = MAX_BYTES,
        timeout_seconds: float = TIMEOUT_SECONDS,
        follow: int = 0,
    ) -> Answer:
        """Send one request and read the whole answer, whatever its status.

        `timeout_seconds` is for everything together, from looking the name up to the last byte. Up to `follow`
        redirects are followed; to another origin only GET and HEAD go on, without credentials. `json` is sent as such
        unless it is None. Raises `UrlRefused` (nothing was sent to the refused address) or `UpstreamUnavailable`.
        """
        told = _log.bind(method=method)
        started = time.perf_counter()
        try:
            target = read_url(url, self._rules)
            told = told.bind(host=target.host)  # and no more: path and query may hold secrets
            call = _Call(method, target, _own_headers(headers, content, json), _content(content, json))
            answer = await self._in_time(call, timeout_seconds, max_bytes, follow)
        except DataCollectError as error:
            told.info("outgoing.finished", code=error.code, ms=_ms_since(started))
            raise
        told.info("outgoing.finished", status=answer.status, bytes=len(answer.body), ms=_ms_since(started))
        return answer

    async def aclose(self) -> None:
        if self._pool:
            await self._pool.aclose()

    async def _in_time(self, call: _Call, seconds: float, max_bytes: int, follow: int) -> Answer:
        progress = _Progress()
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(call, max_bytes, follow, progress)
        except TimeoutError:
            slow = UpstreamTooSlow()
            slow.nothing_sent = not progress.is_sent
            raise slow from None

    async def _follow(self, call: _Call, max_bytes: int, follow: int, progress: _Progress) -> Answer:
        while True:
            async with self._turns.setdefault(call.target.origin, asyncio.Semaphore(MAX_PER_ORIGIN)):
                answer = await self._send(call, max_bytes, progress)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            if follow <= 0:
                raise UpstreamRedirected
            follow -= 1
            call = _redirected(call, answer, self._rules)

    async def _send(self, call: _Call, max_bytes: int, progress: _Progress) -> Answer:
        try:
            response = await self._opened().handle_async_request(_on_the_wire(call, progress))
            try:
                return await _read(response, call.method, max_bytes)
            finally:
                try:
                    _retire_if_more_came(response)
                finally:
                    await response.aclose()
        except httpcore2.LocalProtocolError:
            raise UrlRefused("A header to be sent contains characters that HTTP does not allow") from None
        except httpcore2.TimeoutException as error:
            slow = UpstreamTooSlow()
            slow.nothing_sent = isinstance(error, (httpcore2.ConnectTimeout, httpcore2.PoolTimeout))
            raise slow from None
        except _BROKEN as error:
            raise _unavailable(error) from None

    def _opened(self) -> httpcore2.AsyncConnectionPool:
        if self._pool is None:  # not earlier: reading the system's certificates takes a while, and most never call
            self._pool = httpcore2.AsyncConnectionPool(
                ssl_context=self._tls or httpcore2.default_ssl_context(),
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=MAX_IDLE,
                keepalive_expiry=MAX_AGE_SECONDS,
                network_backend=self._backend,
            )
        return self._pool


def _own_headers(headers: Mapping[str, str] | None, content: bytes | None, json: Any) -> dict[str, str]:
    own = {name.lower(): value for name, value in (headers or {}).items()}
    for name in own:
        if name in _OURS or name.startswith("proxy-"):
            raise UrlRefused(f"The header {name} cannot be set")
    if json is not None and content is None:
        own.setdefault("content-type", "application/json")
    own.setdefault("accept", "*/*")
    own.setdefault("user-agent", USER_AGENT)
    return own


def _content(content: bytes | None, json: Any) -> bytes | None:
    return msgspec.json.encode(json) if content is None and json is not None else content


def _on_the_wire(call: _Call, progress: _Progress) -> httpcore2.Request:
    target = call.target
    headers = {"host": target.authority, **call.headers, "accept-encoding": bodies.ACCEPTED}
    if call.content is not None or call.method in ("POST", "PUT", "PATCH"):
        headers["content-length"] = str(len(call.content or b""))
    try:
        encoded = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    except UnicodeEncodeError:
        raise httpcore2.LocalProtocolError from None
    url = httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    told = {"trace": progress.trace}
    return httpcore2.Request(call.method, url, headers=encoded, content=call.content or b"", extensions=told)


async def _read(response: httpcore2.Response, method: str, max_bytes: int) -> Answer:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name not in ("set-cookie", "set-cookie2"):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes and method != "HEAD":
        raise UpstreamTooLarge
    async with aclosing(response.aiter_stream()) as chunks:
        return Answer(response.status, headers, await bodies.read_body(chunks, headers, max_bytes))


def _retire_if_more_came(response: httpcore2.Response) -> None:
    """Bytes behind the answer would be read as the answer to the next request on that connection."""
    stream: Any = response.stream
    try:
        # The library keeps the parser to itself, with what it has taken in beyond the answer.
        taken, _ = stream._stream._connection._h11_state.trailing_data
        holds_more = bool(taken)
    except AttributeError:
        holds_more = True  # a version that calls it otherwise: nobody can tell
    if holds_more:
        response.extensions["network_stream"].retire()


def _redirected(call: _Call, answer: Answer, rules: Rules) -> _Call:
    """The request to make next. Raises `InternalUrl` if it leads inside, `UpstreamRedirected` for all else amiss."""
    try:
        target = call.target.join(answer.headers["location"], rules)
    except InternalUrl:
        raise
    except UrlRefused:
        raise UpstreamRedirected from None
    if call.target.scheme == "https" and target.scheme == "http":
        raise UpstreamRedirected
    method, content, headers = call.method, call.content, dict(call.headers)
    if (answer.status == 303 and method != "HEAD") or (answer.status in (301, 302) and method == "POST"):
        method, content = "GET", None
        headers.pop("content-type", None)
    if target.origin != call.target.origin:
        if method not in ("GET", "HEAD"):
            raise UpstreamRedirected
        headers = {name: value for name, value in headers.items() if name in _KEPT_ACROSS_ORIGINS}
        content = None
    return _Call(method, target, headers, content)


def _unavailable(error: Exception) -> UpstreamUnavailable:
    # The library keeps what it translates as an argument only.
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args):
        untrusted = UpstreamUnavailable("The other system's certificate is not valid for its name, or not trusted.")
        untrusted.nothing_sent = True
        return untrusted
    if isinstance(error, httpcore2.RemoteProtocolError):
        return UpstreamUnreadable()
    broken = UpstreamUnavailable()
    broken.nothing_sent = isinstance(error, httpcore2.ConnectError)
    return broken


def _ms_since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
