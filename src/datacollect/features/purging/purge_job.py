"""The job that deletes what was stored of a program, batch by batch, so that other programs' requests go on."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import structlog

from datacollect.db import Database, Tx
from datacollect.eventstore.anchors import AnchorsUnwritable, set_aside_anchors
from datacollect.features.external import service as external
from datacollect.features.purging import queries
from datacollect.features.purging.model import Progress
from datacollect.features.reviews import service as reviews
from datacollect.features.security_log.service import SecurityAction, record
from datacollect.features.tenants import service as tenants
from datacollect.features.users import service as users
from datacollect.jobs import Continue, Done, Job, Lease, Retries, Step, forget_ended, stop_all
from datacollect.kernel.clock import Clock
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import UserId
from datacollect.objects import ObjectStore, tenant_folder

_log = structlog.get_logger(component="purging")

KIND = "purge-program"

_CALL_SECONDS = 600
_ROWS_AT_ONCE = 500
_ACCOUNTS_AT_ONCE = 25


class PurgeHandler:
    """Implements `CallingHandler`: the files that attachments had are not in the database.

    `on_changed` is told which accounts have lost a program, once that is on disk.
    """

    kind = KIND
    call_seconds = _CALL_SECONDS
    retries = Retries()

    def __init__(
        self,
        database: Database,
        data_dir: Path,
        clock: Clock,
        objects: ObjectStore,
        *,
        on_changed: Callable[[UserId], None],
    ) -> None:
        self._database = database
        self._data_dir = data_dir
        self._clock = clock
        self._objects = objects
        self._on_changed = on_changed

    async def call(self, scope: TenantScope, job: Job, lease: Lease) -> int | None:
        """Delete the files, once no row tells of them. How many those were; None if it is not their turn.

        As long as the job is ours the id is nobody else's. Who has stood still for longer must not go on in the folder.
        """
        if not Progress.at(job.checkpoint).rows_gone:
            return None
        await self._database.cut_log()  # which still has the rows as they were
        return await self._objects.delete_folder(
            tenant_folder(scope.tenant_id), before_each=partial(_require_ours, lease)
        )

    async def step(self, tx: Tx, scope: TenantScope, job: Job, result: int | None) -> Step:
        progress = Progress.at(job.checkpoint)
        if not await tenants.hold_purge(tx, scope):
            # Somebody else has ended it while this process stood still. Nothing is stored of a job that is not ours.
            return Done()
        if not job.checkpoint:
            # Now, so that nobody who verifies the logs meanwhile misses this one's.
            await self._set_anchors_aside(scope)
        if await self._delete_rows(tx, scope, progress, first=progress.stage) == _ROWS_AT_ONCE:
            return Continue(progress.checkpoint(), progress.total)
        left = await users.leave_program(tx, scope, most=_ACCOUNTS_AT_ONCE, now=self._clock.now())
        progress.accounts += len(left)
        tx.after_commit(partial(_tell, self._on_changed, left))
        progress.files += result or 0
        # What somebody has written meanwhile who had been let in before.
        if left or await self._delete_rows(tx, scope, progress, first=0):
            return Continue(progress.checkpoint(), progress.total)
        if result is None:
            progress.rows_gone = True
            return Continue(progress.checkpoint(), progress.total)
        return await self._finish(tx, scope, job, progress)

    async def _delete_rows(self, tx: Tx, scope: TenantScope, progress: Progress, *, first: int) -> int:
        """Delete a batch, from the first table on that may have rows. Gives how many there were: none are left of less
        than a whole batch."""
        tables, room = queries.tables(), _ROWS_AT_ONCE
        for number, table in enumerate(tables[first:], first):
            deleted = await queries.delete_some(tx, scope, table, most=room)
            progress.count(table.name, deleted)
            progress.stage = number
            room -= deleted
            if not room:
                return _ROWS_AT_ONCE
        progress.stage = len(tables)
        return _ROWS_AT_ONCE - room

    async def _finish(self, tx: Tx, scope: TenantScope, job: Job, progress: Progress) -> Done:
        await external.forget_jobs(tx, scope)
        await reviews.forget_owners(tx, scope)
        # What somebody has put in line since the purge began would be done in the program that is made anew.
        await stop_all(tx, scope, but=job.id, now=self._clock.now())
        await forget_ended(tx, scope)
        await tenants.end_purge(tx, scope)
        await record(
            tx,
            SecurityAction.PROGRAM_PURGED,
            source=None,
            now=self._clock.now(),
            actor=job.args["by"],
            tenant_id=scope.tenant_id,
            details=progress.told(),
        )
        await self._set_anchors_aside(scope)
        return Done(progress.told())

    async def _set_anchors_aside(self, scope: TenantScope) -> None:
        """Outside of the database, which is harmless: it is done twice, and while nobody can use the id: the purge is held."""
        try:
            await asyncio.to_thread(set_aside_anchors, self._data_dir, scope.tenant_id, self._clock.now())
        except AnchorsUnwritable:
            _log.warning("anchors.not_set_aside", tenant_id=scope.tenant_id)


async def _require_ours(lease: Lease) -> None:
    """Raises `LeaseLost`."""
    async with lease.transaction():
        pass


def _tell(on_changed: Callable[[UserId], None], user_ids: Iterable[UserId]) -> None:
    for user_id in user_ids:
        on_changed(user_id)
