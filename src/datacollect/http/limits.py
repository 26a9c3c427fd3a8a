"""How much may be asked of the hub at once and in a minute, as data; and the middleware that holds callers to it.

`CLASSES` says for every route which limits it has. Callers are counted by their account once that is known, else by
where they come from. Syncing has no rate: a device fetches a whole programme in thousands of requests one after the
other. What is limited there, as for everything an account does, is how many of its requests are worked on at once. So is
what an address does while nobody knows whose it is: whoever sends or reads slowly takes no more than their own places.
"""

import asyncio
import contextlib
import functools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datacollect.http.errors import render
from datacollect.http.fairness import FairTurns
from datacollect.jobs import Visitors
from datacollect.jobs.giving_way import Metered
from datacollect.kernel.clock import Clock
from datacollect.kernel.errors import DataCollectError, TooManyRequests, Unavailable
from datacollect.kernel.rates import Allowance, Rate, Windows
from datacollect.kernel.source import origin_of

PUBLIC = Rate("public", 60, 900)
"""Of the contract."""

OPEN_SHARE = 5
"""An address may ask open routes for this part of what an account may."""
FAILURE_SHARE = 20
"""An address may come without a known account this part as often as an account may come."""

_WINDOW_SECONDS = 60
_MOST_CREDENTIALS = 10_000
_LONGEST_REMEMBERED = 256
"""Characters of a path: anybody may send such as have tens of thousands, which would stay in memory for months."""

ACCOUNT_LINE = 512
ACCOUNT_PATIENCE_SECONDS = 15.0
SIGN_INS_AT_ONCE = 32
ADDRESS_SIGN_INS_AT_ONCE = 8
"""Of one address: an office's agents sign in one after the other anyway."""
SIGN_IN_LINE = 400
SIGN_IN_PATIENCE_SECONDS = 15.0
LINE = 2000
PATIENCE_SECONDS = 10.0
"""How many requests wait, and for how long, when as many as may are being worked on."""


class TooManyStrangers(TooManyRequests):
    """Too many requests without a valid token have come from your address. Try again later."""

    code = "TOO_MANY_FAILED_AUTHENTICATIONS"
    help = "Wait as long as the header `Retry-After` says, then send a valid token."


class TooManyAtOnce(TooManyRequests):
    """Too many requests of this account are waiting to be worked on."""

    code = "TOO_MANY_AT_ONCE"
    help = "Send fewer requests at the same time; send this one again after `Retry-After`."


class TooManyFromAddress(TooManyRequests):
    """Too many requests from your address are waiting to be worked on."""

    code = "TOO_MANY_AT_ONCE_FROM_ADDRESS"
    help = "Send fewer requests at the same time; send this one again after `Retry-After`."


class HubBusy(Unavailable):
    """The hub has more to do than it can take on just now."""

    code = "HUB_BUSY"
    help = "Send the same again after `Retry-After`; repeating is safe."


class Limited(Enum):
    """What limits a class of routes, beside the number of requests that the hub works on at once."""

    NOT = "not at all: it must answer when nothing else does"
    IN_THE_DATABASE = "attempts per address and account, counted in the database; how many of an address, and together, are worked on at once"
    BY_ADDRESS = "requests per address, and how many of it are worked on at once"
    BY_ACCOUNT = "requests per account, and how many of it are worked on at once; failures per address"
    AT_ONCE = "how many requests of an account are worked on at once; failures per address"


@dataclass(frozen=True, slots=True)
class RouteClass:
    """Routes with the same limits. A `*` in the middle of a pattern stands for one part of the path, at the end for
    the rest of it."""

    name: str
    patterns: tuple[str, ...]
    limited: Limited

    def holds(self, path: str) -> bool:
        return any(_matches(pattern, path) for pattern in self.patterns)


