"""The job that deletes bytes nothing refers to, and the rounds that put it in line."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from datacollect.db import EVERY_TENANT, Database, Reading, Tx
from datacollect.features.attachments.contents import queries
from datacollect.features.attachments.contents.model import GRACE_MILLIS, Loose
from datacollect.jobs import Continue, Done, Job, Lease, Retries, Step, enqueue, find_latest, going_round
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.objects import ObjectKey, ObjectStore, StorageUnavailable

KIND = "collect-attachments"
AT_ONCE = 100

_CALL_SECONDS = 300
_DELETE_SECONDS = 45
"""Of one object; longer than a bucket's read timeout."""
_ROUND_SECONDS = 600
_TIDY_EVERY_MILLIS = 20 * 60 * 60 * 1000


class Tidy(Protocol):
    """Deletes attachments that are not wanted any more, a batch of them."""

    async def __call__(self, tx: Tx, scope: TenantScope, *, after: str, now: Millis) -> str | None:
        """Gives what to pass as `after` for the next batch; None if this was the last."""


_HELD = (
    "The store does not delete these objects: they are on hold or locked in the bucket, the hub may not delete, or it stands"
    " still at them. It is tried again every hour."
)

_log = structlog.get_logger(component="attachments")

Programs = Callable[[Reading], Awaitable[Sequence[TenantId]]]
"""Gives those that have attachments; asked for all tenants."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What became of bytes that were to be deleted."""

    wanted: int = 0
    deleted: list[Loose] = field(default_factory=list)
    held: list[Loose] = field(default_factory=list)

    @property
    def is_all(self) -> bool:
        """Whether there is no more to delete: the batch was not a full one, and was done to its end."""
        return len(self.deleted) + len(self.held) == self.wanted < AT_ONCE


class CollectHandler:
    """Implements `CallingHandler`. First attachments are tidied, batch by batch, and then bytes are deleted."""

    kind = KIND
    call_seconds = _CALL_SECONDS
    retries = Retries()

    def __init__(
        self, store: ObjectStore, clock: Clock, tidy: Tidy, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._clock = clock
        self._tidy = tidy
        self._monotonic = monotonic

    async def call(self, scope: TenantScope, job: Job, lease: Lease) -> Collected:
        """Delete the bytes of what is dying; what is found idle is decided to die, and that is on disk before.

        It ends by half of its time: nothing is known of what was held if it is cut off.
        """
        if not _is_tidied(job):
            return Collected()
        begun, now = self._monotonic(), self._clock.now()
        async with lease.transaction() as tx:
            # As of the job's start: what it postpones comes again in the next one, however long this one takes.
            dying = await doom(tx, scope, now=min(now, job.started_at or now))
        collected = Collected(len(dying))
        for one in dying:
            done = collected.deleted if await self._is_deleted(one.key(scope.tenant_id)) else collected.held
            done.append(one)
            if lease.is_ending or self._monotonic() - begun >= self.call_seconds / 2:
                break
        if collected.held:
            _log.warning("attachments.not_deleted", objects=len(collected.held), help=_HELD)
        return collected

    async def _is_deleted(self, key: ObjectKey) -> bool:
        """False for an object that a store which is there does not let go: on hold, locked for a time, or stuck."""
        try:
            async with asyncio.timeout(_DELETE_SECONDS):
                await self._store.delete(key)
        except (StorageUnavailable, TimeoutError):
            await self._store.health()
            return False
        return True

    async def step(self, tx: Tx, scope: TenantScope, job: Job, result: Collected) -> Step:
        if not _is_tidied(job):
            after = await self._tidy(tx, scope, after=job.checkpoint.get("after", ""), now=self._clock.now())
            return Continue({"tidied": True} if after is None else {"after": after}, done=0)
        await queries.forget(tx, scope, result.deleted)
        await queries.postpone(tx, scope, result.held, now=self._clock.now())
        done = job.progress.done + len(result.deleted)
        return Done({"deleted": done}) if result.is_all else Continue(job.checkpoint, done)


async def doom(tx: Tx, scope: TenantScope, *, now: Millis) -> Sequence[Loose]:
    """Decide what is to be deleted, and give the next of it. Nobody counts on its bytes from the commit on."""
    before = Millis(now - GRACE_MILLIS)
    for idle, touched_at in await queries.take_idle(tx, scope, before=before, most=AT_ONCE):
        await queries.add_loose(tx, scope, idle.digest, idle.generation, since=touched_at, is_dying=True)
    await queries.doom(tx, scope, before=before)
    return await queries.list_dying(tx, scope, before=before, most=AT_ONCE)


def _is_tidied(job: Job) -> bool:
    return bool(job.checkpoint.get("tidied"))


class CollectRounds:
    """Looks in which programs there is something to collect, now and then. Several processes may."""

    def __init__(self, database: Database, clock: Clock, programs: Programs) -> None:
        self._database = database
        self._clock = clock
        self._programs = programs

    def running(self) -> AbstractAsyncContextManager[None]:
        return going_round(self.look, seconds=_ROUND_SECONDS, name="attachments")

    async def look(self) -> None:
        """Put the job in line for each program in which bytes wait to be deleted, or nobody has tidied for a day."""
        now = self._clock.now()
        async with self._database.reading(EVERY_TENANT) as view:
            due = set(await queries.tenants_to_collect(view, before=Millis(now - GRACE_MILLIS)))
            known = sorted({*await self._programs(view), *due})
        for tenant_id in known:
            scope = system_scope(tenant_id)
            async with self._database.reading(scope) as view:
                latest = await find_latest(view, scope, KIND)
            # One that ended later than now was ended by a clock that has been set back since.
            is_tidy = latest is not None and 0 <= now - (latest.finished_at or now) < _TIDY_EVERY_MILLIS
            if tenant_id in due or not is_tidy:
                async with self._database.transaction(scope) as tx:
                    await enqueue(tx, scope, KIND, {}, now=now)
