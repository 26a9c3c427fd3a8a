"""Tokens of OpenSPP registries, one per registry and client, for all that this process asks of it.

The registry counts sign-ins by our address and refuses the sixth in a minute, whoever it is for. So a token is kept for
its life, whoever needs one waits for the sign-in under way instead of starting another, and we count ourselves.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from datacollect.adapters.openspp_v2.errors import TooMany
from datacollect.kernel.clock import Clock, Millis
from datacollect.outgoing import GuardedClient

MAX_SIGN_INS = 5
SIGN_IN_WINDOW_MS = 60_000
RENEW_BEFORE_MS = 60_000
_MAX_TOKENS = 1_000


@dataclass(frozen=True, slots=True)
class Token:
    text: str = field(repr=False)
    scopes: tuple[str, ...]
    expires_at: Millis
    """When we ask for another one."""


SignIn = Callable[[], Awaitable[Token]]


class Tokens:
    """The tokens of one process's outgoing client."""

    def __init__(self) -> None:
        self._held: dict[str, Token] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._sign_ins: dict[str, deque[Millis]] = {}

    async def get(
        self,
        key: str,
        address: str,
        clock: Clock,
        sign_in: SignIn,
        *,
        refused: Token | None = None,
        fresh: bool = False,
    ) -> Token:
        """The token under `key`; a new one if there is none that lasts, it is the `refused` one, or has to be `fresh`.

        Raises `TooMany` when `address` has been asked too often, and whatever `sign_in` raises.
        """
        async with self._turns.setdefault(key, asyncio.Lock()):
            held = self._held.get(key)
            if held and held.expires_at > clock.now() and held != refused and not fresh:
                return held
            self._held.pop(key, None)
            self._count(address, clock.now())
            while len(self._held) >= _MAX_TOKENS:
                self._held.pop(next(iter(self._held)))
            self._held[key] = await sign_in()
            return self._held[key]

    def _count(self, address: str, now: Millis) -> None:
        tried = self._sign_ins.setdefault(address, deque(maxlen=MAX_SIGN_INS))
        if len(tried) == MAX_SIGN_INS and now - tried[0] < SIGN_IN_WINDOW_MS:
            wait = (SIGN_IN_WINDOW_MS - (now - tried[0])) / 1000
            raise TooMany("The registry allows few sign-ins a minute. Try again in a minute.", retry_after_seconds=wait)
        tried.append(now)


_of_clients: WeakKeyDictionary[GuardedClient, Tokens] = WeakKeyDictionary()


def tokens_of(client: GuardedClient) -> Tokens:
    return _of_clients.setdefault(client, Tokens())


def token_key(address: str, client_id: str, client_secret: str) -> str:
    """Names the token without holding the secret."""
    return hashlib.sha256("\0".join((address, client_id, client_secret)).encode()).hexdigest()
