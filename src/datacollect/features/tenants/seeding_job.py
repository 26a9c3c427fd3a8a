"""Seeding a program: at once if it is little, else batch by batch in the background.

What is still to be seeded stands in the database, so that a seeding goes on wherever it was cut. All of it happens
under the lock of the program's log: an upload and a batch, or an archiving and a batch, come one after the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from datacollect.db import Reading, Tx
from datacollect.eventstore.event import Origin
from datacollect.eventstore.log import EventLog, Rejection
from datacollect.features.tenants import seeding_queries
from datacollect.features.tenants.queries import find_running
from datacollect.features.tenants.seeding import (
    Seeding,
    SeedPlan,
    SeedRecord,
    Tally,
    drafts_of,
    first_moment,
    fresh_events,
    records_of,
    tally,
)
from datacollect.jobs import Continue, Done, Job, Step, enqueue, find_latest
from datacollect.kernel.clock import Clock, Millis, format_timestamp
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import Tenant

KIND = "seeding"


class SeedingHandler:
    """Implements `Handler`: a step is a batch. There is one job of this kind for a program at a time."""

    kind = KIND

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    async def step(self, tx: Tx, scope: TenantScope, job: Job) -> Step:
        del job  # all it has to know stands in the tables
        seeding = await seed_next(tx, self._log, scope, now=self._clock.now())
        if seeding is None:
            return Done()
        if seeding.is_under_way:
            return Continue({}, done=seeding.tally.done, total=seeding.total)
        return Done(_counts(seeding))


async def begin(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    plan: SeedPlan,
    *,
    now: Millis,
    at_once: int,
) -> Seeding | None:
    """Seed what the plan holds and the log does not; None if it holds nothing. The caller has locked the log.

    More than `at_once` events are left to a job. What an earlier upload has still to seed is dropped: the plan takes its place.
    """
    earlier = await seeding_queries.find_seeding(tx, scope)
    if earlier is not None and earlier.is_under_way:
        await seeding_queries.delete_batches(tx, scope)
        await seeding_queries.finish(tx, scope, now=now)
    if not plan.batches:
        return None
    not_before = Millis(0) if earlier is None else earlier.next_at
    first = first_moment(plan.events, now=now, not_before=not_before)
    seeding = Seeding(plan.records, Tally(), first, now, None)
    if plan.events <= at_once:
        records = [record for batch in plan.batches for record in records_of(batch.text)]
        seeding = replace(await _seed(tx, log, scope, tenant, records, seeding), finished_at=now)
    else:
        await seeding_queries.add_batches(tx, scope, [batch.text for batch in plan.batches])
        await _enqueue(tx, scope, now=now)
    await seeding_queries.store_seeding(tx, scope, seeding)
    return seeding


async def resume(tx: Tx, scope: TenantScope, *, now: Millis) -> None:
    """Go on with what was cut by archiving, or given up. The caller has locked the log."""
    seeding = await seeding_queries.find_seeding(tx, scope)
    if seeding is not None and seeding.is_under_way:
        await _enqueue(tx, scope, now=now)


async def seed_next(tx: Tx, log: EventLog, scope: TenantScope, *, now: Millis) -> Seeding | None:
    """Seed the next batch; None if there is none, or the program has been stopped or purged."""
    if await log.hold(tx, scope) is None:
        return None
    tenant = await find_running(tx, scope.tenant_id)
    seeding = await seeding_queries.find_seeding(tx, scope)
    if tenant is None or seeding is None or not seeding.is_under_way:
        return None
    batch = await seeding_queries.next_batch(tx, scope)
    if batch is not None:
        number, text = batch
        seeding = await _seed(tx, log, scope, tenant, records_of(text), seeding)
        await seeding_queries.delete_batch(tx, scope, number)
    if batch is None or seeding.tally.done >= seeding.total:
        seeding = replace(seeding, finished_at=now)
    await seeding_queries.store_seeding(tx, scope, seeding)
    return seeding


async def describe(view: Reading, scope: TenantScope, *, is_archived: bool) -> dict[str, Any] | None:
    """The program's latest seeding in wire form."""
    seeding = await seeding_queries.find_seeding(view, scope)
    if seeding is None:
        return None
    state, error = "done", None
    if seeding.is_under_way:
        job = await find_latest(view, scope, KIND)
        # A job that has ended with something left, while the program runs, was given up.
        is_active = job is not None and job.is_active
        state = "paused" if is_archived else "running" if is_active else "failed"
        error = job.error_code if job is not None else None
    return {
        "state": state,
        "total": seeding.total,
        "done": seeding.tally.done,
        **_counts(seeding),
        "rejections": [msgspec.to_builtins(one) for one in seeding.tally.rejections],
        "error": error,
        "startedAt": format_timestamp(seeding.started_at),
        "finishedAt": None if seeding.finished_at is None else format_timestamp(seeding.finished_at),
    }


async def _seed(
    tx: Tx, log: EventLog, scope: TenantScope, tenant: Tenant, records: Sequence[SeedRecord], seeding: Seeding
) -> Seeding:
    """The seeding once these records are seeded too."""
    drafts = drafts_of(scope.tenant_id, records)
    held = await log.held(tx, scope, [draft.guid for draft in drafts])
    fresh = fresh_events(drafts, held, seeding.next_at)
    appended = None
    if fresh:
        appended = await log.append(tx, scope, tenant, fresh, origin=Origin.SEED, on_rejection=_go_on)
    return replace(
        seeding,
        tally=seeding.tally + tally(drafts, held, appended),
        next_at=Millis(seeding.next_at + len(fresh)),
    )


def _go_on(_rejection: Rejection) -> None:
    """The other seeds are appended."""


async def _enqueue(tx: Tx, scope: TenantScope, *, now: Millis) -> None:
    await enqueue(tx, scope, KIND, {}, now=now)


def _counts(seeding: Seeding) -> Mapping[str, Any]:
    told = seeding.tally
    return {"added": told.added, "existing": told.existing, "changed": told.changed, "rejected": told.rejected}
