"""Looks, now and then, in which programs there is something to do about reviews. Several processes may."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import structlog

from datacollect.db import EVERY_TENANT, Database
from datacollect.features.reviews import queries
from datacollect.features.reviews.service import DELEGATING, TELLING
from datacollect.features.tenants.service import find_running
from datacollect.jobs import enqueue
from datacollect.kernel.clock import Clock
from datacollect.kernel.identity import system_scope

ROUND_SECONDS = 120

_log = structlog.get_logger(component="reviews")


class ReviewRounds:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        going_round = asyncio.get_running_loop().create_task(self._go_round())
        try:
            yield
        finally:
            going_round.cancel()
            await asyncio.gather(going_round, return_exceptions=True)

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

    async def _go_round(self) -> None:
        while True:
            # Not all processes at the same moment, and not in the moment of the start.
            await asyncio.sleep(ROUND_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
            try:
                await self.look()
            except Exception as error:
                _log.warning("reviews.round_failed", exc_info=error)
