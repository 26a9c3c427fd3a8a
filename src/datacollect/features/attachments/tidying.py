"""What becomes of attachments when their entity is deleted: hidden at once, deleted when it has not come back.

A deleted entity may come back, by a write that was made later and arrives later, and then its photos do too. So they
wait. Files whose entity has never come are left alone: the device that has it may be in a drawer.
"""

from collections.abc import Sequence

from datacollect.db import Tx
from datacollect.eventstore.log import EventLog
from datacollect.features.attachments import queries
from datacollect.features.attachments.queries import Kept
from datacollect.features.attachments.service import Keeper
from datacollect.features.entities.service import known_guids
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

FORSAKEN_DAYS = 30
_FORSAKEN_MILLIS = FORSAKEN_DAYS * 86_400_000


class Tidier:
    """Implements `Tidy`."""

    def __init__(self, keeper: Keeper, log: EventLog, *, batch: int = 200) -> None:
        self._keeper = keeper
        self._log = log
        self._batch = batch

    async def __call__(self, tx: Tx, scope: TenantScope, *, after: str, now: Millis) -> str | None:
        if await self._log.hold(tx, scope) is None:
            return None
        page = await queries.list_kept(tx, scope, after=after, limit=self._batch)
        known = await known_guids(tx, scope, sorted({kept.entity_guid for kept in page}))
        there = [kept for kept in page if known.get(kept.entity_guid) is True]
        deleted = [kept for kept in page if known.get(kept.entity_guid) is False]
        settled = [kept for kept in there if kept.awaits_entity or kept.forsaken_at is not None]
        await _note(tx, scope, settled, forsaken_at=None)
        await _note(tx, scope, [kept for kept in deleted if kept.forsaken_at is None], forsaken_at=now)
        for kept in deleted:
            if kept.forsaken_at is not None and kept.forsaken_at <= now - _FORSAKEN_MILLIS:
                found = await queries.find(tx, scope, kept.guid)
                assert found is not None
                await self._keeper.delete_in(tx, scope, found)
        return page[-1].guid if len(page) == self._batch else None


async def _note(tx: Tx, scope: TenantScope, kept: Sequence[Kept], *, forsaken_at: Millis | None) -> None:
    """Their entities are known, whether they exist or not."""
    if kept:
        await queries.note_entity(tx, scope, [one.guid for one in kept], forsaken_at=forsaken_at)
