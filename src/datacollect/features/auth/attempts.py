"""Attempts to sign in: who has how many left, counted in the database, and how a flood of them is kept cheap.

A failure counts for the address and for the account; a success gives its count back. `docs/decisions/0023-throttling.md`
says why, and what keeps an attacker from locking an account's owner out.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from datacollect.db import Reading, Tx
from datacollect.features.auth import queries
from datacollect.features.auth.errors import SignInsBusy
from datacollect.features.auth.model import WINDOW_SECONDS, account_hash
from datacollect.jobs import Lookout, Visitors
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.errors import TooManyRequests
from datacollect.kernel.rates import Allowance, Rate
from datacollect.kernel.source import site_of

_WINDOW_MILLIS = WINDOW_SECONDS * 1000
_FAMILIAR_MILLIS = 90 * 86_400_000
_MOST_REMEMBERED = 10_000
_REMEMBERED_MILLIS = 30_000
"""How long attempts that other processes give back go unnoticed here."""

SITE_ATTEMPTS = 8
"""How many times the limit of an address a /48 of IPv6 has: more than one, for a site may have many people."""

MOST_WAITING = 32

_REST = 2
"""How much longer than a check of a password the pause after it is, while more wait and somebody else is at work."""


@dataclass(frozen=True, slots=True)
class Quota:
    """So many attempts in 15 minutes under one key, such as `login:ip:192.0.2.7`."""

    key: str
    limit: int


@dataclass(frozen=True, slots=True)
class Counted:
    """What an attempt left of a quota."""

    quota: Quota
    count: int
    began: Millis
    allowance: Allowance

    @property
    def given_back(self) -> Allowance:
        """As it is once the attempt has been taken back."""
        return replace(self.allowance, remaining=self.allowance.remaining + 1)

    @property
    def is_first_refusal(self) -> bool:
        """Told once per window: a flood must not fill the log."""
        return self.count == self.quota.limit + 1


def address_quotas(bucket: str, origin: str, *, limit: int) -> Sequence[Quota]:
    """What is counted for where somebody is: for the origin, and of IPv6 for the /48 around it."""
    own, site = Quota(f"{bucket}:ip:{origin}", limit), site_of(origin)
    return [own] if site is None else [own, Quota(f"{bucket}:ip:{site}", SITE_ATTEMPTS * limit)]


def login_quotas(origin: str, *, limit: int) -> Sequence[Quota]:
    return address_quotas("login", origin, limit=limit)


async def account_quota(view: Reading, email: str, origin: str, *, secret: bytes, limit: int, now: Millis) -> Quota:
    """What a typed e-mail is counted under, whether or not it is anybody's.

    From where its account has signed in before it is counted apart, so that strangers cannot use the owner's up.
    """
    account = account_hash(email, secret=secret)
    familiar = await is_familiar(view, account, origin, now=now)
    return Quota(f"login:account:{account}:{origin}" if familiar else f"login:account:{account}", limit)


async def count_attempt(tx: Tx, *quotas: Quota, now: Millis) -> Sequence[Counted]:
    """Count one attempt under each quota, in one statement: of attempts at the same time none slips through."""
    counts = await queries.count_attempts(tx, [quota.key for quota in quotas], now=now, window_millis=_WINDOW_MILLIS)
    if any(count == 1 for count, _ in counts.values()):
        await queries.delete_ended_attempts(tx, now=now, window_millis=_WINDOW_MILLIS)
    return [_counted(quota, *counts[quota.key], now=now) for quota in quotas]


async def spare_site(tx: Tx, of_address: Sequence[Counted]) -> Sequence[Counted]:
    """What counts of an attempt that `address_quotas` were counted for. One that is refused for its origin does not count
    for the site: else one client that goes on asking would use up what its neighbours have."""
    own, *site = of_address
    if not site or not own.allowance.exceeded:
        return of_address
    await give_back(tx, site)
    return [own]


async def give_back(tx: Tx, counted: Sequence[Counted]) -> None:
    """Take an attempt back that was no failure. Where others may have been refused meanwhile: `Throttle.give_back`."""
    await queries.give_back(tx, {one.quota.key: one.began for one in counted})


async def note_success(tx: Tx, email: str, origin: str, *, secret: bytes, now: Millis) -> None:
    """The account has signed in from there."""
    await note_familiar(tx, account_hash(email, secret=secret), origin, now=now)


async def is_familiar(view: Reading, account: str, origin: str, *, now: Millis) -> bool:
    """Whether there was a sign-in from there lately. `account` is a keyed hash."""
    return await queries.is_familiar(view, account, origin, since=Millis(now - _FAMILIAR_MILLIS))


async def note_familiar(tx: Tx, account: str, origin: str, *, now: Millis) -> None:
    await queries.note_familiar(tx, account, origin, now=now)
    await queries.forget_familiar(tx, before=Millis(now - _FAMILIAR_MILLIS))


def _counted(quota: Quota, count: int, began: Millis, *, now: Millis) -> Counted:
    # What callers are told is the first part of the key: the rest may be a hash of what somebody has typed.
    allowance = Allowance(
        Rate(quota.key.partition(":")[0], quota.limit, WINDOW_SECONDS),
        remaining=max(0, quota.limit - count),
        reset_seconds=_seconds_until(Millis(began + _WINDOW_MILLIS), now),
        exceeded=count > quota.limit,
    )
    return Counted(quota, count, began, allowance)


def _seconds_until(instant: Millis, now: Millis) -> int:
    return max(1, -(-(instant - now) // 1000))


@dataclass(frozen=True, slots=True)
class _UsedUp:
    """A quota that was used up when somebody was last refused for it."""

    error: type[TooManyRequests]
    allowance: Allowance
    ends_at: Millis
    refused_at: Millis


class Throttle:
    """What one process does about floods by itself; implements the port.

    A key that has used up its attempts is remembered for a while, so refusing it again costs no statement. Not until its
    window ends: some may have been under way in another process, which gives them back.
    """

    def __init__(self, clock: Clock, *, at_once: int, others: Visitors, most_waiting: int = MOST_WAITING) -> None:
        self._clock = clock
        self._used_up: OrderedDict[str, _UsedUp] = OrderedDict()
        self._turns = asyncio.Semaphore(at_once)
        self._others = Lookout(others)
        self._waiting = 0
        self._most_waiting = most_waiting

    def check(self, key: str) -> None:
        """Raises what the key was refused with, as long as that is remembered and its window lasts."""
        held = self._used_up.get(key)
        if held is None:
            return
        now = self._clock.now()
        # A window that ends far ahead was counted with a clock that has been set right since.
        if not (0 < held.ends_at - now <= _WINDOW_MILLIS and 0 <= now - held.refused_at < _REMEMBERED_MILLIS):
            del self._used_up[key]
            return
        allowance = replace(held.allowance, reset_seconds=_seconds_until(held.ends_at, now))
        raise held.error(headers=allowance.headers())

    def refuse(self, counted: Counted, error: type[TooManyRequests]) -> TooManyRequests:
        """The refusal of a quota that is used up; remembers it."""
        self._used_up.pop(counted.quota.key, None)
        if len(self._used_up) >= _MOST_REMEMBERED:
            self._used_up.popitem(last=False)
        ends_at = Millis(counted.began + _WINDOW_MILLIS)
        self._used_up[counted.quota.key] = _UsedUp(error, counted.allowance, ends_at, self._clock.now())
        return error(headers=counted.allowance.headers())

    async def give_back(self, tx: Tx, counted: Sequence[Counted]) -> None:
        """Take attempts back that were no failures: whoever was refused because of them had not used theirs up."""
        await give_back(tx, counted)
        tx.after_commit(partial(self._relent, [one.quota.key for one in counted]))

    async def give_back_earlier(self, tx: Tx, quotas: Sequence[Quota], *, counted_at: Millis) -> None:
        """Take one back of each quota that was counted then by another request, unless its window is over, and all that
        were refused: the next one is not."""
        limits = {quota.key: quota.limit for quota in quotas}
        await queries.give_back_earlier(tx, limits, counted_at=counted_at)
        tx.after_commit(partial(self._relent, list(limits)))

    def _relent(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._used_up.pop(key, None)

    def require_room(self) -> None:
        """Raises `SignInsBusy` when so many wait for a turn that another one would not get one."""
        if self._waiting >= self._most_waiting:
            raise SignInsBusy(headers={"Retry-After": "2"})

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A place at the threads that check passwords. Raises `SignInsBusy` when many wait for one already.

        While more wait, and somebody is here for something else, a place stays empty for twice as long as it was taken:
        a flood gets a third of what the threads can do, and the rest of the machine is for those who are signed in.
        """
        self.require_room()
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            yield
        finally:
            is_anybody_else_there = self._others.is_anybody_there()
            if self._waiting and is_anybody_else_there:
                loop.call_later(_REST * (loop.time() - began), self._turns.release)
            else:
                self._turns.release()
