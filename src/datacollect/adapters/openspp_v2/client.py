"""The REST API of OpenSPP V2, call by call: `/api/v2/spp` below the registry's address."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import quote
from weakref import WeakKeyDictionary

from pydantic import SecretStr

from datacollect.adapters.calling import CallFailed, CallKind, JsonApi, Reply, Retrying
from datacollect.adapters.tokens import ClientCredentials
from datacollect.kernel.clock import Clock, Millis
from datacollect.outgoing import GuardedClient
from datacollect.outgoing.client import Method

BASE = "/api/v2/spp"
PAGE_SIZE = 100
MAX_FIELD_PAGES = 20
TIMEOUT_SECONDS = 30.0
WRITE_SECONDS = 130.0
"""Somewhat longer than the registry's server lets a request run (Odoo's `limit_time_real`)."""

MAX_SIGN_INS, SIGN_IN_WINDOW_MS = 5, 60_000
"""The registry counts by our address, whoever we sign in for."""

MAX_BYTES = 20_000_000  # a page of a hundred people with photos
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 10.0

Sleep = Callable[[float], Awaitable[None]]
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
class StudioFieldList:
    fields: Sequence[StudioField]
    is_truncated: bool


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
    """One registry, as one API client of it. Signs in when it first has to; every call raises `CallFailed`."""

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
        write_seconds: float = WRITE_SECONDS,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._clock, self._write_seconds, self._sleep = clock, write_seconds, sleep
        base = url.rstrip("/").removesuffix(BASE) + BASE
        self._session = _session(outgoing, clock, base, client_id, client_secret)
        self._api = JsonApi(
            outgoing,
            base,
            sign_in=self._session,
            timeout_seconds=timeout_seconds,
            max_bytes=MAX_BYTES,
            retrying=Retrying(
                tries=1 + max_retries,
                first_pause_seconds=_FIRST_WAIT_SECONDS,
                longest_pause_seconds=_LONGEST_WAIT_SECONDS,
            ),
            sleep=sleep,
        )

    async def sign_in(self, *, fresh: bool = False) -> Sequence[str]:
        """The scopes granted. `fresh` asks the registry although a token is held (are these credentials still good?),
        unless it has been asked too often in the last minute."""
        before = self._session.sign_ins
        used = await self._session.headers()
        if fresh and self._session.sign_ins == before and self._session.may_sign_in:
            self._session.forget(used)
            await self._session.headers()
        return self._session.scopes

    async def call(
        self,
        method: Method,
        *path: str,
        what: str,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        if_match: str | None = None,
        repeatable: bool | None = None,
    ) -> Reply:
        """`path` is its parts, each encoded whole; `what` as `JsonApi.call` wants it. `if_match` without quotes."""
        headers = {} if if_match is None else {"if-match": f'"{if_match}"'}
        escaped = "".join(f"/{quote(part, safe='$')}" for part in path)
        return await self._api.call(
            method, escaped, what=what, query=query, json=json, headers=headers, repeatable=repeatable
        )

    async def outlast(self, told_at: Millis | None) -> bool:
        """Wait until what was told then, and not answered, is done or given up. Whether it may have been at work still."""
        seconds = 0.0 if told_at is None else self._write_seconds - (self._clock.now() - told_at) / 1000
        if seconds <= 0:
            return False
        await self._sleep(min(seconds, self._write_seconds))
        return True

    async def studio_fields(self, target_type: TargetType | None = None) -> StudioFieldList:
        """All fields that the API shows, up to `MAX_FIELD_PAGES` pages of them."""
        fields: list[StudioField] = []
        last_id: int | None = None
        for _ in range(MAX_FIELD_PAGES):
            query = {"api_exposed_only": "true", "_count": PAGE_SIZE, "target_type": target_type, "_lastId": last_id}
            page = document(await self.call("GET", "Studio", "fields", what="read the Studio fields", query=query))
            items = _listed(page, "items")
            fields += [_studio_field(item) for item in items if isinstance(item.get("technicalName"), str)]
            next_id = page.get("nextPageId")
            # The last page names a next one as well: the registry gives the number of its last field. That it is short
            # does not tell it: a registry may give fewer at a time than it is asked for.
            if not items or not isinstance(next_id, int) or next_id == last_id:
                return StudioFieldList(fields=fields, is_truncated=False)
            last_id = next_id
        return StudioFieldList(fields=fields, is_truncated=True)

    async def programs(
        self, *, status: str = "active", target_type: TargetType | None = None, name: str | None = None
    ) -> ProgramPage:
        """The first page of programs, `PAGE_SIZE` at most."""
        query = {"_count": PAGE_SIZE, "status": status, "targetType": target_type, "name": name}
        page = document(await self.call("GET", "Program", what="list the programs", query=query))
        # The contract has the name of the list for Studio fields only, which page in the same way.
        items = _listed(page, "items" if "data" not in page else "data")
        links = page.get("links")
        has_next = isinstance(links, dict) and bool(links.get("next"))
        return ProgramPage(
            programs=[program for item in items if (program := _program(item, status))],
            is_truncated=has_next or len(items) >= PAGE_SIZE,
        )


@dataclass(slots=True)
class _SignIns:
    """Those of the last minute, to one registry."""

    times: deque[Millis] = field(default_factory=lambda: deque(maxlen=MAX_SIGN_INS))

    def count(self, now: Millis) -> None:
        """Raises `CallFailed` instead of a call that the registry would refuse, and count."""
        if self.is_spent(now):
            wait = (SIGN_IN_WINDOW_MS - (now - self.times[0])) / 1000
            raise CallFailed(CallKind.THROTTLED, "sign in", retry_after_seconds=wait)
        self.times.append(now)

    def is_spent(self, now: Millis) -> bool:
        # A clock that was set back must not make the window endless.
        return len(self.times) == MAX_SIGN_INS and 0 <= now - self.times[0] < SIGN_IN_WINDOW_MS


class SignInFailed(CallFailed):
    """No token. So the call that needed one has not been made."""

    def __init__(self, failed: CallFailed) -> None:
        super().__init__(failed.kind, failed.what, status=failed.status, retry_after_seconds=failed.retry_after_seconds)
        self.is_passing = failed.is_passing

    @property
    def may_have_arrived(self) -> bool:
        return False


class _Session(ClientCredentials):
    def __init__(
        self, outgoing: GuardedClient, clock: Clock, base: str, client_id: str, secret: SecretStr, limit: _SignIns
    ) -> None:
        super().__init__(outgoing, f"{base}/oauth/token", client_id, secret, clock)
        self._limit = limit
        self.sign_ins = 0

    @property
    def may_sign_in(self) -> bool:
        return not self._limit.is_spent(self._clock.now())

    async def _fetch(self) -> str:
        self._limit.count(self._clock.now())
        self.sign_ins += 1
        try:
            return await super()._fetch()
        except CallFailed as failed:
            if failed.kind in (CallKind.UNREACHABLE, CallKind.REFUSED):
                self._limit.times.pop()  # not one that the registry has counted
            raise SignInFailed(failed) from failed.__cause__


@dataclass(slots=True)
class _Sessions:
    by_client: dict[str, _Session] = field(default_factory=dict)
    limits: dict[str, _SignIns] = field(default_factory=dict)


_MAX_SESSIONS = 1_000
_sessions: WeakKeyDictionary[GuardedClient, _Sessions] = WeakKeyDictionary()
"""Of each outgoing client (a process has one): a session outlives the run that began it, or every run would sign in."""


def _session(outgoing: GuardedClient, clock: Clock, base: str, client_id: str, client_secret: str) -> _Session:
    held = _sessions.setdefault(outgoing, _Sessions())
    key = sha256("\0".join((base, client_id, client_secret)).encode()).hexdigest()
    if key not in held.by_client:
        while len(held.by_client) >= _MAX_SESSIONS:
            held.by_client.pop(next(iter(held.by_client)))
        limit = held.limits.setdefault(base, _SignIns())
        held.by_client[key] = _Session(outgoing, clock, base, client_id, SecretStr(client_secret), limit)
    return held.by_client[key]


def document(reply: Reply) -> Mapping[str, Any]:
    """The answer, which must be an object. Raises `CallFailed`."""
    if not isinstance(reply.document, dict):
        raise CallFailed(CallKind.UNREADABLE, "read the answer", status=reply.status)
    return reply.document


def objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _listed(page: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """What a page lists. Raises `CallFailed` for what is no page: nothing at all is not the same."""
    if not isinstance(page.get(name), list):
        raise CallFailed(CallKind.UNREADABLE, "read the answer")
    return objects(page[name])


def _studio_field(item: Mapping[str, Any]) -> StudioField:
    required = item.get("isRequired")
    options = [
        {"value": str(option["value"]), "label": str(option.get("label") or option["value"])}
        for option in objects(item.get("selectionOptions"))
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
    number, name, code, state = item.get("id"), item.get("name"), item.get("code"), item.get("state")
    has_number = isinstance(number, int) and not isinstance(number, bool)
    identifier = _program_identifier(item.get("identifier"))
    if not isinstance(name, str) or not (identifier or has_number):
        return None
    if not isinstance(state, str):
        is_active = item.get("active")
        state = status if not isinstance(is_active, bool) else "active" if is_active else "ended"
    return Program(
        identifier=identifier,
        id=number if has_number else None,
        name=name,
        code=code if isinstance(code, str) else None,
        state=state,
        target_type=str(item.get("targetType") or ""),
    )


def _program_identifier(told: Any) -> str:
    if isinstance(told, str):
        return told
    first = next(iter(objects(told)), {})
    return f"{first['system']}|{first['value']}" if first.get("system") and first.get("value") else ""