CLASSES = (
    RouteClass("health", ("/health", "/health/*"), Limited.NOT),
    RouteClass("sync", ("/api/sync/pull", "/api/sync/pull/*", "/api/sync/push", "/api/sync/push/*"), Limited.AT_ONCE),
    RouteClass(
        "sign-in", ("/api/users/login", "/api/users/login/provider", "/api/users/refresh"), Limited.IN_THE_DATABASE
    ),
    RouteClass(
        "citizens' sign-in",
        ("/api/auth/otp/request", "/api/auth/otp/verify", "/api/auth/id/verify", "/api/auth/oidc/exchange"),
        Limited.IN_THE_DATABASE,
    ),
    RouteClass("public", ("/api/apps/*/public",), Limited.BY_ADDRESS),
    RouteClass(
        "open",
        ("/api/users/logout", "/api/users/login/providers", "/api/auth/oidc/nonce", "/api/attachments/*/file"),
        Limited.BY_ADDRESS,
    ),
    RouteClass("account", ("/api/*",), Limited.BY_ACCOUNT),
    RouteClass("open", ("*",), Limited.BY_ADDRESS),
)
"""The first that holds a path is its class."""


def class_of(path: str) -> RouteClass:
    return _remembered_class(path) if len(path) <= _LONGEST_REMEMBERED else _found_class(path)


def _found_class(path: str) -> RouteClass:
    return next(found for found in CLASSES if found.holds(path))


_remembered_class = functools.lru_cache(maxsize=1024)(_found_class)


def _matches(pattern: str, path: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return path == pattern
    if not after:
        return path.startswith(before)
    part = path[len(before) : -len(after)]
    return path == before + part + after and part != "" and "/" not in part


class Gate:
    """Lets so many in at once. Others wait in line, in the order in which they came, for as long as patience lasts."""

    def __init__(self, capacity: int, *, line: int, patience_seconds: float) -> None:
        self.capacity = capacity
        self.inside = 0
        self._line = line
        self._patience_seconds = patience_seconds
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_empty(self) -> bool:
        return self.inside == 0 and not self._waiting

    def try_enter(self) -> bool:
        if self.inside >= self.capacity:
            return False
        self.inside += 1
        return True

    async def enter(self) -> bool:
        """Whether there was room before patience ended. Whoever is in must `leave`."""
        if self.try_enter():
            return True
        if len(self._waiting) >= self._line:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._patience_seconds):
                await turn
        except TimeoutError:
            # The turn may have been given in the very moment in which patience ended.
            return not turn.cancelled()
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.leave()
            raise
        finally:
            if turn.cancelled():
                with contextlib.suppress(ValueError):
                    self._waiting.remove(turn)
        return True

    def leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.inside -= 1


class Gates:
    """A gate for each key, kept as long as somebody is inside or waits."""

    def __init__(self, capacity: int, *, line: int, patience_seconds: float) -> None:
        self._capacity = capacity
        self._line = line
        self._patience_seconds = patience_seconds
        self._open: dict[str, Gate] = {}

    def of(self, key: str) -> Gate:
        gate = self._open.get(key)
        if gate is None:
            gate = Gate(self._capacity, line=self._line, patience_seconds=self._patience_seconds)
            self._open[key] = gate
        return gate

    async def enter(self, key: str) -> Gate | None:
        """The gate, which whoever is in must leave by `left`; None if there was no room before patience ended."""
        gate = self.of(key)
        try:
            return gate if await gate.enter() else None
        finally:
            self._let_go_if_empty(key, gate)  # who was to be the only one inside may have been cancelled

    def left(self, key: str, gate: Gate) -> None:
        gate.leave()
        self._let_go_if_empty(key, gate)

    def _let_go_if_empty(self, key: str, gate: Gate) -> None:
        if gate.is_empty:
            self._open.pop(key, None)


