"""All SQL of jobs. Whoever has claimed one changes it by `(id, owner, attempt)` only: that is the fence."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Executable,
    Row,
    Select,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    true,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from datacollect.db import Dialect, EveryTenant, Reading, Tx, insert_for
from datacollect.jobs.errors import JobReplaced
from datacollect.jobs.model import Job, JobId, JobState, Progress
from datacollect.jobs.tables import IS_ACTIVE, jobs
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

_columns = jobs.c
_is_active = text(IS_ACTIVE)
"""Written out, so that the planner sees that the partial indexes hold what is asked for."""
_MOST_AT_ONCE = 1000

_NOW = bindparam("now", type_=_columns.updated_ms.type)
# Made once, as what is asked again and again: to put a statement together costs more than to run it.
_NAMED = and_(
    _columns.tenant_id == bindparam("tenant"),
    _columns.kind == bindparam("of_kind"),
    _columns.key == bindparam("of_key"),
)
_FIND_ACTIVE = select(jobs).where(_NAMED, _is_active)
_FIND_LATEST = (
    select(jobs).where(_NAMED).order_by(_columns.finished_ms.desc().nulls_first(), _columns.created_ms.desc()).limit(1)
)
_IS_OURS = and_(
    _columns.id == bindparam("ours"),
    _columns.owner == bindparam("by"),
    _columns.attempt == bindparam("in_attempt"),
    _columns.state == JobState.RUNNING.value,
)
"""The fence."""
_LOOK = select(jobs).where(_IS_OURS)


async def insert_job(
    tx: Tx,
    scope: TenantScope,
    job_id: JobId,
    kind: str,
    key: str,
    args: Mapping[str, Any],
    *,
    deadline: Millis | None,
    now: Millis,
) -> bool:
    """Whether there was no active one of that kind and key. Waits for a transaction that is just making one."""
    values = {
        "id": job_id,
        "tenant_id": scope.tenant_id,
        "kind": kind,
        "key": key,
        "args": _text(args),
        "state": JobState.AVAILABLE.value,
        "checkpoint": "{}",
        "done": 0,
        "attempt": 0,
        "failures": 0,
        "due_ms": now,
        "turn": 0,
        "cancel_requested": False,
        "deadline_ms": deadline,
        "time_limit_ms": None if deadline is None else deadline - now,
        "created_ms": now,
        "updated_ms": now,
    }
    return (await tx.execute(_inserting(tx.dialect), values)).rowcount == 1


@cache
def _inserting(dialect: Dialect) -> Executable:
    return insert_for(dialect, jobs).on_conflict_do_nothing(
        index_elements=[_columns.tenant_id, _columns.kind, _columns.key], index_where=_is_active
    )


async def find_active(view: Reading, scope: TenantScope, kind: str, key: str) -> Job | None:
    return _found((await view.execute(_FIND_ACTIVE, _named(scope, kind, key))).one_or_none())


async def find_latest(view: Reading, scope: TenantScope, kind: str, key: str) -> Job | None:
    return _found((await view.execute(_FIND_LATEST, _named(scope, kind, key))).one_or_none())


async def list_jobs(
    view: Reading,
    within: TenantScope | EveryTenant,
    *,
    kinds: Collection[str] | None,
    states: Collection[JobState] | None,
    before: tuple[Millis, JobId] | None,
    limit: int,
) -> Sequence[Job]:
    """The youngest first."""
    found = select(jobs).where(_within(within))
    if kinds is not None:
        found = found.where(_columns.kind.in_(sorted(kinds)))
    if states is not None:
        found = found.where(_columns.state.in_(sorted(state.value for state in states)))
    if before is not None:
        found = found.where(tuple_(_columns.created_ms, _columns.id) < tuple_(*before))
    page = found.order_by(_columns.created_ms.desc(), _columns.id.desc()).limit(limit)
    return [_job(row) for row in await view.execute(page)]


async def call_off(tx: Tx, scope: TenantScope, job_id: JobId, kinds: Collection[str], *, now: Millis) -> Job | None:
    """Ask an active job to end, and end it if it waits and is of one of the kinds. None if there was none.

    One that waits and is of another kind is due at once, for a worker that knows it.
    """
    is_running = _columns.state == JobState.RUNNING.value
    ends = and_(~is_running, _columns.kind.in_(sorted(kinds)))
    statement = (
        update(jobs)
        .where(_columns.id == job_id, _columns.tenant_id == scope.tenant_id, _is_active)
        .values(
            cancel_requested=True,
            state=case((ends, JobState.CANCELLED.value), else_=_columns.state),
            finished_ms=case((ends, now), else_=None),
            due_ms=case((is_running, _columns.due_ms), else_=now),
            updated_ms=now,
        )
        .returning(jobs)
    )
    return _found((await tx.execute(statement)).one_or_none())


async def put_back(tx: Tx, scope: TenantScope, job_id: JobId, *, now: Millis) -> Job | None:
    """Put a discarded job in line again, with the time it had to begin with; None if it is not (any more) discarded.

    Raises `JobReplaced` if there is an active one of its kind and key.
    """
    statement = (
        update(jobs)
        .where(
            _columns.id == job_id,
            _columns.tenant_id == scope.tenant_id,
            _columns.state == JobState.DISCARDED.value,
        )
        .values(
            state=JobState.AVAILABLE.value,
            failures=0,
            error_code=None,
            cancel_requested=False,
            deadline_ms=now + _columns.time_limit_ms,
            due_ms=now,
            updated_ms=now,
            finished_ms=None,
        )
        .returning(jobs)
    )
    try:
        return _found((await tx.execute(statement)).one_or_none())
    except IntegrityError as taken:
        raise JobReplaced() from taken


async def find_job(view: Reading, within: TenantScope | EveryTenant, job_id: JobId) -> Job | None:
    found = select(jobs).where(_columns.id == job_id, _within(within))
    return _found((await view.execute(found)).one_or_none())


async def stop_all(tx: Tx, scope: TenantScope, *, but: JobId | None, now: Millis) -> None:
    stopped = update(jobs).where(_columns.tenant_id == scope.tenant_id, _columns.id != (but or ""), _is_active)
    await tx.execute(stopped.values(state=JobState.CANCELLED.value, finished_ms=now, updated_ms=now))


async def delete_ended(tx: Tx, scope: TenantScope) -> None:
    await tx.execute(delete(jobs).where(_columns.tenant_id == scope.tenant_id, _columns.finished_ms.is_not(None)))


async def is_anything_due(view: Reading, kinds: Collection[str], *, only_sound: bool, now: Millis) -> bool:
    asked = _is_anything_due(tuple(sorted(kinds)), only_sound)
    return bool((await view.execute(asked, {"now": now})).scalar_one())


@lru_cache(maxsize=64)
def _is_anything_due(kinds: tuple[str, ...], only_sound: bool) -> Select[tuple[bool]]:
    """Made once: it is asked several times a second, and to put it together costs more than to run it."""
    return select(exists().where(_is_due(kinds, only_sound)))


async def claim(
    tx: Tx, owner: str, kinds: Collection[str], *, only_sound: bool, now: Millis, lease_until: Millis
) -> Job | None:
    """Take a job that is due, of the tenant that has waited longest for a turn; None if there is none to be had.

    Also one that is only to be ended: called off while nobody worked on it, past its deadline, or failed too often.
    With `only_sound`, none that has failed since its last step.
    """
    wanted = _wanted(tuple(sorted(kinds)), only_sound)
    job_id = (await tx.execute(wanted, {"now": now})).scalar_one_or_none()
    if job_id is None:
        return None
    claimed = {"claimed": job_id, "by": owner, "lease_until": lease_until, "now": now}
    return _found((await tx.execute(_CLAIM, claimed)).one())


@lru_cache(maxsize=64)
def _wanted(kinds: tuple[str, ...], only_sound: bool) -> Select[tuple[str]]:
    other = jobs.alias("other")
    last_turn = select(func.max(other.c.turn)).where(other.c.tenant_id == _columns.tenant_id).scalar_subquery()
    return (
        select(_columns.id)
        .where(_is_due(kinds, only_sound))
        .order_by(last_turn, _columns.due_ms, _columns.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=jobs)
    )


_CLAIM = (
    update(jobs)
    .where(_columns.id == bindparam("claimed"))
    .values(
        state=JobState.RUNNING.value,
        owner=bindparam("by"),
        attempt=_columns.attempt + 1,
        failures=_columns.failures + 1,
        due_ms=bindparam("lease_until"),
        turn=select(func.max(jobs.alias("any_job").c.turn) + 1).scalar_subquery(),
        started_ms=func.coalesce(_columns.started_ms, _NOW),
        updated_ms=_NOW,
    )
    .returning(jobs)
)


async def store_checkpoint(tx: Tx, job: Job, owner: str, *, due: Millis, keep: bool, now: Millis) -> Job | None:
    """Store how far the job is, and tell what it is then: still ours if `keep`, else free for the next claimer, or
    cancelled. None if it is not ours any more."""
    told = {
        "goes_on": (JobState.RUNNING if keep else JobState.AVAILABLE).value,
        "now": now,
        "checkpoint": _text(job.checkpoint),
        "done": job.progress.done,
        "total": job.progress.total,
        "due_ms": due,
    }
    return _found((await tx.execute(_STORE_CHECKPOINT, told | _ours(job, owner))).one_or_none())


_STORE_CHECKPOINT = (
    update(jobs)
    .where(_IS_OURS)
    .values(
        state=case(
            (_columns.cancel_requested, JobState.CANCELLED.value), else_=bindparam("goes_on", type_=_columns.state.type)
        ),
        finished_ms=case((_columns.cancel_requested, _NOW), else_=None),
        failures=0,
        error_code=None,
        updated_ms=_NOW,
    )
    .returning(jobs)
)


async def complete(
    tx: Tx, job: Job, owner: str, result: Mapping[str, Any], *, total: int | None, now: Millis
) -> Job | None:
    """`total` is what has been done in the end; without it what was known to be there. None if it is not ours any more."""
    told = {"result": _text(result), "in_all": total, "now": now}
    return _found((await tx.execute(_COMPLETE, told | _ours(job, owner))).one_or_none())


_IN_ALL = bindparam("in_all", type_=_columns.total.type)
_COMPLETE = (
    update(jobs)
    .where(_IS_OURS)
    .values(
        state=JobState.COMPLETED.value,
        done=func.coalesce(_IN_ALL, _columns.total, _columns.done),
        total=func.coalesce(_IN_ALL, _columns.total),
        failures=0,
        error_code=None,
        finished_ms=_NOW,
        updated_ms=_NOW,
    )
    .returning(jobs)
)


async def store_failure(tx: Tx, job: Job, owner: str, *, retry_at: Millis | None, now: Millis) -> Job | None:
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


async def end(tx: Tx, job: Job, owner: str, state: JobState, *, now: Millis) -> Job | None:
    """End it with what it has come to. None if it is not ours any more."""
    return await _change(
        tx, job, owner, state=state.value, error_code=job.error_code, finished_ms=now, due_ms=now, updated_ms=now
    )


async def release(tx: Tx, job: Job, owner: str, *, failures: int, now: Millis) -> Job | None:
    """Put it in line for the next claimer, as it was after its last step. None if it is not ours any more."""
    goes_on = JobState.AVAILABLE.value
    return await _change(tx, job, owner, state=goes_on, failures=failures, due_ms=now, updated_ms=now)


async def prolong(tx: Tx, job: Job, owner: str, *, lease_until: Millis) -> Job | None:
    """None if it is not ours any more."""
    return await _change(tx, job, owner, due_ms=lease_until)


async def look(view: Reading, job: Job, owner: str) -> Job | None:
    """The job as it is now; None if it is not ours any more."""
    return _found((await view.execute(_LOOK, _ours(job, owner))).one_or_none())


@dataclass(frozen=True, slots=True)
class Held:
    """A job's lease, as it was seen."""

    job_id: JobId
    attempt: int
    until: Millis


