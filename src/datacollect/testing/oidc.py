"""A small identity provider on a real socket: discovery, keys, userinfo, and tokens of every kind, bad ones too.

To clients that are registered with a public key it gives tokens for codes, as eSignet does (`private_key_jwt`).

    async with OidcProvider.running() as idp:
        token = idp.access_token("ada", audience="hub", email="ada@example.org")

It takes one request per connection, and counts what it is asked.
"""

import asyncio
import contextlib
import functools
import hashlib
import hmac
import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

_REGISTRY = JWSRegistry(algorithms=["RS256", "PS256", "ES256"], strict_check_header=False)

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_SPARE: list[RSAKey] = []
"""Keys of providers that are no more. To find the primes of one takes longer than all else that a test does with it."""


def _rsa_key() -> RSAKey:
    """A key, with a name of its own, that no other provider has which is running."""
    key = _SPARE.pop() if _SPARE else RSAKey.generate_key(2048)
    return RSAKey.import_key(key.raw_value, {"kid": secrets.token_hex(8), "use": "sig"})


@functools.cache
def _stranger() -> RSAKey:
    """A key of no provider's."""
    return RSAKey.generate_key(2048)


@dataclass(frozen=True, slots=True)
class _Grant:
    client_id: str
    redirect_uri: str
    challenge: str | None
    tokens: Mapping[str, Any]


