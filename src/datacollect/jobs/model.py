"""What a job is, what a step of it may answer, and when a failed one is tried again."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType, Protocol, TypeVar, runtime_checkable

from datacollect.db import Tx
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

JobId = NewType("JobId", str)

R = TypeVar("R")

_LONGEST_ASKED_SECONDS = 3600
"""Another system that wants us back in a year is asked in an hour."""


class JobState(StrEnum):
    AVAILABLE = "available"
    """Waits for a worker, from the beginning or from its checkpoint on."""
    RUNNING = "running"
    """A worker has it, until its lease ends."""
    RETRYABLE = "retryable"
    """A step has failed; it waits until it may be tried again."""
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"
    """Given up, after too many attempts or because no attempt can succeed. `error_code` says why."""


ACTIVE = (JobState.AVAILABLE, JobState.RUNNING, JobState.RETRYABLE)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, in units of its own; `total` is None while nobody knows."""

    done: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was when it was read."""

    id: JobId
    tenant_id: TenantId
    kind: str
    key: str
    args: Mapping[str, Any]
    state: JobState
    checkpoint: Mapping[str, Any]
    """What the last step that was committed left for the next one; empty before the first."""
    progress: Progress
    result: Mapping[str, Any] | None
    attempt: int
    """How often it has been claimed. Together with the claimer it fences every effect."""
    failures: int
    """Claims in a row, this one included, that have not led to a committed step yet."""
    error_code: str | None
    """Of the last step that failed. A code and nothing else: messages may quote what people have written."""
    is_called_off: bool
    """Somebody wants it to end. One that runs ends with what it is doing."""
    deadline: Millis | None
    """When it is given up, however far it is."""
    due_at: Millis
    """When somebody may claim it: the time it may be tried (again), or, while it runs, the end of the lease."""
    created_at: Millis
    started_at: Millis | None
    updated_at: Millis
    finished_at: Millis | None

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE


@dataclass(frozen=True, slots=True)
class Continue:
    """The batch is done and there is more: go on from `checkpoint`."""

    checkpoint: Mapping[str, Any]
    done: int
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """That was the last batch."""

    result: Mapping[str, Any] = field(default_factory=dict)
    total: int | None = None
    """How much there was to do in the end, if it is not what the batch before has told."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It did not work, and may work later. What the step has written is kept, and the checkpoint is the one before.

    Counts as a failure, as raising does: after too many in a row the job is discarded with this code.
    """

    code: str
    """UPPER_SNAKE, kept as the job's `error_code`. Never a text of others."""
    after_seconds: float | None = None
    """At least so long from now (`Retry-After`); never longer than an hour, never earlier than our own pause."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It cannot work. What the step has written is kept, and the job is discarded with this code."""

    code: str


Step = Continue | Done | Retry | GiveUp


class Handler(Protocol):
    """Does the jobs of one kind, in the database alone."""

    @property
    def kind(self) -> str:
        """A stable name: rows of it outlive releases."""

    async def step(self, tx: Tx, scope: TenantScope, job: Job) -> Step:
        """Do the next batch in `tx`, from `job.checkpoint` on.

        What it writes and its checkpoint are committed together, or not at all: after a crash the same batch is done
        again, and nothing else. Keep it below a tenth of a second. On SQLite nobody else writes meanwhile, and a
        worker that is told to stop waits for it. It must do nothing outside of the database.

        Whatever it raises is tried again later, but `Unrecoverable`.
        """


class Rest(Protocol):
    """Handed to work that takes long: whoever waits for the hub has a turn whenever it is awaited."""

    async def __call__(self) -> None:
        """Rest: nine times as long as the work since the last rest while this process is asked something, and for nothing
        but a turn of the others when it is not. It may not come back: the hub stops."""


