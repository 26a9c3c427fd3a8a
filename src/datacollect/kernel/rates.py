"""How often something may be done, counted in windows, and how callers are told.

The header fields are those of draft-ietf-httpapi-ratelimit-headers-11 (May 2026), which are structured fields: see
`docs/decisions/0026-limits.md`.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from datacollect.kernel.clock import Millis

_MOST_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in each window; a window begins with the first of them. `name` is told to callers."""

    name: str
    quota: int
    window_seconds: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a rate after this attempt."""

    rate: Rate
    remaining: int
    reset_seconds: int
    exceeded: bool

    def headers(self) -> Mapping[str, str]:
        """`RateLimit-Policy` and `RateLimit`; `Retry-After` too once the limit is passed."""
        rate = self.rate
        fields = {
            "RateLimit-Policy": f'"{rate.name}";q={rate.quota};w={rate.window_seconds}',
            "RateLimit": f'"{rate.name}";r={self.remaining};t={self.reset_seconds}',
        }
        return fields | {"Retry-After": str(self.reset_seconds)} if self.exceeded else fields


class Windows:
    """Counts in memory, for each key by itself. For what is many and cheap: other processes do not see it, and a
    restart forgets it.

    A flood of distinct keys takes bounded memory: the window that began first is forgotten. Whoever can send from so
    many addresses has their quotas anyway.
    """

    def __init__(self, rate: Rate, *, most_keys: int = _MOST_KEYS) -> None:
        self.rate = rate
        self._most_keys = most_keys
        self._windows: OrderedDict[str, tuple[Millis, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def count(self, key: str, *, now: Millis) -> Allowance:
        """Count one more, successful or not."""
        began, count = self._window(key, now)
        if count == 0:
            self._windows.pop(key, None)
            if len(self._windows) >= self._most_keys:
                self._windows.popitem(last=False)
        self._windows[key] = (began, count + 1)
        return self._allowance(began, count + 1, now)

    def is_used_up(self, key: str, *, now: Millis) -> Allowance | None:
        """The allowance when nothing of it is left; does not count."""
        if key not in self._windows:
            return None
        began, count = self._window(key, now)
        return self._allowance(began, count + 1, now) if count >= self.rate.quota else None

    def _window(self, key: str, now: Millis) -> tuple[Millis, int]:
        began, count = self._windows.get(key, (now, 0))
        # A clock that was set back must not make a window endless.
        return (began, count) if 0 <= now - began < self.rate.window_seconds * 1000 else (now, 0)

    def _allowance(self, began: Millis, count: int, now: Millis) -> Allowance:
        reset_seconds = max(1, -(-(began + self.rate.window_seconds * 1000 - now) // 1000))
        return Allowance(self.rate, max(0, self.rate.quota - count), reset_seconds, exceeded=count > self.rate.quota)