class OidcProvider:
    """One issuer. `path` is where it lives below its origin, like a Keycloak realm."""

    def __init__(
        self, *, path: str = "/realms/test", slash: bool = False, now: Callable[[], float] = time.time, port: int = 0
    ) -> None:
        """With `slash` its issuer ends in one, as Auth0's do. `now` gives seconds."""
        self._now = now
        self._path = path
        self._slash = slash
        self._server: asyncio.Server | None = None
        self._news = asyncio.Condition()
        self._port = port
        self.requests: Counter[str] = Counter()
        """How often each of `discovery`, `keys`, `token` and `userinfo` was asked for."""
        self.held: asyncio.Event | None = None
        """While there is one that is not set, answers wait for it: a slow provider."""
        self.broken = False
        """Whether it answers everything with 500."""
        self.discovery: dict[str, Any] = {}
        """Members of the discovery document that are to differ."""
        self.people: dict[str, dict[str, Any] | str] = {}
        """What userinfo says, by opaque token: as JSON, or a text as a token to who takes one (`application/jwt`)."""
        self.clients: dict[str, RSAKey] = {}
        """The public keys of those that may redeem codes, by client id."""
        self.answers: dict[str, tuple[str, Any]] = {}
        """What is answered instead, by name: status and document."""
        self._grants: dict[str, _Grant] = {}
        self._proofs: set[str] = set()
        self._signing: dict[str, RSAKey | ECKey] = {}
        self._published: list[RSAKey | ECKey] = []
        self._own: list[RSAKey] = []
        self.rotate()

    @property
    def time(self) -> int:
        """The time it puts into tokens, in seconds."""
        return int(self._now())

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, **keywords: Any) -> AsyncIterator["OidcProvider"]:
        provider = cls(**keywords)
        await provider.start()
        try:
            yield provider
        finally:
            await provider.stop()
            _SPARE.extend(provider._own)

    async def start(self) -> None:
        """Listen; after `stop` at the same address again."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """From now on connections are refused."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def authority(self) -> str:
        """As a program's config names it."""
        return self.origin + self._path

    @property
    def issuer(self) -> str:
        """As its tokens name it."""
        return self.authority + ("/" if self._slash else "")

    @property
    def asked(self) -> int:
        """How many requests have arrived in all."""
        return self.requests.total()

    async def arrived(self, name: str, *, times: int = 1) -> None:
        """Wait until it has been asked so often."""
        async with self._news:
            await self._news.wait_for(lambda: self.requests[name] >= times)

    def rotate(self, *, keep: bool = False) -> None:
        """Sign with new keys; the old ones are published no longer, unless they are to be kept beside."""
        rsa = _rsa_key()
        self._own.append(rsa)
        elliptic = ECKey.generate_key("P-256", {"kid": secrets.token_hex(8), "use": "sig", "alg": "ES256"})
        self._published = [rsa, elliptic, *(self._published if keep else ())]
        self._signing = {"RS256": rsa, "PS256": rsa, "ES256": elliptic}

    def access_token(self, subject: str = "ada", *, alg: str = "RS256", **claims: Any) -> str:
        """As Keycloak's, with `claims` changed or added; None leaves one out."""
        return self.sign({"typ": "Bearer", "sub": subject, **claims}, alg=alg)

    def id_token(self, subject: str = "ada", *, alg: str = "RS256", **claims: Any) -> str:
        return self.sign({"typ": "ID", "sub": subject, **claims}, alg=alg)

    def grant(
        self, client_id: str, redirect_uri: str, tokens: Mapping[str, Any], *, challenge: str | None = None
    ) -> str:
        """A code, as somebody brings it back who has signed in. It is good for `tokens` once."""
        code = secrets.token_urlsafe(16)
        self._grants[code] = _Grant(client_id, redirect_uri, challenge, tokens)
        return code

    def sign(self, claims: Mapping[str, Any], *, alg: str = "RS256", header: Mapping[str, Any] | None = None) -> str:
        """A token for five minutes. `header` members are changed or added likewise."""
        key = self._signing[alg]
        head = {"alg": alg, "typ": "JWT", "kid": key.kid} | dict(header or {})
        return jwt.encode(_present(head), _present(self._told(claims)), key, registry=_REGISTRY)

    def unsigned(self, claims: Mapping[str, Any]) -> str:
        """With `alg: none`, which means that anybody can have made it."""
        return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(self._told(claims))}."

    def confused(self, claims: Mapping[str, Any]) -> str:
        """Signed with HS256, and as its secret the public key, which everybody has."""
        key = self._signing["RS256"]
        signed = f"{_part({'alg': 'HS256', 'typ': 'JWT', 'kid': key.kid})}.{_part(self._told(claims))}"
        secret = key.as_pem(private=False)
        return f"{signed}.{_base64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

    def forged(self, claims: Mapping[str, Any], *, key_id: str | None = None) -> str:
        """Signed with a key that the provider does not have, under the id of one it has or another."""
        head = {"alg": "RS256", "kid": key_id or self._signing["RS256"].kid}
        return jwt.encode(head, self._told(claims), _stranger(), registry=_REGISTRY)

    @staticmethod
    def signed_anew(token: str) -> str:
        """An ES256 token with its other signature: whoever has one can compute the second, without any key."""
        signed, _, signature = token.rpartition(".")
        raw = urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        other = _P256_ORDER - int.from_bytes(raw[32:], "big")
        return f"{signed}.{_base64(raw[:32] + other.to_bytes(32, 'big'))}"

    def _told(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        issued = self.time
        return {"iss": self.issuer, "iat": issued, "exp": issued + 300} | dict(claims)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            sent = await reader.readexactly(int(_header(head, "content-length") or 0))
            status, document = self._answer(head, dict(parse_qsl(sent.decode(), strict_parsing=bool(sent))))
            async with self._news:
                self._news.notify_all()
            if self.held is not None:
                await self.held.wait()
            is_token = isinstance(document, str) and "application/jwt" in _header(head, "accept")
            body = (document if is_token else json.dumps(document)).encode()
            kind = "application/jwt; charset=UTF-8" if is_token else "application/json"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        writer.close()

    def _answer(self, head: str, form: Mapping[str, str]) -> tuple[str, Any]:
        method, path, _ = head.split(" ", 2)
        named = {
            f"{self._path}/.well-known/openid-configuration": ("discovery", self._about),
            f"{self._path}/keys": ("keys", self._keys),
            f"{self._path}/userinfo": ("userinfo", lambda: self.people.get(_bearer(head))),
            f"{self._path}/token": ("token", lambda: None),
        }
        if path not in named or method != ("POST" if named[path][0] == "token" else "GET"):
            return "404 Not Found", {}
        name, answer = named[path]
        self.requests[name] += 1
        if self.broken:
            return "500 Internal Server Error", {}
        if name in self.answers:
            return self.answers[name]
        if name == "token":
            return self._redeem(form)
        document = answer()
        return ("401 Unauthorized", {}) if document is None else ("200 OK", document)

    def _redeem(self, form: Mapping[str, str]) -> tuple[str, Any]:
        """RFC 6749, 4.1.3 and 5.2; RFC 7523, 3; RFC 7636, 4.6."""
        if not self._is_client(form):
            return "401 Unauthorized", {"error": "invalid_client"}
        if form.get("grant_type") != "authorization_code":
            return "400 Bad Request", {"error": "unsupported_grant_type"}
        grant = self._grants.pop(form.get("code", ""), None)
        if grant is None or (grant.client_id, grant.redirect_uri) != (form["client_id"], form.get("redirect_uri")):
            return "400 Bad Request", {"error": "invalid_grant"}
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if grant.challenge not in (None, _base64(digest)):
            return "400 Bad Request", {"error": "invalid_grant"}
        return "200 OK", {"token_type": "Bearer", "expires_in": 300} | dict(grant.tokens)

    def _is_client(self, form: Mapping[str, str]) -> bool:
        key = self.clients.get(form.get("client_id", ""))
        if key is None or form.get("client_assertion_type") != _ASSERTION_TYPE:
            return False
        try:
            claims = jwt.decode(form.get("client_assertion", ""), key, algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return False
        is_fresh = claims["iat"] <= self.time < claims["exp"] <= self.time + 300 and claims["jti"] not in self._proofs
        self._proofs.add(claims["jti"])
        names = [claims[name] for name in ("iss", "sub", "aud")]
        return is_fresh and names == [form["client_id"], form["client_id"], f"{self.authority}/token"]

    def _about(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.authority}/keys",
            "userinfo_endpoint": f"{self.authority}/userinfo",
            "token_endpoint": f"{self.authority}/token",
        } | self.discovery

    def _keys(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in self._published]}


def _bearer(head: str) -> str:
    return _header(head, "authorization").removeprefix("Bearer ")


def _header(head: str, wanted: str) -> str:
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == wanted:
            return value.strip()
    return ""


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _part(members: Mapping[str, Any]) -> str:
    return _base64(json.dumps(members).encode())


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
