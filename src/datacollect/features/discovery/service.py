"""Asks registries for their fields and programs, for somebody who configures a program."""

import asyncio
import math
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import SecretStr

from datacollect.adapters.calling import CallFailed, CallKind
from datacollect.adapters.errors import Failure
from datacollect.adapters.openspp_v1.odoo import Odoo
from datacollect.adapters.openspp_v2.client import ProgramPage, RegistryClient, StudioFieldList
from datacollect.features.discovery.caching import Answers
from datacollect.features.discovery.errors import (
    OdooFetchFailed,
    ProgramsFailed,
    RegistryThrottled,
    SignInFailed,
    StudioFieldsFailed,
)
from datacollect.features.discovery.model import Option, RemoteField, fields_of_odoo, relation_of
from datacollect.kernel.clock import Clock
from datacollect.kernel.errors import TooManyRequests
from datacollect.kernel.rates import Rate, Windows
from datacollect.outgoing import GuardedClient, UrlRefused

CALLS_OUT = Rate("discovery", 10, 60)
"""Per account. What the cache answers does not count."""
TOTAL_SECONDS = 30.0
"""For everything a question takes."""
OPTIONS_SECONDS = 10.0
"""Of those, for what can be chosen in relations: the fields are told without what takes longer."""
MOST_RELATIONS = 20
MOST_OPTIONS = 100
"""A relation to more records than that is chosen by searching, not from a list."""