@runtime_checkable
class PreparingHandler(Protocol[R]):
    """Does the jobs of one kind, in the database alone, and has more to think about than others can wait for.

    What a step does is found out before its transaction, in none. Others write meanwhile: the step must make sure that
    what it stores is still so.
    """

    @property
    def kind(self) -> str:
        """A stable name: rows of it outlive releases."""

    async def prepare(self, scope: TenantScope, job: Job, rest: Rest) -> R:
        """Read and think, and write nothing. Await `rest` after a millisecond or two, as the loop is everybody's, and not in
        a view, as a rest may be long."""

    async def step(self, tx: Tx, scope: TenantScope, job: Job, result: R) -> Step:
        """Store what was prepared, as `Handler.step` does its batch; `result` is lost if it is not committed."""


class Lease(Protocol):
    """What a call knows of the job while it lasts. Others hold off as long as it is ours."""

    @property
    def is_ending(self) -> bool:
        """The job was called off, or the hub stops: answer soon with what there is, or be cut off in a few seconds."""

    def transaction(self) -> AbstractAsyncContextManager[Tx]:
        """A short unit of work within the call, committed only if the job is still ours then; raises `LeaseLost` if not.

        For what must be on disk before somebody else is told something ("is being sent").
        """


@runtime_checkable
class CallingHandler(Protocol[R]):
    """Does the jobs of one kind, and speaks to other systems for it: each step has a call before its transaction."""

    @property
    def kind(self) -> str:
        """A stable name: rows of it outlive releases."""

    @property
    def call_seconds(self) -> float:
        """How long one call may take. Then it is cut off, and tried again later."""

    @property
    def retries(self) -> "Retries":
        """How often a job of this kind is tried again without a step in between, and after how long."""

    async def call(self, scope: TenantScope, job: Job, lease: Lease) -> R:
        """Speak to the other system, in no transaction. The result is handed to `step`.

        It may be cut off at any moment by a `CancelledError` (its time is over, the job is called off or lost, the hub
        stops), or be over with its process: the next call begins from the same checkpoint and must find out what has
        arrived. It must not hold up the event loop.

        Whatever it raises is tried again later, but `Unrecoverable`. An error's `retry_after_seconds`, if it has one,
        is respected as `Retry.after_seconds` is. `CallFailed` says why in a code of the handler's own.
        """

    async def step(self, tx: Tx, scope: TenantScope, job: Job, result: R) -> Step:
        """Store what the call has given, as `Handler.step` does its batch; `result` is lost if it is not committed.

        Also called when the job was called off or has passed its deadline during the call, if that has answered
        nevertheless: the job ends with this step, and `ended` follows.
        """


@runtime_checkable
class KeepsRuns(Protocol):
    """A handler of either kind that has rows of its own for its jobs, to be closed and opened with them."""

    async def ended(self, tx: Tx, scope: TenantScope, job: Job) -> None:
        """The job has ended for good: `job.state` and `job.error_code` say how, `job.progress` how far it came.

        In the transaction that ends it, whoever does that: the last step, a cancellation while it waited, the worker
        that finds it abandoned, past its deadline or called off. Not called when a program is purged (`stop_all`).
        What it raises undoes the end; it is tried again.
        """

    async def reopened(self, tx: Tx, scope: TenantScope, job: Job) -> None:
        """A discarded job is put in line again, in this transaction. Raise `JobNotRetryable` to refuse."""


AnyHandler = Handler | PreparingHandler[Any] | CallingHandler[Any]


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, the youngest first."""

    jobs: Sequence[Job]
    following: str | None
    """Pass it as `before` for the next page; None if this is the last."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a job may fail in a row without a step in between, and how long it rests after each time."""

    attempts: int = 10
    first_seconds: float = 2
    most_seconds: float = 600

    def pause_millis(self, failures: int, chance: Callable[[], float], *, at_least_seconds: float | None = None) -> int:
        """Twice as long each time, and never the same for jobs that failed together: a half up to the whole of it.

        `chance` gives a number from 0 to 1. What another system asks for is kept to, and spread a little behind that.
        """
        seconds = min(self.most_seconds, self.first_seconds * 2.0 ** min(failures - 1, 60))
        pause = seconds * (0.5 + 0.5 * chance())
        if at_least_seconds is not None:
            asked = min(max(at_least_seconds, 0.0), _LONGEST_ASKED_SECONDS)
            pause = max(pause, asked * (1 + 0.1 * chance()))
        return round(pause * 1000)
