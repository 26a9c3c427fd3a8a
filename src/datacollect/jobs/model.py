"""What a job is, what a step of it may answer, and when a failed one is tried again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType, Protocol

from datacollect.db import Tx
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

JobId = NewType("JobId", str)


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


Step = Continue | Done


class Handler(Protocol):
    """Does the jobs of one kind."""

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


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a job may fail in a row without a step in between, and how long it rests after each time."""

    attempts: int = 10
    first_seconds: float = 2
    most_seconds: float = 600

    def pause_millis(self, failures: int, chance: Callable[[], float]) -> int:
        """Twice as long each time, and never the same for jobs that failed together: a half up to the whole of it.

        `chance` gives a number from 0 to 1.
        """
        seconds = min(self.most_seconds, self.first_seconds * 2.0 ** min(failures - 1, 60))
        return round(seconds * (0.5 + 0.5 * chance()) * 1000)
