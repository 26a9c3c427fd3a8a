"""Contents as uploads, deletions and downloads see them."""

import asyncio

from datacollect.db import EVERY_TENANT, Database, Reading, Tx
from datacollect.features.attachments.contents import queries
from datacollect.features.attachments.contents.model import GRACE_MILLIS, Content, Secured
from datacollect.kernel.clock import Clock
from datacollect.kernel.identity import TenantScope
from datacollect.objects import ObjectStore, Spooled, StorageUnavailable, new_key

PUT_SECONDS = GRACE_MILLIS // 2000
"""How long storing may take: well within the time that a writing is left alone."""
_LOOKED_FOR = 10


class Contents:
    """What attachments have, of all programs. One per process."""

    def __init__(self, database: Database, store: ObjectStore, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._clock = clock

    async def secure(self, scope: TenantScope, spooled: Spooled) -> Secured:
        """See to it that the bytes are in the store, for as long as an upload needs to take them.

        Outside of any unit of work: it waits for the store. A content that the program has already is not stored
        again, unless its bytes are gone or of another size. Raises `StorageUnavailable`, `StorageFull`.
        """
        async with self._database.transaction(scope) as tx:
            known = await queries.touch(tx, scope, spooled.digest, now=self._clock.now())
            if known is None:
                new = await self._begin(tx, scope, spooled)
        found = None
        if known is not None:
            found = await self._store.stat(known.key(scope.tenant_id))
            if found == known.size_bytes == spooled.size_bytes:
                return Secured(known, is_written=False)
            async with self._database.transaction(scope) as tx:
                new = await self._begin(tx, scope, spooled)
        try:
            # Later than that, what it stores might be stored behind the collector's back.
            async with asyncio.timeout(PUT_SECONDS):
                await self._store.put(new.key(scope.tenant_id), spooled)
        except TimeoutError:
            raise StorageUnavailable() from None
        replaces = known.generation if known else None
        return Secured(new, is_written=True, replaces=replaces, leaves_bytes=found is not None)

    async def take(self, tx: Tx, scope: TenantScope, secured: Secured) -> bool:
        """Count the attachment that is made in this unit of work.

        False if what was secured is not there any more: secure it again, and take it in a new unit of work. It takes
        hours of standing still, or another who has repaired the content meanwhile.
        """
        content, now = secured.content, self._clock.now()
        if not secured.is_written:
            return await queries.refer(tx, scope, content.digest, content.generation, now=now)
        if not await self._take_written(tx, scope, content):
            return False
        stands = await queries.refer_new(tx, scope, content, now=now)
        await self._settle(tx, scope, secured, stands)
        return True

    async def restore(self, tx: Tx, scope: TenantScope, secured: Secured) -> bool:
        """Let what was written anew stand for a content that attachments have; none more is counted.

        False if what was written is not there any more, as in `take`.
        """
        content, now = secured.content, self._clock.now()
        if not await self._take_written(tx, scope, content):
            return False
        known = await queries.find(tx, scope, content.digest)
        stands = known.generation if known else await queries.refer_new(tx, scope, content, now=now)
        await self._settle(tx, scope, secured, stands)
        return True

    async def _take_written(self, tx: Tx, scope: TenantScope, content: Content) -> bool:
        if await queries.take_loose(tx, scope, content.digest, content.generation):
            return True
        # Given up by the collector, which may even have forgotten it before it was there.
        await queries.condemn(tx, scope, content.digest, content.generation, since=self._clock.now())
        return False

    async def _settle(self, tx: Tx, scope: TenantScope, secured: Secured, stands: str) -> None:
        """Let what was written stand for its content, if what it replaces still does; it is deleted if another does."""
        content, now = secured.content, self._clock.now()
        if stands == content.generation:
            return
        replaces = stands == secured.replaces
        if not (replaces and await queries.replace(tx, scope, content.digest, stands, by=content.generation)):
            # Another upload of the same was first.
            await queries.add_loose(tx, scope, content.digest, content.generation, since=now, is_dying=True)
        elif secured.leaves_bytes:
            await queries.add_loose(tx, scope, content.digest, stands, since=now, is_dying=True)

    async def discard(self, scope: TenantScope, secured: Secured) -> None:
        """Delete what was written for a program that was purged meanwhile: nothing tells of it, so nobody else would."""
        if secured.is_written:
            await self._store.delete(secured.content.key(scope.tenant_id))

    async def release(self, tx: Tx, scope: TenantScope, digest: str) -> None:
        """An attachment that had the content is deleted in this unit of work."""
        await queries.release(tx, scope, digest, now=self._clock.now())

    async def find(self, view: Reading, scope: TenantScope, digest: str) -> Content | None:
        """Where the bytes are: `hub.objects.open(content.key(tenant_id), content.size_bytes)`, outside of the view."""
        return await queries.find(view, scope, digest)

    async def has_none(self) -> bool:
        """Whether the store has nothing of what it is asked for, of a few contents: it is another one, or was emptied.

        Raises `StorageUnavailable`.
        """
        async with self._database.reading(EVERY_TENANT) as view:
            some = await queries.some_of_all(view, most=_LOOKED_FOR)
        for tenant_id, content in some:
            if await self._store.stat(content.key(tenant_id)) is not None:
                return False
        return bool(some)

    async def _begin(self, tx: Tx, scope: TenantScope, spooled: Spooled) -> Content:
        """Note what is going to be written, so that it is found should nobody come to take it."""
        key = new_key(scope.tenant_id, spooled.digest)
        await queries.add_loose(tx, scope, key.digest, key.generation, since=self._clock.now(), is_dying=False)
        return Content(key.digest, key.generation, spooled.size_bytes)