_ATTRIBUTES = ("type", "string", "required", "selection", "relation")
_RELATIONS_AT_ONCE = 4

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class OdooAsked:
    url: str
    database: str
    username: str
    password: SecretStr
    model: str
    fields: Sequence[str] | None
    attributes: Sequence[str]
    relation_options: bool

    def as_key(self) -> list[Any]:
        """All of it, for the cache's digest."""
        return [
            "odoo", self.url, self.database, self.username, self.password.get_secret_value(), self.model,
            None if self.fields is None else list(self.fields), list(self.attributes), self.relation_options,
        ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SppClient:
    url: str
    client_id: str
    client_secret: SecretStr

    def as_key(self) -> list[Any]:
        return [self.url, self.client_id, self.client_secret.get_secret_value()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramsAsked:
    status: Literal["active", "ended"] = "active"
    target_type: Literal["individual", "group"] | None = None
    name: str | None = None


class RegistryReader:
    """One per process: it keeps answers for a minute, and counts who makes it call out.

    Every method raises `UrlRefused` (400), `TooManyRequests`, or what it names. `caller` is the account.
    """

    def __init__(self, client: GuardedClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._answers = Answers(clock)
        self._calls = Windows(CALLS_OUT)

    async def odoo_fields(self, caller: str, asked: OdooAsked) -> Sequence[RemoteField]:
        """Raises `OdooFetchFailed`."""

        async def ask() -> Sequence[RemoteField]:
            self._count(caller)
            return await _in_time(self._odoo_fields(asked), "read the fields")

        try:
            return await self._answers.get(asked.as_key(), ask)
        except CallFailed as failed:
            raise OdooFetchFailed(_failure(failed)) from None

    async def sign_in(self, caller: str, client: SppClient) -> Sequence[str]:
        """The scopes that the registry grants now: never from the cache, for that is what is asked. Raises `CallFailed`."""
        self._count(caller)
        try:
            return await _in_time(self._registry(client).sign_in(fresh=True), "sign in")
        except CallFailed as failed:
            _require_callable(failed)
            raise

    async def studio_fields(self, caller: str, client: SppClient) -> StudioFieldList:
        """Raises `StudioFieldsFailed`."""

        async def ask() -> StudioFieldList:
            self._count(caller)
            return await self._studio_fields(client)

        try:
            return await self._answers.get(["studio", *client.as_key()], ask)
        except CallFailed as failed:
            raise StudioFieldsFailed(_failure(failed)) from None

    async def programs(self, caller: str, client: SppClient, asked: ProgramsAsked) -> ProgramPage:
        """Raises `SignInFailed`, `ProgramsFailed`."""

        async def ask() -> ProgramPage:
            self._count(caller)
            return await self._programs(client, asked)

        return await self._answers.get(["programs", *client.as_key(), asked.status, asked.target_type, asked.name], ask)

    def _count(self, caller: str) -> None:
        allowance = self._calls.count(caller, now=self._clock.now())
        if allowance.exceeded:
            raise TooManyRequests(headers=allowance.headers(), success=False)

    async def _odoo_fields(self, asked: OdooAsked) -> Sequence[RemoteField]:
        odoo = Odoo(
            self._client,
            asked.url.rstrip("/"),
            database=asked.database,
            username=asked.username,
            password=asked.password,
            tries=1,
        )
        await odoo.sign_in()
        attributes = list(dict.fromkeys((*_ATTRIBUTES, *asked.attributes)))
        described = await odoo.fields_get(asked.model, asked.fields, attributes, what="read the fields")
        options = await _relation_options(odoo, described) if asked.relation_options else {}
        return fields_of_odoo(described, options)

    async def _studio_fields(self, client: SppClient) -> StudioFieldList:
        return await _in_time(self._registry(client).studio_fields(), "read the Studio fields")

    async def _programs(self, client: SppClient, asked: ProgramsAsked) -> ProgramPage:
        registry, until = self._registry(client), _end()
        try:
            await _in_time(registry.sign_in(), "sign in", until)
        except CallFailed as failed:
            raise SignInFailed(_failure(failed)) from None
        found = registry.programs(status=asked.status, target_type=asked.target_type, name=asked.name)
        try:
            return await _in_time(found, "list the programs", until)
        except CallFailed as failed:
            raise ProgramsFailed(_failure(failed)) from None

    def _registry(self, client: SppClient) -> RegistryClient:
        return RegistryClient(
            self._client,
            self._clock,
            url=client.url,
            client_id=client.client_id,
            client_secret=client.client_secret.get_secret_value(),
            max_retries=0,
        )


def _end() -> float:
    """When everything that one request asks has to be answered."""
    return asyncio.get_running_loop().time() + TOTAL_SECONDS


async def _in_time(asking: Awaitable[_T], what: str, until: float | None = None) -> _T:
    try:
        async with asyncio.timeout_at(until or _end()):
            return await asking
    except TimeoutError:
        raise CallFailed(CallKind.TOO_SLOW, what) from None


def _failure(failed: CallFailed) -> Failure:
    """What to tell. Raises `UrlRefused`, `RegistryThrottled`."""
    _require_callable(failed)
    if failed.kind is CallKind.THROTTLED:
        seconds = math.ceil(failed.retry_after_seconds or 60)
        raise RegistryThrottled(headers={"Retry-After": str(max(1, seconds))})
    return failed.failure(reason_of(failed))


def reason_of(failed: CallFailed) -> str:
    """What went wrong, as codes name it. Who signs in at an address where nothing is has a wrong address."""
    return (CallKind.NOT_FOUND if failed.status in (404, 410) else failed.kind).name


def _require_callable(failed: CallFailed) -> None:
    """A URL that the hub does not call is the caller's mistake, and raises as that."""
    refused = failed.__cause__
    if isinstance(refused, UrlRefused):
        refused.extra.setdefault("success", False)
        raise refused from None


async def _relation_options(odoo: Odoo, described: Mapping[str, Any]) -> Mapping[str, Sequence[Option]]:
    """What can be chosen in relations, by the name of the related model: of those that are short and may be read."""
    models = dict.fromkeys(filter(None, map(relation_of, described.values())))
    turns = asyncio.Semaphore(_RELATIONS_AT_ONCE)
    until = asyncio.get_running_loop().time() + OPTIONS_SECONDS

    async def options_of(model: str) -> Sequence[Option] | None:
        try:
            async with asyncio.timeout_at(until), turns:
                return await _options_of(odoo, model)
        except TimeoutError:
            return None

    asked = list(models)[:MOST_RELATIONS]
    found = await asyncio.gather(*map(options_of, asked))
    return {model: options for model, options in zip(asked, found, strict=True) if options is not None}


async def _options_of(odoo: Odoo, model: str) -> Sequence[Option] | None:
    try:
        rows = await odoo.search_read(
            model, [], ["display_name"], what="read what can be chosen", limit=MOST_OPTIONS + 1
        )
    except CallFailed:
        return None  # not ours to read, say; the field itself is known all the same
    if len(rows) > MOST_OPTIONS:
        return None
    return [Option(row["id"], label if isinstance(label := row.get("display_name"), str) else "") for row in rows]
