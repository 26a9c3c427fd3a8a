"""What a clock that has been set back leaves in the table: times that lie further ahead than anybody meant.

A job that waits waits as long from now on as it was meant to. One that runs may be in good hands: who lives prolongs its
lease, and by that sets it right. A lease that lies further ahead than a lease may, and that nobody prolongs for as long as
two of them take by a clock that cannot be set, is one of a process that is gone.
"""

import time
from collections.abc import Callable

import structlog

from datacollect.db import Database
from datacollect.jobs import queries
from datacollect.jobs.queue import JOBS
from datacollect.kernel.clock import Clock, Millis

_log = structlog.get_logger(component="jobs")

_CLOCKS_DIFFER_MILLIS = 60_000
"""Those of machines beside this one, by less than this."""


class SetBack:
    """Looks, now and then, for jobs that would wait until the clock is where it was. Several processes may."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        lease_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
        self._since: dict[queries.Held, float] = {}
        """The leases that lie too far ahead, and since when each has stood as it is."""

    async def look(self) -> None:
        now, seen_at = self._clock.now(), self._monotonic()
        latest = Millis(now + _CLOCKS_DIFFER_MILLIS)
        async with self._database.reading() as view:
            held = await queries.list_leases(view, after=Millis(latest + round(self._lease_seconds * 1000)))
            is_waiting = await queries.is_waiting_since(view, latest)
        self._since = {one: self._since.get(one, seen_at) for one in held}
        left = [one for one, since in self._since.items() if seen_at - since >= 2 * self._lease_seconds]
        if not is_waiting and not left:
            return
        async with self._database.transaction() as tx:
            waiting = await queries.wait_anew(tx, put_in_line_after=latest, now=now)
            taken = [one for one in left if await queries.end_lease(tx, one, now=now)]
            tx.announce(JOBS)
        if waiting or taken:
            _log.warning("jobs.clock_set_back", waiting=waiting, left=len(taken), help=_HELP)


_HELP = "The clock was set back. Nothing is to be done for these jobs: they go on now. See that the clock is right."
