"""How often strangers may read login screens. Counted in memory: a database write for each read would cost more than
the read, and what is limited is only how fast ids can be guessed."""

from collections.abc import Mapping

from datacollect.features.tenants.errors import TooManyReads
from datacollect.kernel.clock import Millis

_LIMIT = 60
_WINDOW_SECONDS = 900
_MOST_ADDRESSES = 10_000


class PublicReads:
    """Counts reads per client address, in fixed windows. One per process."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[Millis, int]] = {}

    def count(self, address: str, *, now: Millis) -> Mapping[str, str]:
        """Count a read; gives Draft 7 RateLimit headers. Raises `TooManyReads` when there have been too many."""
        began, reads = self._windows.get(address, (now, 0))
        if not 0 <= now - began < _WINDOW_SECONDS * 1000:
            began, reads = now, 0
        if address not in self._windows and len(self._windows) >= _MOST_ADDRESSES:
            self._windows.clear()
        self._windows[address] = (began, reads + 1)
        reset = -(-(began + _WINDOW_SECONDS * 1000 - now) // 1000)
        remaining = max(0, _LIMIT - reads - 1)
        headers = {
            "RateLimit-Policy": f"{_LIMIT};w={_WINDOW_SECONDS}",
            "RateLimit": f"limit={_LIMIT}, remaining={remaining}, reset={reset}",
        }
        if reads >= _LIMIT:
            raise TooManyReads(headers={**headers, "Retry-After": str(reset)})
        return headers
