"""Answers of registries, kept for a minute: whoever goes back and forth in a form asks the same again and again."""

import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.clock import Clock, Millis

LIFETIME_SECONDS = 60
MOST_ANSWERS = 32

_T = TypeVar("_T")


class Answers:
    """In memory, by a digest of all that was asked, credentials included: who does not know them finds nothing.

    The digest's key is made anew in each process, so it tells nothing of a secret even to whoever can read memory.
    Only answers are kept, no failures: a registry that has come back is asked.
    """

    def __init__(self, clock: Clock, *, lifetime_seconds: int = LIFETIME_SECONDS, most: int = MOST_ANSWERS) -> None:
        self._clock = clock
        self._lifetime = lifetime_seconds * 1000
        self._most = most
        self._key = os.urandom(32)
        self._kept: OrderedDict[bytes, tuple[Millis, Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, asked: Any, ask: Callable[[], Awaitable[_T]]) -> _T:
        """What `ask` gave to the same question in the last minute, or gives now. `asked` is JSON."""
        key = hmac.digest(self._key, canonical_json(asked), hashlib.sha256)
        self._forget_old()
        if key in self._kept:
            known: _T = self._kept[key][1]
            return known
        answer = await ask()
        self._kept.pop(key, None)
        while len(self._kept) >= self._most:
            self._kept.popitem(last=False)
        self._kept[key] = (self._clock.now(), answer)
        return answer

    def _forget_old(self) -> None:
        now = self._clock.now()
        for key, (since, _) in list(self._kept.items()):
            # A clock that was set back must not make an answer last.
            if not 0 <= now - since < self._lifetime:
                del self._kept[key]
