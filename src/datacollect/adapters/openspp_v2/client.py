"""The REST API of OpenSPP V2, call by call: `/api/v2/spp` below the registry's address.

Signs in when it first has to. Texts of errors are ours; see `errors`.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import quote, urlencode

from datacollect.adapters.openspp_v2.errors import (
    Away,
    CallFailed,
    Conflict,
    Missing,
    NotPermitted,
    Refused,
    Stale,
    TooLarge,
    TooMany,
    Unauthenticated,
)
from datacollect.adapters.openspp_v2.signing_in import RENEW_BEFORE_MS, Token, token_key, tokens_of
from datacollect.kernel.clock import Clock, Millis
from datacollect.outgoing import (
    Answer,
    GuardedClient,
    InternalUrl,
    UpstreamTooLarge,
    UpstreamTooSlow,
    UpstreamUnavailable,
    UrlRefused,
)

BASE = "/api/v2/spp"
PAGE_SIZE = 100
MAX_FIELD_PAGES = 20
TIMEOUT_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 30.0
"""What a registry asks us to wait at most, or it counts as away."""

_FIRST_WAIT_SECONDS, _MAX_WAIT_SECONDS = 1.0, 10.0
_DEFAULT_LIFE_SECONDS = 3600
_FIELD_NAMES = re.compile(
    r"identifier|active|name|given|family|middle|text|birthDate|birthDateEstimated|gender|telecom|address|line|city|district|state"
    r"|postalCode|country|photo|extension|groupType|quantity|member|role|entity|requestType|registrant|detail|program_id"
)

Method = Literal["GET", "POST", "PATCH", "PUT"]
Pause = Callable[[float], Awaitable[None]]
TargetType = Literal["individual", "group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioField:
    """A field that the registry's own people added."""

    technical_name: str
    label: str
    field_type: str
    target_type: str
    is_required: bool | None
    options: Sequence[Mapping[str, str]] | None
    """`value` and `label` of each, where the field is a choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    identifier: str
    """`system|value`."""
    id: int | None
    """The registry's own number. Newer ones hide it."""
    name: str
    code: str | None
    state: str
    target_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramPage:
    programs: Sequence[Program]
    is_truncated: bool


