"""Waiting for what goes on behind the pushes of a hub, where rows or statements are counted."""

import asyncio
import contextlib

import msgspec
from sqlalchemy import func, select

from datacollect.db import EVERY_TENANT
from datacollect.features.duplicates.detecting import KIND
from datacollect.features.entities.indexing.batches import programs_behind
from datacollect.http.hub import Hub
from datacollect.jobs.tables import jobs
from datacollect.kernel.identity import system_scope


async def catch_up(hub: Hub) -> None:
    """The search indexes of all programs have come to the ends of their logs, but for those that a test has damaged."""
    for tenant_id in await programs_behind(hub.db):
        with contextlib.suppress(msgspec.DecodeError):
            await hub.indexes.catch_up(system_scope(tenant_id))


async def settle(hub: Hub) -> None:
    """And nobody is looked at any more who may be registered twice."""
    await catch_up(hub)
    await hub.duplicates.tell()
    looking = select(func.count()).where(jobs.c.kind == KIND, jobs.c.finished_ms.is_(None))
    async with asyncio.timeout(60):
        while True:
            async with hub.db.reading(EVERY_TENANT) as view:
                if not (await view.execute(looking)).scalar_one():
                    return
            await asyncio.sleep(0.02)