async def list_leases(view: Reading, *, after: Millis) -> Sequence[Held]:
    """Of the jobs that run, those whose leases end after that."""
    found = select(_columns.id, _columns.attempt, _columns.due_ms).where(
        _is_active, _columns.state == JobState.RUNNING.value, _columns.due_ms > after
    )
    return [Held(JobId(row.id), row.attempt, Millis(row.due_ms)) for row in await view.execute(found)]


async def end_lease(tx: Tx, held: Held, *, now: Millis) -> bool:
    """Leave the job to whoever looks next, unless its lease has been changed."""
    same = and_(_columns.id == held.job_id, _columns.attempt == held.attempt, _columns.due_ms == held.until)
    ended = update(jobs).where(same, _columns.state == JobState.RUNNING.value).values(due_ms=now)
    return (await tx.execute(ended)).rowcount == 1


async def is_waiting_since(view: Reading, instant: Millis) -> bool:
    """Whether a job waits that was put in line after that."""
    return bool((await view.execute(select(exists().where(_waits_since(instant))))).scalar_one())


async def wait_anew(tx: Tx, *, put_in_line_after: Millis, now: Millis) -> int:
    """Let jobs that wait, and were put in line after that, wait as long from now on as they were to wait then. How many."""
    some = select(_columns.id).where(_waits_since(put_in_line_after)).limit(_MOST_AT_ONCE)
    pause = _columns.due_ms - _columns.updated_ms
    anew = update(jobs).where(_columns.id.in_(some.with_for_update(skip_locked=True)))
    return (await tx.execute(anew.values(due_ms=now + pause, updated_ms=now))).rowcount


