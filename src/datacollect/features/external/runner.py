"""A run: push, then what was under way, then pull; batch by batch.

`call` speaks to the other system and `step` stores what it said, with how far the run has come: see `CallingHandler`. After
a crash the next worker goes on at the batch that was under way, whose records are known to be uncertain.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

from datacollect.adapters.errors import AdapterError, Failure
from datacollect.adapters.kinds import Capability
from datacollect.adapters.port import FollowsUp, FollowUp, Incoming, Outcome, Page
from datacollect.db import Database, Tx
from datacollect.eventstore.checks import EventChecks
from datacollect.eventstore.event import event_from_body
from datacollect.eventstore.log import Appended, EventLog
from datacollect.features.entities.links import service as links
from datacollect.features.entities.model import reserved_keys
from datacollect.features.external import following, pulling, pushing, queries, record_queries
from datacollect.features.external.codes import Trouble
from datacollect.features.external.connecting import PROGRAM_STOPPED, CannotConnect, Connection, Connections
from datacollect.features.external.incoming import Source
from datacollect.features.external.letters import incoming_of, is_of_members, keep_unreadable
from datacollect.features.external.model import LONGEST_MESSAGE, Counts, Phase, Run, RunError, error_of
from datacollect.features.external.pushing import Batch, Place, Sweep
from datacollect.features.external.queries import Marks
from datacollect.features.forms.service import keep_findings
from datacollect.jobs import (
    Continue,
    Done,
    GiveUp,
    Job,
    JobNotRetryable,
    JobState,
    Lease,
    Retries,
    Retry,
    Step,
)
from datacollect.kernel.clock import Clock
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import Tenant

KIND = "external-sync"

_LETTERS_AT_ONCE = 50
_LOOKS = 20
"""Parts of a push without anything to send that one call goes through."""
_NO_MARKS = Marks({}, None)

_log = structlog.get_logger(component="external")
_T = TypeVar("_T")


# -- what a call may bring


@dataclass(frozen=True, slots=True)
class _Begun:
    connection: Connection
    through: int
    """Where the log ended."""
    marks: Marks


@dataclass(frozen=True, slots=True)
class _Sent:
    connection: Connection
    batch: Batch
    outcomes: Sequence[Outcome]
    marks: Mapping[int, tuple[int, str]]
    """How far the walks have come."""


@dataclass(frozen=True, slots=True)
class _Told:
    connection: Connection
    found: Sequence[FollowUp]
    asked: Mapping[str, Mapping[str, Any]]
    """The data with which the adapter was asked, by guid."""
    last: str | None


@dataclass(frozen=True, slots=True)
class _Letters:
    connection: Connection
    incoming: Sequence[Incoming]
    late: frozenset[str]
    """Those of them that are about members alone, by their external ids."""
    last: str | None


@dataclass(frozen=True, slots=True)
class _Got:
    connection: Connection
    page: Page


@dataclass(frozen=True, slots=True)
class _Stopped:
    """Trying again does not help."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class _Troubled:
    """The other system is away, or the adapter is at its end."""

    failure: Failure
    retry_after_seconds: float | None = None


_Result = _Begun | _Sent | _Told | _Letters | _Got | _Stopped | _Troubled


class _AdapterBroke(Exception):
    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.code)


@dataclass(frozen=True, slots=True)
class _Work:
    """What a step is about."""

    tx: Tx
    scope: TenantScope
    job: Job
    run: Run

    @property
    def checkpoint(self) -> Mapping[str, Any]:
        return self.job.checkpoint


