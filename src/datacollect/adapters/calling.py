"""JSON over HTTP to one other system: signed in, within its time, tried again where that helps and cannot double anything.

What is tried again depends on what went wrong. "Too many" and "unavailable" (429, 503) mean that nothing was done: any call
is made again, after as long as `Retry-After` says. Broken connections, late answers and other 5xx leave open whether it was
done: only calls that may be repeated are. All other answers are final, save one: after a 401 there is a new sign-in, and
one more try.

Few answers say anything about a record: 400, 409, 412, 413 and 422, and 404 and 410 unless something was to be made. All
other 4xx are about the system: a gateway during a deployment, a closed workflow, a quota that is spent. They are not tried
again at once, and the record may well arrive another time.
"""

import asyncio
import email.utils
import random
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import urlencode

from datacollect.adapters.errors import AdapterError, Failure
from datacollect.outgoing import (
    Answer,
    GuardedClient,
    NameUnresolved,
    UpstreamRedirected,
    UpstreamTooLarge,
    UpstreamTooSlow,
    UpstreamUnavailable,
    UpstreamUnreadable,
    UrlRefused,
)
from datacollect.outgoing.client import Method


class CallKind(StrEnum):
    """What went wrong, by what can be done about it."""

    AUTH = "it does not accept the credentials"
    FORBIDDEN = "it does not allow this"
    NOT_FOUND = "it has no such thing"
    CONFLICT = "it says that this conflicts with what it has"
    PRECONDITION = "the record has changed there meanwhile"
    REJECTED = "it does not accept what was sent"
    THROTTLED = "it asks for fewer requests"
    UNAVAILABLE = "it has an error of its own"
    TOO_SLOW = "it did not answer in time"
    UNREACHABLE = "it could not be reached, or broke off"
    UNREADABLE = "its answer is not what its protocol says"
    REFUSED = "the address is not one that the hub calls"


_TEMPORARY = frozenset({CallKind.THROTTLED, CallKind.UNAVAILABLE, CallKind.TOO_SLOW, CallKind.UNREACHABLE})
_UNDONE = frozenset({CallKind.THROTTLED})
_SYSTEMIC = frozenset({CallKind.AUTH, CallKind.THROTTLED, CallKind.REFUSED})

_BY_STATUS = {
    401: CallKind.AUTH,
    403: CallKind.FORBIDDEN,
    404: CallKind.NOT_FOUND,
    408: CallKind.TOO_SLOW,
    409: CallKind.CONFLICT,
    410: CallKind.NOT_FOUND,
    412: CallKind.PRECONDITION,
    425: CallKind.THROTTLED,
    429: CallKind.THROTTLED,
}
_ABOUT_WHAT_WAS_SENT = (400, 413, 422)


