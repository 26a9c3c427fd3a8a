"""How many exports are made at once: each holds a view of the database open for as long as its reader takes."""

import contextlib
from collections.abc import Iterator

from datacollect.features.exports.errors import ExportsBusy, ExportUnderWay

RETRY_SECONDS = 30


class ExportPlaces:
    """Of one process: so many in all, and one for each account."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._accounts: set[str] = set()

    @property
    def taken(self) -> int:
        return len(self._accounts)

    @contextlib.contextmanager
    def take(self, account: str) -> Iterator[None]:
        """A place until the block ends. Raises `ExportUnderWay`, `ExportsBusy`."""
        headers = {"Retry-After": str(RETRY_SECONDS)}
        if account in self._accounts:
            raise ExportUnderWay(headers=headers)
        if len(self._accounts) >= self._at_once:
            raise ExportsBusy(headers=headers)
        self._accounts.add(account)
        try:
            yield
        finally:
            self._accounts.discard(account)