class RequestLimits:
    """Middleware. Refuses before anything else is looked at, so that what is too much costs little."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        clock: Clock,
        requests_per_minute: int,
        account_at_once: int,
        at_once: int,
        visitors: Visitors,
        working: Visitors,
        is_own_token: Callable[[str], bool],
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`is_own_token`: whether the hub has made a token itself, and it has not run out."""
        self._app = app
        self.clock = clock
        self._is_own_token = is_own_token
        self._visitors = visitors
        self._working = working
        self.accounts = Gates(account_at_once, line=ACCOUNT_LINE, patience_seconds=ACCOUNT_PATIENCE_SECONDS)
        self.addresses = Gates(account_at_once, line=ACCOUNT_LINE, patience_seconds=ACCOUNT_PATIENCE_SECONDS)
        self.signing_in = Gates(ADDRESS_SIGN_INS_AT_ONCE, line=SIGN_IN_LINE, patience_seconds=SIGN_IN_PATIENCE_SECONDS)
        self._hub = Gate(at_once, line=LINE, patience_seconds=PATIENCE_SECONDS)
        self._sign_ins = Gate(SIGN_INS_AT_ONCE, line=SIGN_IN_LINE, patience_seconds=SIGN_IN_PATIENCE_SECONDS)
        self._monotonic = monotonic
        self._fair = FairTurns(line=account_at_once + ACCOUNT_LINE, monotonic=monotonic)
        self._credentials: OrderedDict[int, str] = OrderedDict()
        """Those that were good, and whose they are."""
        per_minute = rates(requests_per_minute)
        self._by_account = _windows(per_minute, "account")
        self._by_address = {"public": Windows(PUBLIC), "open": _windows(per_minute, "open")}
        self._failures = _windows(per_minute, "failures")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ticket = Ticket(self, scope)
        if ticket.route_class.limited is Limited.NOT:
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["ticket"] = ticket
        counts = (self._visitors,) if ticket.signs_in else (self._visitors, self._working)
        for count in counts:
            count.enter()
        try:
            await ticket.enter()
            await self._fairly(ticket, scope, receive, ticket.sending(send))
        except Refused as refused:
            await render(scope, refused.error)(scope, receive, send)
        finally:
            ticket.leave()
            # They hold each other, and with them all that the request has led to, until a collector of garbage comes by.
            del scope["state"]["ticket"]
            for count in counts:
                count.leave()

    async def _fairly(self, ticket: "Ticket", scope: Scope, receive: Receive, send: Send) -> None:
        """In its account's turn. Of credentials that have not been good yet nobody knows whose they are: they wait for nobody,
        and nobody for them."""
        account = self._credentials.get(hash(_authorization(scope)))
        if account is None:
            await self._answer(ticket, scope, receive, send)
            return
        visit = await self._fair.enter(account)
        if visit is None:
            raise Refused(TooManyAtOnce(headers={"Retry-After": "1"}))
        ticket.asks_little = visit.is_of_few
        work = Metered(self._answer(ticket, scope, receive, send), monotonic=self._monotonic)
        try:
            await work
        finally:
            self._fair.leave(visit, work.seconds, body_bytes=ticket.body_bytes)

    async def _answer(self, ticket: "Ticket", scope: Scope, receive: Receive, send: Send) -> None:
        await ticket.enter_hub()
        await self._app(scope, receive, send)

    def remember(self, authorization: bytes, account: str) -> None:
        """These credentials were good, for that account: they are let through when others from their address are not any
        more."""
        digest = hash(authorization)  # keyed anew in each process, so nobody can make two of the same
        if digest not in self._credentials:
            self._credentials[digest] = account
            if len(self._credentials) > _MOST_CREDENTIALS:
                self._credentials.popitem(last=False)

    def trusts(self, authorization: bytes) -> bool:
        """Whether these credentials were good, or are new and cannot have been guessed: a token lasts for an hour."""
        if hash(authorization) in self._credentials:
            return True
        scheme, _, token = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and self._is_own_token(token.strip().decode("latin-1"))

    def gates_of(self, route_class: RouteClass) -> Sequence[Gate]:
        """What a request of this class has to pass, the narrower one first: who waits there takes no other's room."""
        if route_class.limited is Limited.IN_THE_DATABASE:
            return (self._sign_ins, self._hub)
        return (self._hub,)

    def count_address(self, route_class: RouteClass, origin: str) -> Allowance | None:
        windows = self._by_address.get(route_class.name)
        return None if windows is None else windows.count(origin, now=self.clock.now())

    def count_account(self, account: str) -> Allowance | None:
        return None if self._by_account is None else self._by_account.count(account, now=self.clock.now())

    def count_failure(self, origin: str) -> None:
        if self._failures is not None:
            self._failures.count(origin, now=self.clock.now())

    def failures(self, origin: str) -> Allowance | None:
        """The allowance when none is left."""
        return None if self._failures is None else self._failures.is_used_up(origin, now=self.clock.now())


