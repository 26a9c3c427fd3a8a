"""Durable background work: rows that a worker claims by lease, and goes on with in small steps.

A slice enqueues a job in the transaction that causes it (`enqueue`), and gives `app.py` a `Handler` of its kind. Nothing
here knows what a job is about.
"""

from datacollect.jobs.model import Continue, Done, Handler, Job, JobId, JobState, Retries, Step
from datacollect.jobs.queue import cancel, enqueue, find_active, find_latest
from datacollect.jobs.worker import Worker

__all__ = [
    "Continue",
    "Done",
    "Handler",
    "Job",
    "JobId",
    "JobState",
    "Retries",
    "Step",
    "Worker",
    "cancel",
    "enqueue",
    "find_active",
    "find_latest",
]
