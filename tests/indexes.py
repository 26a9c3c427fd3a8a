"""Waiting for what goes on behind the pushes of a hub, where rows or statements are counted."""

import contextlib

import msgspec

from datacollect.features.entities.indexing.batches import programs_behind
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope


async def catch_up(hub: Hub) -> None:
    """The search indexes of all programs have come to the ends of their logs, but for those that a test has damaged."""
    for tenant_id in await programs_behind(hub.db):
        with contextlib.suppress(msgspec.DecodeError):
            await hub.indexes.catch_up(system_scope(tenant_id))