def rates(requests_per_minute: int) -> Mapping[str, Rate]:
    """The rates that follow from `REQUEST_RATE_LIMIT`; none when that is 0."""
    if not requests_per_minute:
        return {}
    shares = {"account": 1, "open": OPEN_SHARE, "failures": FAILURE_SHARE}
    return {name: Rate(name, max(1, requests_per_minute // share), _WINDOW_SECONDS) for name, share in shares.items()}


def _windows(known: Mapping[str, Rate], name: str) -> Windows | None:
    return Windows(known[name]) if name in known else None


class Refused(Exception):
    """Carries a refusal out of the places that have no error handlers around them yet."""

    def __init__(self, error: DataCollectError) -> None:
        self.error = error


class Ticket:
    """One request's way through the limits."""

    __slots__ = (
        "_account_gate", "_address_gate", "_allowance", "_held", "_limits", "_scope", "account", "asks_little", "body_bytes",
        "route_class",
    )  # fmt: skip

    def __init__(self, limits: RequestLimits, scope: Scope) -> None:
        self.route_class = class_of(scope["path"])
        self._limits = limits
        self._scope = scope
        self._held: list[Gate] = []
        self.account: str | None = None
        """Whose request it is, once that is known."""
        self.asks_little = False
        """Whether it is known that its account does, beside others."""
        self.body_bytes = 0
        """That were held for it, once it is over."""
        self._account_gate: Gate | None = None
        self._address_gate: Gate | None = None
        self._allowance: Allowance | None = None

    @property
    def signs_in(self) -> bool:
        return self.route_class.limited is Limited.IN_THE_DATABASE

    @property
    def _awaits_account(self) -> bool:
        return self.route_class.limited in (Limited.BY_ACCOUNT, Limited.AT_ONCE)

    async def enter(self) -> None:
        """Raises `Refused`."""
        if self._awaits_account:
            self._refuse_strangers()
            if _is_of_a_provider(_authorization(self._scope)):
                # Whose it is may stand in the body only: until that is there, it takes the places of its address.
                await self._enter_address()
        elif self.route_class.limited is Limited.BY_ADDRESS:
            self._allowance = self._limits.count_address(self.route_class, self._origin())
            if self._allowance is not None and self._allowance.exceeded:
                raise Refused(TooManyRequests(headers=self._allowance.headers()))
        if not self._awaits_account:
            await self._enter_address()

    async def enter_hub(self) -> None:
        """Raises `Refused`. Behind the fair turn: whoever waits for that takes no place of the hub's."""
        for gate in self._limits.gates_of(self.route_class):
            await self._pass(gate)

    async def belongs_to(self, account: str) -> bool:
        """The caller is known now. Whether they had to wait. Raises `TooManyRequests` or, when nothing became free in time,
        `TooManyAtOnce`."""
        if self.account is not None or not self._awaits_account:
            return False
        self.account = account
        self._leave_address()
        self._limits.remember(_authorization(self._scope), account)
        if self.route_class.limited is Limited.BY_ACCOUNT:
            self._allowance = self._limits.count_account(account)
            if self._allowance is not None and self._allowance.exceeded:
                raise TooManyRequests(headers=self._allowance.headers())
        gate = self._limits.accounts.of(account)
        if gate.try_enter():
            self._account_gate = gate
            return False
        await self._wait_at(gate, account)
        return True

    async def _wait_at(self, gate: Gate, account: str) -> None:
        # One account's line must not fill the hub.
        self._let_go()
        if await self._limits.accounts.enter(account) is None:
            # The frame's own limit, told as the draft has it: a quota of requests at the same time.
            policy = f'"at-once";q={gate.capacity};qu="concurrent-requests"'
            headers = {"RateLimit-Policy": policy, "RateLimit": '"at-once";r=0', "Retry-After": "1"}
            raise TooManyAtOnce(headers=headers)
        self._account_gate = gate
        for hub_gate in self._limits.gates_of(self.route_class):
            if not await hub_gate.enter():
                raise HubBusy()
            self._held.append(hub_gate)

    def sending(self, send: Send) -> Send:
        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answered(message)
            await send(message)

        return send_counted

    def leave(self) -> None:
        self._let_go()
        self._leave_address()
        if self.account is not None and self._account_gate is not None:
            self._limits.accounts.left(self.account, self._account_gate)
            self._account_gate = None

    async def _enter_address(self) -> None:
        gate = await self._gates_of_addresses().enter(self._origin())
        if gate is None:
            raise Refused(TooManyFromAddress(headers={"Retry-After": "1"}))
        self._address_gate = gate

    def _leave_address(self) -> None:
        if self._address_gate is not None:
            self._gates_of_addresses().left(self._origin(), self._address_gate)
            self._address_gate = None

    def _gates_of_addresses(self) -> Gates:
        return self._limits.signing_in if self.signs_in else self._limits.addresses

    def _let_go(self) -> None:
        while self._held:
            self._held.pop().leave()

    def _answered(self, message: Message) -> None:
        # What fails on our side (a database or an identity provider that is away) is no fault of the caller's.
        if self._awaits_account and self.account is None and message["status"] < 500:
            self._limits.count_failure(self._origin())
        if self._allowance is not None and message["status"] != TooManyRequests.status:
            told = [(name.lower().encode(), value.encode()) for name, value in self._allowance.headers().items()]
            message["headers"] = [*message.get("headers", ()), *told]

    def _refuse_strangers(self) -> None:
        used_up = self._limits.failures(self._origin())
        if used_up is not None and not self._limits.trusts(_authorization(self._scope)):
            raise Refused(TooManyStrangers(headers=used_up.headers()))

    async def _pass(self, gate: Gate) -> None:
        if not gate.try_enter() and not await gate.enter():
            raise Refused(HubBusy())
        self._held.append(gate)

    def _origin(self) -> str:
        client = self._scope.get("client")
        return origin_of(client[0]) if client else "unknown"


def ticket_of(scope: Scope) -> Ticket | None:
    """None outside the middleware, and for what has no limits."""
    ticket: Ticket | None = scope.get("state", {}).get("ticket")
    return ticket


def asks_little(scope: Scope) -> bool:
    """Whether the request is of an account of which it is known that it asks little."""
    ticket = ticket_of(scope)
    return ticket is not None and ticket.asks_little


async def account_known(scope: Scope, account: str) -> bool:
    """For the guards of routes: this is whose request it is. Whether it had to wait: then the caller may be no more who they
    were. Raises `TooManyRequests`, `TooManyAtOnce`, `HubBusy`."""
    ticket = ticket_of(scope)
    return ticket is not None and await ticket.belongs_to(account)


def _authorization(scope: Scope) -> bytes:
    """The first, as it is for the guards of routes: else somebody could be one to them and another one here."""
    found: Iterator[bytes] = (value for name, value in scope["headers"] if name == b"authorization")
    return next(found, b"")


def _is_of_a_provider(authorization: bytes) -> bool:
    """Whether it may be a token of a program's provider: `Bearer` is the hub's own word."""
    scheme, _, token = authorization.partition(b" ")
    return bool(token) and scheme.lower() != b"bearer"