class ExternalSync:
    """Implements `CallingHandler` and `KeepsRuns`. There is one job of this kind for a program at a time."""

    kind = KIND
    call_seconds = pushing.LONGEST_CALL_SECONDS
    retries = Retries(attempts=6, first_seconds=2, most_seconds=60)

    def __init__(
        self, database: Database, log: EventLog, checks: EventChecks, connections: Connections, clock: Clock
    ) -> None:
        self._database = database
        self._log = log
        self._checks = checks
        self._connections = connections
        self._clock = clock

    # -- speaking to the other system

    async def call(self, scope: TenantScope, job: Job, lease: Lease) -> _Result:
        try:
            connection = await self._connections.of_run(scope, job.id)
            if not job.checkpoint:
                return await self._begin(scope, connection)
            if job.checkpoint["system"] != connection.system:
                return _Stopped(_SETTINGS_CHANGED)
            return await self._ask(scope, job, lease, connection)
        except CannotConnect as error:
            return _Stopped(error.failure)
        except AdapterError as error:
            await self._connections.close(job.id)
            return _Troubled(error.failure, error.retry_after_seconds)
        except _AdapterBroke as error:
            await self._connections.close(job.id)
            return _Troubled(error.failure)

    async def _begin(self, scope: TenantScope, connection: Connection) -> _Result:
        async with self._database.reading(scope) as view:
            head = await self._log.head(view, scope)
            marks = await queries.find_marks(view, scope, connection.system) or _NO_MARKS
        if head is None:
            return _Stopped(PROGRAM_STOPPED)
        if any(position > head.position + 1 for position, _ in marks.push.values()):
            # The log was put back to an earlier state: what is there has to be looked at once more.
            marks = replace(marks, push={})
        return _Begun(connection, head.position, marks)

    async def _ask(self, scope: TenantScope, job: Job, lease: Lease, connection: Connection) -> _Result:
        checkpoint = job.checkpoint
        match checkpoint["phase"]:
            case "push":
                return await self._push(scope, job, lease, connection)
            case "follow":
                return await self._follow(scope, connection, checkpoint["after"])
            case "letters":
                letters = await self._read_letters(scope, connection, checkpoint["after"])
                is_done = not letters.incoming and letters.last is None
                return await self._pull(scope, connection) if is_done and not checkpoint["again"] else letters
            case _:
                return await self._pull(scope, connection)

    async def _push(self, scope: TenantScope, job: Job, lease: Lease, connection: Connection) -> _Result:
        async with self._database.reading(scope, in_order=True) as view:
            marks = await queries.find_marks(view, scope, connection.system) or _NO_MARKS
            place = _place(job.checkpoint)
            for _ in range(_LOOKS):
                batch = await pushing.next_batch(
                    view,
                    scope,
                    connection.system,
                    marks,
                    place,
                    run_id=job.checkpoint["run"],
                    at_once=connection.at_once,
                    now=self._clock.now(),
                )
                if batch.mark is not None:
                    marks = replace(marks, push={**marks.push, int(batch.mark[0]): batch.mark[1]})
                if batch.offers or batch.settled or batch.place is None:
                    break
                place = batch.place
        if not batch.offers:
            return _Sent(connection, batch, (), marks.push)
        async with lease.transaction() as tx:
            await pushing.announce(tx, scope, connection.system, batch)
        records = [offer.outgoing for offer in batch.offers]
        outcomes = await _asked(connection, connection.adapter.push(records))
        if len(outcomes) != len(records):
            raise _AdapterBroke(_failure(f"The adapter {connection.name} did not answer for each record."))
        return _Sent(connection, batch, outcomes, marks.push)

    async def _follow(self, scope: TenantScope, connection: Connection, after: str) -> _Result:
        adapter = connection.adapter
        if not isinstance(adapter, FollowsUp):
            return _Told(connection, (), {}, None)
        async with self._database.reading(scope) as view:
            followed, last = await following.next_followed(view, scope, connection.system, after=after)
        found = await _asked(connection, adapter.follow_up(followed)) if followed else ()
        asked = {one.guid: one.data for one in followed}
        return _Told(connection, [one for one in found if one.guid in asked], asked, last)

    async def _read_letters(self, scope: TenantScope, connection: Connection, after: str) -> _Letters:
        async with self._database.reading(scope) as view:
            letters = await record_queries.due_letters(
                view, scope, connection.system, after=after, limit=_LETTERS_AT_ONCE
            )
        last = letters[-1].external_id if len(letters) == _LETTERS_AT_ONCE else None
        late = frozenset(letter.external_id for letter in letters if is_of_members(letter))
        return _Letters(connection, [incoming_of(letter) for letter in letters if letter.record], late, last)

    async def _pull(self, scope: TenantScope, connection: Connection) -> _Result:
        async with self._database.reading(scope) as view:
            marks = await queries.find_marks(view, scope, connection.system) or _NO_MARKS
        page = await _asked(connection, connection.adapter.pull(marks.pull))
        if not page.is_last and page.mark == marks.pull:
            raise _AdapterBroke(_failure(f"The adapter {connection.name} comes no further: its page has the old mark."))
        return _Got(connection, page)

    # -- storing what it said

    async def step(self, tx: Tx, scope: TenantScope, job: Job, result: _Result) -> Step:
        run = await queries.find_run(tx, scope, job.id)
        if run is None or not run.phase.is_active:
            return Done()
        work = _Work(tx, scope, job, run)
        try:
            return await self._store(work, result)
        except TenantUnknown:
            # Archived while the call lasted. Nothing has been written yet: the log is locked first.
            return await self._give_up(work, PROGRAM_STOPPED)
        except CannotConnect as error:
            return await self._give_up(work, error.failure)

    async def _store(self, work: _Work, result: _Result) -> Step:
        match result:
            case _Begun():
                return await self._store_beginning(work, result)
            case _Sent():
                return await self._store_sent(work, result)
            case _Told():
                return await self._store_told(work, result)
            case _Letters():
                return await self._store_letters(work, result)
            case _Got():
                return await self._store_page(work, result)
            case _Stopped():
                return await self._give_up(work, result.failure)
            case _Troubled():
                return await self._store_trouble(work, result)

    async def _store_beginning(self, work: _Work, begun: _Begun) -> Step:
        connection, now = begun.connection, self._clock.now()
        await links.set_current(work.tx, work.scope, connection.system)
        marks = begun.marks.selecting(connection.selection, run_id=work.run.id)
        await queries.store_marks(work.tx, work.scope, connection.system, marks)
        run = replace(work.run, phase=Phase.PUSHING, adapter=connection.name, started_at=work.run.started_at or now)
        checkpoint = {"system": connection.system, "run": run.id}
        if connection.can(Capability.PUSH):
            checkpoint |= _pushing(Place(begun.through))
        else:
            checkpoint |= _following("")
        return await self._go_on(replace(work, run=run), checkpoint, Counts(), 0)

    async def _store_sent(self, work: _Work, sent: _Sent) -> Step:
        tx, scope, system = work.tx, work.scope, sent.connection.system
        counts = await pushing.settle(tx, scope, system, sent.batch, sent.outcomes, now=self._clock.now())
        marks = await queries.find_marks(tx, scope, system) or _NO_MARKS
        if marks.push != sent.marks:
            await queries.store_marks(tx, scope, system, replace(marks, push=sent.marks))
        if sent.batch.place is not None:
            return await self._go_on(work, _pushing(sent.batch.place), counts, len(sent.batch.offers))
        if isinstance(sent.connection.adapter, FollowsUp):
            return await self._go_on(work, _following(""), counts, len(sent.batch.offers))
        return await self._begin_pull(work, sent.connection, counts, len(sent.batch.offers))

    async def _store_told(self, work: _Work, told: _Told) -> Step:
        counts = Counts()
        if told.found:
            tenant = await self._locked(work)
            source = self._source(work, told.connection, tenant)
            counts = await following.take_up(
                work.tx, self._log, work.scope, tenant, source, told.found, told.asked, now=self._clock.now()
            )
        if told.last is not None:
            return await self._go_on(work, _following(told.last), counts, len(told.asked))
        return await self._begin_pull(work, told.connection, counts, len(told.asked))

    async def _begin_pull(self, work: _Work, connection: Connection, counts: Counts, done: int) -> Step:
        if not connection.can(Capability.PULL):
            return await self._complete(work, counts)
        pulling_ = replace(work, run=replace(work.run, phase=Phase.PULLING))
        return await self._go_on(pulling_, _reading_letters("", again=False), counts, done)

    async def _store_letters(self, work: _Work, letters: _Letters) -> Step:
        again = bool(work.checkpoint["again"])
        counts = await self._take_in(
            work, letters.connection, letters.incoming, is_letter=True, late=letters.late, tell=again
        )
        if letters.last is not None:
            return await self._go_on(work, _reading_letters(letters.last, again=again), counts, len(letters.incoming))
        if again:
            return await self._complete(work, counts)
        return await self._go_on(work, {"phase": "pull"}, counts, len(letters.incoming))

    async def _store_page(self, work: _Work, got: _Got) -> Step:
        page, system = got.page, got.connection.system
        counts = await self._take_in(work, got.connection, page.records, is_letter=False, tell=False)
        counts.skipped += page.skipped
        for failure in page.failures:
            counts.fail(error_of(failure))
        await keep_unreadable(work.tx, work.scope, system, page, run_id=work.run.id, now=self._clock.now())
        marks = await queries.find_marks(work.tx, work.scope, system) or _NO_MARKS
        await queries.store_marks(work.tx, work.scope, system, replace(marks, pull=page.mark))
        if not page.is_last:
            return await self._go_on(work, {"phase": "pull"}, counts, len(page.records))
        if not await record_queries.due_letters(work.tx, work.scope, system, after="", limit=1):
            return await self._complete(work, counts)
        return await self._go_on(work, _reading_letters("", again=True), counts, len(page.records))

    async def _take_in(
        self,
        work: _Work,
        connection: Connection,
        incoming: Sequence[Incoming],
        *,
        is_letter: bool,
        late: frozenset[str] = frozenset(),
        tell: bool,
    ) -> Counts:
        if not incoming:
            return Counts()
        tenant = await self._locked(work)
        source = self._source(work, connection, tenant)
        taken = await pulling.take_in(
            work.tx,
            self._log,
            work.scope,
            tenant,
            source,
            incoming,
            is_letter=is_letter,
            late=late,
            tells_missing=tell,
            now=self._clock.now(),
        )
        for appended in taken.appended:
            await self._flag(work, tenant, appended)
        return taken.counts

    async def _locked(self, work: _Work) -> Tenant:
        """The program, whose log nobody else appends to before the step ends."""
        await self._log.lock(work.tx, work.scope)
        return await self._connections.tenant(work.scope)

    def _source(self, work: _Work, connection: Connection, tenant: Tenant) -> Source:
        reserved = reserved_keys(tenant.custom_event_types)
        return Source(connection.system, connection.user, reserved, work.run.id)

    async def _flag(self, work: _Work, tenant: Tenant, appended: Appended) -> None:
        """Keep what the program's forms would not have let pass. It is stored all the same: nobody there can mend it."""
        check = await self._checks.of(tenant)
        if check is None:
            return
        found = (
            (one.guid, check.mismatches(self._log.upcasters.upcast(event_from_body(one.body))))
            for one in appended.stored
        )
        await keep_findings(work.tx, work.scope, appended, [(guid, one) for guid, one in found if one])

    # -- how it goes on

    async def _go_on(self, work: _Work, following_: Mapping[str, Any], counts: Counts, done: int) -> Step:
        kept = {name: work.checkpoint[name] for name in ("system", "run") if name in work.checkpoint}
        run = replace(work.run.counting(counts), trouble=None, updated_at=self._clock.now())
        await queries.store_run(work.tx, work.scope, run)
        return Continue({**kept, **following_}, done=work.job.progress.done + done)

    async def _complete(self, work: _Work, counts: Counts) -> Step:
        run = work.run.counting(counts).completed(self._clock.now())
        await queries.store_run(work.tx, work.scope, run)
        return Done({"status": run.status.value})

    async def _give_up(self, work: _Work, failure: Failure) -> Step:
        error = RunError(failure.code, failure.message[:LONGEST_MESSAGE], retryable=failure.retryable)
        await queries.store_run(work.tx, work.scope, work.run.broken(error, self._clock.now()))
        return GiveUp(failure.code)

    async def _store_trouble(self, work: _Work, troubled: _Troubled) -> Step:
        failure = troubled.failure
        if not failure.retryable:
            run = work.run.broken(_sync_error(failure), self._clock.now())
            await queries.store_run(work.tx, work.scope, run)
            return GiveUp(failure.code)
        run = replace(work.run, trouble=_sync_error(failure), updated_at=self._clock.now())
        await queries.store_run(work.tx, work.scope, run)
        return Retry(failure.code, troubled.retry_after_seconds)

    async def ended(self, tx: Tx, scope: TenantScope, job: Job) -> None:
        await self._connections.close(job.id)
        run = await queries.find_run(tx, scope, job.id)
        if run is None or not run.phase.is_active:
            return
        now = self._clock.now()
        if job.state is JobState.CANCELLED:
            await queries.store_run(tx, scope, run.cancelled(now))
            return
        code = job.error_code or Trouble.SYNC_ERROR.value
        unknown = RunError(Trouble.SYNC_ERROR.value, _TEXTS.get(code, f"The sync was given up: {code}."), cause=code)
        error = run.trouble if run.trouble is not None and run.trouble.cause == code else unknown
        await queries.store_run(tx, scope, run.broken(error, now))

    async def reopened(self, tx: Tx, scope: TenantScope, job: Job) -> None:
        """A run that has ended stays as it was told: another one is started instead."""
        raise JobNotRetryable("A sync that has ended stays as it was told. Start another one in its place.")