async def delete_finished(tx: Tx, *, before: Millis, most: int) -> int:
    """Forget jobs that ended earlier, some at a time."""
    old = select(_columns.id).where(_columns.finished_ms < before).order_by(_columns.finished_ms).limit(most)
    skipped = old.with_for_update(skip_locked=True)
    return (await tx.execute(delete(jobs).where(_columns.id.in_(skipped)))).rowcount


async def _change(tx: Tx, job: Job, owner: str, **changes: Any) -> Job | None:
    changed = update(jobs).where(_IS_OURS).values(**changes).returning(jobs)
    return _found((await tx.execute(changed, _ours(job, owner))).one_or_none())


def _ours(job: Job, owner: str) -> dict[str, Any]:
    return {"ours": job.id, "by": owner, "in_attempt": job.attempt}


def _within(within: TenantScope | EveryTenant) -> ColumnElement[bool]:
    return true() if isinstance(within, EveryTenant) else _columns.tenant_id == within.tenant_id


def _named(scope: TenantScope, kind: str, key: str) -> dict[str, Any]:
    return {"tenant": scope.tenant_id, "of_kind": kind, "of_key": key}


def _is_due(kinds: tuple[str, ...], only_sound: bool) -> ColumnElement[bool]:
    """Also what runs, when its lease is over."""
    is_due = and_(_is_active, _columns.due_ms <= _NOW, _columns.kind.in_(kinds))
    return and_(is_due, or_(_columns.failures == 0, _columns.cancel_requested)) if only_sound else is_due


def _waits_since(instant: Millis) -> ColumnElement[bool]:
    """What waits is never due before it was put in line, so that the index of what is due finds it."""
    put_in_line = and_(_columns.due_ms > instant, _columns.updated_ms > instant)
    return and_(_is_active, _columns.state != JobState.RUNNING.value, put_in_line)


def _text(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def _found(row: Row[Any] | None) -> Job | None:
    return None if row is None else _job(row)


def _job(row: Row[Any]) -> Job:
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
        is_called_off=row.cancel_requested,
        deadline=row.deadline_ms,
        due_at=row.due_ms,
        created_at=row.created_ms,
        started_at=row.started_ms,
        updated_at=row.updated_ms,
        finished_at=row.finished_ms,
    )
