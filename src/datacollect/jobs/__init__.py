"""Durable background work: rows that a worker claims by a lease, and works on in small steps.

A slice enqueues a job in the transaction that causes it (`enqueue`), and gives `assembly.py` a handler of its kind: a `Handler`
for work in the database (a `PreparingHandler` if it has to think first), a `CallingHandler` for work that calls
other systems. The `Worker`, which knows the handlers, cancels jobs and retries them. Nothing here knows what a job is about.
"""

from datacollect.jobs.errors import CallFailed, JobNotActive, JobNotFound, JobNotRetryable, JobReplaced, Unrecoverable
from datacollect.jobs.giving_way import Lookout, Visitors
from datacollect.jobs.model import (
    AnyHandler,
    CallingHandler,
    Continue,
    Done,
    GiveUp,
    Handler,
    Job,
    JobId,
    JobPage,
    JobState,
    KeepsRuns,
    Lease,
    PreparingHandler,
    Rest,
    Retries,
    Retry,
    Step,
)
from datacollect.jobs.queue import (
    enqueue,
    find_active,
    find_job,
    find_latest,
    forget_ended,
    list_jobs,
    read_cursor,
    stop_all,
)
from datacollect.jobs.rounds import going_round
from datacollect.jobs.worker import Worker

__all__ = [
    "AnyHandler",
    "CallFailed",
    "CallingHandler",
    "Continue",
    "Done",
    "GiveUp",
    "Handler",
    "Job",
    "JobId",
    "JobNotActive",
    "JobNotFound",
    "JobNotRetryable",
    "JobPage",
    "JobReplaced",
    "JobState",
    "KeepsRuns",
    "Lease",
    "Lookout",
    "PreparingHandler",
    "Rest",
    "Retries",
    "Retry",
    "Step",
    "Unrecoverable",
    "Visitors",
    "Worker",
    "enqueue",
    "find_active",
    "find_job",
    "find_latest",
    "forget_ended",
    "going_round",
    "list_jobs",
    "read_cursor",
    "stop_all",
]