_TEXTS = {
    "JOB_DEADLINE_PASSED": "The sync was not done in the time it may take. What it has done stays; start it again.",
    "JOB_CALL_TIMED_OUT": "The other system did not answer in time, again and again.",
    "JOB_ABANDONED": "The processes that worked on the sync ended in the middle of it, again and again.",
}

_SETTINGS_CHANGED = Failure(
    code=Trouble.SETTINGS_CHANGED.value,
    message="The program was turned to another system while the sync ran. Start it again.",
    retryable=False,
)


def _sync_error(failure: Failure) -> RunError:
    text = f"{failure.code}: {failure.message}"[:LONGEST_MESSAGE]
    return RunError(Trouble.SYNC_ERROR.value, text, retryable=failure.retryable, cause=failure.code)


def _failure(message: str) -> Failure:
    return Failure(code=Trouble.ADAPTER_FAILED.value, message=message, retryable=True)


async def _asked(connection: Connection, call: Awaitable[_T]) -> _T:
    """What an adapter answers. Its mistakes are told by their kind alone: their texts may hold what people have told."""
    try:
        return await call
    except AdapterError:
        raise
    except Exception as error:
        kind = type(error).__name__
        _log.error("adapter.failed", adapter=connection.name, error=kind)
        raise _AdapterBroke(_failure(f"The adapter {connection.name} failed unexpectedly ({kind}).")) from None


def _place(checkpoint: Mapping[str, Any]) -> Place:
    return Place(checkpoint["through"], Sweep(checkpoint["sweep"]), checkpoint["stage"], checkpoint["guid"])


def _pushing(place: Place) -> dict[str, Any]:
    return {
        "phase": "push",
        "through": place.through,
        "sweep": place.sweep.value,
        "stage": place.stage,
        "guid": place.guid,
    }


def _following(after: str) -> dict[str, Any]:
    return {"phase": "follow", "after": after}


def _reading_letters(after: str, *, again: bool) -> dict[str, Any]:
    return {"phase": "letters", "after": after, "again": again}
