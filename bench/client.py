"""The hub under test, spoken to over HTTP as its clients speak to it."""

import contextlib
import ipaddress
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from bench.payload import Body, program_config

# Below the server's own keep-alive, so that no request is sent on a connection the server is just closing.
_KEEP_ALIVE_SECONDS = 2
_JSON = {"Content-Type": "application/json"}


class BenchError(Exception):
    """The run cannot go on; the message says why, in words for the terminal."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`outcome` is the status code, or the name of what went wrong; `seconds` includes reading the whole body."""

    outcome: str
    body: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Credentials:
    email: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(...)"


def loopback_url(url: str) -> str:
    """The URL without a trailing slash, if it leads to this machine and nowhere else.

    Raises `BenchError` otherwise: a load driver pointed at somebody's server by mistake is an attack.
    """
    parts = urlsplit(url)
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise BenchError(f"not an address: {url}") from None
    if parts.scheme != "http" or not host or parts.username or parts.path not in ("", "/") or parts.query:
        raise BenchError(f"expected http://<loopback address>:<port>, not {url}")
    if not is_loopback(host):
        raise BenchError(f"{host} is not this machine: the load driver only talks to loopback addresses")
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    # Names are not resolved: what a name leads to can change between the check and the connection.
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HubClient:
    """One signed-in administrator. Programs made here are archived when the client closes."""

    def __init__(self, url: str, credentials: Credentials, *, timeout_seconds: float) -> None:
        self._url = loopback_url(url)
        self.credentials = credentials
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession
        self._signed: dict[str, str] = {}
        self._programs: set[str] = set()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
            trust_env=False,
        )
        try:
            await self.sign_in()
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in sorted(self._programs):
            with contextlib.suppress(BenchError):
                await self.archive_program(program)
        await self._session.close()

    @property
    def signed(self) -> Mapping[str, str]:
        """The headers that say who this is."""
        return self._signed

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        signed: bool = True,
        headers: Mapping[str, str] | None = None,
        form: aiohttp.FormData | None = None,
        unpacks: bool = True,
    ) -> Answer:
        """One timed request. `path` goes out as it is written, as the real clients put a cursor into it unescaped."""
        own = {**(self._signed if signed else {}), **(_JSON if body is not None else {}), **(headers or {})}
        url = URL(self._url + path, encoded=True)
        raw, begun = b"", time.perf_counter()
        try:
            async with self._session.request(
                method,
                url,
                data=body if form is None else form,
                headers=own,
                allow_redirects=False,
                auto_decompress=unpacks,
            ) as response:
                raw = await response.read()
                outcome = str(response.status)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            outcome = type(error).__name__
        return Answer(outcome, raw, time.perf_counter() - begun)

    async def stream(self, path: str, *, piece_bytes: int = 256 * 1024) -> AsyncIterator[bytes]:
        """A long answer, piece by piece, however long it takes. Raises `BenchError` unless it is whole."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=self._timeout_seconds)
        try:
            url = URL(self._url + path, encoded=True)
            async with self._session.get(url, headers=self._signed, timeout=timeout) as response:
                if response.status != 200:
                    raise BenchError(f"GET {path}: {response.status} {_shown(await response.read())}")
                async for piece in response.content.iter_chunked(piece_bytes):
                    yield piece
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise BenchError(f"GET {path}: {type(error).__name__}") from error

    async def get_json(self, path: str) -> Any:
        """A request outside any measurement. Raises `BenchError` unless the answer is 200."""
        answer = await self.send("GET", path)
        if answer.outcome != "200":
            raise BenchError(f"GET {path}: {answer.outcome} {_shown(answer.body)}")
        return msgspec.json.decode(answer.body)

    async def sign_in(self) -> None:
        """Anew after what may have taken longer than the hour that a token is good for. Raises `BenchError`."""
        answer = await self.login()
        if answer.outcome != "200":
            raise BenchError(f"no login at {self._url}: {answer.outcome} {_shown(answer.body)}")
        self._signed = {"Authorization": f"Bearer {msgspec.json.decode(answer.body)['token']}"}

    async def login(self) -> Answer:
        credentials = {"email": self.credentials.email, "password": self.credentials.password}
        return await self.send("POST", "/api/users/login", msgspec.json.encode(credentials), signed=False)

    async def push(self, body: Body) -> Answer:
        return await self.send("POST", "/api/sync/push", body.data)

    async def pull(self, config_id: str, *, since: str = "", limit: int = 0) -> Answer:
        """One page; `limit` 0 leaves the page size to the server."""
        size = f"&limit={limit}" if limit else ""
        return await self.send("GET", f"/api/sync/pull?since={since}&configId={config_id}{size}")

    async def make_program(self, purpose: str, **more: Any) -> str:
        """`more` members of its config stand beside those of the sample program."""
        config_id = f"bench-{purpose}-{uuid.uuid4().hex[:8]}"
        form = aiohttp.FormData()
        form.add_field(
            "config", program_config(config_id, **more), filename="config.json", content_type="application/json"
        )
        answer = await self.send("POST", "/api/apps", form=form)
        if answer.outcome != "200":
            raise BenchError(f"the program was refused: {answer.outcome} {_shown(answer.body)}")
        self._programs.add(config_id)
        return config_id

    def keep_program(self, config_id: str) -> None:
        """Do not archive it at the end."""
        self._programs.discard(config_id)

    async def archive_program(self, config_id: str) -> None:
        self._programs.discard(config_id)
        answer = await self.send("DELETE", f"/api/apps/{config_id}")
        if answer.outcome != "200":
            raise BenchError(f"{config_id} was not archived: {answer.outcome} {_shown(answer.body)}")

    async def count_entities(self, config_id: str) -> int:
        found = await self.get_json(f"/api/entities/count?configId={config_id}")
        return int(found["count"])


def acknowledged(answer: Answer, body: Body) -> int:
    """Events the answer says are stored; servers before v2 send no number, and mean all of them."""
    if answer.outcome != "200":
        return 0
    said = msgspec.json.decode(answer.body)
    applied = said.get("applied") if isinstance(said, dict) else None
    return applied if isinstance(applied, int) else body.events


def _shown(body: bytes) -> str:
    return body[:300].decode(errors="replace")
