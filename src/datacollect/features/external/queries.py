"""SQL of runs, and of how far a program's exchange with a system has come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import delete, func, insert, select, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.features.external.model import MOST_ERRORS, Phase, Run, RunError, Stage, Status
from datacollect.features.external.tables import external_jobs, external_marks, external_runs
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

_r = external_runs.c
_m = external_marks.c
_errors = msgspec.json.Decoder(tuple[RunError, ...])
_error = msgspec.json.Decoder(RunError)
_SELECTION = -1
"""Stands among the stages for what is exchanged."""
_places = msgspec.json.Decoder(dict[int, tuple[int, str]])


# -- runs


async def insert_run(
    tx: Tx, scope: TenantScope, job_id: str, *, triggered_by: str, retry_of: str | None, now: Millis
) -> None:
    """A run for a job that has just been enqueued: nobody else makes one of this program at the same time."""
    last = select(func.coalesce(func.max(_r.id), 0) + 1).where(_r.tenant_id == scope.tenant_id).scalar_subquery()
    await tx.execute(
        insert(external_runs).values(
            tenant_id=scope.tenant_id,
            id=last,
            job_id=job_id,
            status=Status.PENDING.value,
            phase=Phase.PENDING.value,
            triggered_by=triggered_by,
            retry_of=retry_of,
            created_ms=now,
            updated_ms=now,
        )
    )
    await tx.execute(insert(external_jobs).values(job_id=job_id, tenant_id=scope.tenant_id))


async def find_owner(view: Reading, job_id: str) -> TenantId | None:
    """Whose run that is."""
    found = select(external_jobs.c.tenant_id).where(external_jobs.c.job_id == job_id)
    owner = (await view.execute(found)).scalar_one_or_none()
    return None if owner is None else TenantId(owner)


async def find_run(view: Reading, scope: TenantScope, job_id: str) -> Run | None:
    found = select(external_runs).where(_r.tenant_id == scope.tenant_id, _r.job_id == job_id)
    row = (await view.execute(found)).one_or_none()
    return None if row is None else _run(row)


async def list_runs(view: Reading, scope: TenantScope, *, before: int | None, limit: int) -> Sequence[Run]:
    """The latest first."""
    found = select(external_runs).where(_r.tenant_id == scope.tenant_id)
    if before is not None:
        found = found.where(_r.id < before)
    return [_run(row) for row in await view.execute(found.order_by(_r.id.desc()).limit(limit))]


async def store_run(tx: Tx, scope: TenantScope, run: Run) -> None:
    await tx.execute(
        update(external_runs)
        .where(_r.tenant_id == scope.tenant_id, _r.id == run.id)
        .values(
            status=run.status.value,
            phase=run.phase.value,
            adapter=run.adapter,
            pushed=run.pushed,
            pulled=run.pulled,
            failed=run.failed,
            skipped=run.skipped,
            duration_ms=run.duration_ms,
            errors=_text(run.errors[:MOST_ERRORS]) if run.errors else None,
            trouble=None if run.trouble is None else _text(run.trouble),
            error_message=run.error_message,
            started_ms=run.started_at,
            updated_ms=run.updated_at,
        )
    )


async def delete_jobs(tx: Tx, scope: TenantScope) -> None:
    """Whose the program's job ids were is forgotten."""
    await tx.execute(delete(external_jobs).where(external_jobs.c.tenant_id == scope.tenant_id))


def _run(row: Any) -> Run:
    return Run(
        id=row.id,
        job_id=row.job_id,
        tenant_id=TenantId(row.tenant_id),
        status=Status(row.status),
        phase=Phase(row.phase),
        adapter=row.adapter,
        pushed=row.pushed,
        pulled=row.pulled,
        failed=row.failed,
        skipped=row.skipped,
        duration_ms=row.duration_ms,
        errors=() if row.errors is None else _errors.decode(row.errors),
        trouble=None if row.trouble is None else _error.decode(row.trouble),
        triggered_by=row.triggered_by,
        retry_of=row.retry_of,
        error_message=row.error_message,
        created_at=Millis(row.created_ms),
        started_at=None if row.started_ms is None else Millis(row.started_ms),
        updated_at=Millis(row.updated_ms),
    )


# -- marks


@dataclass(frozen=True, slots=True)
class Marks:
    """How far a program's exchange with one system has come."""

    push: Mapping[int, tuple[int, str]]
    """Per stage, the position and guid of the last entity that was looked at."""
    pull: str | None
    selection: tuple[int, str] | None = None
    """What of records is exchanged, and the run that was the first to do so. None where older hubs have kept the marks."""

    def of(self, stage: Stage) -> tuple[int, str]:
        return self.push.get(int(stage), (0, ""))

    @property
    def anew_since(self) -> int:
        """The run since which what was exchanged before is looked at once more."""
        return 0 if self.selection is None else self.selection[0]

    def selecting(self, selection: str, *, run_id: int) -> "Marks":
        """At the beginning again if something else is exchanged now: a mapping that was added is for all records."""
        if self.selection is None:
            return replace(self, selection=(0, selection))
        return self if self.selection[1] == selection else Marks({}, None, (run_id, selection))


async def find_marks(view: Reading, scope: TenantScope, system: str) -> Marks | None:
    found = select(external_marks).where(_m.tenant_id == scope.tenant_id, _m.system == system)
    row = (await view.execute(found)).one_or_none()
    if row is None:
        return None
    push = _places.decode(row.push)
    selection = push.pop(_SELECTION, None)
    return Marks(push, row.pull, selection)


async def store_marks(tx: Tx, scope: TenantScope, system: str, marks: Marks) -> None:
    places = marks.push if marks.selection is None else {**marks.push, _SELECTION: marks.selection}
    values = {"push": _text(places), "pull": marks.pull}
    insert_ = insert_into(tx, external_marks)
    upsert = insert_.values(tenant_id=scope.tenant_id, system=system, **values)
    await tx.execute(upsert.on_conflict_do_update(index_elements=[_m.tenant_id, _m.system], set_=values))


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