class CallFailed(Exception):
    """One call that did not work. Says what was to be done and how it ended, and nothing the other system said."""

    def __init__(
        self,
        kind: CallKind,
        what: str,
        *,
        status: int | None = None,
        retry_after_seconds: float | None = None,
        fields: Collection[str] = (),
    ) -> None:
        self.kind = kind
        self.what = what
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.is_passing = False
        """Of an address that is refused: whether that is for now only, since nobody could be asked for the name. Of an
        answer: whether it says nothing about the record, and is taken to be for now only."""
        self.is_too_large = False
        """Of an answer that is not read: whether that is for its length alone."""
        self.fields = tuple(fields)
        """Names of members that were not accepted, if the other system said so."""
        super().__init__(self.message)

    @property
    def message(self) -> str:
        status = f" ({self.status})" if self.status else ""
        fields = f": {', '.join(self.fields)}" if self.fields else ""
        return f"Could not {self.what}: {self.kind.value}{status}{fields}"

    @property
    def retryable(self) -> bool:
        """Whether the same may work later without anybody changing the record."""
        return self.is_passing or self.kind in _TEMPORARY or self.kind in (CallKind.AUTH, CallKind.FORBIDDEN)

    @property
    def may_have_arrived(self) -> bool:
        """Whether it may have been done all the same."""
        uncertain = self.kind in _TEMPORARY or self.kind is CallKind.UNREADABLE
        return uncertain and self.kind not in _UNDONE and self.status != 503

    @property
    def is_systemic(self) -> bool:
        """Whether every other call would surely end the same way now."""
        return self.kind in _SYSTEMIC or self.status == 503

    def failure(self, code: str, guid: str | None = None) -> Failure:
        return Failure(code=code, message=self.message, retryable=self.retryable, guid=guid)

    def error(self, code: str) -> AdapterError:
        return AdapterError(self.failure(code), retry_after_seconds=self.retry_after_seconds)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    document: Any
    """None if there was no body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """How often a call is made, and how long all that may take."""

    tries: int = 3
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 10.0
    total_seconds: float = 90.0
    """Of one call with all its tries and pauses. A longer `Retry-After` is handed on instead of waited for."""

    def pause_seconds(self, tried: int) -> float:
        """Anything up to a bound that doubles, so that many who failed together do not come back together."""
        bound = min(self.longest_pause_seconds, self.first_pause_seconds * 2 ** (tried - 1))
        return random.uniform(bound / 2, bound)  # noqa: S311 - it spreads load, and guards nothing


class SignIn(Protocol):
    """Gives the headers of a session, signing in if there is none."""

    async def headers(self) -> Mapping[str, str]:
        """Raises `CallFailed`."""

    def forget(self, used: Mapping[str, str]) -> None:
        """What was given is not accepted any more."""


class JsonApi:
    """One other system. `base_url` without a slash at the end, `path` with one at the beginning, escaped."""

    def __init__(
        self,
        client: GuardedClient,
        base_url: str,
        *,
        sign_in: SignIn | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 30.0,
        max_bytes: int = 5_000_000,
        retrying: Retrying = Retrying(),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._base_url = base_url
        self._sign_in = sign_in
        self._headers = {"accept": "application/json", **(headers or {})}
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self._retrying = retrying
        self._sleep = sleep
        self._monotonic = monotonic

    async def call(
        self,
        method: Method,
        path: str,
        *,
        what: str,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        accept: Collection[int] = (),
        timeout_seconds: float | None = None,
        read: Callable[[Answer], Any] = Answer.json,
    ) -> Reply:
        """Make a call; raises `CallFailed` for every status from 400 on that is not among `accept`.

        `what` names it for people, as an infinitive without data: "create a person". `repeatable` says whether doing it
        twice is doing it once; that is taken for granted of everything but POST. Members of `query` that are None are
        left out. `read` gives the document of an answer that has a body, or raises `UpstreamUnreadable`.
        """
        called = {name: value for name, value in (query or {}).items() if value is not None}
        one = _Call(
            method=method,
            url=f"{self._base_url}{path}{'?' + urlencode(called) if called else ''}",
            what=what,
            json=json,
            headers={**self._headers, **(headers or {})},
            repeatable=method != "POST" if repeatable is None else repeatable,
            accept=accept,
            timeout_seconds=timeout_seconds or self._timeout_seconds,
            read=read,
        )
        return await self._with_tries(one)

    async def _with_tries(self, one: "_Call") -> Reply:
        until = self._monotonic() + self._retrying.total_seconds
        tried = 0
        while True:
            tried += 1
            try:
                return await self._signed_in(one, until)
            except CallFailed as failed:
                pause = self._pause(one, failed, tried)
                if pause is None or self._monotonic() + pause >= until:
                    raise
            await self._sleep(pause)

    def _pause(self, one: "_Call", failed: CallFailed, tried: int) -> float | None:
        """How long to wait before the next try; None if there is to be none."""
        helps = failed.kind in _TEMPORARY and (one.repeatable or not failed.may_have_arrived)
        if not helps or tried >= self._retrying.tries:
            return None
        return max(failed.retry_after_seconds or 0.0, self._retrying.pause_seconds(tried))

    async def _signed_in(self, one: "_Call", until: float) -> Reply:
        if self._sign_in is None:
            return await self._once(one, {}, until)
        session = await self._sign_in.headers()
        try:
            return await self._once(one, session, until)
        except CallFailed as failed:
            if failed.kind is not CallKind.AUTH:
                raise
        # It may have forgotten us, or its keys: that is not told apart from wrong credentials, so it is tried once.
        self._sign_in.forget(session)
        return await self._once(one, await self._sign_in.headers(), until)

    async def _once(self, one: "_Call", session: Mapping[str, str], until: float) -> Reply:
        seconds = max(0.05, min(one.timeout_seconds, until - self._monotonic()))
        answer = await send(
            self._client,
            one.method,
            one.url,
            what=one.what,
            json=one.json,
            headers={**one.headers, **session},
            max_bytes=self._max_bytes,
            timeout_seconds=seconds,
        )
        if answer.status not in one.accept:
            if answer.status >= 400:
                raise refusal(answer, one.what, makes=one.method == "POST")
            if answer.status >= 300:  # a redirect to nowhere, say: nothing that says that it was done
                raise CallFailed(CallKind.UNREADABLE, one.what, status=answer.status)
        return Reply(answer.status, answer.headers, _document(answer, one))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    method: Method
    url: str
    what: str
    json: Any
    headers: Mapping[str, str]
    repeatable: bool
    accept: Collection[int]
    timeout_seconds: float
    read: Callable[[Answer], Any]


async def send(
    client: GuardedClient,
    method: Method,
    url: str,
    *,
    what: str,
    json: Any = None,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    max_bytes: int = 5_000_000,
    timeout_seconds: float = 30.0,
) -> Answer:
    """One request, once. Raises `CallFailed` if there is no answer; an answer is an answer whatever its status."""
    try:
        return await client.request(
            method,
            url,
            headers=headers,
            json=json,
            content=content,
            max_bytes=max_bytes,
            timeout_seconds=timeout_seconds,
        )
    except UrlRefused as refused:
        failed = CallFailed(CallKind.REFUSED, what)
        failed.is_passing = isinstance(refused, NameUnresolved) and refused.temporary
        raise failed from refused  # whoever answers a route may say which rule it breaks
    except UpstreamTooSlow:
        raise CallFailed(CallKind.TOO_SLOW, what) from None
    except (UpstreamTooLarge, UpstreamRedirected) as unread:
        failed = CallFailed(CallKind.UNREADABLE, what)
        failed.is_too_large = isinstance(unread, UpstreamTooLarge)
        raise failed from None
    except UpstreamUnavailable:  # an unreadable answer, too: one that breaks off is no HTTP
        raise CallFailed(CallKind.UNREACHABLE, what) from None


def refusal(answer: Answer, what: str, *, makes: bool = False) -> CallFailed:
    """What an answer from 400 on means. `makes` says that something was to be made: what is not there is then no record."""
    kind = _BY_STATUS.get(answer.status, CallKind.UNAVAILABLE if answer.status >= 500 else CallKind.REJECTED)
    is_about_content = kind is CallKind.REJECTED and answer.status in _ABOUT_WHAT_WAS_SENT
    failed = CallFailed(
        kind,
        what,
        status=answer.status,
        retry_after_seconds=_retry_after(answer.headers.get("retry-after", "")),
        fields=_named_fields(answer) if is_about_content else (),
    )
    failed.is_passing = (kind is CallKind.REJECTED and not is_about_content) or (kind is CallKind.NOT_FOUND and makes)
    return failed


def _document(answer: Answer, one: _Call) -> Any:
    if not answer.body.strip():
        return None
    try:
        return one.read(answer)
    except UpstreamUnreadable:
        raise CallFailed(CallKind.UNREADABLE, one.what, status=answer.status) from None


def _retry_after(text: str) -> float | None:
    """Seconds, or a date."""
    if re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII):
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}(?:[.\[][A-Za-z0-9_\]]{1,40}){0,5}", re.ASCII)
_MOST_FIELDS = 5


def _named_fields(answer: Answer) -> list[str]:
    """Which members were not accepted, where the answer is one of two well-known shapes. Names only: texts beside them
    may quote people's data."""
    try:
        document = answer.json()
    except UpstreamUnreadable:
        return []
    if not isinstance(document, dict):
        return []
    listed = document.get("errors") or document.get("detail")
    found = [_field_of(one) for one in listed] if isinstance(listed, list) else []
    return list(dict.fromkeys(name for name in found if name and _FIELD.fullmatch(name)))[:_MOST_FIELDS]


def _field_of(problem: Any) -> str | None:
    if not isinstance(problem, dict):
        return None
    field, place = problem.get("field"), problem.get("loc")
    if isinstance(field, str):
        return field
    return ".".join(map(str, place)) if isinstance(place, list) else None
