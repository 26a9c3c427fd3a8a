"""Anchors that are written by themselves: one for each log that has grown by another segment."""

import asyncio
import contextvars
from pathlib import Path

import structlog

from datacollect.eventstore.anchors import Anchor, AnchorsUnwritable, add_anchors
from datacollect.eventstore.store import Head
from datacollect.kernel.clock import Clock
from datacollect.kernel.ids import TenantId

EVERY = 500
"""Positions from one anchor to the next: the size of a sealed segment."""

_log = structlog.get_logger(component="anchors")


class Anchorer:
    """Anchors what has been committed, beside the work of the process: a push never waits for it or fails by it.

    What cannot be written is logged and left out; the next anchor of the log covers what it would have covered.
    """

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._waiting: dict[TenantId, list[Anchor]] = {}
        self._work: asyncio.Task[None] | None = None

    def committed(self, tenant_id: TenantId, before: Head, after: Head) -> None:
        """To be called when a log has grown from `before` to `after`, and never before that is on disk."""
        if before.position // EVERY == after.position // EVERY:
            return
        anchor = Anchor(after.position, after.chain_hash, self._clock.now())
        self._waiting.setdefault(tenant_id, []).append(anchor)
        if self._work is None or self._work.done():
            # In a context of its own: its log lines are not those of the request that happened to start it.
            self._work = asyncio.get_running_loop().create_task(self._write(), context=contextvars.Context())

    async def finish(self) -> None:
        """Wait until everything committed so far is anchored."""
        if self._work is not None:
            await self._work

    async def _write(self) -> None:
        while self._waiting:
            tenant_id, anchors = self._waiting.popitem()
            try:
                await asyncio.to_thread(add_anchors, self._data_dir, tenant_id, anchors)
            except AnchorsUnwritable:
                _log.warning("anchors.unwritable", tenant_id=tenant_id)
