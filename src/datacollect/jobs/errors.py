"""Why a job fails, when its own steps do not say."""

from datacollect.kernel.errors import DataCollectError


class JobFailed(DataCollectError):
    """A step of the job failed."""

    code = "JOB_FAILED"
    help = "The log says where (`job.step_failed`); report it if it comes again."


class JobTimedOut(DataCollectError):
    """A step of the job took longer than a lease."""

    code = "JOB_TIMED_OUT"
    help = "See what the database is busy with, or raise `JOB_LEASE`."


class JobAbandoned(DataCollectError):
    """The processes that worked on the job ended in the middle of it."""

    code = "JOB_ABANDONED"
    help = "See why they ended: too little memory is the usual reason."


class Unrecoverable(DataCollectError):
    """The job cannot succeed however often it is tried."""

    code = "JOB_UNRECOVERABLE"
    help = "Correct what its kind needs, and start it again."


class LeaseLost(Exception):
    """Raised inside a step's transaction, so that nothing of it stays: somebody else has the job now, or it is over."""
