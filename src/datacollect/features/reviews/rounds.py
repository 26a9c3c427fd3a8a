"""Looks, now and then, in which programs there is something to do about reviews. Several processes may."""

from contextlib import AbstractAsyncContextManager

from datacollect.db import EVERY_TENANT, Database
from datacollect.features.reviews import queries
from datacollect.features.reviews.service import DELEGATING, TELLING
from datacollect.features.tenants.asked import find_running
from datacollect.jobs import enqueue, going_round
from datacollect.kernel.clock import Clock
from datacollect.kernel.identity import system_scope

_ROUND_SECONDS = 120


class ReviewRounds:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def running(self) -> AbstractAsyncContextManager[None]:
        return going_round(self.look, seconds=_ROUND_SECONDS, name="reviews")

    async def look(self) -> None:
        """Have other systems asked, and asked after, wherever they decide; and have told what is due."""
        now = self._clock.now()
        async with self._database.reading(EVERY_TENANT) as view:
            due = {
                DELEGATING: await queries.tenants_delegating(view),
                TELLING: await queries.tenants_with_news(view, now=now),
            }
        for kind, tenants in due.items():
            for tenant_id in tenants:
                scope = system_scope(tenant_id)
                async with self._database.transaction(scope) as tx:
                    # Of an archived program nothing is asked and told; who restores it finds all as it was.
                    if await find_running(tx, tenant_id) is not None:
                        await enqueue(tx, scope, kind, {}, now=now)
