"""All SQL of jobs. Whoever has claimed one changes it by `(id, owner, attempt)` only: that is the fence."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, and_, case, delete, exists, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from datacollect.db import Reading, Tx
from datacollect.jobs.model import Job, JobId, JobState, Progress
from datacollect.jobs.tables import IS_ACTIVE, jobs
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

_columns = jobs.c
_is_active = text(IS_ACTIVE)
"""Written out, so that the planner sees that the partial indexes hold what is asked for."""


async def insert_job(
    tx: Tx, scope: TenantScope, job_id: JobId, kind: str, key: str, args: Mapping[str, Any], *, now: Millis
) -> bool:
    """Whether there was no active one of that kind and key. Waits for a transaction that is just making one."""
    insert = (postgresql if tx.dialect == "postgresql" else sqlite).insert(jobs)
    statement = insert.values(
        id=job_id,
        tenant_id=scope.tenant_id,
        kind=kind,
        key=key,
        args=_text(args),
        state=JobState.AVAILABLE.value,
        checkpoint="{}",
        done=0,
        attempt=0,
        failures=0,
        due_ms=now,
        turn=0,
        cancel_requested=False,
        created_ms=now,
        updated_ms=now,
    ).on_conflict_do_nothing(index_elements=[_columns.tenant_id, _columns.kind, _columns.key], index_where=_is_active)
    return (await tx.execute(statement)).rowcount == 1


async def find_active(view: Reading, scope: TenantScope, kind: str, key: str) -> Job | None:
    found = select(jobs).where(_named(scope, kind, key), _is_active)
    return _found((await view.execute(found)).one_or_none())


async def find_latest(view: Reading, scope: TenantScope, kind: str, key: str) -> Job | None:
    found = select(jobs).where(_named(scope, kind, key))
    newest = found.order_by(_columns.finished_ms.desc().nulls_first(), _columns.created_ms.desc()).limit(1)
    return _found((await view.execute(newest)).one_or_none())


async def cancel(tx: Tx, scope: TenantScope, job_id: JobId, *, now: Millis) -> bool:
    is_running = _columns.state == JobState.RUNNING.value
    statement = (
        update(jobs)
        .where(_columns.id == job_id, _columns.tenant_id == scope.tenant_id, _is_active)
        .values(
            cancel_requested=True,
            state=case((is_running, _columns.state), else_=JobState.CANCELLED.value),
            finished_ms=case((is_running, None), else_=now),
            updated_ms=now,
        )
    )
    return (await tx.execute(statement)).rowcount == 1


async def is_anything_due(view: Reading, kinds: Collection[str], *, now: Millis) -> bool:
    return bool((await view.execute(select(exists().where(_is_due(kinds, now))))).scalar_one())


async def claim(
    tx: Tx, owner: str, kinds: Collection[str], *, now: Millis, lease_until: Millis, attempts: int, abandoned: str
) -> Job | None:
    """Take a job that is due, of the tenant that has waited longest for a turn; None if there is none to be had.

    It comes back `cancelled` if it was called off while nobody worked on it, and `discarded` (with the error
    `abandoned`) if it has been claimed `attempts` times in a row without a committed step.
    """
    other = jobs.alias("other")
    last_turn = select(func.max(other.c.turn)).where(other.c.tenant_id == _columns.tenant_id).scalar_subquery()
    wanted = (
        select(jobs)
        .where(_is_due(kinds, now))
        .order_by(last_turn, _columns.due_ms, _columns.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=jobs)
    )
    row = (await tx.execute(wanted)).one_or_none()
    if row is None:
        return None
    if row.cancel_requested:
        changes: dict[str, Any] = {"state": JobState.CANCELLED.value, "finished_ms": now}
    elif row.failures >= attempts:
        changes = {"state": JobState.DISCARDED.value, "error_code": abandoned, "finished_ms": now}
    else:
        any_job = jobs.alias("any_job")
        changes = {
            "state": JobState.RUNNING.value,
            "owner": owner,
            "attempt": _columns.attempt + 1,
            "failures": _columns.failures + 1,
            "due_ms": lease_until,
            "turn": select(func.max(any_job.c.turn) + 1).scalar_subquery(),
            "started_ms": func.coalesce(_columns.started_ms, now),
        }
    changed = update(jobs).where(_columns.id == row.id).values(**changes, updated_ms=now).returning(jobs)
    return _found((await tx.execute(changed)).one())


async def store_checkpoint(tx: Tx, job: Job, owner: str, *, due: Millis, keep: bool, now: Millis) -> JobState | None:
    """Store how far the job is, and tell what it is then: still ours if `keep`, else free for the next claimer, or
    cancelled. None if it is not ours any more."""
    goes_on = JobState.RUNNING if keep else JobState.AVAILABLE
    is_cancelled = _columns.cancel_requested
    return await _change(
        tx,
        job,
        owner,
        state=case((is_cancelled, JobState.CANCELLED.value), else_=goes_on.value),
        finished_ms=case((is_cancelled, now), else_=None),
        checkpoint=_text(job.checkpoint),
        done=job.progress.done,
        total=job.progress.total,
        failures=0,
        error_code=None,
        due_ms=due,
        updated_ms=now,
    )


async def complete(tx: Tx, job: Job, owner: str, result: Mapping[str, Any], *, now: Millis) -> JobState | None:
    """None if it is not ours any more."""
    return await _change(
        tx,
        job,
        owner,
        state=JobState.COMPLETED.value,
        result=_text(result),
        done=func.coalesce(_columns.total, _columns.done),
        failures=0,
        error_code=None,
        finished_ms=now,
        updated_ms=now,
    )


async def store_failure(tx: Tx, job: Job, owner: str, *, retry_at: Millis | None, now: Millis) -> JobState | None:
    """Let it be tried again at `retry_at`, or never. None if it is not ours any more."""
    goes_on = JobState.DISCARDED if retry_at is None else JobState.RETRYABLE
    is_cancelled = _columns.cancel_requested
    return await _change(
        tx,
        job,
        owner,
        state=case((is_cancelled, JobState.CANCELLED.value), else_=goes_on.value),
        finished_ms=now if retry_at is None else case((is_cancelled, now), else_=None),
        error_code=job.error_code,
        failures=job.failures,
        due_ms=now if retry_at is None else retry_at,
        updated_ms=now,
    )


async def delete_finished(tx: Tx, *, before: Millis, most: int) -> int:
    """Forget jobs that ended earlier, some at a time."""
    old = select(_columns.id).where(_columns.finished_ms < before).order_by(_columns.finished_ms).limit(most)
    skipped = old.with_for_update(skip_locked=True)
    return (await tx.execute(delete(jobs).where(_columns.id.in_(skipped)))).rowcount


async def _change(tx: Tx, job: Job, owner: str, **changes: Any) -> JobState | None:
    fence = and_(
        _columns.id == job.id,
        _columns.owner == owner,
        _columns.attempt == job.attempt,
        _columns.state == JobState.RUNNING.value,
    )
    changed = update(jobs).where(fence).values(**changes).returning(_columns.state)
    state = (await tx.execute(changed)).scalar_one_or_none()
    return None if state is None else JobState(state)


def _named(scope: TenantScope, kind: str, key: str) -> ColumnElement[bool]:
    return and_(_columns.tenant_id == scope.tenant_id, _columns.kind == kind, _columns.key == key)


def _is_due(kinds: Collection[str], now: Millis) -> ColumnElement[bool]:
    """Also what runs, when its lease is over."""
    return and_(_is_active, _columns.due_ms <= now, _columns.kind.in_(sorted(kinds)))


def _text(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def _found(row: Row[Any] | None) -> Job | None:
    if row is None:
        return None
    return Job(
        id=JobId(row.id),
        tenant_id=TenantId(row.tenant_id),
        kind=row.kind,
        key=row.key,
        args=msgspec.json.decode(row.args),
        state=JobState(row.state),
        checkpoint=msgspec.json.decode(row.checkpoint),
        progress=Progress(row.done, row.total),
        result=None if row.result is None else msgspec.json.decode(row.result),
        attempt=row.attempt,
        failures=row.failures,
        error_code=row.error_code,
        created_at=row.created_ms,
        started_at=row.started_ms,
        updated_at=row.updated_ms,
        finished_at=row.finished_ms,
    )