class RegistryClient:
    """One registry, as one API client of it."""

    def __init__(
        self,
        outgoing: GuardedClient,
        clock: Clock,
        *,
        url: str,
        client_id: str,
        client_secret: str,
        max_retries: int = 2,
        timeout_seconds: float = TIMEOUT_SECONDS,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._outgoing, self._clock, self._pause = outgoing, clock, pause
        self._base = url.rstrip("/").removesuffix(BASE) + BASE
        self._client_id, self._client_secret = client_id, client_secret
        self._max_retries, self._timeout_seconds = max_retries, timeout_seconds
        self._key = token_key(self._base, client_id, client_secret)
        self.calls = 0
        """Requests made, sign-ins included."""

    async def sign_in(self, *, fresh: bool = False) -> Token:
        """The token in use. `fresh` asks the registry whatever we hold: are these credentials still accepted?"""
        return await self._token(fresh=fresh)

    async def get(
        self, *path: str, operation: str, query: Mapping[str, Any] | None = None, max_bytes: int = 5_000_000
    ) -> Any:
        return (await self.call("GET", path, operation=operation, query=query, max_bytes=max_bytes)).json

    async def call(
        self,
        method: Method,
        path: Sequence[str],
        *,
        operation: str,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        if_match: str | None = None,
        repeat: bool = True,
        max_bytes: int = 5_000_000,
    ) -> "Reply":
        """Make one call. `path` is its parts, each of them encoded whole; `operation` says in errors what was tried.

        With `repeat`, a registry in trouble is asked again a few times; without, it may have done what it did not
        answer. Raises `CallFailed`.
        """
        url = self._url(path, query)
        headers = {"accept": "application/json"}
        if if_match is not None:
            headers["if-match"] = f'"{if_match}"'
        waits = self._waits() if repeat else iter(())
        while True:
            try:
                answer = await self._signed_in(method, url, headers, json, max_bytes, operation)
                return _read(answer, operation)
            except (Away, TooMany) as error:
                wait = next(waits, None)
                if wait is None or (error.retry_after_seconds or 0) > LONGEST_WAIT_SECONDS:
                    raise
                await self._pause(max(wait, error.retry_after_seconds or 0))

    async def studio_fields(self, target_type: TargetType | None = None) -> Sequence[StudioField]:
        """All fields that the API shows, up to `MAX_FIELD_PAGES` pages of them."""
        fields: list[StudioField] = []
        last_id: int | None = None
        for _ in range(MAX_FIELD_PAGES):
            query = {"api_exposed_only": "true", "_count": PAGE_SIZE, "target_type": target_type, "_lastId": last_id}
            page = _object(await self.get("Studio", "fields", operation="Reading the Studio fields", query=query))
            items = _objects(page.get("items"))
            fields += [_studio_field(item) for item in items if isinstance(item.get("technicalName"), str)]
            next_id = page.get("nextPageId")
            # A full list names its last field as the next page's begin as well.
            if not items or not isinstance(next_id, int) or next_id == last_id or len(items) < PAGE_SIZE:
                return fields
            last_id = next_id
        return fields

    async def programs(
        self, *, status: str = "active", target_type: TargetType | None = None, name: str | None = None
    ) -> ProgramPage:
        """The first page of programs, `PAGE_SIZE` at most."""
        query = {"_count": PAGE_SIZE, "status": status, "targetType": target_type, "name": name}
        page = _object(await self.get("Program", operation="Listing the programs", query=query))
        items = _objects(page.get("data"))
        links = page.get("links")
        has_next = isinstance(links, dict) and bool(links.get("next"))
        return ProgramPage(
            programs=[program for item in items if (program := _program(item, status))],
            is_truncated=has_next or len(items) >= PAGE_SIZE,
        )

    def _url(self, path: Sequence[str], query: Mapping[str, Any] | None) -> str:
        url = "/".join([self._base, *(quote(part, safe="$") for part in path)])
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        return f"{url}?{urlencode(asked, quote_via=quote)}" if asked else url

    def _waits(self) -> Iterator[float]:
        for attempt in range(self._max_retries):
            longest = min(_FIRST_WAIT_SECONDS * 2**attempt, _MAX_WAIT_SECONDS)
            yield longest * random.uniform(0.5, 1.0)  # noqa: S311 - so that all who were turned away do not come back together

    async def _signed_in(
        self, method: Method, url: str, headers: Mapping[str, str], json: Any, max_bytes: int, operation: str
    ) -> Answer:
        """One request with a token; a token that is not accepted is replaced once, at once."""
        token = await self._token()
        answer = await self._send(method, url, headers, json, max_bytes, token, operation)
        if answer.status != 401:
            return answer
        token = await self._token(refused=token)
        return await self._send(method, url, headers, json, max_bytes, token, operation)

    async def _send(
        self,
        method: Method,
        url: str,
        headers: Mapping[str, str],
        json: Any,
        max_bytes: int,
        token: Token | None,
        operation: str,
    ) -> Answer:
        authorised = {**headers, "authorization": f"Bearer {token.text}"} if token else headers
        self.calls += 1
        try:
            return await self._outgoing.request(
                method, url, headers=authorised, json=json, max_bytes=max_bytes, timeout_seconds=self._timeout_seconds
            )
        except InternalUrl:
            raise Refused(f"{operation}: the host name is not known, or leads to an internal address.") from None
        except UrlRefused as error:
            raise Refused(f"{operation}: {error}") from None
        except UpstreamTooLarge:
            raise TooLarge(f"{operation}: the registry's answer is too large.") from None
        except UpstreamTooSlow:
            raise Away(f"{operation}: the registry did not answer in time.") from None
        except UpstreamUnavailable as error:
            raise Away(f"{operation}: {error}") from None

    async def _token(self, *, refused: Token | None = None, fresh: bool = False) -> Token:
        return await tokens_of(self._outgoing).get(
            self._key, self._base, self._clock, self._ask_for_token, refused=refused, fresh=fresh
        )

    async def _ask_for_token(self) -> Token:
        operation = "Signing in"
        body = {"grant_type": "client_credentials", "client_id": self._client_id, "client_secret": self._client_secret}
        url = f"{self._base}/oauth/token"
        answer = await self._send("POST", url, {"accept": "application/json"}, body, 100_000, None, operation)
        if answer.status in (400, 401):
            raise Unauthenticated(
                "Signing in: the registry does not accept the client id and secret.", status=answer.status
            )
        if answer.status == 403:
            raise NotPermitted("Signing in: the registry does not let this client in.", status=403)
        if answer.status == 404:
            raise Missing("Signing in: there is no OpenSPP V2 API at this address.", status=404)
        said = _object(_read(answer, operation).json)
        text, life, scope = said.get("access_token"), said.get("expires_in"), said.get("scope")
        if not isinstance(text, str) or not text or not text.isascii() or not text.isprintable():
            raise Refused("Signing in: the registry's answer holds no token.")
        return Token(text, tuple(scope.split()) if isinstance(scope, str) else (), self._expiry(life))

    def _expiry(self, life: Any) -> Millis:
        seconds = (
            life
            if isinstance(life, (int, float)) and not isinstance(life, bool) and life > 0
            else _DEFAULT_LIFE_SECONDS
        )
        # A token that lives for less than we renew before its end is used for half of its life.
        return Millis(int(self._clock.now() + max(seconds * 1000 - RENEW_BEFORE_MS, seconds * 500)))


@dataclass(frozen=True, slots=True)
class Reply:
    """What a registry that did what it was asked for said."""

    json: Any
    etag: str | None


def _read(answer: Answer, operation: str) -> Reply:
    if answer.status >= 300:
        raise _failure(answer, operation)
    try:
        return Reply(answer.json() if answer.body else None, _etag(answer.headers.get("etag")))
    except UpstreamUnavailable:
        raise Away(f"{operation}: the registry's answer could not be read.", status=answer.status) from None


def _failure(answer: Answer, operation: str) -> CallFailed:
    status = answer.status
    match status:
        case 401:
            return Unauthenticated(f"{operation}: the registry does not accept its own token.", status=status)
        case 403:
            return NotPermitted(
                f"{operation}: access denied. Check the API client's scopes, and consent.", status=status
            )
        case 404:
            return Missing(f"{operation}: not found in the registry.", status=status)
        case 409:
            return Conflict(f"{operation}: the registry reports a conflict.", status=status)
        case 412:
            return Stale(f"{operation}: the record has changed in the registry.", status=status)
        case 429:
            wait = _retry_after(answer.headers.get("retry-after"))
            return TooMany(f"{operation}: the registry is asked too often.", status=status, retry_after_seconds=wait)
        case 400 | 422:
            return Refused(f"{operation}: the registry does not accept it{_named_fields(answer)}.", status=status)
        case _ if status >= 500 or status == 408:
            wait = _retry_after(answer.headers.get("retry-after"))
            return Away(f"{operation}: the registry is in trouble ({status}).", status=status, retry_after_seconds=wait)
        case _:
            return Refused(f"{operation}: the registry refuses it ({status}).", status=status)


def _named_fields(answer: Answer) -> str:
    """Which fields it complains of, by names that we know: anything else could be somebody's data."""
    try:
        said = answer.json()
    except UpstreamUnavailable:
        return ""
    names: list[str] = []
    if isinstance(said, dict):
        for error in _objects(said.get("errors")):
            names += str(error.get("field")).split(".")
        for error in _objects(said.get("detail")):
            names += [str(part) for part in error.get("loc") or [] if isinstance(part, str)]
    known = list(dict.fromkeys(name for name in names if _FIELD_NAMES.fullmatch(name)))[:10]
    return f" ({', '.join(known)})" if known else ""


def _retry_after(text: str | None) -> float | None:
    """Seconds, from a number of them or a date."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _etag(text: str | None) -> str | None:
    return text.removeprefix("W/").strip('"') or None if text else None


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Away("The registry's answer is not what was asked for.")
    return value


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _studio_field(item: Mapping[str, Any]) -> StudioField:
    required = item.get("isRequired")
    options = [
        {"value": str(option["value"]), "label": str(option.get("label") or option["value"])}
        for option in _objects(item.get("selectionOptions"))
        if "value" in option
    ]
    return StudioField(
        technical_name=item["technicalName"],
        label=str(item.get("label") or item["technicalName"]),
        field_type=str(item.get("fieldType") or "text"),
        target_type=str(item.get("targetType") or "both"),
        is_required=required if isinstance(required, bool) else None,
        options=options or None,
    )


def _program(item: Mapping[str, Any], status: str) -> Program | None:
    """As either generation of the registry tells it: with its number and state, or with identifiers and `active`."""
    number, name, code = item.get("id"), item.get("name"), item.get("code")
    identifier = item.get("identifier")
    if not isinstance(identifier, str):
        first = next(iter(_objects(identifier)), {})
        identifier = f"{first['system']}|{first['value']}" if "system" in first and "value" in first else ""
    if not isinstance(name, str) or not (identifier or isinstance(number, int)):
        return None
    state = item.get("state")
    if not isinstance(state, str):
        state = {True: "active", False: "ended"}.get(item.get("active"), status)  # type: ignore[arg-type]
    return Program(
        identifier=identifier,
        id=number if isinstance(number, int) and not isinstance(number, bool) else None,
        name=name,
        code=code if isinstance(code, str) else None,
        state=state,
        target_type=str(item.get("targetType") or ""),
    )
