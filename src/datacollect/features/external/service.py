"""Runs as people see them: starting, calling off, looking. What a run does is in `runner.py`.

Source: the contract's area of external synchronisation, 1-3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.adapters.port import Decides
from datacollect.db import Reading, Tx
from datacollect.features.external import queries, record_queries
from datacollect.features.external.codes import Trouble
from datacollect.features.external.connecting import CannotConnect, Connections
from datacollect.features.external.errors import InstanceNotFound, NoActiveJob, SyncInProgress
from datacollect.features.external.model import Run
from datacollect.features.external.record_queries import Letter
from datacollect.features.external.runner import KIND
from datacollect.features.tenants import asked as tenants
from datacollect.jobs import JobId, Worker, enqueue
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant

UNKNOWN_STARTER = "unknown"


@dataclass(frozen=True, slots=True)
class Situation:
    """How it stands with a program's exchange."""

    latest: Run | None
    active: Run | None


async def start(
    tx: Tx,
    scope: TenantScope,
    *,
    triggered_by: str,
    retry_of: str | None = None,
    seconds: int,
    now: Millis,
) -> JobId:
    """Put a run in line, which has so many seconds.

    Raises `SyncInProgress` while another one of the program has not ended, `InstanceNotFound` for a program that has just
    been taken away.
    """
    if not await tenants.hold(tx, scope):
        raise InstanceNotFound()
    job_id = await enqueue(tx, scope, KIND, {}, deadline=Millis(now + seconds * 1000), now=now)
    # Of several starts at the same time one makes the job; the others wait for that, and find its run.
    if await queries.find_run(tx, scope, job_id) is not None:
        raise SyncInProgress()
    await queries.insert_run(tx, scope, job_id, triggered_by=triggered_by, retry_of=retry_of, now=now)
    return job_id


async def cancel(tx: Tx, jobs: Worker, scope: TenantScope, job_id: str) -> None:
    """Call a run off: it ends with the batch that is under way. Raises `NoActiveJob`."""
    if await jobs.cancel(tx, scope, JobId(job_id)) is None:
        raise NoActiveJob()


async def owner_of(view: Reading, job_id: str) -> TenantId | None:
    """The program that a job id belongs to."""
    return await queries.find_owner(view, job_id)


async def find_run(view: Reading, scope: TenantScope, job_id: str) -> Run | None:
    return await queries.find_run(view, scope, job_id)


async def situation(view: Reading, scope: TenantScope) -> Situation:
    found = await queries.list_runs(view, scope, before=None, limit=1)
    latest = found[0] if found else None
    return Situation(latest, latest if latest is not None and latest.phase.is_active else None)


async def list_runs(view: Reading, scope: TenantScope, *, before: int | None, limit: int) -> Sequence[Run]:
    """The latest first."""
    return await queries.list_runs(view, scope, before=before, limit=limit)


async def forget_jobs(tx: Tx, scope: TenantScope) -> None:
    """For a program that is purged: whose its job ids were is no part of its own tables."""
    await queries.delete_jobs(tx, scope)


# -- records that are not where they should be


@dataclass(frozen=True, slots=True)
class Lost:
    """A record that has not arrived: there (`push`), or here (`pull`)."""

    direction: str
    key: str
    """What pages go on by."""
    guid: str | None
    external_id: str | None
    code: str
    message: str
    tries: int
    is_due: bool
    """Whether the next run tries it again."""
    run_id: int
    updated_at: Millis


async def list_lost(
    view: Reading,
    scope: TenantScope,
    system: str,
    *,
    run_id: int | None,
    after: tuple[str, str] | None,
    limit: int,
) -> Sequence[Lost]:
    """Those that have not arrived there, then those that have not arrived here; with `run_id` those that this run met
    last. `after` is the direction and the key of the last one that is known."""
    direction, key = after or ("push", "")
    found: list[Lost] = []
    if direction == "push":
        records = await record_queries.failed_records(view, scope, system, run_id=run_id, after=key, limit=limit)
        found = [
            Lost(
                "push",
                record.guid,
                record.guid,
                None,
                record.code or "",
                record.message or "",
                record.tries,
                record.is_due,
                record.run_id,
                record.updated_at,
            )
            for record in records
        ]
        key = ""
    if len(found) < limit:
        letters = await record_queries.list_letters(
            view, scope, system, run_id=run_id, after=key, limit=limit - len(found)
        )
        found += map(_lost, letters)
    return found


def _lost(letter: Letter) -> Lost:
    return Lost(
        "pull",
        letter.external_id,
        letter.guid,
        letter.external_id,
        letter.code,
        letter.message,
        letter.tries,
        letter.is_due,
        letter.run_id,
        letter.updated_at,
    )


async def retry_lost(tx: Tx, scope: TenantScope, system: str) -> int:
    """Have the next run try all of them again that it would not; gives how many those are."""
    return await record_queries.retry_failed(tx, scope, system) + await record_queries.make_letters_due(
        tx, scope, system
    )


# -- the other system


@dataclass(frozen=True, slots=True)
class Tested:
    """What a test of the connection found."""

    adapter: str | None
    is_healthy: bool
    latency_ms: float | None
    code: str | None
    message: str | None


class OtherSystems:
    """Implements `http.hub.OtherSystems`: what routes ask of programs' adapters."""

    def __init__(self, connections: Connections, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock

    async def system_of(self, scope: TenantScope) -> str | None:
        """The short name of the system the program names; None where there is no way to one."""
        try:
            return await self._connections.system(scope)
        except CannotConnect:
            return None

    async def check(self, scope: TenantScope, tenant: Tenant) -> Tested:
        """Ask the other system whether it would take and give."""
        try:
            connection = await self._connections.make(scope, tenant)
        except CannotConnect as error:
            return Tested(None, False, None, error.failure.code, error.failure.message)
        try:
            health = await connection.adapter.check()
        finally:
            await connection.adapter.close()
        code = None if health.is_healthy else Trouble.UNHEALTHY.value
        return Tested(connection.name, health.is_healthy, health.latency_ms, code, health.message)

    async def deciders(self, scope: TenantScope, tenant: Tenant) -> Sequence[str]:
        """The adapter's names, the right one first, if somebody in the program's other system decides about changes."""
        try:
            connection = await self._connections.make(scope, tenant)
        except CannotConnect:
            return ()
        kind, adapter = connection.configured.kind, connection.adapter
        try:
            return (kind.name, *kind.aliases) if isinstance(adapter, Decides) and adapter.decides else ()
        finally:
            await connection.adapter.close()

    def kinds(self) -> Sequence[dict[str, Any]]:
        """Every kind of adapter, as a form for its settings is drawn from."""
        return self._connections.kinds()

    async def aclose(self) -> None:
        await self._connections.aclose()
